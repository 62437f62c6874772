//! Why a call was refused, in more words than the guest gets: the interfaces' `capability-denied`, `invalid-input` and `quota` say
//! little, because a guest must not learn more. The embedder may tell its user more, and the audit records it.
//!
//! A denial may hold text of the guest's: the name of a command or a topic. It is cut, and what could be an id is replaced in it.
//! It never holds the value of a variable, an argument, stdin or a payload.

use std::fmt;

use crate::audit::{Outcome, redacted};

/// The kept length of a command, a topic or a reason, in bytes.
const KEPT: usize = 256;

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// The name of the called function in its interface, such as `spawn-persistent`.
    pub operation: &'static str,
    /// The error that the guest got.
    pub outcome: Outcome,
    /// What was refused.
    pub refusal: Refusal,
}

/// What was refused. [`fmt::Display`] gives a sentence without a final stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The embedder does not let the capsule run this command.
    Command(String),
    /// The embedder does not let the capsule's processes outlive the instance that starts them.
    Persistent,
    /// The embedder does not let the capsule publish to this topic.
    Publish(String),
    /// The embedder does not let the capsule publish to this topic on behalf of another principal.
    PublishAs(String),
    /// The embedder does not let the capsule subscribe to this pattern.
    Subscribe(String),
    /// The request is malformed, exceeds a limit, or cannot be met on this machine. The text is the host's: it names the field
    /// or the limit.
    Rule(String),
}

impl Refusal {
    /// The refusal with its text cut, and without what could be an id; `name` replaces that.
    pub(super) fn redacted(self, name: &dyn Fn(&str) -> String) -> Self {
        let clean = |text: String| redacted(&text, KEPT, name).0;
        match self {
            Self::Command(command) => Self::Command(clean(command)),
            Self::Persistent => Self::Persistent,
            Self::Publish(topic) => Self::Publish(clean(topic)),
            Self::PublishAs(topic) => Self::PublishAs(clean(topic)),
            Self::Subscribe(pattern) => Self::Subscribe(clean(pattern)),
            Self::Rule(rule) => Self::Rule(clean(rule)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "the command {command:?} is not granted"),
            Self::Persistent => f.write_str("processes that outlive the instance are not granted"),
            Self::Publish(topic) => write!(f, "publishing to {topic:?} is not granted"),
            Self::PublishAs(topic) => write!(f, "publishing to {topic:?} for another principal is not granted"),
            Self::Subscribe(pattern) => write!(f, "subscribing to {pattern:?} is not granted"),
            Self::Rule(rule) => f.write_str(rule),
        }
    }
}
