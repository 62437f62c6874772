//! The rules of messaging for every carrier: sizes, rates, numbers, permitted recipients, and the entry for lifecycle
//! events.
//!
//! This file does not know a capsule's *grants*: its callers check them first. It refuses the host's topics, which no grant can
//! give.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::time::Instant;

use super::inbox::Inbox;
use super::queue::Queue;
use super::subscription::PrincipalQuota;
use super::{
    Attribution, Audience, Bus, BusLimits, Error, InProcess, Interest, Lease, Message, Pattern, Subscriber,
    Subscription, Topic,
};
use capsule_supervisor::internals::Budget;
use capsule_supervisor::internals::Interned;
use capsule_supervisor::internals::Rates;
use capsule_supervisor::{Events, Owner, Principal, ProcessEvent, Registry};

/// The source of the host's own messages.
const HOST: &str = "host";
/// The longest name that `publish_as` accepts, in bytes.
const MAX_PRINCIPAL: usize = 256;

/// The messaging of one host. Cloning is cheap and shares it.
///
/// It belongs to a registry, whose lifecycle events it publishes.
#[derive(Clone)]
pub struct Messaging(Arc<Inner>);

struct Inner {
    bus: Arc<dyn Bus>,
    limits: BusLimits,
    principals: Interned<Principal, PrincipalQuota>,
    rates: Mutex<Rates<Owner>>,
}

/// The part that a registry holds. The registry outlives the messaging, so the reference is weak.
struct Listener(Weak<Inner>);

impl Messaging {
    /// Messaging within this process, with the default limits. From now on it publishes the lifecycle events of the
    /// processes of `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::over(registry, Arc::new(InProcess::new()), BusLimits::default())
    }

    /// As [`Self::new`], with another carrier or other limits.
    #[must_use]
    pub fn over(registry: &Registry, bus: Arc<dyn Bus>, limits: BusLimits) -> Self {
        let rates = Rates::new(limits.publish_per_second, limits.publish_burst);
        let inner = Arc::new(Inner {
            bus,
            limits,
            principals: Interned::default(),
            rates: Mutex::new(rates),
        });
        registry.publish_to(Arc::new(Listener(Arc::downgrade(&inner))));
        Self(inner)
    }

    /// The limits given at the start.
    #[must_use]
    pub fn limits(&self) -> &BusLimits {
        &self.0.limits
    }

    /// Publishes a capsule's message to all subscribers that run on behalf of the same principal. `depth` is the number
    /// of messages that led to it.
    ///
    /// Receivers see the principal as verified. Without an authenticated principal they see it as claimed, named `anonymous`.
    ///
    /// # Errors
    /// [`Error::Reserved`], [`Error::InvalidInput`] for a payload that is too long, [`Error::TooDeep`],
    /// [`Error::RateLimited`], and the errors of the carrier.
    pub fn publish(&self, from: &Owner, depth: u8, topic: Topic, payload: String) -> Result<(), Error> {
        let attribution = match from.principal {
            Principal::Named(_) => Attribution::Verified,
            Principal::Anonymous => Attribution::Claimed,
        };
        self.send(from, from.principal.clone(), attribution, depth, topic, payload)
    }

    /// Publishes a capsule's message on behalf of another principal, to the receivers that run on behalf of that principal.
    /// Receivers see that the principal is only claimed.
    ///
    /// Interceptors that the message starts run on behalf of the claimed principal. So grant this only to capsules that are
    /// trusted to authenticate that principal.
    ///
    /// # Errors
    /// As for [`Self::publish`]; [`Error::InvalidInput`] also for a name that is empty, contains control characters or
    /// is longer than 256 bytes.
    pub fn publish_as(
        &self,
        from: &Owner,
        depth: u8,
        topic: Topic,
        payload: String,
        principal: String,
    ) -> Result<(), Error> {
        if principal.is_empty() || principal.len() > MAX_PRINCIPAL || principal.chars().any(char::is_control) {
            return Err(Error::InvalidInput("the principal is not a valid name".into()));
        }
        let principal = Principal::Named(principal);
        self.send(from, principal, Attribution::Claimed, depth, topic, payload)
    }

    fn send(
        &self,
        from: &Owner,
        principal: Principal,
        attribution: Attribution,
        depth: u8,
        topic: Topic,
        payload: String,
    ) -> Result<(), Error> {
        if topic.is_reserved() {
            return Err(Error::Reserved);
        }
        let limits = &self.0.limits;
        if payload.len() > limits.payload_max {
            return Err(Error::InvalidInput("the payload is too long".into()));
        }
        if depth > limits.depth_max {
            return Err(Error::TooDeep(limits.depth_max));
        }
        let admitted = {
            let mut rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.admit(from, 1, Instant::now())
        };
        if !admitted {
            return Err(Error::RateLimited);
        }
        self.0.bus.publish(Arc::new(Message {
            topic,
            payload,
            source: from.capsule.clone(),
            audience: Audience::Principal(principal.clone()),
            principal,
            attribution,
            depth,
        }))
    }

    /// Publishes a message of the embedder's, to any topic and any audience, without a limit. Use
    /// [`Attribution::System`] for a message that belongs to no principal. Interceptors then still run on behalf of the
    /// message's principal.
    ///
    /// # Errors
    /// The error of the carrier.
    pub fn announce(&self, message: Message) -> Result<(), Error> {
        self.0.bus.publish(Arc::new(message))
    }

    /// Subscribes to messages whose topics match the pattern and that `subscriber` may receive. They are queued from
    /// now on.
    ///
    /// # Errors
    /// [`Error::Quota`], and the errors of the carrier.
    pub fn subscribe(&self, subscriber: Subscriber, pattern: Pattern) -> Result<Subscription, Error> {
        let place = match subscriber.principal() {
            None => None,
            Some(principal) => {
                let quota = self.0.principals.get(principal, || PrincipalQuota {
                    subscriptions: Budget::new(self.0.limits.subscriptions_per_principal),
                });
                Some((quota.subscriptions.take(1).ok_or(Error::Quota)?, quota))
            }
        };
        // Only a queue that starts instances merges messages: a guest that reads wants each of them.
        let merges = place.is_none();
        let (messages, bytes) = (self.0.limits.queue_messages, self.0.limits.queue_bytes);
        let inbox = Inbox::new(Queue::new(messages, bytes, merges));
        let interest = Interest::new(pattern, subscriber, Arc::clone(&inbox));
        let lease: Lease = self.0.bus.subscribe(interest)?;
        Ok(Subscription::new(inbox, self.0.limits.recv_max, lease, place))
    }
}

impl Inner {
    fn event(&self, event: ProcessEvent) {
        let ProcessEvent { owner, topic, payload } = event;
        // The supervisor checked the suffix when the watch was set.
        let Ok(topic) = Topic::parse(&topic) else {
            tracing::error!("a lifecycle event has no topic; this is a bug in the host");
            return;
        };
        let attribution = match owner.principal {
            Principal::Named(_) => Attribution::Verified,
            Principal::Anonymous => Attribution::System,
        };
        let message = Message {
            topic,
            payload,
            source: HOST.into(),
            principal: owner.principal.clone(),
            attribution,
            audience: Audience::Owner(owner),
            depth: 0,
        };
        if let Err(error) = self.bus.publish(Arc::new(message)) {
            tracing::error!(%error, "a lifecycle event could not be published and is lost");
        }
    }
}

impl Events for Listener {
    fn publish(&self, event: ProcessEvent) {
        if let Some(inner) = self.0.upgrade() {
            inner.event(event);
        }
    }
}

impl Events for Messaging {
    /// An embedder with a supervisor of its own publishes events through this. The registry given to [`Messaging::new`]
    /// already does.
    fn publish(&self, event: ProcessEvent) {
        self.0.event(event);
    }
}

impl fmt::Debug for Messaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messaging")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
