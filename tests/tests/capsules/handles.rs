//! Children and handles through the SDK, over real processes.

use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call, gone};

async fn start(capsule: &capsule_host::runtime::Capsule, spawn: Value) -> Value {
    let started = call(capsule, "start", spawn).await;
    assert!(started["ok"].is_string(), "{started}");
    started["ok"].clone()
}

fn sh(script: &str) -> Value {
    json!({ "cmd": "sh", "args": ["-c", script] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_n1_n4_a_child_is_talked_to_and_ends_with_its_input() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let spawn = json!({ "cmd": "sh", "args": ["-c", "cat; echo end >&2; exit 3"], "keep_stdin_open": true });
    let words = ["one\n", "zwei — ü\n", "no end"];
    let talked = call(&capsule, "talk", json!({ "spawn": spawn, "words": words })).await;
    let ran = json!({ "code": 3, "signal": null, "stdout": "", "stderr": "end\n" });
    assert_eq!(talked, json!({ "ok": [words, ran] }));
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_both_streams_of_a_child_are_read_to_their_ends() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo \"line $i — ünï\"; echo err >&2; done; printf last";
    let read = call(&capsule, "child-lines", sh(script)).await;
    let mut lines: Vec<_> = (1..=300).map(|i| format!("line {i} — ünï")).collect();
    lines.push("last".into());
    assert_eq!(read, json!({ "ok": [lines, "err\n".repeat(300)] }));
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_dropping_a_child_and_ending_the_instance_end_its_tree() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    for action in ["drop-child", "leave-child"] {
        let left = call(&capsule, action, sh("sleep 600 & echo ready; wait")).await;
        let pid = u32::try_from(left["ok"].as_u64().unwrap_or_else(|| panic!("{left}"))).unwrap();
        gone(pid).await;
    }
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k3_x7_kill_tells_what_was_left_and_whether_it_ran() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let killed = call(&capsule, "kill-child", sh("echo ready; echo rest; exec sleep 600")).await;
    assert_eq!(killed["ok"][0]["killed"], true, "{killed}");
    assert_eq!(killed["ok"][0]["signal"], 9);
    assert_eq!(killed["ok"][1], json!({ "killed": false, "signal": 9, "stdout": "" }));
    assert_eq!(killed["ok"][2], Value::Null);
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a2_k3_a_persistent_process_is_waited_for_and_killed_by_a_handle() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let id = start(
        &capsule,
        json!({ "cmd": "sh", "args": ["-c", "echo out; read x; echo \"$x\" >&2"], "keep_stdin_open": true }),
    )
    .await;
    let early = call(&capsule, "wait-with-output", json!({ "id": id, "ms": 50 })).await;
    assert_eq!(early["err"]["kind"], "wait-timeout", "{early}");
    call(&capsule, "write", json!({ "id": id, "text": "word\n" })).await;
    let ran = call(&capsule, "wait-with-output", json!({ "id": id, "ms": 30_000 })).await;
    assert_eq!(
        ran["ok"],
        json!({ "code": 0, "signal": null, "stdout": "out\n", "stderr": "word\n" })
    );

    let id = start(&capsule, sh("echo some; exec sleep 600")).await;
    call(
        &capsule,
        "wait-for-output",
        json!({ "id": id, "text": "some", "ms": 30_000 }),
    )
    .await;
    let killed = call(&capsule, "kill", json!({ "id": id })).await;
    assert_eq!(killed["ok"], json!({ "killed": true, "signal": 9, "stdout": "some\n" }));
    let exit = call(&capsule, "wait", json!({ "id": id, "ms": 0 })).await;
    assert_eq!(exit, json!({ "ok": [null, 9] }), "the id stays, as exited");
    call(&capsule, "release", json!({ "id": id })).await;
    let gone = call(&capsule, "kill", json!({ "id": id })).await;
    assert_eq!(gone["err"]["kind"], "no-such-process", "{gone}");
    host.registry.shutdown().await;
}

/// Each child ends when the file that it waits for exists, and makes the file for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_select_and_futures_tell_which_of_several_ended() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    for futures in [false, true] {
        let await_then = |first: &str, then: &str| {
            format!("while [ ! -e {futures}-{first} ]; do sleep 0.01; done; : > {futures}-{then}")
        };
        // The files force the order 2, 0, 1.
        let scripts = [await_then("a", "b"), await_then("b", "c"), format!(": > {futures}-a")];
        let raced = call(&capsule, "race", json!({ "scripts": scripts, "futures": futures })).await;
        let mut ready: Vec<_> = raced["ok"]["ready"]
            .as_array()
            .unwrap_or_else(|| panic!("{raced}"))
            .clone();
        ready.sort_by_key(Value::as_u64);
        assert_eq!(ready, [0, 1, 2]);
        let race = json!({ "scripts": ["exec sleep 600", ":", "exec sleep 600"], "first": true, "futures": futures });
        let raced = call(&capsule, "race", race).await;
        assert_eq!(raced["ok"]["ready"], json!([1]), "{raced}");
    }
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_beside_processes_comes_first_and_never_early() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    for futures in [false, true] {
        for scripts in [&["exec sleep 600"][..], &["exec sleep 600", "exec sleep 600"]] {
            let race = json!({ "scripts": scripts, "ms": 150, "futures": futures });
            let raced = call(&capsule, "race", race).await;
            assert_eq!(raced["ok"]["ready"], json!([scripts.len()]), "{raced}");
            assert!(raced["ok"]["ms"].as_u64().unwrap() >= 150, "{raced}");
        }
        let race = json!({ "scripts": [":", "exec sleep 600"], "ms": 60_000, "futures": futures });
        let raced = call(&capsule, "race", race).await;
        assert_eq!(raced["ok"]["ready"], json!([0]), "{raced}");
    }
    host.registry.shutdown().await;
}
