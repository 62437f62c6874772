//! How much one principal may use of a resource that all principals share, and for how long (Q5).

use std::future::Future;
use std::time::Duration;

use capsule_host::bus::{Attribution, Audience, Message, Pattern, Topic};
use capsule_host::runtime::{Background, CallError, Capsule, CapsuleResult, Grants, Interceptor, LoadOptions, Topics};
use capsule_host::supervisor::Principal;
use tempfile::TempDir;

use super::{answer, builder, guests, load, nanos, options, talkers};

/// Longer than any test waits, and not longer than a guest may sleep at once.
const LONG: Duration = Duration::from_secs(50);

/// The longest time of another principal's call on a busy machine. A call that waits for a place takes [`LONG`].
const PATIENCE: Duration = Duration::from_secs(30);

fn named(name: &str) -> Principal {
    Principal::Named(name.into())
}

async fn sleeps(capsule: Capsule, principal: Principal, time: Duration) -> Result<CapsuleResult, CallError> {
    capsule.call(principal, "act", nanos(time).to_vec()).await
}

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what} did not come"))
}

async fn until(what: &str, fact: impl Fn() -> bool) {
    soon(what, async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn q5_a_principal_that_fills_its_share_waits_and_anothers_call_starts_at_once() {
    // A quarter of eight is two.
    let capsule = load(builder(), &guests::sleep()).await;
    let mut calls: Vec<_> = (0..8)
        .map(|_| tokio::spawn(sleeps(capsule.clone(), named("ada"), LONG)))
        .collect();
    until("ada's share", || capsule.calls_in_flight() >= 2).await;
    let other = soon("bob's answer", sleeps(capsule.clone(), named("bob"), Duration::ZERO)).await;
    assert_eq!(other.unwrap(), answer("0"));
    assert_eq!(capsule.calls_in_flight(), 2, "the rest of ada's wait");

    // Each call that ends makes room for the one that has waited longest.
    for call in calls.drain(..6) {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        until("ada's next", || capsule.calls_in_flight() == 2).await;
    }
    // Calls that still wait for their share get the end as well.
    calls.extend((0..3).map(|_| tokio::spawn(sleeps(capsule.clone(), named("ada"), LONG))));
    tokio::task::yield_now().await;
    soon("the end", capsule.unload()).await;
    for call in calls {
        match soon("an end", call).await.unwrap() {
            Ok(told) => assert_eq!(told, answer("5")),
            Err(error) => assert!(matches!(error, CallError::Cancelled), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn q5_a_share_is_free_again_however_a_call_ends() {
    // A share of one, so that a single leaked place shows.
    let runtime = builder().max_instances(4).build().unwrap();
    let folder = TempDir::new().unwrap();
    let load = async |component: &[u8]| runtime.load(options(&folder), component).await.unwrap();
    let sleeper = load(&guests::sleep()).await;
    let free = async |after: &str| {
        let answered = soon(after, sleeps(sleeper.clone(), named("ada"), Duration::ZERO)).await;
        assert_eq!(answered.unwrap(), answer("0"), "after {after}");
    };

    let traps = load(&guests::traps_on_payload()).await;
    let trapped = traps.call(named("ada"), "act", vec![1]).await;
    assert_eq!(trapped.unwrap_err().kind(), "trap");
    free("a trap").await;

    let running = tokio::spawn(sleeps(sleeper.clone(), named("ada"), LONG));
    until("the call", || sleeper.calls_in_flight() == 1).await;
    let waiting = tokio::spawn(sleeps(sleeper.clone(), named("ada"), LONG));
    tokio::task::yield_now().await;
    for dropped in [waiting, running] {
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
    }
    free("a drop").await;

    let other = load(&guests::sleep()).await;
    let running = tokio::spawn(sleeps(other.clone(), named("ada"), LONG));
    until("the call", || other.calls_in_flight() == 1).await;
    soon("the end", other.unload()).await;
    drop(running.await.unwrap());
    free("an unloading").await;
}

#[tokio::test]
async fn q5_messages_of_one_principal_leave_places_to_those_of_another() {
    // Two places for the instances that messages start, and a share of one.
    let runtime = builder().max_instances(4).build().unwrap();
    let folder = TempDir::new().unwrap();
    let hears = async |id: &str, component: &[u8]| {
        let interceptors = vec![Interceptor {
            topic: Pattern::parse(&format!("{id}.*")).unwrap(),
            action: "act".into(),
        }];
        let options = LoadOptions {
            capsule_id: id.into(),
            interceptors,
            ..options(&folder)
        };
        runtime.load(options, component).await.unwrap()
    };
    let say = |to: &str, principal: &str, payload: &str| {
        let message = Message {
            topic: Topic::parse(&format!("{to}.v1.do")).unwrap(),
            payload: payload.into(),
            source: "embedder".into(),
            principal: named(principal),
            attribution: Attribution::System,
            audience: Audience::All,
            depth: 0,
        };
        runtime.messaging().announce(message).unwrap();
    };
    let slow = [
        hears("slow-one", &guests::sleep()).await,
        hears("slow-two", &guests::sleep()).await,
    ];
    let quick = hears("quick", &guests::echo()).await;
    // The guest reads this text as 47 s.
    let long = "\0\0\0\0\x0b\0\0\0";
    say("slow-one", "ada", long);
    say("slow-two", "ada", long);
    until("ada's", || slow.iter().all(|capsule| capsule.calls_in_flight() == 1)).await;
    say("quick", "bob", "hello");
    until("bob's", || quick.deliveries().succeeded == 1).await;
    // Messages that wait for their share end with their capsule.
    for capsule in slow {
        soon("the end", capsule.unload()).await;
    }
}

#[tokio::test]
async fn q5_messages_of_one_principal_neither_push_out_nor_hold_up_those_of_another() {
    let runtime = builder().build().unwrap();
    let folder = TempDir::new().unwrap();
    let options = LoadOptions {
        interceptors: vec![Interceptor {
            topic: Pattern::parse("slow.*").unwrap(),
            action: "act".into(),
        }],
        ..options(&folder)
    };
    let capsule = runtime.load(options, &guests::sleep()).await.unwrap();
    let say = |principal: &str, payload: String| {
        let message = Message {
            topic: Topic::parse("slow.v1.do").unwrap(),
            payload,
            source: "embedder".into(),
            principal: named(principal),
            attribution: Attribution::System,
            audience: Audience::All,
            depth: 0,
        };
        runtime.messaging().announce(message).unwrap();
    };
    // The guest reads these texts as 47 s. No two are equal, so that none is merged.
    let long = |n: u8, m: u8| String::from_utf8(vec![n, m, 0, 0, 11, 0, 0, 0]).unwrap();
    for n in 0..8 {
        say("ada", long(n, 0));
    }
    until("ada's share", || capsule.calls_in_flight() >= 2).await;
    say("bob", "\0\0\0\0\0\0\0\0".into());
    for n in 0..128 {
        for m in 1..17 {
            say("ada", long(n, m));
        }
    }
    until("bob's", || capsule.deliveries().succeeded == 1).await;
    assert!(capsule.deliveries().dropped >= 1024, "ada's own");
    soon("the end", capsule.unload()).await;
}

/// May subscribe to all topics.
fn hearing(folder: &TempDir) -> LoadOptions {
    let topics = Topics {
        subscribe: vec![Pattern::parse("*").unwrap()],
        ..Topics::default()
    };
    LoadOptions {
        grants: Grants {
            topics,
            ..Grants::default()
        },
        ..options(folder)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn q5_a_call_that_waits_for_ever_is_ended_and_its_place_is_free() {
    let runtime = builder().max_instances(1).build().unwrap();
    let folder = TempDir::new().unwrap();
    let echo = runtime.load(options(&folder), &guests::echo()).await.unwrap();
    for component in [guests::sleeps_for_ever(), talkers::polls()] {
        let capsule = runtime.load(hearing(&folder), &component).await.unwrap();
        let start = tokio::time::Instant::now();
        let call = capsule.call(named("ada"), "act", b"never.v1.said".to_vec());
        let error = tokio::time::timeout(HOUR, call).await.expect("it ended").unwrap_err();
        let ten_minutes = Duration::from_secs(600);
        assert!(
            matches!(error, CallError::CallTime(limit) if limit == ten_minutes),
            "{error:?}"
        );
        assert_eq!(error.kind(), "call-time");
        let took = start.elapsed();
        assert!(took >= ten_minutes && took < ten_minutes + LONG, "{took:?}");
        assert_eq!(capsule.calls_in_flight(), 0);
        let next = tokio::time::timeout(HOUR, echo.call(named("bob"), "act", b"x".to_vec())).await;
        assert_eq!(next.expect("its place is free").unwrap(), answer("x"));
    }
}

#[tokio::test(start_paused = true)]
async fn q5_without_a_bound_a_call_waits_on_and_a_run_in_the_background_has_none() {
    let runtime = builder().call_time(None).build().unwrap();
    let folder = TempDir::new().unwrap();
    let capsule = runtime
        .load(options(&folder), &guests::sleeps_for_ever())
        .await
        .unwrap();
    let call = capsule.call(named("ada"), "act", Vec::new());
    assert!(tokio::time::timeout(HOUR, call).await.is_err(), "it still waits");

    let runtime = builder().build().unwrap();
    let options = LoadOptions {
        background: Some(named("ada")),
        ..hearing(&folder)
    };
    let capsule = runtime.load(options, &talkers::sleeps_on()).await.unwrap();
    capsule.ready().await.unwrap();
    tokio::time::sleep(HOUR).await;
    assert!(
        matches!(capsule.background(), Background::Ready),
        "{:?}",
        capsule.background()
    );
}
