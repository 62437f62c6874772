//! Locks between the instances of a capsule, and processes that are started at most once (contract M1 to M4).

use std::collections::BTreeSet;
use std::time::Duration;

use capsule_host::locks::{LockLimits, Locks};
use capsule_host::runtime::{CallError, Capsule};
use capsule_host::supervisor::{Owner, Principal};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use capsule_tests::capsules::{Host, TEST_GUEST, call, call_as, try_call};

const RACERS: u32 = 100;

/// A host on which all racers run at once.
fn host() -> Host {
    Host::with(|runtime| runtime.max_instances(RACERS).instances_per_principal(Some(RACERS)))
}

/// A host on which so many calls of an owner may wait, and its locks.
fn host_with_waiters(waiters: usize) -> (Host, Locks) {
    let mut limits = LockLimits::default();
    limits.waiters = waiters;
    let locks = Locks::new(limits);
    let host = Host::with(|runtime| {
        runtime
            .locks(locks.clone())
            .max_instances(8)
            .instances_per_principal(Some(8))
    });
    (host, locks)
}

fn web() -> Value {
    json!({ "label": "web", "cmd": "sh", "args": ["-c", "exec sleep 1000"] })
}

/// The ids of the owner's processes.
async fn listed(principal: &str, capsule: &Capsule) -> Vec<Value> {
    let listed = call_as(principal, capsule, "list", Value::Null).await;
    let listed = listed["ok"].as_array().unwrap().iter();
    listed.map(|process| process[0].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_a_hundred_instances_at_once_start_one_process() {
    let host = host();
    let capsule = host.load_file("editor", TEST_GUEST).await;
    for round in 0..5 {
        let mut racers = JoinSet::new();
        for _ in 0..RACERS {
            let capsule = capsule.clone();
            racers.spawn(async move { call(&capsule, "find-or-spawn", web()).await });
        }
        let found: BTreeSet<String> = racers.join_all().await.iter().map(Value::to_string).collect();
        let ids = listed("ada", &capsule).await;
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        let one = json!({ "ok": ids[0] }).to_string();
        assert_eq!(found, BTreeSet::from([one]), "round {round}");
        call(&capsule, "stop", json!({ "id": ids[0], "ms": 0 })).await;
    }
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m2_m4_holders_that_trap_stop_no_other_instance() {
    let host = host();
    let capsule = host.load_file("editor", TEST_GUEST).await;
    let (mut racers, mut trapping) = (JoinSet::new(), JoinSet::new());
    for number in 0..RACERS {
        let capsule = capsule.clone();
        if number % 2 == 0 {
            racers.spawn(async move { call(&capsule, "find-or-spawn", web()).await });
        } else {
            let take = json!({ "name": "find-or-spawn web", "ms": 60_000 });
            trapping.spawn(async move { try_call("ada", &capsule, "lock-then-trap", take).await });
        }
    }
    let found: BTreeSet<String> = racers.join_all().await.iter().map(Value::to_string).collect();
    for trapped in trapping.join_all().await {
        let is_trap = matches!(&trapped, Err(CallError::Trap { stderr, .. }) if stderr.contains("with the lock"));
        assert!(is_trap, "{trapped:?}");
    }
    let ids = listed("ada", &capsule).await;
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(found, BTreeSet::from([json!({ "ok": ids[0] }).to_string()]));
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_one_that_has_exited_is_replaced_and_other_owners_have_their_own() {
    let host = host();
    let capsule = host.load_file("editor", TEST_GUEST).await;
    let other = host.load_file("other", TEST_GUEST).await;
    let first = call(&capsule, "find-or-spawn", web()).await["ok"].clone();
    let bobs = call_as("bob", &capsule, "find-or-spawn", web()).await["ok"].clone();
    let others = call(&other, "find-or-spawn", web()).await["ok"].clone();
    assert!(first != bobs && first != others && bobs != others);

    let kill = json!({ "id": first });
    call(&capsule, "kill", kill).await;
    call(&capsule, "wait", json!({ "id": first, "ms": 60_000 })).await;
    let second = call(&capsule, "find-or-spawn", web()).await["ok"].clone();
    assert!(second.is_string() && second != first, "{second}");
    assert_eq!(call(&capsule, "find-or-spawn", web()).await["ok"], second);

    let long = json!({ "label": "x".repeat(129), "cmd": "sh" });
    assert_eq!(
        call(&capsule, "find-or-spawn", long).await["err"]["kind"],
        "invalid-input"
    );
    let none = json!({ "label": "none", "cmd": "no-such-program" });
    let refused = call(&capsule, "find-or-spawn", none.clone()).await;
    assert_eq!(refused["err"]["kind"], "capability-denied", "{refused}");
    // The lock is free again.
    assert_eq!(call(&capsule, "find-or-spawn", none).await, refused);
    host.registry.shutdown().await;
}

/// A process that reports that the lock is held, and that holds it until it is stopped.
async fn holder(capsule: &Capsule, holding: &mut JoinSet<Value>) -> Value {
    let cat = json!({ "cmd": "cat", "keep_stdin_open": true });
    let id = call(capsule, "start", cat).await["ok"].clone();
    let take = json!({ "name": "a", "ms": 0, "hold": id });
    let holder = capsule.clone();
    holding.spawn(async move {
        let result = holder
            .call(Principal::Named("ada".into()), "lock", take.to_string().into_bytes())
            .await;
        json!(result.map(|result| result.data).map_err(|error| error.to_string()).ok())
    });
    let said = json!({ "id": id, "text": "held", "ms": 60_000 });
    assert_eq!(call(capsule, "wait-for-output", said).await["ok"], "held");
    id
}

/// Waits for the lock. The look of [`until_no_more_may_wait`] is a waiter too, for a moment, and may have taken the place.
async fn wait_for_lock(capsule: &Capsule, name: &str) -> Value {
    loop {
        let answer = call(capsule, "lock", json!({ "name": name, "ms": 60_000 })).await;
        if answer["err"]["kind"] != "quota" {
            return answer;
        }
    }
}

/// Completes when so many calls wait that one more is refused.
async fn until_no_more_may_wait(capsule: &Capsule) {
    let looking = async {
        let one_more = json!({ "name": "a", "ms": 0 });
        while call(capsule, "lock", one_more.clone()).await["err"]["kind"] != "quota" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_m3_owners_have_their_own_locks_and_waiters_are_bounded() {
    let (host, _) = host_with_waiters(2);
    let capsule = host.load_file("editor", TEST_GUEST).await;
    let other = host.load_file("other", TEST_GUEST).await;
    let mut holding = JoinSet::new();
    let id = holder(&capsule, &mut holding).await;
    let now = json!({ "name": "a", "ms": 0 });
    let free = json!({ "ok": null });
    assert_eq!(call(&capsule, "lock", now.clone()).await["err"]["kind"], "timeout");
    assert_eq!(call_as("bob", &capsule, "lock", now.clone()).await, free);
    assert_eq!(call(&other, "lock", now.clone()).await, free);
    assert_eq!(call(&capsule, "lock", json!({ "name": "b", "ms": 0 })).await, free);

    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let capsule = capsule.clone();
        waiting.spawn(async move { wait_for_lock(&capsule, "a").await });
    }
    until_no_more_may_wait(&capsule).await;
    assert_eq!(
        call_as("bob", &capsule, "lock", now.clone()).await,
        free,
        "another owner's do not count"
    );
    call(&capsule, "stop", json!({ "id": id, "ms": 0 })).await;
    assert_eq!(waiting.join_all().await, [free.clone(), free.clone()]);
    holding.join_all().await;
    assert_eq!(call(&capsule, "lock", now.clone()).await, free);

    let anonymous = capsule.call(Principal::Anonymous, "lock", now.to_string().into_bytes());
    let answer = anonymous.await.unwrap().data.unwrap();
    assert!(answer.contains("not-authenticated"), "{answer}");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m2_an_unload_ends_waits_and_frees_locks() {
    let (host, locks) = host_with_waiters(1);
    let capsule = host.load_file("editor", TEST_GUEST).await;
    let mut holding = JoinSet::new();
    holder(&capsule, &mut holding).await;
    // Of the host, so that the unload does not free it.
    let ada = Owner {
        principal: Principal::Named("ada".into()),
        capsule: "editor".into(),
    };
    let held = locks.acquire(&ada, "b", Duration::ZERO).await.unwrap();
    let waits = tokio::spawn({
        let capsule = capsule.clone();
        async move { wait_for_lock(&capsule, "b").await }
    });
    until_no_more_may_wait(&capsule).await;
    capsule.unload().await;
    assert_eq!(waits.await.unwrap()["err"]["kind"], "cancelled");
    drop(held);
    holding.join_all().await;
    let again = host.load_file("editor", TEST_GUEST).await;
    let taken = call(&again, "lock", json!({ "name": "a", "ms": 0 })).await;
    assert_eq!(taken, json!({ "ok": null }));
    host.registry.shutdown().await;
}
