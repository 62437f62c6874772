//! What happens to a process, as the host publishes it.
//!
//! An event arrives in two ways: by a subscription, which has the topic, and at an action bound to
//! such topics, which gets the payload alone. An [`Event`] can be read from both. Fields that a later
//! host adds are ignored, and reasons that it adds are kept as text.

use crate::{ExitStatus, LogStream, ProcessId};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// What happened to a process that is [`watch`](crate::Process::watch)ed.
///
/// It comes from [`Message::event`](crate::ipc::Message::event). An action that the embedder binds
/// to such topics takes it as its argument:
///
/// ```
/// use capsule_sdk::Event;
///
/// fn on_process(event: Event) -> Result<String, String> {
///     Ok(match event {
///         Event::Exited(exited) => format!("ended: {}, {}", exited.status, exited.reason.as_str()),
///         Event::LogReady { .. } | Event::StdinDrained { .. } => String::new(),
///         _ => "something new".to_owned(),
///     })
/// }
///
/// capsule_sdk::actions! {
///     "on-process" => on_process,
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The process ended. This is published once for each process.
    Exited(Exited),
    /// A stream that had been read to its end holds output again.
    LogReady {
        /// The process.
        id: ProcessId,
        /// The stream.
        stream: LogStream,
    },
    /// The process took everything that was written to its standard input.
    StdinDrained {
        /// The process.
        id: ProcessId,
    },
}

/// The end of a process.
///
/// ```
/// use capsule_sdk::{Event, Reason};
///
/// let event = serde_json::from_str(r#"{"id":"mzxw6","exit_code":0,"signal":null,"reason":"self-exit","cause":null}"#);
/// let Ok(Event::Exited(exited)) = event else { panic!() };
/// assert!(exited.status.success() && exited.reason == Reason::SelfExit);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exited {
    /// The process.
    pub id: ProcessId,
    /// How it ended.
    pub status: ExitStatus,
    /// Why.
    pub reason: Reason,
    /// The host's evidence: `lifetime` or `idle` for [`Reason::Reaped`].
    pub cause: Option<String>,
}

/// Why a process ended.
///
/// ```
/// assert_eq!(capsule_sdk::Reason::from("limit-memory"), capsule_sdk::Reason::LimitMemory);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It exited by itself, or by a signal that the host did not send.
    SelfExit,
    /// By `kill`.
    Killed,
    /// By [`stop`](crate::Process::stop).
    Stopped,
    /// By a timer: its lifetime, or its idle timeout.
    Reaped,
    /// The host shut down.
    Shutdown,
    /// It exceeded its limit of memory.
    LimitMemory,
    /// It exceeded its limit of processor time.
    LimitCpu,
    /// A reason that this version does not know, by its name.
    Other(String),
}

impl Reason {
    /// Its name in the interface.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::Reason::Reaped.as_str(), "reaped-ttl");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::SelfExit => "self-exit",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Reaped => "reaped-ttl",
            Self::Shutdown => "reaped-shutdown",
            Self::LimitMemory => "limit-memory",
            Self::LimitCpu => "limit-cpu",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Reason {
    fn from(name: &str) -> Self {
        let known = [
            Self::SelfExit,
            Self::Killed,
            Self::Stopped,
            Self::Reaped,
            Self::Shutdown,
            Self::LimitMemory,
            Self::LimitCpu,
        ];
        let found = known.into_iter().find(|reason| reason.as_str() == name);
        found.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl Event {
    /// The process that it is about.
    ///
    /// ```
    /// let event: capsule_sdk::Event = serde_json::from_str(r#"{"id":"mzxw6"}"#).unwrap();
    /// assert_eq!(event.id().expose(), "mzxw6");
    /// ```
    #[must_use]
    pub const fn id(&self) -> &ProcessId {
        match self {
            Self::Exited(exited) => &exited.id,
            Self::LogReady { id, .. } | Self::StdinDrained { id } => id,
        }
    }

    /// Reads what was published on a topic; none if that is not a lifecycle event.
    ///
    /// ```
    /// use capsule_sdk::Event;
    ///
    /// let event = Event::of_topic("astrid.process.v1.stdin-drained.build", br#"{"id":"mzxw6"}"#);
    /// assert!(matches!(event, Some(Event::StdinDrained { .. })));
    /// ```
    #[must_use]
    pub fn of_topic(topic: &str, payload: &[u8]) -> Option<Self> {
        let (kind, _) = topic.strip_prefix("astrid.process.v1.")?.split_once('.')?;
        let payload = serde_json::from_slice(payload).ok()?;
        match kind {
            "exited" => exited(payload),
            "log-ready" => log_ready(payload),
            "stdin-drained" => stdin_drained(payload),
            _ => None,
        }
    }
}

/// Recognises an event by its fields, because an action does not get the topic.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let payload = Value::deserialize(deserializer)?;
        let event = if payload.get("reason").is_some() || payload.get("exit_code").is_some() {
            exited(payload)
        } else if payload.get("stream").is_some() {
            log_ready(payload)
        } else {
            stdin_drained(payload)
        };
        event.ok_or_else(|| de::Error::custom("not a lifecycle event of a process"))
    }
}

#[derive(Deserialize)]
struct Payload {
    id: ProcessId,
    exit_code: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    cause: Value,
    #[serde(default)]
    stream: String,
}

fn exited(payload: Value) -> Option<Event> {
    let payload: Payload = serde_json::from_value(payload).ok()?;
    Some(Event::Exited(Exited {
        id: payload.id,
        status: ExitStatus::new(payload.exit_code, payload.signal),
        reason: Reason::from(&*payload.reason),
        cause: match payload.cause {
            Value::Null => None,
            Value::String(text) => Some(text),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Some(other.to_string()),
        },
    }))
}

fn log_ready(payload: Value) -> Option<Event> {
    let payload: Payload = serde_json::from_value(payload).ok()?;
    let stream = match &*payload.stream {
        "stdout" => LogStream::Stdout,
        "stderr" => LogStream::Stderr,
        _ => return None,
    };
    Some(Event::LogReady { id: payload.id, stream })
}

fn stdin_drained(payload: Value) -> Option<Event> {
    let payload: Payload = serde_json::from_value(payload).ok()?;
    Some(Event::StdinDrained { id: payload.id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_action(payload: &str) -> Option<Event> {
        serde_json::from_str(payload).ok()
    }

    #[test]
    fn e2_every_event_is_read_from_its_topic_and_from_its_payload_alone() {
        let id: ProcessId = "abc".parse().unwrap();
        let exit = Event::Exited(Exited {
            id: id.clone(),
            status: ExitStatus::new(None, Some(9)),
            reason: Reason::Reaped,
            cause: Some("idle".into()),
        });
        let log = Event::LogReady {
            id: id.clone(),
            stream: LogStream::Stderr,
        };
        for (kind, payload, event) in [
            (
                "exited",
                r#"{"id":"abc","exit_code":null,"signal":9,"reason":"reaped-ttl","cause":"idle","new":[1]}"#,
                exit,
            ),
            ("log-ready", r#"{"id":"abc","stream":"stderr","new":{}}"#, log),
            (
                "stdin-drained",
                r#"{"id":"abc","new":null}"#,
                Event::StdinDrained { id },
            ),
        ] {
            let topic = format!("astrid.process.v1.{kind}.my.suffix");
            assert_eq!(Event::of_topic(&topic, payload.as_bytes()), Some(event.clone()));
            assert_eq!(of_action(payload), Some(event));
        }
    }

    #[test]
    fn e2_a_reason_and_a_cause_of_a_later_host_are_kept() {
        let event = of_action(r#"{"id":"a","exit_code":1,"reason":"limit-disk","cause":{"bytes":7}}"#);
        let Some(Event::Exited(exited)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(exited.reason, Reason::Other("limit-disk".into()));
        assert_eq!(exited.cause.as_deref(), Some(r#"{"bytes":7}"#));
    }

    #[test]
    fn what_is_no_event_is_none() {
        for (topic, payload) in [
            ("astrid.process.v1.exited", r#"{"id":"a","reason":"killed"}"#),
            ("astrid.process.v1.began.x", r#"{"id":"a"}"#),
            ("my.exited.x", r#"{"id":"a"}"#),
            ("astrid.process.v1.exited.x", "{}"),
            ("astrid.process.v1.log-ready.x", r#"{"id":"a","stream":"stdin"}"#),
            ("astrid.process.v1.exited.x", "\u{0}"),
        ] {
            assert_eq!(Event::of_topic(topic, payload.as_bytes()), None, "{topic} {payload}");
        }
        assert_eq!(of_action("{}"), None);
        assert_eq!(of_action("7"), None);
    }
}
