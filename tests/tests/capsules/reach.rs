//! Which capsules and principals reach a process, and what happens to it when the instances of its capsule do not end
//! well.

use std::time::Duration;

use capsule_host::runtime::CallError;
use capsule_host::supervisor::{Owner, Principal};
use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call, call_as, exists, try_call};

fn sleeper() -> Value {
    json!({ "cmd": "sh", "args": ["-c", "echo up; exec sleep 1000"], "label": "sleeper" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_an_id_works_after_the_component_was_reloaded_in_place() {
    let host = Host::new();
    let before = host.load_file("c", TEST_GUEST).await;
    let id = call(&before, "start", sleeper()).await["ok"].clone();
    before.reload(&std::fs::read(TEST_GUEST).unwrap()).await.unwrap();
    let after = before;
    let said = call(
        &after,
        "wait-for-output",
        json!({ "id": id, "text": "up", "ms": 30_000 }),
    )
    .await;
    assert_eq!(said, json!({ "ok": "up" }));
    assert_eq!(
        call(&after, "stop", json!({ "id": id, "ms": 5000 })).await,
        json!({ "ok": [null, 15] })
    );
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_to_others_an_id_is_as_unknown_as_one_that_never_was() {
    let host = Host::new();
    let mine = host.load_file("mine", TEST_GUEST).await;
    let other = host.load_file("other", TEST_GUEST).await;
    let id = call(&mine, "start", sleeper()).await["ok"].clone();
    let stopped = call(&mine, "start", sleeper()).await["ok"].clone();
    call(&mine, "stop", json!({ "id": stopped, "ms": 0 })).await;
    let never = json!("a".repeat(52));

    for action in [
        "attach",
        "lines",
        "follow",
        "wait-for-output",
        "read-logs",
        "write",
        "close",
        "signal",
        "wait",
        "stop",
        "release",
    ] {
        let ask = |id: &Value| json!({ "id": id, "text": "up", "ms": 0, "count": 1 });
        let unknown = call(&mine, action, ask(&never)).await;
        assert_eq!(unknown["err"]["kind"], "no-such-process", "{action}");
        assert_eq!(
            call_as("eve", &mine, action, ask(&id)).await,
            unknown,
            "{action} by another principal"
        );
        assert_eq!(
            call(&other, action, ask(&id)).await,
            unknown,
            "{action} by another capsule"
        );
        assert_eq!(
            call(&mine, action, ask(&stopped)).await,
            unknown,
            "{action} of a stopped process"
        );
    }
    assert_eq!(call_as("eve", &mine, "list", json!(null)).await, json!({ "ok": [] }));
    assert_eq!(
        call(&mine, "list", json!(null)).await,
        json!({ "ok": [[id, "sleeper"]] })
    );
    let said = call(
        &mine,
        "wait-for-output",
        json!({ "id": id, "text": "up", "ms": 30_000 }),
    )
    .await;
    assert_eq!(said, json!({ "ok": "up" }), "nothing of it was touched");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_hurts_no_process() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let error = try_call("ada", &capsule, "start-then-trap", sleeper())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Trap { stderr, .. } if stderr.contains("on purpose, after Ok")),
        "{error:?}"
    );
    let listed = call(&capsule, "list", json!(null)).await;
    let id = &listed["ok"][0][0];
    let said = call(
        &capsule,
        "wait-for-output",
        json!({ "id": id, "text": "up", "ms": 30_000 }),
    )
    .await;
    assert_eq!(said, json!({ "ok": "up" }));
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runaway_guest_is_ended_and_hurts_no_process() {
    let host = Host::with(|runtime| runtime.guest_time(Duration::from_millis(200)));
    let capsule = host.load_file("c", TEST_GUEST).await;
    let id = call(&capsule, "start", sleeper()).await["ok"].clone();
    let error = try_call("ada", &capsule, "spin", json!(null)).await.unwrap_err();
    assert_eq!(error.kind(), "guest-time");
    // The wait is five times the guest's computing time, because waiting is not computing.
    let waited = call(&capsule, "wait", json!({ "id": id, "ms": 1000 })).await;
    assert_eq!(waited["err"]["kind"], "wait-timeout");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_unloading_ends_a_captured_command_and_its_call() {
    // The pid that the command sees is the pid that the test sees.
    let host = Host::unconfined();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let pid_file = host.workspace.path().join("pid");
    let script = format!("echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 1000", pid_file.display());
    let running = tokio::spawn({
        let capsule = capsule.clone();
        async move { try_call("ada", &capsule, "run", json!({ "cmd": "sh", "args": ["-c", script] })).await }
    });
    let pid: u32 = loop {
        if let Ok(text) = std::fs::read_to_string(&pid_file) {
            break text.trim().parse().unwrap();
        }
        tokio::task::yield_now().await;
    };
    capsule.unload().await;
    match running.await.unwrap() {
        // The guest may or may not have had the time to return its answer.
        Ok((_, data)) => assert_eq!(data["err"]["kind"], "cancelled", "{data}"),
        Err(error) => assert_eq!(error.kind(), "cancelled"),
    }
    host.registry.shutdown().await;
    assert!(!exists(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_s10_what_was_not_granted_is_denied() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let denied = call(&capsule, "run", json!({ "cmd": "/bin/sh", "args": ["-c", ": > ran"] })).await;
    assert_eq!(
        denied["err"]["kind"], "capability-denied",
        "a grant is for one spelling"
    );
    let escape = call(
        &capsule,
        "run",
        json!({ "cmd": "sh", "args": ["-c", ": > ran"], "cwd": ".." }),
    )
    .await;
    assert_eq!(escape["err"]["kind"], "boundary-escape");
    let reserved = json!({ "cmd": "sh", "args": ["-c", ": > ran"], "env": [["LD_PRELOAD", "x"]] });
    assert_eq!(call(&capsule, "run", reserved).await["err"]["kind"], "invalid-input");
    assert!(!host.workspace.path().join("ran").exists());

    let scope = host.registry.scope(Owner {
        principal: Principal::Anonymous,
        capsule: "c".into(),
    });
    let result = capsule
        .call(Principal::Anonymous, "start", sleeper().to_string().into_bytes())
        .await
        .unwrap();
    assert!(result.data.unwrap().contains("persist-unsupported"));
    assert!(scope.list(None).is_empty());
}
