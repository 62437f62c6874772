//! A message, with its sender's principal and its possible recipients.

use std::fmt;

use super::Topic;
use capsule_supervisor::{Owner, Principal};

/// The cost of a message in a queue beside its texts, in bytes.
const OVERHEAD: usize = 160;

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic to which it was published.
    pub topic: Topic,
    /// The content, by convention JSON.
    pub payload: String,
    /// The capsule that sent it, or `"host"`.
    pub source: String,
    /// The principal. An interceptor that the message starts runs on behalf of the same principal.
    pub principal: Principal,
    /// How reliable the principal is.
    pub attribution: Attribution,
    /// The permitted receivers.
    pub audience: Audience,
    /// The number of messages that led to it, each by starting an interceptor that published the next.
    pub depth: u8,
}

/// How reliable the principal of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// The host has verified the principal.
    Verified,
    /// The sender claims the principal.
    Claimed,
    /// The message is the host's own and belongs to no principal.
    System,
}

/// The permitted receivers of a message, whichever topics they subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One capsule under one principal, the owner of the process that the event is about.
    Owner(Owner),
    /// Every capsule that runs on behalf of this principal.
    Principal(Principal),
    /// Every subscriber.
    All,
}

/// Which messages a subscriber receives in addition to the messages whose audience it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No others. It receives the events of its own processes, and the messages of its principal.
    #[default]
    Own,
    /// In addition, the events of the processes of its principal's other capsules.
    Principal,
    /// All messages, of every principal.
    All,
}

/// A subscriber, for which no subscription exists yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    capsule: String,
    /// `None` stands for the principal of each message.
    principal: Option<Principal>,
    reach: Reach,
}

impl Message {
    /// The size of the message in a queue, in bytes.
    pub(super) fn weight(&self) -> usize {
        let principal = match &self.principal {
            Principal::Named(name) => name.len(),
            Principal::Anonymous => 0,
        };
        let texts = [
            self.topic.as_str().len(),
            self.payload.len(),
            self.source.len(),
            principal,
        ];
        texts.into_iter().fold(OVERHEAD, usize::saturating_add)
    }
}

impl fmt::Debug for Message {
    /// Omits the content, and all of a lifecycle topic but its kind, because both may contain an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("source", &self.source)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl Subscriber {
    /// A capsule that subscribes on behalf of one principal.
    #[must_use]
    pub fn new(owner: Owner, reach: Reach) -> Self {
        Self {
            capsule: owner.capsule,
            principal: Some(owner.principal),
            reach,
        }
    }

    /// A capsule that is started for each message, on behalf of the message's principal. Its subscription belongs to the
    /// embedder and counts for no principal. It merges a message with an equal one that waits.
    #[must_use]
    pub const fn interceptor(capsule: String, reach: Reach) -> Self {
        Self {
            capsule,
            principal: None,
            reach,
        }
    }

    /// The principal for which the subscription counts.
    pub(super) const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Whether the subscriber may receive a message for this audience.
    #[must_use]
    pub fn hears(&self, audience: &Audience) -> bool {
        let acts_for = |principal: &Principal| self.principal.as_ref().is_none_or(|own| own == principal);
        let meant = match audience {
            Audience::All => true,
            Audience::Principal(principal) => acts_for(principal),
            Audience::Owner(owner) => {
                acts_for(&owner.principal) && (self.reach >= Reach::Principal || owner.capsule == self.capsule)
            }
        };
        meant || self.reach == Reach::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(principal: &str, capsule: &str) -> Owner {
        Owner {
            principal: Principal::Named(principal.into()),
            capsule: capsule.into(),
        }
    }

    #[test]
    fn e3_events_of_a_process_reach_its_owner_and_subscribers_that_the_embedder_names() {
        let event = Audience::Owner(owner("ada", "dev-server"));
        for (principal, capsule, own, of_principal) in [
            ("ada", "dev-server", true, true),
            ("ada", "monitor", false, true),
            ("bob", "dev-server", false, false),
            ("bob", "monitor", false, false),
        ] {
            let hears = |reach| Subscriber::new(owner(principal, capsule), reach).hears(&event);
            assert_eq!(hears(Reach::Own), own, "{principal} {capsule}");
            assert_eq!(hears(Reach::Principal), of_principal, "{principal} {capsule}");
            assert!(hears(Reach::All));
        }
    }

    #[test]
    fn e3_an_interceptor_hears_for_every_principal_and_only_for_its_capsule() {
        let own = Subscriber::interceptor("dev-server".into(), Reach::Own);
        for principal in ["ada", "bob"] {
            assert!(own.hears(&Audience::Owner(owner(principal, "dev-server"))));
            assert!(!own.hears(&Audience::Owner(owner(principal, "other"))));
            assert!(own.hears(&Audience::Principal(Principal::Named(principal.into()))));
        }
    }

    #[test]
    fn e3_messages_stay_with_their_principal() {
        let message = Audience::Principal(Principal::Named("ada".into()));
        for reach in [Reach::Own, Reach::Principal] {
            assert!(Subscriber::new(owner("ada", "any"), reach).hears(&message));
            assert!(!Subscriber::new(owner("bob", "any"), reach).hears(&message));
        }
        assert!(Subscriber::new(owner("bob", "any"), Reach::Own).hears(&Audience::All));
    }
}
