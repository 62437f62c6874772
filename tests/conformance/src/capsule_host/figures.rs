//! The metrics of this project's host, read back from the facade.
//!
//! The metrics are of the whole program, so those of one host are the differences since its start. The driver runs no
//! other case meanwhile (need `alone`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use capsule_host::supervisor::metrics as names;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::host::Metrics;

/// The recorder of the program, unless the program had one before.
static RECORDER: OnceLock<Option<Figures>> = OnceLock::new();

/// All figures by name and labels.
#[derive(Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

/// A histogram that counts its values.
struct Measured(Arc<AtomicU64>);

impl HistogramFn for Measured {
    fn record(&self, _value: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Figures {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = std::iter::once(key.name().to_owned()).chain(labels).collect();
        Arc::clone(self.all().entry(name).or_default())
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Measured(self.cell(key))))
    }
}

/// Installs the recorder, unless the program has one already. Must be called before the first registry is made.
pub(super) fn install() {
    RECORDER.get_or_init(|| {
        let figures = Figures::default();
        metrics::set_global_recorder(figures.clone()).ok().map(|()| figures)
    });
}

/// The metrics at some moment.
#[derive(Debug, Default)]
pub(super) struct Since(BTreeMap<String, u64>);

impl Since {
    pub(super) fn now() -> Self {
        let figures = RECORDER.get().and_then(Option::as_ref);
        Self(figures.map(snapshot).unwrap_or_default())
    }

    /// The differences since then; none if the program has another recorder.
    pub(super) fn until_now(&self) -> Option<Metrics> {
        let now = snapshot(RECORDER.get()?.as_ref()?);
        // A counter and a histogram start at zero. A gauge holds the bits of a number.
        let added = |name: &str| -> u64 {
            let of = |all: &BTreeMap<String, u64>| -> u64 {
                all.iter()
                    .filter(|(key, _)| is(key, name))
                    .map(|(_, value)| *value)
                    .sum()
            };
            of(&now).saturating_sub(of(&self.0))
        };
        let gauge = |name: &str| now.get(name).map(|bits| f64::from_bits(*bits));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of processes, and a cast of a negative one is 0"
        )]
        let whole = |value: f64| value as u64;
        Some(Metrics {
            spawned: Some(added(names::SPAWNS)),
            exited: Some(added(names::EXIT_TIME)),
            live: gauge(names::LIVE).map(whole),
            retained: gauge(names::RETAINED).map(whole),
            bytes_drained: Some(added(names::DRAINED)),
            bytes_dropped: Some(added(names::DROPPED)),
            spawn_latencies: Some(added(names::SPAWN_TIME)),
            exit_latencies: Some(added(names::EXIT_TIME)),
            raw: now.iter().map(|(key, value)| format!("{key} {value}\n")).collect(),
        })
    }
}

/// Whether a metric counts for `name`. Spawns that failed do not count.
fn is(key: &str, name: &str) -> bool {
    let (this, labels) = key.split_once(' ').unwrap_or((key, ""));
    this == name && (labels.is_empty() || labels.contains("outcome=ok"))
}

fn snapshot(figures: &Figures) -> BTreeMap<String, u64> {
    let all = figures.all();
    all.iter()
        .map(|(key, value)| (key.clone(), value.load(Ordering::Relaxed)))
        .collect()
}
