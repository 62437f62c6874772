//! The errors of messaging.

use super::BadTopic;

/// Why a message was not accepted or no message can be read. Each variant is one case of the interface's `error-code`,
/// or one documented prefix of its `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topic is the host's, and only the host publishes to it.
    #[error("capability-denied: only the host may publish to this topic")]
    Reserved,
    /// A topic, a pattern, a payload or a principal is malformed or too long. The text says which.
    #[error("invalid-input: {0}")]
    InvalidInput(String),
    /// The subscription has ended, because the carrier of the messages is gone.
    #[error("closed")]
    Closed,
    /// The capsule exceeds its rate of publishing for this principal.
    #[error("rate-limited")]
    RateLimited,
    /// The carrier cannot take more messages at the moment.
    #[error("backpressure")]
    Backpressure,
    /// The principal has as many subscriptions as it may have.
    #[error("quota: too many subscriptions")]
    Quota,
    /// The timeout passed without a message.
    #[error("timeout")]
    Timeout,
    /// The chain of messages that led to this one is longer than allowed. The cause is most likely a loop.
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
