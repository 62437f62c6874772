//! The embedder's decisions about its capsules, and its audit: one trait, whose defaults refuse everything.

use super::denial::Denial;
use crate::audit::Record;
use crate::bus::{Pattern, Reach, Topic};
use capsule_supervisor::sandbox::Network;
use capsule_supervisor::{Ask, Owner};

/// What a capsule wants to do with a topic.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TopicAsk<'a> {
    /// Publish to it, on behalf of the capsule's own principal.
    Publish(&'a Topic),
    /// Publish to it on behalf of another principal, which the capsule names.
    PublishAs(&'a Topic, &'a str),
    /// Receive what is published to topics that match the pattern.
    Subscribe(&'a Pattern),
}

/// The embedder's decisions and its audit. Every method has a default. The defaults for decisions refuse.
pub trait CapsuleHooks: Send {
    /// Whether `owner` may do what is asked. Called for each spawn, in the order of contract S4. It never receives
    /// environment values or stdin. Must not block.
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

    /// Whether `owner` may do this with a topic. Never called for publishing below `astrid.process`, because no owner
    /// may publish there. A subscription to lifecycle topics only is also allowed if [`Ask::Process`] is. It then
    /// receives events of the owner's own processes only: the owner may ask for their `status`, and chose to watch
    /// them. Must not block.
    ///
    /// The default refuses, which the guest sees as `capability-denied`.
    fn authorize_topic(&mut self, _owner: &Owner, _ask: TopicAsk<'_>) -> bool {
        false
    }

    /// Which messages a subscription of `owner`, allowed by [`Self::authorize_topic`], receives in addition to those
    /// for the owner. Must not block.
    ///
    /// The default is none.
    fn reach(&mut self, _owner: &Owner, _pattern: &Pattern) -> Reach {
        Reach::Own
    }

    /// Whether the capsule named `capsule` holds `capability`; `None` if the embedder does not know. Called by
    /// `check-capsule-capability` for capsules other than the calling one. Must not block.
    ///
    /// The default is `None`, which the guest sees as `registry-unavailable`.
    fn capsule_holds(&mut self, _capsule: &str, _capability: &str) -> Option<bool> {
        None
    }

    /// Whether [`Self::audit`] is to be called. A record costs some 0.3 µs, which is more than the work of many calls.
    /// Called at the beginning of each call. Must not block.
    ///
    /// The default is yes, so that an implementation of [`Self::audit`] alone gets every record.
    fn wants_audit(&self) -> bool {
        true
    }

    /// Is told why a call of `owner` was refused, in more words than the guest gets. A guest can cause any number of them, so that
    /// what is written has to be bounded. Must not block.
    ///
    /// The default does nothing. The record of the call tells it, too.
    fn denied(&mut self, _owner: &Owner, _denial: &Denial) {}

    /// Takes the record of a call: one for each call of `astrid:process`, `astrid:ipc` and their resources, of `capsule:net`,
    /// `capsule:store` and `capsule:sync`, and for
    /// `get-config`, `check-capsule-capability` and `signal-ready` of `astrid:sys` (contract U1). Called when the call
    /// has its result, or when the call is dropped with its instance. Must not block; a
    /// [`ChainSink`](crate::audit::ChainSink) does not.
    ///
    /// The default does nothing.
    fn audit(&mut self, _record: &Record) {}
}
