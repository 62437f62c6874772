//! The errors of messaging.

use super::BadTopic;

/// The reason why a message was not accepted, or none can be read. Each variant is one case of the interface's `error-code`, or one
/// documented prefix of its `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topic is the host's: only the host publishes there.
    #[error("capability-denied: only the host may publish to this topic")]
    Reserved,
    /// A topic, a pattern, a payload or a principal is malformed or too long; the text says which.
    #[error("invalid-input: {0}")]
    InvalidInput(String),
    /// The subscription has ended: the carrier of the messages is gone.
    #[error("closed")]
    Closed,
    /// This capsule publishes too fast on behalf of this principal.
    #[error("rate-limited")]
    RateLimited,
    /// The carrier cannot take more at the moment.
    #[error("backpressure")]
    Backpressure,
    /// This principal has as many subscriptions as it may have.
    #[error("quota: too many subscriptions")]
    Quota,
    /// The time given passed without a message.
    #[error("timeout")]
    Timeout,
    /// The message would be the answer to an answer to an answer, and so on, further than is allowed: a loop, most likely.
    #[error("too-deep: a chain of messages that cause each other is longer than {0}")]
    TooDeep(u8),
    /// The carrier failed.
    #[error("host: {0}")]
    Host(String),
}

impl From<BadTopic> for Error {
    fn from(bad: BadTopic) -> Self {
        Self::InvalidInput(bad.to_string())
    }
}
