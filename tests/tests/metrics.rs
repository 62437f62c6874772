//! The metrics of real processes, as a recorder receives them (contract U2). The metrics cover the whole program, so
//! there is only one test here.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capsule_host::supervisor::metrics::{DRAINED, DROPPED, EXIT_TIME, LIVE, READ, RETAINED, SPAWN_TIME, SPAWNS};
use capsule_host::supervisor::{Error, LogStream, SpawnRequest};
use capsule_tests::{AllowAll, Host, sh};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// A recorder that keeps every value, under its name and labels.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<HashMap<String, Vec<f64>>>>);

/// One metric of it.
struct Cell(Seen, String);

impl Cell {
    fn change(&self, change: impl FnOnce(&mut Vec<f64>)) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }

    fn add(&self, value: f64) {
        self.change(|values| match values.first_mut() {
            Some(sum) => *sum += value,
            None => values.push(value),
        });
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.add(u32::try_from(value).unwrap().into());
    }

    fn absolute(&self, _: u64) {
        panic!("nothing counts so");
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("nothing counts so");
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.change(|values| values.push(value));
    }
}

impl Seen {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(Cell(
            self.clone(),
            [&[key.name().to_owned()][..], &labels].concat().join(" "),
        ))
    }

    fn all(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn one(&self, name: &str) -> f64 {
        self.all(name).first().copied().unwrap_or_default()
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        assert!(unit.is_some());
        Cell(self.clone(), format!("about {}", key.as_str())).add(1.0);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(key, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u2_processes_bytes_and_times_are_counted_and_the_gauges_come_down() {
    let seen = Seen::default();
    metrics::set_global_recorder(seen.clone()).expect("no other recorder");
    let host = Host::with(|limits| limits.processes_per_principal = 2);
    let (registry, workspace) = (&host.registry, &host.workspace);
    for name in [SPAWNS, LIVE, RETAINED, DRAINED, READ, DROPPED, SPAWN_TIME, EXIT_TIME] {
        assert_eq!(seen.one(&format!("about {name}")), 1.0, "{name}");
    }
    let scope = host.scope();

    let mut gate = AllowAll;
    // A command that runs to its end, with three bytes on one stream and two on the other.
    let ran = scope.spawn(sh("printf abc; printf de >&2; exit 3"), workspace, &mut gate);
    assert_eq!(ran.await.unwrap().exit.exit_code, Some(3));
    assert_eq!(seen.one(DRAINED), 5.0);
    assert_eq!((seen.one(LIVE), seen.one(RETAINED)), (0.0, 0.0));

    // Two processes stay, and one of them prints more than its ring holds. The quota has no room for a third.
    let chatty = SpawnRequest {
        log_ring_bytes: Some(4096),
        ..sh("head -c 10000 /dev/zero")
    };
    let chatty = scope.spawn_persistent(chatty, workspace, &mut gate).await.unwrap();
    let waiting = scope.spawn_persistent(sh("read x"), workspace, &mut gate);
    drop(waiting.await.unwrap());
    let sleeping = scope.spawn_persistent(sh("exec sleep 1000"), workspace, &mut gate);
    let sleeping = match sleeping.await {
        Ok(id) => id,
        // The first two may both still exist.
        Err(error) => {
            assert_eq!(error, Error::Quota);
            scope.wait(chatty.expose(), Duration::from_secs(60)).await.unwrap();
            let again = scope.spawn_persistent(sh("exec sleep 1000"), workspace, &mut gate);
            again.await.unwrap()
        }
    };
    scope.wait(chatty.expose(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(seen.one(RETAINED), 3.0);

    let chunk = scope
        .read_since(chatty.expose(), LogStream::Stdout, None, u32::MAX)
        .unwrap();
    assert_eq!(chunk.data.len(), 4096);
    assert_eq!((seen.one(READ), seen.one(DROPPED)), (4096.0, 10_000.0 - 4096.0));
    scope.read_logs(chatty.expose()).unwrap();
    assert_eq!(seen.one(DRAINED), 5.0 + 4096.0);
    scope.release(chatty.expose()).await.unwrap();
    assert_eq!(seen.one(RETAINED), 2.0);

    // Refusals by their name.
    for (cmd, outcome) in [("", "invalid-input"), ("/no/such", "unknown(not-found)")] {
        let before = seen.one(&format!("{SPAWNS} tier=captured outcome={outcome}"));
        let request = SpawnRequest {
            cmd: cmd.into(),
            ..SpawnRequest::default()
        };
        assert!(scope.spawn(request, workspace, &mut gate).await.is_err());
        assert_eq!(
            seen.one(&format!("{SPAWNS} tier=captured outcome={outcome}")),
            before + 1.0
        );
    }
    assert_eq!(seen.one(&format!("{SPAWNS} tier=captured outcome=ok")), 1.0);
    assert_eq!(seen.one(&format!("{SPAWNS} tier=persistent outcome=ok")), 3.0);

    // One is stopped, and the other ends with the registry. A spawn that is dropped half-way leaves nothing either.
    assert!(seen.one(LIVE) >= 1.0);
    scope.stop(sleeping.expose(), Some(Duration::ZERO)).await.unwrap();
    drop(scope.spawn(sh("exec sleep 1000"), workspace, &mut gate));
    registry.shutdown().await;
    assert_eq!((seen.one(LIVE), seen.one(RETAINED)), (0.0, 0.0));
    let (spawns, exits) = (seen.all(SPAWN_TIME), seen.all(EXIT_TIME));
    assert_eq!((spawns.len(), exits.len()), (4, 4), "one for each that ran");
    assert!(
        spawns.iter().chain(&exits).all(|time| (0.0..60.0).contains(time)),
        "{spawns:?} {exits:?}"
    );

    // No name and no label contains an id or an owner.
    let names: String = seen.0.lock().unwrap().keys().cloned().collect();
    for word in [chatty.expose(), sleeping.expose(), "alice", "editor"] {
        assert!(!names.contains(word), "{names}");
    }
}
