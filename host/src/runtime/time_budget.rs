//! A guest's computing time, as plain data: it advances while guest code runs. In host calls it stands still, or is regained.

use std::time::{Duration, Instant};

/// How much of its computing time a guest has used.
#[derive(Debug)]
pub(super) struct TimeBudget {
    limit: Duration,
    used: Duration,
    /// The time since which guest code runs; none while the host has control.
    since: Option<Instant>,
    /// The time since which the host has control, before the guest has regained time for it.
    waiting: Option<Instant>,
    /// The divisor of the waiting time that is given back as computing time; none for a call, which regains nothing.
    regain: Option<u32>,
}

impl TimeBudget {
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            used: Duration::ZERO,
            since: None,
            waiting: None,
            regain: None,
        }
    }

    /// A budget for a guest that runs for ever: a part of the time in host calls is given back.
    pub(super) const fn regaining(limit: Duration, part: u32) -> Self {
        let mut budget = Self::new(limit);
        budget.regain = Some(part);
        budget
    }

    /// Records that guest code begins or continues.
    pub(super) fn run(&mut self, now: Instant) {
        if let (Some(waiting), Some(part)) = (self.waiting.take(), self.regain) {
            let waited = now.saturating_duration_since(waiting);
            self.used = self.used.saturating_sub(waited.checked_div(part).unwrap_or(waited));
        }
        self.since = Some(now);
    }

    /// Records that the host has control. A second call changes nothing: a host function may call into the guest (to
    /// reserve room for a string) and then continue.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.used += now.saturating_duration_since(since);
            self.waiting = Some(now);
        }
    }

    /// The limit, if the guest has exceeded it.
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
        let mut budget = TimeBudget::new(2 * SECOND);
        budget.run(start);
        budget.pause(start + SECOND);
        assert_eq!(
            budget.exceeded(start + 100 * SECOND),
            None,
            "it stands still while paused"
        );
        budget.run(start + 100 * SECOND);
        assert_eq!(
            budget.exceeded(start + 101 * SECOND),
            None,
            "the limit itself is allowed"
        );
        assert_eq!(
            budget.exceeded(start + 102 * SECOND),
            Some(2 * SECOND),
            "running counts before it is paused"
        );
    }

    #[test]
    fn a_pause_within_a_pause_counts_once() {
        let start = Instant::now();
        let mut budget = TimeBudget::new(SECOND);
        budget.run(start);
        budget.pause(start + SECOND);
        budget.pause(start + 5 * SECOND);
        assert_eq!(budget.exceeded(start + 5 * SECOND), None);
    }

    #[test]
    fn waiting_gives_time_back_where_it_should() {
        let start = Instant::now();
        let mut budget = TimeBudget::regaining(2 * SECOND, 4);
        let mut now = start;
        // The guest uses a fifth of the time, for ever.
        for _ in 0..1000 {
            budget.run(now);
            now += SECOND;
            assert_eq!(budget.exceeded(now), None);
            budget.pause(now);
            now += 4 * SECOND;
        }
        // Waiting does not accumulate more than the limit.
        now += 1_000_000 * SECOND;
        budget.run(now);
        assert_eq!(budget.exceeded(now + 2 * SECOND), None);
        assert!(budget.exceeded(now + 3 * SECOND).is_some());
    }
}
