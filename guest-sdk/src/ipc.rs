//! Messages between capsules and from the host, by topic.
//!
//! A topic is up to eight segments of `[a-z0-9_-]+` joined by dots, 256 bytes at most. Publishing and subscribing
//! need the embedder's grant for the topic. What [`Process::watch`] asks for arrives here as well:
//! [`Message::event`] reads it.
//!
//! ```no_run
//! use capsule_sdk::{Command, Event, ipc};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let events = ipc::subscribe(ipc::LIFECYCLE)?;
//! let build = Command::new("make").spawn_persistent()?;
//! build.watch("build")?;
//! for message in events.recv(Duration::from_secs(60))?.messages {
//!     if let Some(Event::Exited(exited)) = message.event() {
//!         println!("{}", exited.status);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! [`Process::watch`]: crate::Process::watch

pub use crate::sender::Sender;
use crate::{ErrorKind, Event, Pollable, millis::millis, wit::ipc as wit};
use serde::Serialize;
use std::{fmt, time::Duration};

/// The pattern of all lifecycle events of this capsule's processes.
///
/// ```no_run
/// let events = capsule_sdk::ipc::subscribe(capsule_sdk::ipc::LIFECYCLE)?;
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub const LIFECYCLE: &str = "astrid.process.v1.*";

/// Why the host did not publish or deliver a message.
///
/// ```no_run
/// use capsule_sdk::ipc;
///
/// match ipc::publish("builds.done", "{}") {
///     Ok(()) => {}
///     Err(ipc::Error::CapabilityDenied) => println!("ask the embedder for the topic"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The capsule may not use this topic, or not in this way.
    #[error(
        "capability-denied: the capsule has no grant for this topic; its user can give it, and the host's log says how"
    )]
    CapabilityDenied,
    /// The topic or the pattern is malformed.
    #[error("invalid-input: this is not a topic, or not a pattern")]
    InvalidInput,
    /// The subscription is over.
    #[error("closed: the subscription has ended")]
    Closed,
    /// Too many messages in too short a time.
    #[error("rate-limited: too many messages in too short a time")]
    RateLimited,
    /// A receiver cannot take more at the moment.
    #[error("backpressure: a receiver cannot take more at the moment")]
    Backpressure,
    /// The limit of subscriptions is reached.
    #[error("quota: no more subscriptions; drop one first")]
    Quota,
    /// The time given passed without a message.
    #[error("timeout: the time passed without a message")]
    Timeout,
    /// Another error, as the host describes it.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::ipc::Error::RateLimited.kind().as_str(), "rate-limited");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::CapabilityDenied => ErrorKind::CapabilityDenied,
            Self::InvalidInput => ErrorKind::InvalidInput,
            Self::Closed => ErrorKind::Closed,
            Self::RateLimited => ErrorKind::RateLimited,
            Self::Backpressure => ErrorKind::Backpressure,
            Self::Quota => ErrorKind::Quota,
            Self::Timeout => ErrorKind::Timeout,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }

    /// Whether the time given passed without a message; the call may be repeated.
    ///
    /// ```
    /// assert!(capsule_sdk::ipc::Error::Timeout.is_timeout());
    /// ```
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether the capsule is being unloaded, for which this interface has no case of its own.
    ///
    /// ```
    /// let error = capsule_sdk::ipc::Error::Unknown("cancelled: the capsule is being unloaded".into());
    /// assert!(error.is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Unknown(text) if text.starts_with("cancelled: "))
    }
}

impl From<wit::ErrorCode> for Error {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::CapabilityDenied => Self::CapabilityDenied,
            wit::ErrorCode::InvalidInput => Self::InvalidInput,
            wit::ErrorCode::Closed => Self::Closed,
            wit::ErrorCode::RateLimited => Self::RateLimited,
            wit::ErrorCode::Backpressure => Self::Backpressure,
            wit::ErrorCode::Quota => Self::Quota,
            wit::ErrorCode::Timeout => Self::Timeout,
            wit::ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// Publishes under the calling principal. The payload is text, by convention JSON.
///
/// # Errors
/// [`Error::CapabilityDenied`] without the grant, [`Error::InvalidInput`] if `topic` is malformed,
/// [`Error::RateLimited`] and [`Error::Backpressure`] when there are too many messages.
///
/// ```no_run
/// capsule_sdk::ipc::publish("builds.done", r#"{"ok":true}"#)?;
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub fn publish(topic: &str, payload: &str) -> Result<(), Error> {
    Ok(wit::publish(topic, payload)?)
}

/// Publishes a value as JSON, under the calling principal.
///
/// # Errors
/// As [`publish`]; [`Error::InvalidInput`] also for a value that has no JSON.
///
/// ```no_run
/// #[derive(serde::Serialize)]
/// struct Done {
///     ok: bool,
/// }
/// capsule_sdk::ipc::publish_json("builds.done", &Done { ok: true })?;
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub fn publish_json(topic: &str, value: &impl Serialize) -> Result<(), Error> {
    let payload = serde_json::to_string(value).map_err(|_| Error::InvalidInput)?;
    publish(topic, &payload)
}

/// Publishes on behalf of another principal. Receivers see that as a claim, and it needs a grant
/// of its own.
///
/// # Errors
/// As [`publish`].
///
/// ```no_run
/// capsule_sdk::ipc::publish_as("chat.said", r#"{"text":"hello"}"#, "ada")?;
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub fn publish_as(topic: &str, payload: &str, principal: &str) -> Result<(), Error> {
    Ok(wit::publish_as(topic, payload, principal)?)
}

/// Starts to queue messages on a topic, or on all topics below one: in `builds.*` the last
/// segment stands for one or more.
///
/// # Errors
/// [`Error::CapabilityDenied`] without the grant, [`Error::InvalidInput`] if the pattern is
/// malformed, [`Error::Quota`] when there are too many subscriptions.
///
/// ```no_run
/// let builds = capsule_sdk::ipc::subscribe("builds.*")?;
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub fn subscribe(topic_pattern: &str) -> Result<Subscription, Error> {
    Ok(Subscription {
        raw: wit::subscribe(topic_pattern)?,
    })
}

/// A subscription to topics. Dropping it ends the subscription; queued messages are lost.
///
/// The queue is the host's, and bounded. A subscriber that is too slow loses messages and is told
/// how many; it holds up no sender.
///
/// ```no_run
/// # use std::time::Duration;
/// let builds = capsule_sdk::ipc::subscribe("builds.*")?;
/// let envelope = builds.recv(Duration::from_secs(10))?;
/// println!("{} messages, {} lost", envelope.messages.len(), envelope.dropped);
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub struct Subscription {
    raw: wit::Subscription,
}

impl Subscription {
    /// Waits for the first message, or the first loss of one, and takes all that are queued. The
    /// host has a longest wait (a minute); a longer time is treated as that.
    ///
    /// # Errors
    /// [`Error::Timeout`] if none came.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let builds = capsule_sdk::ipc::subscribe("builds.*")?;
    /// match builds.recv(Duration::from_secs(10)) {
    ///     Ok(envelope) => println!("{:?}", envelope.messages),
    ///     Err(error) if error.is_timeout() => println!("no build in ten seconds"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), capsule_sdk::ipc::Error>(())
    /// ```
    pub fn recv(&self, timeout: Duration) -> Result<Envelope, Error> {
        let envelope = Envelope::from(self.raw.recv(millis(timeout))?);
        if envelope.is_empty() {
            Err(Error::Timeout)
        } else {
            Ok(envelope)
        }
    }

    /// Takes all that are queued, possibly none. Does not wait.
    ///
    /// # Errors
    /// [`Error::Closed`] if the subscription is over.
    ///
    /// ```no_run
    /// let builds = capsule_sdk::ipc::subscribe("builds.*")?;
    /// let envelope = builds.poll()?;
    /// # Ok::<(), capsule_sdk::ipc::Error>(())
    /// ```
    pub fn poll(&self) -> Result<Envelope, Error> {
        Ok(self.raw.poll()?.into())
    }

    /// Is ready while messages are queued, or if some were lost since the last read.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builds = capsule_sdk::ipc::subscribe("builds.*")?;
    /// let child = capsule_sdk::Command::new("make").spawn()?;
    /// capsule_sdk::select(&[&builds.ready(), &child.exit_ready()])?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ready(&self) -> Pollable {
        Pollable::other(self.raw.subscribe_readiness())
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// The messages that were queued.
///
/// ```no_run
/// # let builds = capsule_sdk::ipc::subscribe("builds.*")?;
/// let envelope = builds.poll()?;
/// if envelope.dropped > 0 {
///     println!("some were lost: ask for the whole state instead");
/// }
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Messages that did not fit into the queue since it was last read.
    pub dropped: u64,
    /// The same since the subscription began.
    pub lagged: u64,
}

impl Envelope {
    /// The lifecycle events among the messages.
    ///
    /// ```no_run
    /// # let events = capsule_sdk::ipc::subscribe(capsule_sdk::ipc::LIFECYCLE)?;
    /// for event in events.poll()?.events() {
    ///     println!("{event:?}");
    /// }
    /// # Ok::<(), capsule_sdk::ipc::Error>(())
    /// ```
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.messages.iter().filter_map(Message::event)
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dropped == 0
    }
}

impl From<wit::IpcEnvelope> for Envelope {
    fn from(envelope: wit::IpcEnvelope) -> Self {
        Self {
            messages: envelope.messages.into_iter().map(Message::from).collect(),
            dropped: envelope.dropped,
            lagged: envelope.lagged,
        }
    }
}

/// One message.
///
/// ```no_run
/// # let builds = capsule_sdk::ipc::subscribe("builds.*")?;
/// for message in builds.poll()?.messages {
///     println!("{}: {}", message.topic, message.payload);
/// }
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// Its content, by convention JSON.
    pub payload: String,
    /// Which capsule or part of the host sent it.
    pub source_id: String,
    /// On whose behalf it was sent.
    pub sender: Sender,
}

impl Message {
    /// The lifecycle event in this message; none if it is another message. Every capsule with the
    /// grant for such a topic can publish there: where that matters, check the
    /// [`sender`](Self::sender).
    ///
    /// ```no_run
    /// # let events = capsule_sdk::ipc::subscribe(capsule_sdk::ipc::LIFECYCLE)?;
    /// let known = events.poll()?.messages.iter().filter(|message| message.event().is_some()).count();
    /// # Ok::<(), capsule_sdk::ipc::Error>(())
    /// ```
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        Event::of_topic(&self.topic, self.payload.as_bytes())
    }
}

impl From<wit::IpcMessage> for Message {
    fn from(message: wit::IpcMessage) -> Self {
        Self {
            topic: message.topic,
            payload: message.payload,
            source_id: message.source_id,
            sender: message.principal.into(),
        }
    }
}

/// An action of this capsule that is called for messages of a topic.
///
/// ```no_run
/// for binding in capsule_sdk::ipc::interceptor_bindings()? {
///     println!("{} calls {}", binding.topic, binding.action);
/// }
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// Tells bindings apart.
    pub handle_id: u64,
    /// The action called.
    pub action: String,
    /// The topic, or pattern of topics, that calls it.
    pub topic: String,
}

/// The bindings that the embedder declared for this capsule. Such an action gets the message's
/// payload as its own; for a lifecycle event a handler's argument is simply an [`Event`].
///
/// # Errors
/// [`Error::CapabilityDenied`] if the capsule may not ask.
///
/// ```no_run
/// let bound = !capsule_sdk::ipc::interceptor_bindings()?.is_empty();
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
pub fn interceptor_bindings() -> Result<Vec<Binding>, Error> {
    let bindings = wit::get_interceptor_bindings()?;
    Ok(bindings
        .into_iter()
        .map(|binding| Binding {
            handle_id: binding.handle_id,
            action: binding.action,
            topic: binding.topic,
        })
        .collect())
}
