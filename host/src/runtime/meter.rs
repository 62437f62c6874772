//! A guest's computing time, as plain data: it runs while guest code does and stands still in host calls.

use std::time::{Duration, Instant};

/// A stopwatch with a limit.
#[derive(Debug)]
pub(super) struct Meter {
    limit: Duration,
    used: Duration,
    /// Since when guest code runs; none while the host does.
    since: Option<Instant>,
}

impl Meter {
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            used: Duration::ZERO,
            since: None,
        }
    }

    /// Guest code begins or goes on.
    pub(super) const fn run(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The host has control. Saying it twice changes nothing: a host function may call into the guest (to have room made
    /// for a string) and then go on itself.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.used += now.saturating_duration_since(since);
        }
    }

    /// The limit, if it is used up.
    pub(super) fn exceeded(&self, now: Instant) -> Option<Duration> {
        let running = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (self.used + running > self.limit).then_some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_running_counts() {
        let start = Instant::now();
        let mut meter = Meter::new(2 * SECOND);
        meter.run(start);
        meter.pause(start + SECOND);
        assert_eq!(
            meter.exceeded(start + 100 * SECOND),
            None,
            "it stands still while paused"
        );
        meter.run(start + 100 * SECOND);
        assert_eq!(
            meter.exceeded(start + 101 * SECOND),
            None,
            "the limit itself is allowed"
        );
        assert_eq!(
            meter.exceeded(start + 102 * SECOND),
            Some(2 * SECOND),
            "running counts before it is paused"
        );
    }

    #[test]
    fn a_pause_within_a_pause_counts_once() {
        let start = Instant::now();
        let mut meter = Meter::new(SECOND);
        meter.run(start);
        meter.pause(start + SECOND);
        meter.pause(start + 5 * SECOND);
        assert_eq!(meter.exceeded(start + 5 * SECOND), None);
    }
}
