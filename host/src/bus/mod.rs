//! Messages by topic: between capsules, and from the host about their processes. This module names no wasm type.
//!
//! A host holds a [`Messaging`]. It enforces the rules with which no carrier can be trusted (sizes, rates, numbers, permitted
//! recipients) and hands the rest to a [`Bus`]. The default is a bus in this process; an embedder may replace it with a broker.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use capsule_host::bus::{Messaging, Pattern, Reach, Subscriber, Topic};
//! use capsule_host::sandbox::Unconfined;
//! use capsule_host::supervisor::{Limits, Owner, Principal, Registry};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(Unconfined::new()), Limits::default())?;
//! // Lifecycle events of the registry's processes go through it from here on.
//! let messaging = Messaging::new(&registry);
//!
//! let notes = Owner { principal: Principal::Named("ada".into()), capsule: "notes".into() };
//! let subscription = messaging.subscribe(Subscriber::new(notes.clone(), Reach::Own), Pattern::parse("notes.v1.*")?)?;
//! messaging.publish(&notes, 0, Topic::parse("notes.v1.saved")?, "{}".into())?;
//!
//! let delivery = subscription.recv(Duration::from_secs(1)).await?;
//! assert_eq!(delivery.messages[0].payload, "{}");
//! # Ok(())
//! # }
//! ```
//!
//! These constraints shape the code:
//! - A slow subscriber slows no other task (contract E4): publishing puts a pointer into queues that are bounded by number and
//!   bytes, and messages that do not fit are counted exactly.
//! - Where messages of several principals wait in one queue, each principal has a share of it and a turn (Q5).
//! - Only its owner may learn of a process. A message names its permitted recipients, and every path into a queue checks
//!   them, so that no pattern, however wide, receives more (E3).
//! - No lock is held while a task is woken or anything is awaited.
//!
//! Inside, from plain data up: `topic`, `message`, `limits`, `queue`; then `inbox` (a queue with its lock and its
//! waiters), `in_process` (the subscriptions by topic), `messaging` (the rules).

mod error;
mod in_process;
mod inbox;
mod limits;
mod message;
mod messaging;
mod queue;
mod subscription;
mod topic;

use std::sync::Arc;

pub use self::error::Error;
pub use self::in_process::InProcess;
pub use self::inbox::Interest;
pub use self::limits::BusLimits;
pub use self::message::{Attribution, Audience, Message, Reach, Subscriber};
pub use self::messaging::Messaging;
pub use self::queue::Delivery;
pub use self::subscription::{Readiness, Subscription};
pub use self::topic::{BadTopic, Pattern, Topic};

/// Carries messages to the interested subscriptions.
///
/// It sees every message of every principal, so the host must trust it. It need not check the permitted receivers,
/// because [`Interest::deliver`] does.
pub trait Bus: Send + Sync {
    /// Takes a message, and hands it to every [`Interest`], at once or later. It is called when a process starts or
    /// ends and during a guest's call, so it must not block.
    ///
    /// # Errors
    /// [`Error::Backpressure`] if the carrier cannot take more at the moment, [`Error::Host`] if it is broken. A guest
    /// that publishes gets the error. The loss of a lifecycle event is logged.
    fn publish(&self, message: Arc<Message>) -> Result<(), Error>;

    /// Hands messages to `interest` from now on, until the returned [`Lease`] is dropped. A carrier that ends for good
    /// calls [`Interest::close`].
    /// # Errors
    /// [`Error::Host`] if the carrier cannot subscribe.
    fn subscribe(&self, interest: Interest) -> Result<Lease, Error>;
}

/// A subscription of an interest. Dropping it ends the subscription, and must not block.
pub type Lease = Box<dyn Send + Sync>;
