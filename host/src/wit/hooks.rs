//! The embedder's decisions about its capsules, and its audit: one trait, whose defaults refuse everything.

use crate::audit::Record;
use crate::bus::{Pattern, Reach, Topic};
use capsule_supervisor::sandbox::Network;
use capsule_supervisor::{Ask, Gate, Owner};

/// What a capsule wants to do with a topic.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TopicAsk<'a> {
    /// Publish there, on behalf of its own principal.
    Publish(&'a Topic),
    /// Publish there on behalf of this principal, which it claims.
    PublishAs(&'a Topic, &'a str),
    /// Hear what is published on topics that match.
    Subscribe(&'a Pattern),
}

/// What an embedder decides and is told. Every method has a default, and the defaults refuse.
pub trait CapsuleHooks: Send {
    /// Whether `owner` may do what is asked. Called during a spawn, in the order of contract S4, and again for every
    /// spawn; never told env values or stdin. Must not block.
    ///
    /// The default refuses, which the guest sees as `capability-denied`.
    fn authorize(&mut self, _owner: &Owner, _ask: Ask<'_>) -> bool {
        false
    }

    /// The network of the trees of `owner`. Asked during a spawn, after everything else was allowed. Must not block.
    ///
    /// Trees of one owner share a private network as long as it is the same, so an embedder keeps one
    /// [`PrivateNetwork`](capsule_supervisor::sandbox::PrivateNetwork) for each owner, with its
    /// [`EgressPolicy`](capsule_supervisor::sandbox::EgressPolicy), and returns its clones.
    ///
    /// The default is `None`: the launcher's policy decides.
    fn network(&mut self, _owner: &Owner) -> Option<Network> {
        None
    }

    /// Whether `owner` may do this with a topic. Never asked about publishing below `astrid.process`, which no owner may.
    /// Subscribing to nothing but lifecycle topics is also allowed where [`Ask::Process`] is, and then tells of the owner's
    /// own processes only: they are what it may ask `status` about, and it chose to watch them. Must not block.
    ///
    /// The default refuses, which the guest sees as `capability-denied`.
    fn authorize_topic(&mut self, _owner: &Owner, _ask: TopicAsk<'_>) -> bool {
        false
    }

    /// How far a subscription of `owner` that [`Self::authorize_topic`] allowed hears beyond what is meant for the owner.
    /// Must not block.
    ///
    /// The default is not at all.
    fn reach(&mut self, _owner: &Owner, _pattern: &Pattern) -> Reach {
        Reach::Own
    }

    /// Whether the capsule named `capsule` holds `capability`; `None` when this embedder keeps no such knowledge. Asked
    /// by `check-capsule-capability` about capsules other than the calling one. Must not block.
    ///
    /// The default is `None`, which the guest sees as `registry-unavailable`.
    fn capsule_holds(&mut self, _capsule: &str, _capability: &str) -> Option<bool> {
        None
    }

    /// Whether [`Self::audit`] is to be called: making a record costs some 0.3 µs, more than many a call does. Asked at the
    /// beginning of each call. Must not block.
    ///
    /// The default is yes, so that records which a hook takes are not lost by leaving this out.
    fn wants_audit(&self) -> bool {
        true
    }

    /// Takes the record of a call: one for each call of `astrid:process`, `astrid:ipc` and their resources, and for
    /// `get-config`, `check-capsule-capability` and `signal-ready` of `astrid:sys` (contract U1). Called when the call has
    /// its answer, or when it is given up with its instance. Must not block; a
    /// [`ChainSink`](crate::audit::ChainSink) does not.
    ///
    /// The default does nothing.
    fn audit(&mut self, _record: &Record) {}
}

/// Puts the supervisor's questions to the embedder.
impl Gate for &mut dyn CapsuleHooks {
    fn allows(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        self.authorize(owner, ask)
    }

    fn network(&mut self, owner: &Owner) -> Option<Network> {
        CapsuleHooks::network(*self, owner)
    }
}
