//! The events of a process: which are published, to which topics, and with which payload (contract E1, E2).
//!
//! This is plain data with one lock, so that an exit is published once, whether the exit or the call of `watch` comes first.

use std::fmt;
use std::sync::PoisonError;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::events::ProcessEvent;
use super::life::lifecycle::{End, Reason};
use super::{Error, ExitInfo, LogStream, Owner, ProcessId, ResourceLimits};
use crate::sync::{Mutex, MutexGuard};
use crate::topic;

/// The kinds of events of a process.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Exited,
    LogReady,
    StdinDrained,
}

/// The topics for a process's events.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Topics {
    suffix: String,
}

/// The events of one process.
pub(crate) struct Watch {
    owner: Owner,
    limits: ResourceLimits,
    /// Whether the kernel enforces the memory limit, in contrast to sampling.
    memory_is_held: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscription: Option<(ProcessId, Topics)>,
    exit_published: bool,
}

impl Topics {
    /// # Errors
    /// [`Error::InvalidInput`]: a segment that is empty or holds another character, or a topic that is too long.
    pub(crate) fn new(suffix: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Err(Error::InvalidInput(format!("the suffix {why}")));
        if !topic::has_segments_only(suffix) {
            return invalid("does not consist of segments of [a-z0-9_-]+ joined by dots");
        }
        let topics = Self { suffix: suffix.into() };
        // The kind with the longest name: a suffix that fits it fits all kinds.
        let longest = topics.topic(Kind::StdinDrained);
        if topic::segments(&longest) > topic::MAX_SEGMENTS {
            return invalid("makes a topic of more than 8 segments");
        }
        if longest.len() > topic::MAX_BYTES {
            return invalid("makes a topic of more than 256 bytes");
        }
        Ok(topics)
    }

    fn topic(&self, kind: Kind) -> String {
        let kind = match kind {
            Kind::Exited => topic::EXITED,
            Kind::LogReady => topic::LOG_READY,
            Kind::StdinDrained => topic::STDIN_DRAINED,
        };
        format!("{kind}.{}", self.suffix)
    }
}

impl Watch {
    pub(crate) fn new(owner: Owner, limits: ResourceLimits, memory_is_held: bool) -> Self {
        Self {
            owner,
            limits,
            memory_is_held,
            state: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, subscription: Option<(ProcessId, Topics)>) {
        self.lock().subscription = subscription;
    }

    /// The event of a visible exit, if it is subscribed to and was not published yet.
    pub(crate) fn exited(&self, exit: ExitInfo, reason: Reason) -> Option<ProcessEvent> {
        let mut state = self.lock();
        if state.exit_published {
            return None;
        }
        let (reason, cause) = self.words(exit, reason);
        let event = self.event(&state, Kind::Exited, |id| {
            json!({ "id": id, "exit_code": exit.exit_code, "signal": exit.signal, "reason": reason, "cause": cause })
        });
        state.exit_published = event.is_some();
        event
    }

    /// The event of new output.
    pub(crate) fn log_ready(&self, stream: LogStream) -> Option<ProcessEvent> {
        let stream = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        self.event(&self.lock(), Kind::LogReady, |id| json!({ "id": id, "stream": stream }))
    }

    /// The event of a stdin whose accepted bytes were all written.
    pub(crate) fn stdin_drained(&self) -> Option<ProcessEvent> {
        self.event(&self.lock(), Kind::StdinDrained, |id| json!({ "id": id }))
    }

    fn event(&self, state: &State, kind: Kind, payload: impl FnOnce(&str) -> Value) -> Option<ProcessEvent> {
        let (id, topics) = state.subscription.as_ref()?;
        Some(ProcessEvent {
            owner: self.owner.clone(),
            topic: topics.topic(kind),
            payload: payload(id.expose()).to_string(),
        })
    }

    /// The reason of a process's end, and the details that the host knows.
    fn words(&self, exit: ExitInfo, reason: Reason) -> (&'static str, Option<&'static str>) {
        match reason {
            // The kernel itself ends a process for its own processor time.
            Reason::SelfExit if exit.signal == Some(Signal::XCPU.as_raw()) && self.limits.max_cpu_secs.is_some() => {
                ("limit-cpu", Some("SIGXCPU from the kernel"))
            }
            Reason::SelfExit => ("self-exit", None),
            Reason::Ended(end) => match end {
                End::Stop => ("stopped", None),
                End::Kill | End::Abandoned | End::Overflow => ("killed", None),
                End::Lifetime => ("reaped-ttl", Some("lifetime")),
                End::Idle => ("reaped-ttl", Some("idle")),
                End::Shutdown => ("reaped-shutdown", None),
                End::LimitMemory if self.memory_is_held => {
                    ("limit-memory", Some("the kernel ended the tree at its limit"))
                }
                End::LimitMemory => ("limit-memory", Some("the tree held more when it was looked at")),
                End::LimitCpu => ("limit-cpu", Some("the tree had used as much when it was looked at")),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Topics {
    /// The suffix may be the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topics(…)")
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Principal;

    const EXIT: ExitInfo = ExitInfo {
        exit_code: Some(3),
        signal: None,
    };

    fn watch() -> Watch {
        let owner = Owner {
            principal: Principal::Named("p".into()),
            capsule: "c".into(),
        };
        Watch::new(owner, ResourceLimits::default(), false)
    }

    #[test]
    fn e1_a_suffix_makes_a_topic_or_is_invalid() {
        let id = ProcessId::generate().unwrap();
        for good in ["a", "build_2.x-y", "a.b.c.d", id.expose(), &"x".repeat(224)] {
            assert!(Topics::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A",
            "ä",
            "a b",
            "a*",
            "*",
            "a\n",
            "a.b.c.d.e",
            &"x".repeat(225),
        ] {
            assert!(matches!(Topics::new(bad), Err(Error::InvalidInput(_))), "{bad}");
        }
        let topics = Topics::new("x.y").unwrap();
        assert_eq!(topics.topic(Kind::LogReady), "astrid.process.v1.log-ready.x.y");
        assert_eq!(topics.topic(Kind::StdinDrained), "astrid.process.v1.stdin-drained.x.y");
    }

    #[test]
    fn e2_an_exit_is_told_once_and_as_it_was() {
        let watch = watch();
        let id = ProcessId::generate().unwrap();
        let reason = Reason::Ended(End::Idle);
        assert_eq!(watch.exited(EXIT, reason), None, "it is not watched");
        watch.set(Some((id.clone(), Topics::new("a").unwrap())));
        watch.set(Some((id.clone(), Topics::new("b").unwrap())));
        let event = watch.exited(EXIT, reason).unwrap();
        assert_eq!(event.topic, "astrid.process.v1.exited.b");
        let told: Value = serde_json::from_str(&event.payload).unwrap();
        let expected =
            json!({ "id": id.expose(), "exit_code": 3, "signal": null, "reason": "reaped-ttl", "cause": "idle" });
        assert_eq!(told, expected);
        watch.set(Some((id, Topics::new("c").unwrap())));
        assert_eq!(watch.exited(EXIT, reason), None, "it was told");
    }

    #[test]
    fn e1_without_a_subscription_nothing_is_told() {
        let watch = watch();
        watch.set(Some((ProcessId::generate().unwrap(), Topics::new("a").unwrap())));
        assert!(watch.stdin_drained().is_some() && watch.log_ready(LogStream::Stderr).is_some());
        watch.set(None);
        assert!(watch.stdin_drained().is_none() && watch.log_ready(LogStream::Stdout).is_none());
    }
}
