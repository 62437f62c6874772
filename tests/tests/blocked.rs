//! Two hundred instances that wait, for exits by id, for pollables and for messages, on two threads (X4, A3, A4, E3): they
//! cost nothing while they wait, and each wakes for its own cause and for no other.
//!
//! Processor time is measured for the whole test process, so this is one test in a binary of its own.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::time::{Duration, Instant};

use capsule_host::runtime::{Capsule, CapsuleResult, Topics};
use capsule_host::supervisor::{Limits, Owner, Principal, Registry, Scope, Signal};
use capsule_tests::capsules::Host;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(120);
/// The time for which all instances are observed at once. They may use a hundredth of a second in it, which is the
/// kernel's smallest unit.
const WINDOW: Duration = Duration::from_secs(3);
const ALLOWED: Duration = Duration::from_millis(10);

/// The event that an instance waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Exit,
    Pollable,
    Message,
}

/// User and system time of this process.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn principal(number: usize) -> Principal {
    Principal::Named(format!("p{number}"))
}

async fn call(capsule: &Capsule, number: usize, action: &str, ask: Value) -> CapsuleResult {
    let called = capsule.call(principal(number), action, ask.to_string().into_bytes());
    tokio::time::timeout(PATIENCE, called).await.expect("it ended").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_a3_e3_200_blocked_instances_cost_nothing_and_wake_for_their_own_cause_only() {
    let limits = Limits {
        retained_total: 1000,
        ..Limits::default()
    };
    let host = Host::unconfined_with(limits, |runtime| runtime.max_instances(256));
    let registry = &host.registry;
    let topics = || vec!["hostile.v1.*".parse().unwrap()];
    let capsule = host
        .load_hostile(Topics {
            publish: topics(),
            subscribe: topics(),
            ..Topics::default()
        })
        .await;

    // Each for another principal, so that each has a process or messages of its own.
    let mut waiting = JoinSet::new();
    let mut causes = Vec::new();
    for number in 0..200 {
        let cause = [Cause::Exit, Cause::Pollable, Cause::Message][number % 3];
        let mut ask = json!({ "ms": 60_000 });
        if cause != Cause::Message {
            call(&capsule, number, "spawn-persistent", json!({})).await;
            ask["id"] = json!(scope(registry, number).list(None)[0].id.expose());
        }
        let action = match cause {
            Cause::Exit => "wait",
            Cause::Pollable => "poll",
            Cause::Message => "recv",
        };
        let capsule = capsule.clone();
        waiting.spawn(async move { (number, call(&capsule, number, action, ask).await) });
        causes.push((number, cause));
    }

    // When no task runs any more, all of them wait, and stay so.
    let start = Instant::now();
    loop {
        let before = processor_time();
        tokio::time::sleep(WINDOW).await;
        let used = processor_time() - before;
        if used <= ALLOWED {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "still busy: {used:?} in {WINDOW:?}");
    }
    assert!(waiting.try_join_next().is_none(), "none had a reason to wake");

    // In an order that mixes the kinds: after each event, the next instance to return is the one that waited for it.
    for step in 0..causes.len() {
        let (number, cause) = causes[(step * 73) % causes.len()];
        match cause {
            Cause::Exit | Cause::Pollable => {
                let scope = scope(registry, number);
                let id = scope.list(None)[0].id.expose().to_owned();
                scope.signal(&id, Signal::Term).await.unwrap();
            }
            Cause::Message => {
                call(&capsule, number, "keep-messages", json!({ "count": 1 })).await;
            }
        }
        let woken = tokio::time::timeout(PATIENCE, waiting.join_next()).await;
        let (woken, result) = woken.expect("it wakes").unwrap().unwrap();
        assert_eq!((woken, &*result.action), (number, "continue"), "{cause:?}: {result:?}");
    }
    registry.shutdown().await;
}

fn scope(registry: &Registry, number: usize) -> Scope {
    registry.scope(Owner {
        principal: principal(number),
        capsule: "hostile".into(),
    })
}
