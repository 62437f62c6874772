//! What a private network let through and what it refused, as the embedder hears of it.

use std::fmt;
use std::net::SocketAddr;

use crate::owner::Owner;

/// One decision about the egress of a private network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDecision {
    /// Whose trees asked. None for a trial.
    pub owner: Option<Owner>,
    /// The name, in lower case, as far as it was a host name.
    pub name: String,
    /// The port; none if only the name was asked for.
    pub port: Option<u16>,
    /// The address that the host reached, or tried last.
    pub address: Option<SocketAddr>,
    /// Bytes that the tree sent and the other side took.
    pub sent: u64,
    /// Bytes that the other side sent and the tree took.
    pub received: u64,
    /// What became of it.
    pub outcome: NetworkOutcome,
}

/// What became of a name or a connection. A connection is told of when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkOutcome {
    /// Connected; both sides ended it.
    Finished,
    /// Connected; one side reset it.
    Reset,
    /// Connected; it carried nothing for [`NetworkLimits::idle_time`](super::NetworkLimits::idle_time).
    Idle,
    /// Connected; it ended because its rule was taken away, or the last tree ended.
    Cut,
    /// No rule allows the name or the port.
    NotAllowed,
    /// The name has no address that a rule lets be reached: all of them are private or this machine's own.
    AddressRefused,
    /// The name was not found, or the other side could not be reached in time.
    Unreachable,
    /// A limit of the network was used up.
    LimitReached,
    /// A tree of the network listens on the ports of the name at all of its own addresses, so the host cannot listen there for it.
    PortInUse,
}

impl NetworkOutcome {
    /// The name of the outcome, in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Cut => "cut",
            Self::NotAllowed => "not-allowed",
            Self::AddressRefused => "address-refused",
            Self::Unreachable => "unreachable",
            Self::LimitReached => "limit-reached",
            Self::PortInUse => "port-in-use",
        }
    }
}

impl fmt::Display for NetworkOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hears of every decision about egress, for an audit. Called by the tasks of the networks, so it must not block.
pub trait NetworkObserver: fmt::Debug + Send + Sync + 'static {
    /// One decision was made.
    fn decided(&self, decision: &NetworkDecision);
}
