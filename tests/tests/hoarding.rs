//! A capsule that keeps everything it can get reaches a quota, or is ended. It does not use up the host's memory.
//!
//! Memory is measured for the whole test process, so this is one test in a binary of its own.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use capsule_host::runtime::{CallError, Capsule, Topics};
use capsule_host::supervisor::{Owner, Principal};
use capsule_tests::capsules::Host;
use serde_json::{Value, json};

/// Far more than any quota allows.
const HOARD: u32 = 150_000;
/// How much the host may grow during one call at most, in KiB: the guest's own memory, the store, and what the quotas
/// allow. If the host kept a hundred bytes for each object, it would exceed this.
const ROOM: usize = 24 * 1024;

/// A number from `/proc/self/status`, in KiB.
fn own(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rest = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Resets the peak.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

async fn hoard(capsule: &Capsule, action: &str, payload: &Value) -> Result<Value, CallError> {
    let ada = Principal::Named("ada".into());
    let result = capsule.call(ada, action, payload.to_string().into_bytes()).await?;
    let data: Value = serde_json::from_str(&result.data.unwrap()).unwrap();
    assert_eq!(result.action, "continue", "{action}: {data}");
    Ok(data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_keeps_meets_a_quota_and_not_the_hosts_memory() {
    let host = Host::unconfined();
    let everything = || vec!["hostile.v1.*".parse().unwrap()];
    let capsule = host
        .load_hostile(Topics {
            publish: everything(),
            subscribe: everything(),
            ..Topics::default()
        })
        .await;

    let started = capsule.call(Principal::Named("ada".into()), "spawn-persistent", b"{}".to_vec());
    started.await.unwrap();
    let owner = Owner {
        principal: Principal::Named("ada".into()),
        capsule: "hostile".into(),
    };
    let scope = host.registry.scope(owner);
    let id = scope.list(None)[0].id.expose().to_owned();
    let ask = json!({ "id": id, "count": HOARD });

    // The action, the guest's answer, and how many objects it may have had. Where the interface has no error for a
    // refusal, the guest is ended.
    let hoards: [(&str, Option<&str>, u32); 8] = [
        ("keep-handles", Some("ErrorCode::Quota"), HOARD),
        ("keep-children", Some("ErrorCode::Quota"), 7),
        ("keep-exit-pollables", None, 0),
        ("keep-log-pollables", None, 0),
        ("keep-subscriptions", Some("ErrorCode::Quota"), 128),
        ("keep-readiness", None, 0),
        ("keep-messages", Some("ErrorCode::RateLimited"), HOARD),
        ("keep-watches", Some(""), HOARD),
    ];
    // Once with a few objects, for memory that stays: code, arenas, the pool.
    for (action, ..) in &hoards {
        drop(hoard(&capsule, action, &json!({ "id": id, "count": 5 })).await);
    }
    let before = own("VmRSS:");
    for round in 0..2 {
        for (action, refusal, at_most) in &hoards {
            forget_peak();
            let began = own("VmRSS:");
            match (hoard(&capsule, action, &ask).await, refusal) {
                (Ok(data), Some("")) => assert_eq!(data["kept"], HOARD, "{action} keeps nothing"),
                (Ok(data), Some(refusal)) => {
                    assert_eq!(data["refused"], *refusal, "{action}: {data}");
                    let kept = data["kept"].as_u64().unwrap();
                    assert!((1..=u64::from(*at_most)).contains(&kept), "{action}: {data}");
                    assert!(kept < u64::from(HOARD));
                }
                (Err(CallError::Trap { .. }), None) => {}
                (other, _) => panic!("{action}: {other:?}"),
            }
            let grown = own("VmHWM:").saturating_sub(began);
            println!("{round} {action}: {grown} KiB at the most");
            assert!(grown < ROOM, "{action} made the host hold {grown} KiB");
        }
    }
    let grown = own("VmRSS:").saturating_sub(before);
    println!("after all: {grown} KiB");
    assert!(grown < ROOM / 4, "{grown} KiB stay");
    // Nothing of it disturbs a later call.
    let kept = hoard(&capsule, "keep-handles", &json!({ "id": id, "count": 10 })).await;
    assert_eq!(kept.unwrap()["kept"], 10);
    let kept = hoard(&capsule, "keep-subscriptions", &json!({ "id": id, "count": 10 })).await;
    assert_eq!(kept.unwrap()["kept"], 10);
    host.registry.shutdown().await;
}
