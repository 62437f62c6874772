// The entry point: calls the actions, and shows them the host.
//
// The build provides the imported modules; `capsule wit wit` writes their interfaces to read. The engine is QuickJS, which has
// no `TextDecoder`, no `console` and no Node.js modules.

import * as process from "astrid:process/host@1.1.0";
import * as sys from "astrid:sys/host@1.0.0";
import { actions } from "./actions.js";

// What the actions use of the host. Add to it what they need: `process` and `sys` have more.
const host = {
    caller() {
        return sys.getCaller().principal;
    },

    run(cmd, args) {
        return process.spawn({ cmd, args, env: [], fileInjections: [] });
    },

    // Starts a process that outlives this instance. Returns its id.
    start(label, cmd, args) {
        return process.spawnPersistent({ cmd, args, label, keepStdinOpen: true, env: [], fileInjections: [] });
    },

    // The id of the running process with this label, if there is one.
    find(label) {
        const found = process.listProcesses(label);
        return found.findLast((info) => info.label === label && info.phase !== "exited")?.id;
    },

    // Writes to the process, and returns the next line that it answers, without the line's end.
    ask(id, line) {
        const handle = process.attach(id);
        const output = handle.subscribeLogs();
        handle.writeStdin(utf8(line));
        let answer = "";
        for (;;) {
            output.block();
            const logs = handle.readLogs();
            answer += logs.stdout;
            const end = answer.indexOf("\n");
            if (end >= 0) {
                return answer.slice(0, end);
            }
            // Only after the look at its output: a process may end right after its answer.
            if (!logs.running) {
                throw new Error(`the process ended: ${answer}${logs.stderr}`);
            }
        }
    },

    stop(id) {
        return process.stop(id, undefined);
    },
};

export function astridHookTrigger(action, payload) {
    if (!Object.hasOwn(actions, action)) {
        return { action: "deny", data: JSON.stringify({ message: `there is no action ${action}` }) };
    }
    try {
        const data = actions[action](host, payload.length > 0 ? JSON.parse(text(payload)) : undefined);
        return { action: "continue", data: JSON.stringify(data ?? null) };
    } catch (error) {
        // The host's answer has a payload, such as { tag: "capability-denied" }.
        const message = error.payload?.tag ?? error.message ?? String(error);
        return { action: "abort", data: JSON.stringify({ message }) };
    }
}

function utf8(text) {
    return Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
}

function text(bytes) {
    return decodeURIComponent(escape(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")));
}
