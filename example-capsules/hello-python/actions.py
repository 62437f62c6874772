"""The actions of the capsule, as plain functions.

Each call runs in an instance of its own, so nothing is kept in memory from one call to the next. A process outlives the call that
started it, and a later call finds it by its label. `host` is what the capsule can use of its host: see capsule.py.
"""

# The label by which later calls find the process.
COUNTER = "counter"

# Answers each line with the number of lines that it has read.
SCRIPT = "n=0; while read -r line; do n=$((n + 1)); echo $n; done"


def hello(host, payload):
    """Starts no process, so it needs no grant."""
    return f"Hello, {host.caller() or 'stranger'}!"


def kernel(host, payload):
    """Runs a command to its end and returns its output."""
    return host.run("uname", "-sr").stdout.rstrip()


def count(host, payload):
    """Returns how often it was called. Only the process remembers that."""
    counter = host.find(COUNTER) or host.start(COUNTER, "sh", "-c", SCRIPT)
    return int(host.ask(counter, "\n"))


def stop(host, payload):
    """Ends the process."""
    counter = host.find(COUNTER)
    if counter is None:
        raise LookupError("no counter is running: call `count` first")
    return {"signal": host.stop(counter).signal}


ACTIONS = {"hello": hello, "kernel": kernel, "count": count, "stop": stop}
