//! One process's life as plain data: `(state, event, now) -> (state, actions)`.
//!
//! ```text
//!  Running ──exit──▶ Draining ──settled──▶ Exited ──release, retention──▶ Gone
//!     │                 │ stop, timer, shutdown                            ▲
//!     └─end──▶ Ending ──┴──────── exit, unless it was killed to be kept ───┘
//! ```
//!
//! It uses no process, task or clock, so that tests can try every order of events. The monitor carries the actions out, in the
//! order in which they are given.

use std::time::Duration;

use tokio::time::Instant;

use crate::ExitInfo;

/// Why a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `stop`: the id is removed with the process.
    Stop,
    /// The process reached its maximal lifetime.
    Lifetime,
    /// No call touched the process for its idle timeout.
    Idle,
    /// The registry shuts down.
    Shutdown,
    /// `kill`: the process stays, as exited.
    Kill,
    /// Its owner dropped it.
    Abandoned,
    /// The process wrote more output than can be captured.
    Overflow,
    /// Its tree exceeded its memory limit.
    LimitMemory,
    /// Its tree exceeded its limit on processor time.
    LimitCpu,
}

impl End {
    /// Whether the process stays as exited, so that its owner can see its exit and its output.
    const fn keeps_id(self) -> bool {
        match self {
            Self::Kill | Self::LimitMemory | Self::LimitCpu => true,
            Self::Stop | Self::Lifetime | Self::Idle | Self::Shutdown | Self::Abandoned | Self::Overflow => false,
        }
    }
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// By itself, or by a signal that the host did not send to end it.
    SelfExit,
    /// The host ended it.
    Ended(End),
}

/// The events of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process must end, by KILL after `grace`.
    End { end: End, grace: Duration },
    /// The command has ended and was reaped.
    Exited(ExitInfo),
    /// All output of the tree is stored, and none waits for room or for time.
    Settled,
    /// The time of [`Lifecycle::deadline`] has come.
    Deadline,
    /// The owner releases an exited process.
    Release,
}

/// The actions that the monitor carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// TERM to the tree, then CONT, so that a stopped process can act on it.
    Terminate,
    /// KILL to the tree.
    Kill,
    /// Read the output that the tree left in its pipes, then report [`Event::Settled`].
    Drain,
    /// Give the concurrency slot back.
    FreeSlot,
    /// Let all callers see the exit.
    Publish,
    /// Remove the id, free the rings, end the readers.
    Remove,
}

/// How long a process is kept after its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Not kept: the process belongs to one call, which returns its output.
    Captured,
    /// For this time.
    For(Duration),
    /// Until its owner releases it.
    Held,
}

/// The times of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The end of its lifetime.
    pub(crate) lifetime_end: Option<Instant>,
    /// Its idle timeout.
    pub(crate) idle: Option<Duration>,
    /// The time for which it is kept after its exit.
    pub(crate) retention: Retention,
    /// The time between TERM and KILL when a timer ends it.
    pub(crate) grace: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// `kill_at`: the time when KILL follows TERM; none after KILL was sent.
    Ending {
        end: End,
        kill_at: Option<Instant>,
    },
    Draining {
        exit: ExitInfo,
        reason: Reason,
    },
    Exited {
        exit: ExitInfo,
        reason: Reason,
        gone_at: Option<Instant>,
    },
    Gone {
        exit: ExitInfo,
        reason: Reason,
    },
}

#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: State,
    times: Times,
}

impl Lifecycle {
    pub(crate) fn new(times: Times) -> Self {
        Self {
            state: State::Running,
            times,
        }
    }

    /// The exit, if it is visible.
    pub(crate) fn exit(&self) -> Option<(ExitInfo, Reason)> {
        match self.state {
            State::Exited { exit, reason, .. } | State::Gone { exit, reason } => Some((exit, reason)),
            State::Running | State::Ending { .. } | State::Draining { .. } => None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone { .. })
    }

    /// Whether the command may still run.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Ending { .. })
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// The time when [`Event::Deadline`] is due, for a process that was last touched at `touched` (now, while a call is
    /// in flight).
    pub(crate) fn deadline(&self, touched: Instant) -> Option<Instant> {
        match self.state {
            State::Running => {
                let idle_end = self.times.idle.map(|idle| touched + idle);
                self.times.lifetime_end.into_iter().chain(idle_end).min()
            }
            State::Ending { kill_at, .. } => kill_at,
            State::Exited { gone_at, .. } => gone_at,
            State::Draining { .. } | State::Gone { .. } => None,
        }
    }

    pub(crate) fn on(&mut self, event: Event, now: Instant, touched: Instant) -> Vec<Action> {
        let (state, actions) = self.next(event, now, touched);
        self.state = state;
        actions
    }

    fn next(&self, event: Event, now: Instant, touched: Instant) -> (State, Vec<Action>) {
        use Action::{Drain, FreeSlot, Kill, Publish, Remove};
        match (self.state, event) {
            (State::Running, Event::End { end, grace }) => Self::end(end, now, grace),
            (State::Running, Event::Deadline) => {
                if self.times.lifetime_end.is_some_and(|end| end <= now) {
                    Self::end(End::Lifetime, now, self.times.grace)
                } else if self.times.idle.is_some_and(|idle| touched + idle <= now) {
                    Self::end(End::Idle, now, self.times.grace)
                } else {
                    // The process was touched since the timer was set: the next timer is set from that touch.
                    (self.state, vec![])
                }
            }
            (State::Running, Event::Exited(exit)) => (
                State::Draining {
                    exit,
                    reason: Reason::SelfExit,
                },
                vec![FreeSlot, Drain],
            ),

            // A process that is killed for a limit can still be stopped, and then its id must be removed.
            (State::Ending { end, kill_at: None }, Event::End { end: later, .. })
                if end.keeps_id() && !later.keeps_id() =>
            {
                (
                    State::Ending {
                        end: later,
                        kill_at: None,
                    },
                    vec![],
                )
            }
            // The first reason is kept, and the earlier end counts.
            (
                State::Ending {
                    end,
                    kill_at: Some(kill_at),
                },
                Event::End { grace, .. },
            ) => {
                if grace.is_zero() {
                    (State::Ending { end, kill_at: None }, vec![Kill])
                } else {
                    (
                        State::Ending {
                            end,
                            kill_at: Some(kill_at.min(now + grace)),
                        },
                        vec![],
                    )
                }
            }
            (
                State::Ending {
                    end,
                    kill_at: Some(kill_at),
                },
                Event::Deadline,
            ) if kill_at <= now => (State::Ending { end, kill_at: None }, vec![Kill]),
            (State::Ending { end, .. }, Event::Exited(exit)) if end.keeps_id() => (
                State::Draining {
                    exit,
                    reason: Reason::Ended(end),
                },
                vec![FreeSlot, Drain],
            ),
            // No call can read an output whose id was removed, so the exit does not wait for the output.
            (State::Ending { end, .. }, Event::Exited(exit)) => (
                State::Gone {
                    exit,
                    reason: Reason::Ended(end),
                },
                vec![FreeSlot, Remove, Publish],
            ),

            (State::Draining { exit, reason }, Event::Settled) => {
                let gone_at = match self.times.retention {
                    Retention::Captured | Retention::For(Duration::ZERO) => {
                        // The id is removed first: a waiter that sees the exit may use the id at once.
                        return (State::Gone { exit, reason }, vec![Remove, Publish]);
                    }
                    Retention::For(retention) => Some(now + retention),
                    Retention::Held => None,
                };
                (State::Exited { exit, reason, gone_at }, vec![Publish])
            }
            (State::Draining { exit, reason }, Event::End { end, .. }) if !end.keeps_id() => {
                // The process has already ended by itself, so a later request does not change the reason. The exception
                // is a captured command: its caller waits for the output, and the request has just cut the output
                // short.
                let reason = if self.times.retention == Retention::Captured {
                    Reason::Ended(end)
                } else {
                    reason
                };
                (State::Gone { exit, reason }, vec![Remove, Publish])
            }

            (State::Exited { exit, reason, .. }, Event::Release) => (State::Gone { exit, reason }, vec![Remove]),
            (State::Exited { exit, reason, .. }, Event::End { end, .. }) if !end.keeps_id() => {
                (State::Gone { exit, reason }, vec![Remove])
            }
            (
                State::Exited {
                    exit,
                    reason,
                    gone_at: Some(at),
                },
                Event::Deadline,
            ) if at <= now => (State::Gone { exit, reason }, vec![Remove]),

            // These events are ignored: a timer that was set before the state changed, a release of a live process (the
            // caller gets the answer), a kill of an ended process, and every other event that comes too late.
            (
                State::Running
                | State::Ending { .. }
                | State::Draining { .. }
                | State::Exited { .. }
                | State::Gone { .. },
                _,
            ) => (self.state, vec![]),
        }
    }

    fn end(end: End, now: Instant, grace: Duration) -> (State, Vec<Action>) {
        match end {
            End::Kill | End::Abandoned | End::Overflow | End::LimitMemory | End::LimitCpu => {
                (State::Ending { end, kill_at: None }, vec![Action::Kill])
            }
            End::Stop | End::Lifetime | End::Idle | End::Shutdown if grace.is_zero() => (
                State::Ending { end, kill_at: None },
                vec![Action::Terminate, Action::Kill],
            ),
            End::Stop | End::Lifetime | End::Idle | End::Shutdown => (
                State::Ending {
                    end,
                    kill_at: Some(now + grace),
                },
                vec![Action::Terminate],
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Action::{Drain, FreeSlot, Kill, Publish, Remove, Terminate};
    use super::*;
    use proptest::prelude::*;

    const EXIT: ExitInfo = ExitInfo {
        exit_code: Some(0),
        signal: None,
    };
    const S: Duration = Duration::from_secs(1);

    fn process(idle: u32, lifetime: u32, retention: u32) -> (Lifecycle, Instant) {
        let start = Instant::now();
        let times = Times {
            lifetime_end: Some(start + lifetime * S),
            idle: Some(idle * S),
            retention: Retention::For(retention * S),
            grace: 5 * S,
        };
        (Lifecycle::new(times), start)
    }

    fn stop(grace: u32) -> Event {
        Event::End {
            end: End::Stop,
            grace: grace * S,
        }
    }

    #[test]
    fn x3_an_exit_is_published_after_the_drain() {
        let (mut life, t) = process(60, 60, 60);
        assert_eq!(life.on(Event::Exited(EXIT), t, t), [FreeSlot, Drain]);
        assert_eq!(life.exit(), None);
        assert_eq!(life.on(Event::Settled, t, t), [Publish]);
        assert_eq!(life.exit(), Some((EXIT, Reason::SelfExit)));
    }

    #[test]
    fn k2_stop_is_term_grace_kill_gone() {
        let (mut life, t) = process(60, 60, 60);
        assert_eq!(life.on(stop(3), t, t), [Terminate]);
        assert_eq!(life.deadline(t), Some(t + 3 * S));
        assert_eq!(life.on(Event::Deadline, t + 2 * S, t), []);
        assert_eq!(life.on(Event::Deadline, t + 3 * S, t), [Kill]);
        assert_eq!(life.deadline(t), None);
        assert_eq!(life.on(Event::Exited(EXIT), t + 3 * S, t), [FreeSlot, Remove, Publish]);
        assert!(life.is_gone());
        assert_eq!(life.exit(), Some((EXIT, Reason::Ended(End::Stop))));
    }

    #[test]
    fn k2_no_grace_is_term_then_kill_at_once() {
        let (mut life, t) = process(60, 60, 60);
        assert_eq!(life.on(stop(0), t, t), [Terminate, Kill]);
    }

    #[test]
    fn k2_the_sooner_of_two_stops_counts() {
        let (mut life, t) = process(60, 60, 60);
        life.on(stop(10), t, t);
        assert_eq!(life.on(stop(20), t, t), []);
        assert_eq!(life.deadline(t), Some(t + 10 * S));
        assert_eq!(life.on(stop(2), t + S, t), []);
        assert_eq!(life.deadline(t), Some(t + 3 * S));
        assert_eq!(life.on(stop(0), t + S, t), [Kill]);
        assert_eq!(life.on(stop(0), t + S, t), []);
    }

    #[test]
    fn k2_stop_is_not_held_up_by_a_drain() {
        let (mut life, t) = process(60, 60, 60);
        life.on(Event::Exited(EXIT), t, t);
        assert_eq!(life.on(stop(5), t, t), [Remove, Publish]);
        assert_eq!(life.exit(), Some((EXIT, Reason::SelfExit)));
    }

    #[test]
    fn k2_k4_stop_and_release_of_an_exited_process_forget_it() {
        for event in [stop(5), Event::Release] {
            let (mut life, t) = process(60, 60, 60);
            assert_eq!(life.on(Event::Release, t, t), []);
            life.on(Event::Exited(EXIT), t, t);
            assert_eq!(life.on(Event::Release, t, t), []);
            life.on(Event::Settled, t, t);
            assert_eq!(life.on(event, t, t), [Remove]);
            assert!(life.is_gone());
        }
    }

    #[test]
    fn r2_a_process_killed_for_a_limit_stays_to_be_read() {
        for end in [End::LimitMemory, End::LimitCpu] {
            let (mut life, t) = process(60, 60, 60);
            assert_eq!(
                life.on(
                    Event::End {
                        end,
                        grace: Duration::ZERO
                    },
                    t,
                    t
                ),
                [Kill]
            );
            assert_eq!(life.on(Event::Exited(EXIT), t, t), [FreeSlot, Drain]);
            assert_eq!(life.on(Event::Settled, t, t), [Publish]);
            assert_eq!(life.exit(), Some((EXIT, Reason::Ended(end))));
        }
    }

    #[test]
    fn k3_a_killed_process_stays_and_killing_it_again_changes_nothing() {
        let kill = Event::End {
            end: End::Kill,
            grace: Duration::ZERO,
        };
        let (mut life, t) = process(60, 60, 60);
        assert_eq!(life.on(kill, t, t), [Kill]);
        assert_eq!(life.on(kill, t, t), []);
        assert_eq!(life.on(Event::Exited(EXIT), t, t), [FreeSlot, Drain]);
        assert_eq!(life.on(kill, t, t), []);
        assert_eq!(life.on(Event::Settled, t, t), [Publish]);
        assert_eq!(life.on(kill, t, t), []);
        assert!(!life.is_gone());
        assert_eq!(life.exit(), Some((EXIT, Reason::Ended(End::Kill))));
    }

    #[test]
    fn k2_k3_a_kill_hurries_a_stop_and_the_id_goes_all_the_same() {
        let kill = Event::End {
            end: End::Kill,
            grace: Duration::ZERO,
        };
        let (mut life, t) = process(60, 60, 60);
        life.on(stop(5), t, t);
        assert_eq!(life.on(kill, t, t), [Kill]);
        assert_eq!(life.on(Event::Exited(EXIT), t, t), [FreeSlot, Remove, Publish]);
        assert_eq!(life.exit(), Some((EXIT, Reason::Ended(End::Stop))));
    }

    #[test]
    fn s9_what_is_held_stays_until_it_is_let_go() {
        let (mut life, t) = process(60, 60, 60);
        life.times = Times {
            lifetime_end: None,
            idle: None,
            retention: Retention::Held,
            grace: S,
        };
        assert_eq!(life.deadline(t), None);
        life.on(Event::Exited(EXIT), t, t);
        assert_eq!(life.on(Event::Settled, t, t), [Publish]);
        assert_eq!(life.deadline(t), None);
        let dropped = Event::End {
            end: End::Abandoned,
            grace: Duration::ZERO,
        };
        assert_eq!(life.on(dropped, t, t), [Remove]);
    }

    #[test]
    fn r2_k2_a_stop_overtakes_a_limit() {
        let (mut life, t) = process(60, 60, 60);
        life.on(
            Event::End {
                end: End::LimitCpu,
                grace: Duration::ZERO,
            },
            t,
            t,
        );
        assert_eq!(life.on(stop(5), t, t), []);
        assert_eq!(life.on(Event::Exited(EXIT), t, t), [FreeSlot, Remove, Publish]);
    }

    #[test]
    fn t1_a_lifetime_ends_however_busy_the_process_is() {
        let (mut life, t) = process(5, 10, 60);
        assert_eq!(life.on(Event::Deadline, t + 9 * S, t + 9 * S), []);
        assert_eq!(life.on(Event::Deadline, t + 10 * S, t + 10 * S), [Terminate]);
        assert_eq!(life.deadline(t), Some(t + 15 * S));
        life.on(Event::Exited(EXIT), t + 11 * S, t);
        assert_eq!(life.exit(), Some((EXIT, Reason::Ended(End::Lifetime))));
    }

    #[test]
    fn t2_idle_counts_from_the_last_touch() {
        let (mut life, t) = process(5, 100, 60);
        assert_eq!(life.deadline(t), Some(t + 5 * S));
        assert_eq!(life.on(Event::Deadline, t + 5 * S, t + 2 * S), []);
        assert_eq!(life.deadline(t + 2 * S), Some(t + 7 * S));
        assert_eq!(life.on(Event::Deadline, t + 7 * S, t + 2 * S), [Terminate]);
    }

    #[test]
    fn t3_an_exited_process_goes_after_its_retention() {
        let (mut life, t) = process(5, 10, 60);
        life.on(Event::Exited(EXIT), t, t);
        life.on(Event::Settled, t, t);
        assert_eq!(life.deadline(t), Some(t + 60 * S));
        assert_eq!(life.on(Event::Deadline, t + 59 * S, t), []);
        assert_eq!(life.on(Event::Deadline, t + 60 * S, t), [Remove]);
    }

    #[test]
    fn t3_no_retention_is_gone_as_soon_as_the_exit_is_seen() {
        let (mut life, t) = process(5, 10, 0);
        life.on(Event::Exited(EXIT), t, t);
        assert_eq!(life.on(Event::Settled, t, t), [Remove, Publish]);
    }

    fn event() -> impl Strategy<Value = Event> {
        let end = prop_oneof![
            Just(End::Stop),
            Just(End::Lifetime),
            Just(End::Idle),
            Just(End::Shutdown),
            Just(End::Kill),
            Just(End::Abandoned),
            Just(End::Overflow),
            Just(End::LimitMemory),
            Just(End::LimitCpu),
        ];
        prop_oneof![
            (end, 0..4u32).prop_map(|(end, grace)| Event::End { end, grace: grace * S }),
            Just(Event::Exited(EXIT)),
            Just(Event::Settled),
            Just(Event::Deadline),
            Just(Event::Release),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// For every order of events: the slot is freed once, before the exit is visible; the exit is published once
        /// and never changes; no signal follows the exit; and an end leads to a KILL and to no further action.
        #[test]
        fn s5_x3_k1_k4_every_order_of_events_keeps_the_promises(
            events in proptest::collection::vec((event(), 0..3u32), 1..30), retention in 0..5u32,
        ) {
            let (mut life, mut now) = process(4, 8, retention);
            if let 3.. = retention {
                life.times.retention = if retention == 3 { Retention::Held } else { Retention::Captured };
            }
            let (mut freed, mut published, mut removed, mut killed, mut exited, mut drained) =
                (0, 0, 0, false, false, false);
            let mut seen = None;
            for (event, pause) in events {
                now += pause * S;
                if matches!(event, Event::Exited(_)) && std::mem::replace(&mut exited, true) {
                    continue; // a process exits once
                }
                if event == Event::Settled && !drained {
                    continue;
                }
                let alive = life.is_alive();
                let actions = life.on(event, now, now - 3 * S);
                for action in actions {
                    match action {
                        Terminate => prop_assert!(alive && !killed),
                        Kill => { prop_assert!(alive && !killed); killed = true; }
                        Drain => drained = true,
                        FreeSlot => { prop_assert_eq!((freed, published), (0, 0)); freed += 1; }
                        Publish => { prop_assert_eq!((freed, published), (1, 0)); published += 1; }
                        Remove => { prop_assert_eq!(removed, 0); removed += 1; }
                    }
                }
                prop_assert_eq!(life.exit().is_some(), published == 1);
                prop_assert_eq!(life.is_gone(), removed == 1);
                prop_assert_eq!(seen.or(life.exit()), life.exit());
                seen = life.exit();
            }
            // From every state, an end and an exit end the life.
            let actions = life.on(Event::End { end: End::Shutdown, grace: Duration::ZERO }, now, now);
            prop_assert!(!life.is_alive() || killed || actions.contains(&Kill));
            life.on(Event::Exited(EXIT), now, now);
            prop_assert!(life.is_gone(), "{:?}", life);
        }
    }
}
