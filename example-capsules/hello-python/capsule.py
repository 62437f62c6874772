"""The entry point: calls the actions, and shows them the host.

The modules that are imported from `wit_world` are made by the build from the interfaces; `capsule wit wit` writes those to read.
"""

import json

import wit_world
from actions import ACTIONS
from componentize_py_types import Err
from wit_world.imports import astrid_process_host as process
from wit_world.imports import astrid_sys_host as sys
from wit_world.imports.lifecycle import CapsuleResult


class Host:
    """What the actions use of the host. Add to it what they need: `process` and `sys` have more."""

    def caller(self):
        return sys.get_caller().principal

    def run(self, command, *args):
        return process.spawn(request(command, args))

    def start(self, label, command, *args):
        """Starts a process that outlives this instance. Returns its id."""
        return process.spawn_persistent(request(command, args, label=label, keep_stdin_open=True))

    def find(self, label):
        """The id of the running process with this label, or none."""
        found = process.list_processes(label)
        running = [info.id for info in found if info.label == label and info.phase != process.ProcessPhase.EXITED]
        return running[-1] if running else None

    def ask(self, id, line):
        """Writes to the process, and returns the next line that it answers, without the line's end."""
        with process.attach(id) as handle, handle.subscribe_logs() as output:
            handle.write_stdin(line.encode())
            answer = ""
            while True:
                output.block()
                logs = handle.read_logs()
                answer += logs.stdout
                if "\n" in answer:
                    return answer.partition("\n")[0]
                # Only after the look at its output: a process may end right after its answer.
                if not logs.running:
                    raise EOFError(f"the process ended: {answer}{logs.stderr}")

    def stop(self, id):
        return process.stop(id, None)


def request(command, args, label=None, keep_stdin_open=None):
    return process.SpawnRequest(
        cmd=command,
        args=list(args),
        stdin=None,
        env=[],
        cwd=None,
        limits=None,
        file_injections=[],
        label=label,
        keep_stdin_open=keep_stdin_open,
        overflow=None,
        log_ring_bytes=None,
        max_lifetime_ms=None,
        idle_timeout_ms=None,
        exit_retention_ms=None,
    )


class WitWorld(wit_world.WitWorld):
    def astrid_hook_trigger(self, action, payload):
        run = ACTIONS.get(action)
        if run is None:
            return CapsuleResult("deny", json.dumps({"message": f"there is no action {action!r}"}))
        try:
            data = run(Host(), json.loads(payload) if payload else None)
        except Err as error:
            # The host's answer, such as ErrorCode_CapabilityDenied.
            return CapsuleResult("abort", json.dumps({"message": str(error.value)}))
        except Exception as error:
            return CapsuleResult("abort", json.dumps({"message": str(error)}))
        return CapsuleResult("continue", json.dumps(data))
