//! The events of a watched process: their receivers, their times and their number (E1, E2).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use capsule_host::supervisor::{Error, Events, LogStream, Owner, Principal, ProcessEvent, SpawnRequest};
use serde_json::{Value, json};

use capsule_tests::{Busy, Host, cat, chunk, exit, forever, sh, until, watchdog};

/// Keeps the events.
#[derive(Default)]
struct Told(Mutex<Vec<ProcessEvent>>);

impl Events for Told {
    fn publish(&self, event: ProcessEvent) {
        self.0.lock().expect("no panic under it").push(event);
    }
}

impl Told {
    fn by(host: &Host) -> Arc<Self> {
        let told = Arc::new(Self::default());
        host.registry.publish_to(Arc::<Self>::clone(&told));
        told
    }

    /// The events that were published under the topic so far.
    fn of(&self, topic: &str) -> Vec<Value> {
        let events = self.0.lock().expect("no panic under it");
        let found = events.iter().filter(|event| event.topic == topic);
        found
            .map(|event| serde_json::from_str(&event.payload).expect("JSON"))
            .collect()
    }

    async fn count(&self, topic: &str, count: usize) {
        until("the events", || self.of(topic).len() >= count).await;
        assert_eq!(self.of(topic).len(), count, "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_the_latest_suffix_holds_and_unwatch_ends_it() {
    let host = Host::new();
    let told = Told::by(&host);
    let scope = host.scope();
    let id = host.start(cat()).await;
    assert_eq!(scope.watch(&id, None), Ok(()));
    assert_eq!(scope.watch(&id, Some("first.one")), Ok(()));
    assert_eq!(scope.watch(&id, Some("second")), Ok(()));
    assert!(matches!(
        scope.watch(&id, Some("No.Capitals")),
        Err(Error::InvalidInput(_))
    ));
    scope.write_stdin(&id, b"x".to_vec()).await.expect("it reads");
    told.count("astrid.process.v1.log-ready.second", 1).await;
    told.count("astrid.process.v1.stdin-drained.second", 1).await;
    assert_eq!(scope.unwatch(&id), Ok(()));
    assert_eq!(scope.unwatch(&id), Ok(()));
    chunk(&scope, &id, LogStream::Stdout, None, 100);
    scope.close_stdin(&id).expect("it is there");
    exit(&scope, &id).await;
    let events = told.0.lock().expect("no panic under it");
    assert_eq!(events.len(), 2, "{events:?}");
    let owner = Owner {
        principal: Principal::Named("alice".into()),
        capsule: "editor".into(),
    };
    assert!(events.iter().all(|event| event.owner == owner));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_without_a_suffix_the_topic_ends_in_the_id() {
    let host = Host::new();
    let told = Told::by(&host);
    let id = host.start(sh("exit 3")).await;
    host.scope().watch(&id, None).expect("it is there");
    let topic = format!("astrid.process.v1.exited.{id}");
    told.count(&topic, 1).await;
    let expected = json!({ "id": id, "exit_code": 3, "signal": null, "reason": "self-exit", "cause": null });
    assert_eq!(told.of(&topic), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_log_ready_comes_once_for_each_time_that_there_is_something_to_read() {
    let host = Host::new();
    let told = Told::by(&host);
    let scope = host.scope();
    let topic = "astrid.process.v1.log-ready.x";
    let id = host.start(cat()).await;
    let say = async |text: &[u8], total: usize| {
        scope.write_stdin(&id, text.to_vec()).await.expect("it reads");
        until("the echo", || {
            let chunk = chunk(&scope, &id, LogStream::Stdout, None, 0);
            let bytes = scope.status(&id).expect("it is there").buffered_bytes;
            drop(chunk);
            bytes == total as u64
        })
        .await;
    };
    // Output from before the watch is reported too.
    say(b"early", 5).await;
    scope.watch(&id, Some("x")).expect("it is there");
    told.count(topic, 1).await;
    say(b"more", 9).await;
    assert_eq!(told.of(topic).len(), 1, "it was not read yet");
    // A read that does not reach the end changes nothing.
    let part = chunk(&scope, &id, LogStream::Stdout, None, 3);
    say(b"again", 14).await;
    assert_eq!(told.of(topic).len(), 1);
    // Read to the end by cursor, then new output; then drained, then new output again.
    chunk(&scope, &id, LogStream::Stdout, Some(&part.next), 100);
    say(b"after a cursor", 28).await;
    told.count(topic, 2).await;
    scope.read_logs(&id).expect("it is there");
    say(b"after a drain", 13).await;
    told.count(topic, 3).await;
    assert_eq!(told.of(topic), vec![json!({ "id": id, "stream": "stdout" }); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_stdin_drained_comes_when_all_was_written() {
    let host = Host::new();
    let told = Told::by(&host);
    let scope = host.scope();
    let topic = "astrid.process.v1.stdin-drained.x";
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("read -r line; exec cat > /dev/null")
        })
        .await;
    scope.watch(&id, Some("x")).expect("it is there");
    // Two writes that wait at once are one queue.
    let (first, second) = watchdog(async {
        tokio::join!(
            scope.write_stdin(&id, vec![0; 1 << 20]),
            scope.write_stdin(&id, b"\n".to_vec())
        )
    })
    .await;
    assert_eq!((first, second), (Ok(1 << 20), Ok(1)));
    until("the event", || !told.of(topic).is_empty()).await;
    let before = told.of(topic).len();
    scope.write_stdin(&id, b"more".to_vec()).await.expect("it reads");
    told.count(topic, before + 1).await;
    assert_eq!(told.of(topic).last(), Some(&json!({ "id": id })));
}

/// A thousand processes, ended in seven ways, watched before and after the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_exited_comes_exactly_once_and_says_why() {
    const EACH: usize = 143;
    let host = Host::roomy();
    let told = Told::by(&host);
    let scope = host.scope();
    let _busy = Busy::cores();
    let mut expected = HashMap::new();
    let mut timed_ids = Vec::new();
    for round in 0..EACH {
        let timed = |lifetime, idle| SpawnRequest {
            max_lifetime: lifetime,
            idle_timeout: idle,
            ..forever()
        };
        let soon = Some(Duration::from_millis(30));
        for (reason, cause, request) in [
            ("self-exit", Value::Null, sh("exit 3")),
            ("self-exit", Value::Null, sh("kill -9 $$")),
            ("killed", Value::Null, forever()),
            ("stopped", Value::Null, forever()),
            ("reaped-ttl", json!("lifetime"), timed(soon, None)),
            ("reaped-ttl", json!("idle"), timed(None, soon)),
            ("reaped-shutdown", Value::Null, forever()),
        ] {
            let id = host.start(request).await;
            // Half of them are watched from the start, the others as late as possible.
            let early = round % 2 == 0 || cause != Value::Null || reason == "stopped" || reason == "reaped-shutdown";
            if early {
                // A process that was already reaped has no more events.
                if scope.watch(&id, None).is_err() {
                    continue;
                }
            }
            match reason {
                "killed" => {
                    let handle = scope.attach(&id).expect("it is there");
                    watchdog(handle.kill()).await.expect("it ran");
                }
                "stopped" => {
                    watchdog(scope.stop(&id, Some(Duration::ZERO))).await.expect("it ran");
                }
                "self-exit" => {
                    exit(&scope, &id).await;
                }
                _ => {}
            }
            if !early {
                assert_eq!(scope.watch(&id, None), Ok(()));
                assert_eq!(scope.watch(&id, None), Ok(()));
            }
            if cause != Value::Null {
                timed_ids.push(id.clone());
            }
            expected.insert(id, (reason, cause));
        }
    }
    // Otherwise the shutdown would end the last of them.
    until("their times are up", || {
        scope.status_many(timed_ids.iter().map(String::as_str)).is_empty()
    })
    .await;
    watchdog(host.registry.shutdown()).await;
    assert!(expected.len() > 6 * EACH, "{}", expected.len());
    let events = told.0.lock().expect("no panic under it");
    let mut seen = HashMap::<String, Vec<Value>>::new();
    for event in events.iter().filter(|event| event.topic.contains(".exited.")) {
        let told: Value = serde_json::from_str(&event.payload).expect("JSON");
        let id = told["id"].as_str().expect("an id").to_owned();
        assert_eq!(event.topic, format!("astrid.process.v1.exited.{id}"));
        seen.entry(id).or_default().push(told);
    }
    for (id, (reason, cause)) in expected {
        let told = seen.remove(&id).unwrap_or_default();
        let [told] = &told[..] else {
            panic!("{reason} {cause}: {} times", told.len());
        };
        assert_eq!((&told["reason"], &told["cause"]), (&json!(reason), &cause));
        assert!(told["exit_code"].is_number() != told["signal"].is_number(), "{told}");
    }
    assert!(seen.is_empty());
}

/// Holds exits back until the other end of the channel says so or is gone.
struct Held {
    told: Told,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Events for Held {
    fn publish(&self, event: ProcessEvent) {
        if event.topic.contains(".exited.") {
            let _ = self.release.lock().expect("no panic under it").recv();
        }
        self.told.publish(event);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_a_caller_that_sees_an_exit_can_wait_for_its_event() {
    // An id that stays after the exit, and one that goes with it.
    for exit_retention in [None, Some(Duration::ZERO)] {
        let host = Host::new();
        let (release, held) = mpsc::channel();
        let events = Arc::new(Held {
            told: Told::default(),
            release: Mutex::new(held),
        });
        host.registry.publish_to(Arc::<Held>::clone(&events));
        watchdog(host.registry.exits_published()).await;
        let scope = host.scope();
        let request = SpawnRequest {
            exit_retention,
            ..cat()
        };
        let id = host.start(request).await;
        scope.watch(&id, Some("x")).expect("it is there");
        watchdog(host.registry.exits_published()).await;
        tokio::join!(exit(&scope, &id), async {
            scope.close_stdin(&id).expect("it is there");
        });
        let mut published = pin!(host.registry.exits_published());
        tokio::select! {
            biased;
            () = &mut published => panic!("the event is held back: {exit_retention:?}"),
            () = std::future::ready(()) => {}
        }
        release.send(()).expect("it is held back");
        watchdog(published).await;
        assert_eq!(events.told.of("astrid.process.v1.exited.x").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_what_is_not_ones_own_cannot_be_watched() {
    let host = Host::new();
    let told = Told::by(&host);
    let id = host.start(sh("exit 0")).await;
    for (principal, capsule) in [("mallory", "editor"), ("alice", "other")] {
        let scope = host.scope_of(principal, capsule);
        for suffix in [None, Some("mine")] {
            assert_eq!(scope.watch(&id, suffix), Err(Error::NoSuchProcess));
        }
        assert_eq!(scope.unwatch(&id), Err(Error::NoSuchProcess));
    }
    exit(&host.scope(), &id).await;
    assert!(told.0.lock().expect("no panic under it").is_empty());
}
