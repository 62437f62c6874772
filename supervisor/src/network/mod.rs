//! The network of confined trees, as far as it needs no namespace: policy as plain data, names, addresses and DNS messages.
//!
//! A guest reaches a host by name only. It asks the DNS server of its namespace, which answers an allowed name with a *synthetic
//! address*: one of 198.18.0.0/15 that stands for this name alone. The host accepts the connection to that address, resolves the
//! name itself, and dials. Each file here is one decision on that way:
//!
//! ```text
//! private                  which network a tree has: its published ports, its egress, its limits
//! publish, rules, limits   the parts of it, and how the command's options spell them
//! host_name                what a host name may consist of
//! names                    which synthetic address stands for which name
//! dns                      which answer a query gets
//! address                  which addresses are not dialled
//! ```

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the servers of a namespace, which do not exist yet, use it")
)]

pub(crate) mod address;
pub(crate) mod dns;
mod host_name;
mod limits;
pub(crate) mod names;
mod private;
mod publish;
mod rules;

pub use limits::NetworkLimits;
pub use private::{Network, PrivateNetwork};
pub use publish::{Publish, PublishAt, PublishError};
pub use rules::{EgressError, EgressPolicy, EgressRule, EgressRules};
