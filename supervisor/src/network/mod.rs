//! The private network of one owner's trees: policy as plain data, and the tasks that carry it out.
//!
//! A tree reaches a host by name only. It asks the name server of its network, which answers an allowed name with a *synthetic
//! address*: one of 198.18.0.0/15 that stands for this name alone. The host accepts the connection to that address, resolves the
//! name itself, and dials. Each file is one part of that way:
//!
//! ```text
//! private                  which network a tree has: its published ports, its egress, its limits
//! publish, rules, limits   the parts of it, and how the command's options spell them
//! host_name                what a host name may consist of
//! names                    which synthetic address stands for which name
//! dns                      which answer a query gets
//! address                  which addresses are not dialled
//!
//! owner_network            a network that is up        shared      what its tasks share
//! name_server              answers queries             egress      connections to names
//! connector, resolver      resolve and dial            publisher   connections to published ports
//! relay                    copies both ways            decision    what the embedder hears of it
//! labelled                 the port of a label         metrics     what is counted
//! port_stream              the host's own connection   support     what this machine can do
//! usage                    what an owner has used lately of its rates
//! descriptors              how many connections take  thread       what runs the tasks
//! ```

mod address;
mod connector;
mod decision;
mod descriptors;
pub(crate) mod dns;
mod egress;
mod host_name;
mod labelled;
mod limits;
pub(crate) mod metrics;
mod name_server;
pub(crate) mod names;
pub(crate) mod owner_network;
mod port_stream;
mod private;
mod publish;
mod publisher;
pub(crate) mod relay;
mod resolver;
mod rules;
mod shared;
mod support;
mod thread;
pub(crate) mod usage;

pub use connector::{BoxFuture, ConnectError, Connection, Connector, Target};
pub use decision::{NetworkDecision, NetworkObserver, NetworkOutcome};
pub use limits::NetworkLimits;
pub(crate) use owner_network::EndedNetworks;
pub use owner_network::{NetworkError, OwnerNetwork};
pub use port_stream::PortStream;
pub use private::{Network, PrivateNetwork};
pub use publish::{GuestPort, Publish, PublishAt, PublishError};
pub use publisher::PublishedPort;
pub use relay::Stream;
pub use rules::{EgressError, EgressPolicy, EgressRule, EgressRules};
pub use support::NetworkSupport;
pub(crate) use thread::NetworkThread;
