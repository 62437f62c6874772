//! Limits the rate of each owner's records, as plain data, so that a guest that calls in a loop does not fill the disk (U3).
//!
//! Every call is still handed to the sink (U1), and each is either in the file or in a count of dropped records:
//! - An owner, which is a principal and a capsule, has a rate. A record counts once for every KiB that it begins, so
//!   that large records are not cheaper.
//! - Records that reveal most about an attack are dropped last. Starts of processes, their ends, and refusals have a reserve each
//!   beside the rate that all share. No flood of one kind takes the reserve of another: an attacker cannot hide a start
//!   behind a million refusals, or a refusal behind a million reads.
//! - Records over the rate are counted by operation and outcome, both of which are names of the interface and so are few.
//!   The count of an owner is written as one line, a second after the first dropped record, and again while the flood lasts.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::Instant;

use super::record::{Outcome, Record, rfc3339};
use capsule_supervisor::internals::Rates;

/// The bytes of a record that count as one record.
const UNIT: usize = 1024;
/// The time for which dropped records are counted before the count is written, so that a flood takes few lines.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// The rate at which records of one principal's calls through one capsule are written.
///
/// There are four such rates for each owner: for starts of processes, for their ends, for refusals, and for all calls.
/// The last one is also used by a record whose own rate is used up. A record counts as one for each KiB that it begins.
/// Most records are shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRate {
    /// Records a second, in the long run. An owner writes at most 512 KiB a second, and with ordinary calls about 40
    /// KiB. With zero no record is written, and all are counted. The default is 128.
    pub per_second: u32,
    /// The most records at once. Those of one owner, at most 2 MiB, fit into the queue of the sink. The default is 512.
    pub burst: u32,
}

/// The owner of a count, in the form of the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    principal: Option<String>,
    capsule: String,
}

/// The kinds of records, in the order in which they are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Start,
    End,
    Refusal,
    Other,
}

/// The rates of all owners, and the counts since the last report.
#[derive(Debug)]
pub(super) struct Rated {
    starts: Rates<Source>,
    ends: Rates<Source>,
    refusals: Rates<Source>,
    all: Rates<Source>,
    over: HashMap<Source, Counted>,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    records: u64,
    from: SystemTime,
    to: SystemTime,
    operations: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<&'static str, u64>,
}

/// The records of one owner that were over the rate, in the form of a line.
#[derive(Debug, Serialize)]
pub(super) struct Over {
    pub(super) principal: Option<String>,
    pub(super) capsule: String,
    /// The time when the first of these calls began.
    #[serde(serialize_with = "rfc3339")]
    from: SystemTime,
    /// The time when the last of these calls began.
    #[serde(serialize_with = "rfc3339")]
    to: SystemTime,
    /// The number of these calls by operation.
    operations: BTreeMap<&'static str, u64>,
    /// The number of these calls by outcome.
    outcomes: BTreeMap<&'static str, u64>,
}

impl AuditRate {
    /// Writes every record, whatever a guest does to the disk.
    pub const UNLIMITED: Self = Self {
        per_second: u32::MAX,
        burst: u32::MAX,
    };
}

impl Default for AuditRate {
    fn default() -> Self {
        Self {
            per_second: 128,
            burst: 512,
        }
    }
}

impl Kind {
    fn of(record: &Record) -> Self {
        let outcome = record.outcome;
        match (record.operation, outcome.as_str()) {
            // A process existed, or may have existed.
            ("spawn" | "spawn-background" | "spawn-persistent", "ok" | "too-large" | "cancelled" | "dropped") => {
                Self::Start
            }
            ("spawn" | "spawn-background" | "spawn-persistent", _)
            | (
                _,
                "capability-denied"
                | "boundary-escape"
                | "quota"
                | "registry-full"
                | "persist-unsupported"
                | "rate-limited",
            )
            | ("egress", "not-allowed" | "address-refused" | "limit-reached" | "port-in-use") => Self::Refusal,
            ("stop" | "process-handle.kill" | "process-handle.drop", _) if outcome == Outcome::OK => Self::End,
            _ => Self::Other,
        }
    }
}

impl Rated {
    pub(super) fn new(AuditRate { per_second, burst }: AuditRate) -> Self {
        let rates = || Rates::new(per_second, burst);
        Self {
            starts: rates(),
            ends: rates(),
            refusals: rates(),
            all: rates(),
            over: HashMap::new(),
        }
    }

    /// Whether a record, whose line takes `bytes`, may be written. If not, it is counted.
    pub(super) fn admit(&mut self, record: &Record, bytes: usize, now: Instant) -> bool {
        let source = Source {
            principal: record.principal.clone(),
            capsule: record.capsule.clone(),
        };
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        let reserve = match Kind::of(record) {
            Kind::Start => Some(&mut self.starts),
            Kind::End => Some(&mut self.ends),
            Kind::Refusal => Some(&mut self.refusals),
            Kind::Other => None,
        };
        if reserve.is_some_and(|reserve| reserve.admit(&source, units, now)) || self.all.admit(&source, units, now) {
            return true;
        }
        let counted = self.over.entry(source).or_insert_with(|| Counted {
            since: now,
            records: 0,
            from: record.time,
            to: record.time,
            operations: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        });
        counted.records += 1;
        counted.from = counted.from.min(record.time);
        counted.to = counted.to.max(record.time);
        *counted.operations.entry(record.operation).or_default() += 1;
        *counted.outcomes.entry(record.outcome.as_str()).or_default() += 1;
        false
    }

    /// Whether there is a count to report, now or later.
    pub(super) fn is_counting(&self) -> bool {
        !self.over.is_empty()
    }

    /// The time of the next report.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.over.values().map(|counted| counted.since).min();
        since.map(|since| since + TELL_AFTER)
    }

    /// The counts to write now, each with its number of records. At the end it returns all counts.
    pub(super) fn take(&mut self, now: Instant, is_end: bool) -> Vec<(u64, Over)> {
        let due = |_: &Source, counted: &mut Counted| is_end || now >= counted.since + TELL_AFTER;
        let taken = self.over.extract_if(due).map(|(source, counted)| {
            let over = Over {
                principal: source.principal,
                capsule: source.capsule,
                from: counted.from,
                to: counted.to,
                operations: counted.operations,
                outcomes: counted.outcomes,
            };
            (counted.records, over)
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capsule_supervisor::{Owner, Principal};

    const RATE: AuditRate = AuditRate {
        per_second: 4,
        burst: 8,
    };

    fn record(principal: &str, operation: &'static str, outcome: Outcome) -> Record {
        let owner = Owner {
            principal: Principal::Named(principal.into()),
            capsule: "c".into(),
        };
        let mut record = Record::new(&owner, operation);
        record.outcome = outcome;
        record
    }

    #[test]
    fn u3_each_record_of_a_flood_is_written_or_told_in_a_bounded_number_of_lines() {
        let (mut rated, start) = (Rated::new(RATE), Instant::now());
        let status = record("ada", "status", Outcome::OK);
        let (mut written, mut told, mut lines) = (0, 0, 0);
        for n in 0..10_000 {
            let now = start + Duration::from_millis(1) * n;
            written += u64::from(rated.admit(&status, 200, now));
            for (records, over) in rated.take(now, false) {
                assert_eq!((over.operations["status"], over.outcomes["ok"]), (records, records));
                told += records;
                lines += 1;
            }
        }
        assert!(
            (47..=48).contains(&written),
            "8 at once, 4 in each of 10 seconds: {written}"
        );
        assert!((8..=10).contains(&lines), "one a second: {lines}");
        let now = start + Duration::from_secs(10);
        told += rated.take(now, true).iter().map(|(records, _)| records).sum::<u64>();
        assert_eq!(written + told, 10_000);
        assert!(rated.due().is_none() && rated.over.is_empty(), "nothing is kept");
    }

    #[test]
    fn u3_what_tells_most_of_an_attack_is_dropped_last_and_no_kind_hides_another() {
        let (denied, ok) = (Outcome::error("capability-denied"), Outcome::OK);
        let kinds = [
            ("spawn", ok, true),
            ("spawn-persistent", Outcome::DROPPED, true),
            ("stop", ok, true),
            ("process-handle.kill", ok, true),
            ("spawn", denied, true),
            ("publish", Outcome::error("rate-limited"), true),
            ("stop", Outcome::error("no-such-process"), false),
            ("status", ok, false),
        ];
        for (flood, outcome, _) in kinds {
            let (mut rated, now) = (Rated::new(RATE), Instant::now());
            let flood = record("ada", flood, outcome);
            while rated.admit(&flood, 200, now) {}
            for (operation, outcome, has_reserve) in kinds {
                let other = record("ada", operation, outcome);
                if Kind::of(&other) == Kind::of(&flood) {
                    continue;
                }
                assert_eq!(
                    rated.admit(&other, 200, now),
                    has_reserve,
                    "{operation} after {}",
                    flood.operation
                );
            }
        }
    }

    #[test]
    fn u3_large_records_are_not_cheap() {
        let (mut rated, now) = (Rated::new(RATE), Instant::now());
        let status = record("ada", "status", Outcome::OK);
        assert!(rated.admit(&status, 7 * UNIT + 1, now));
        assert!(!rated.admit(&status, 1, now));
        assert!(!rated.admit(&record("bob", "status", Outcome::OK), 9 * UNIT, now));
    }

    #[test]
    fn q5_a_flood_of_one_drops_no_record_of_another() {
        let (mut rated, now) = (Rated::new(RATE), Instant::now());
        for _ in 0..10_000 {
            rated.admit(&record("ada", "status", Outcome::OK), 200, now);
        }
        for _ in 0..8 {
            assert!(rated.admit(&record("bob", "status", Outcome::OK), 200, now));
        }
    }

    #[test]
    fn u3_unlimited_drops_nothing_and_zero_counts_all() {
        let now = Instant::now();
        for (rate, written) in [
            (AuditRate::UNLIMITED, 1000),
            (
                AuditRate {
                    per_second: 0,
                    burst: 8,
                },
                0,
            ),
        ] {
            let mut rated = Rated::new(rate);
            let status = record("ada", "status", Outcome::OK);
            let count = (0..1000).filter(|_| rated.admit(&status, 200, now)).count();
            assert_eq!(count, written);
        }
    }
}
