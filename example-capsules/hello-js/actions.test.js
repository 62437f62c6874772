// Tests of the actions over a host in memory: node --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { actions } from "./actions.js";

// A host with one counter.
function fake() {
    let lines;
    return {
        started: 0,
        caller: () => "alice",
        run(command, args) {
            assert.deepEqual([command, args], ["uname", ["-sr"]]);
            return { stdout: "Linux 6.12\n" };
        },
        start() {
            this.started += 1;
            lines = 0;
            return "id";
        },
        find: () => (lines === undefined ? undefined : "id"),
        ask: () => `${(lines += 1)}`,
        stop() {
            lines = undefined;
            return { signal: 15 };
        },
    };
}

test("greets the caller", () => {
    assert.equal(actions.hello(fake()), "Hello, alice!");
});

test("tells the kernel", () => {
    assert.equal(actions.kernel(fake()), "Linux 6.12");
});

test("counts over calls with one process", () => {
    const host = fake();
    assert.deepEqual([1, 2, 3].map(() => actions.count(host)), [1, 2, 3]);
    assert.equal(host.started, 1);
    assert.deepEqual(actions.stop(host), { signal: 15 });
    assert.throws(() => actions.stop(host), /no counter is running/);
});
