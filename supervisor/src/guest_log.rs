//! The log lines of guests: their standard output and error, and calls of `log` in `astrid:sys`.
//!
//! All lines pass through here on their way to `tracing`, because each line is the guest's own text and costs the host storage:
//! - Each owner has a rate in bytes, [`Limits::guest_output_per_second`](crate::Limits), so that one capsule
//!   neither fills a disk nor has another's lines lost in its own.
//! - Lines over the rate are dropped and counted. The count is reported at once, then once a second, and at the end.
//! - A line is written as [`Printable`] text, so that it stays one line and cannot control a terminal.
//! - A line at a level that no subscriber takes is neither written nor counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;

use crate::Owner;
use crate::printable::Printable;
use crate::rate::Rates;

/// The cost of a line beside its text, in bytes: the level, the names, the end. Empty lines are not free.
const FRAME: usize = 64;
/// The shortest time between two reports of an owner's loss.
const SILENCE: Duration = Duration::from_secs(1);

/// The log of one host's guests. Dropping it reports the lines that were dropped since the last report.
#[derive(Debug)]
pub struct GuestLog(Mutex<Owners>);

#[derive(Debug)]
struct Owners {
    rates: Rates<Owner>,
    losses: HashMap<Owner, Loss>,
}

/// The number of an owner's lines and bytes that were dropped since the last report.
#[derive(Clone, Copy, Debug)]
struct Loss {
    lines: u64,
    bytes: u64,
    reported: Instant,
}

impl GuestLog {
    /// Each owner may have `per_second` bytes written in the long run, and `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self(Mutex::new(Owners {
            rates: Rates::new(per_second, burst),
            losses: HashMap::new(),
        }))
    }

    /// Writes a line of a guest, or counts it. `stream` is where the guest wrote it.
    pub fn line(&self, owner: &Owner, level: Level, stream: Option<&'static str>, text: &str) {
        let capsule = owner.capsule.as_str();
        macro_rules! pass_on {
            ($level:ident) => {
                if tracing::enabled!(target: "capsule", Level::$level) {
                    let text = Printable(text).to_string();
                    if self.admit(owner, text.len()) {
                        tracing::event!(target: "capsule", Level::$level, capsule, stream, "{text}");
                    }
                }
            };
        }
        match level {
            Level::TRACE => pass_on!(TRACE),
            Level::DEBUG => pass_on!(DEBUG),
            Level::INFO => pass_on!(INFO),
            Level::WARN => pass_on!(WARN),
            Level::ERROR => pass_on!(ERROR),
        }
    }

    /// Whether a line with so many bytes of text may be written. Reports a loss that is due.
    fn admit(&self, owner: &Owner, bytes: usize) -> bool {
        let (admitted, loss) =
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .admit(owner, bytes, Instant::now());
        if let Some(loss) = loss {
            loss.report(owner);
        }
        admitted
    }
}

impl Owners {
    /// Whether the line may be written, and the loss that is to be reported now.
    fn admit(&mut self, owner: &Owner, bytes: usize, now: Instant) -> (bool, Option<Loss>) {
        let cost = u32::try_from(bytes.saturating_add(FRAME)).unwrap_or(u32::MAX);
        let admitted = self.rates.admit(owner, cost, now);
        if !admitted && !self.losses.contains_key(owner) {
            if self.losses.len() == self.losses.capacity() {
                self.losses.retain(|_, loss| loss.lines > 0 || !loss.is_due(now));
            }
            // Due at once.
            let reported = now.checked_sub(SILENCE).unwrap_or(now);
            self.losses.insert(owner.clone(), Loss::none(reported));
        }
        let Some(loss) = self.losses.get_mut(owner) else {
            return (admitted, None);
        };
        if !admitted {
            loss.lines += 1;
            loss.bytes = loss.bytes.saturating_add(bytes as u64);
        }
        let due = loss.lines > 0 && loss.is_due(now);
        (admitted, due.then(|| std::mem::replace(loss, Loss::none(now))))
    }
}

impl Loss {
    const fn none(reported: Instant) -> Self {
        Self {
            lines: 0,
            bytes: 0,
            reported,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.reported) >= SILENCE
    }

    fn report(self, owner: &Owner) {
        let capsule = owner.capsule.as_str();
        let Self {
            lines,
            bytes,
            reported: _,
        } = self;
        tracing::warn!(
            capsule,
            lines,
            bytes,
            "a capsule exceeds its rate of log lines; the lines are dropped"
        );
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        let owners = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (owner, loss) in &owners.losses {
            if loss.lines > 0 {
                loss.report(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Principal;

    const LINE: usize = 1024 - FRAME;

    fn owner(name: &str) -> Owner {
        Owner {
            principal: Principal::Named(name.into()),
            capsule: "c".into(),
        }
    }

    /// A rate of 4 lines a second and a burst of 8.
    fn owners() -> Owners {
        Owners {
            rates: Rates::new(4 * 1024, 8 * 1024),
            losses: HashMap::new(),
        }
    }

    #[test]
    fn u3_a_flood_is_held_to_its_rate_and_every_line_is_passed_on_or_told_to_be_lost() {
        let (mut owners, ada, start) = (owners(), owner("ada"), Instant::now());
        let (mut passed, mut told, mut words) = (0, 0, 0);
        let step = Duration::from_millis(1);
        for n in 0..10_000 {
            let (admitted, loss) = owners.admit(&ada, LINE, start + step * n);
            passed += u64::from(admitted);
            if let Some(loss) = loss {
                assert_eq!(loss.bytes, loss.lines * LINE as u64);
                told += loss.lines;
                words += 1;
            }
        }
        assert!(
            (47..=48).contains(&passed),
            "8 at once, and 4 in each of 10 seconds: {passed}"
        );
        assert!((9..=11).contains(&words), "at once and every second: {words}");
        let left = owners.losses[&ada].lines;
        assert_eq!(passed + told + left, 10_000);
    }

    #[test]
    fn u3_empty_lines_are_not_free() {
        let (mut owners, ada, now) = (owners(), owner("ada"), Instant::now());
        let passed = (0..10_000).filter(|_| owners.admit(&ada, 0, now).0).count();
        assert_eq!(passed, 8 * 1024 / FRAME);
    }

    #[test]
    fn q5_a_flood_of_one_takes_nothing_from_another() {
        let (mut owners, ada, bob) = (owners(), owner("ada"), owner("bob"));
        let now = Instant::now();
        for _ in 0..10_000 {
            owners.admit(&ada, LINE, now);
        }
        for _ in 0..8 {
            assert!(owners.admit(&bob, LINE, now).0);
        }
    }

    #[test]
    fn u3_who_floods_no_more_is_forgotten() {
        let (mut owners, start) = (owners(), Instant::now());
        for n in 0..10_000_u32 {
            let (owner, now) = (owner(&n.to_string()), start + SILENCE * n);
            assert!(!owners.admit(&owner, usize::MAX, now).0);
        }
        assert!(owners.losses.capacity() < 100, "{}", owners.losses.capacity());
    }
}
