// The actions of the capsule, as plain functions.
//
// Each call runs in an instance of its own, so nothing is kept in memory from one call to the next. A process outlives the call
// that started it, and a later call finds it by its label. `host` is what the capsule can use of its host: see capsule.js.

// The label by which later calls find the process.
const COUNTER = "counter";

// Answers each line with the number of lines that it has read.
const SCRIPT = "n=0; while read -r line; do n=$((n + 1)); echo $n; done";

export const actions = {
    // Starts no process, so it needs no grant.
    hello(host) {
        return `Hello, ${host.caller() ?? "stranger"}!`;
    },

    // Runs a command to its end and returns its output.
    kernel(host) {
        return host.run("uname", ["-sr"]).stdout.trimEnd();
    },

    // Returns how often it was called. Only the process remembers that.
    count(host) {
        const counter = host.find(COUNTER) ?? host.start(COUNTER, "sh", ["-c", SCRIPT]);
        return Number(host.ask(counter, "\n"));
    },

    // Ends the process.
    stop(host) {
        const counter = host.find(COUNTER);
        if (counter === undefined) {
            throw new Error("no counter is running: call `count` first");
        }
        return { signal: host.stop(counter).signal };
    },
};
