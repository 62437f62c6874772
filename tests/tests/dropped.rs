//! A store that is dropped at any moment of any call leaves nothing behind: no process, no descriptor, no task and no
//! occupied slot.
//!
//! What is held is counted for the whole test process, so this is one test in a binary of its own.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use capsule_host::runtime::{Capsule, Topics};
use capsule_host::sandbox::Workspace;
use capsule_host::supervisor::{Limits, Owner, Principal, Registry, Scope, SpawnRequest};
use capsule_tests::capsules::Host;
use capsule_tests::holdings::{Holdings, is_prepared};
use capsule_tests::{AllowAll, sh};
use serde_json::json;
use tokio::runtime::Handle;

/// More polls than any call needs until it returns or waits for an event that does not come.
const POLLS_MAX: usize = 400;

/// Every function that can wait, to its end or into a wait that nothing ends. `ms` is for those that take a time.
const CALLS: [(&str, u64); 32] = [
    ("spawn", 0),
    ("spawn-short", 0),
    ("spawn-background", 0),
    ("spawn-persistent", 0),
    ("write-stdin", 0),
    ("signal", 0),
    ("wait", 60_000),
    ("wait", 1),
    ("stop", 0),
    ("stop", 20),
    ("stop", 30_000),
    ("release", 0),
    ("sleep", 60_000),
    ("sleep", 1),
    ("handle-write", 0),
    ("handle-signal", 0),
    ("handle-wait", 0),
    ("handle-wait-short", 0),
    ("handle-output", 0),
    ("handle-output-short", 0),
    ("handle-kill", 0),
    ("handle-drop", 0),
    ("attached-wait", 60_000),
    ("attached-wait", 1),
    ("attached-write", 0),
    ("attached-kill", 0),
    ("attached-drop", 0),
    ("poll", 0),
    ("block", 0),
    ("recv", 60_000),
    ("recv", 1),
    ("block-readiness", 0),
];

fn ada() -> Principal {
    Principal::Named("ada".into())
}

/// Polls a call at most `polls` times, as its wakers ask for it, and drops it. Returns whether the call was complete,
/// and whether it would have been polled again.
async fn polled(capsule: &Capsule, action: &str, payload: &[u8], polls: usize) -> (bool, bool) {
    let mut call = pin!(capsule.call(ada(), action, payload.to_vec()));
    let mut polled = 0;
    let several = poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match call.as_mut().poll(context) {
            Poll::Ready(result) => {
                // The result does not matter: a refusal is an end too.
                drop(result);
                Poll::Ready(true)
            }
            Poll::Pending => {
                if polled == polls {
                    return Poll::Ready(false);
                }
                Poll::Pending
            }
        }
    });
    // A call that waits for ever is not polled again, so all its moments have been tried.
    match tokio::time::timeout(Duration::from_millis(300), several).await {
        Ok(ended) => (ended, true),
        Err(_) => (false, false),
    }
}

/// Ends the persistent process that the call may have started, and waits until everything is as before.
async fn settle(registry: &Registry, scope: &Scope, baseline: &Holdings, what: &str) {
    let began = Instant::now();
    loop {
        for info in scope.list(None) {
            // It may have ended by itself.
            drop(scope.stop(info.id.expose(), Some(Duration::ZERO)).await);
        }
        let now = Holdings::now(&Handle::current());
        if now == *baseline && registry.retained() == 0 && registry.tasks() == 0 {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{what}: {now:?} in place of {baseline:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_dropped_at_any_moment_of_any_call_leaves_nothing_behind() {
    let limits = Limits {
        // Limits so low that anything which is not given back is missed at once.
        processes_per_principal: 3,
        retained_per_owner: 2,
        ..Limits::default()
    };
    let host = Host::unconfined_with(limits, |runtime| runtime);
    let registry = &host.registry;
    let workspace = Workspace::open(host.workspace.path()).unwrap();
    let capsule = host
        .load_hostile(Topics {
            subscribe: vec!["hostile.v1.*".parse().unwrap()],
            ..Topics::default()
        })
        .await;
    let scope = registry.scope(Owner {
        principal: ada(),
        capsule: "hostile".into(),
    });

    let persistent = async || {
        let request = SpawnRequest {
            keep_stdin_open: true,
            ..sh("trap '' TERM; echo out; sleep 1000")
        };
        let id = scope
            .spawn_persistent(request, &workspace, &mut AllowAll)
            .await
            .unwrap();
        id.expose().to_owned()
    };
    // Once, for what stays open.
    for action in ["spawn-short", "handle-wait-short", "recv"] {
        let payload = json!({ "ms": 1 }).to_string().into_bytes();
        drop(capsule.call(ada(), action, payload).await.unwrap());
    }
    let began = Instant::now();
    let baseline = loop {
        let prepared = is_prepared();
        let now = Holdings::now(&Handle::current());
        // The registry's timers run on. Every preparation has ended.
        if prepared && now.children.is_empty() && now.tasks == 1 {
            break now;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{now:?}");
        tokio::task::yield_now().await;
    };

    let (mut moments, mut ends) = (0, 0);
    for (action, ms) in CALLS {
        for polls in 0.. {
            assert!(
                polls < POLLS_MAX,
                "{action} was polled {polls} times and is not at its end"
            );
            let id = persistent().await;
            let payload = json!({ "id": id, "ms": ms }).to_string().into_bytes();
            let (ended, more) = polled(&capsule, action, &payload, polls).await;
            settle(registry, &scope, &baseline, &format!("{action} after {polls} polls")).await;
            moments += 1;
            ends += usize::from(ended);
            if ended || !more {
                break;
            }
        }
    }
    println!("{moments} moments of {} calls, {ends} of which ended", CALLS.len());
    assert!(moments > 2 * CALLS.len() && ends > 5, "{moments} and {ends}");
    registry.shutdown().await;
}
