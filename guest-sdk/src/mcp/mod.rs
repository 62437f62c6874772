//! MCP servers over standard input and output, kept alive over instances.
//!
//! A server is started on first use, at most once for each principal, capsule and configuration, and every later instance reaches it
//! again by its label. Several instances may use one server at the same time: each sends its own requests, and finds its own answers
//! among all that the server writes, whatever their order.
//!
//! ```no_run
//! use capsule_sdk::mcp;
//! use std::{error::Error, time::Duration};
//!
//! fn time(zone: &str) -> Result<serde_json::Value, Box<dyn Error>> {
//!     let server = mcp::Server::named("time", Duration::from_secs(30))?;
//!     let arguments = serde_json::json!({ "timezone": zone });
//!     Ok(server.call_tool("get_current_time", &arguments, Duration::from_secs(10))?)
//! }
//! ```
//!
//! These are the servers of the capsule's configuration: `capsule run` passes each `[[mcp_server]]` of the manifest with `type = "stdio"` on
//! (see [`servers`]). Both kinds of protocol are spoken: the stateless one of 2026-07-28, and the one before, which begins with
//! `initialize`. The first use finds out which by `server/discover`, and the store keeps it for the process. A server that ends at this
//! question is started once more, and begins with `initialize`. The store keeps that, too, so later starts do not ask.
//!
//! # What a server may rely on, and what an instance may
//!
//! - A server that fills its output waits for a reader; it loses nothing. Every instance that waits for an answer reads, in turn with the
//!   others. One that is kept from its turn while the others read 8 MiB on misses its answer, and is told so ([`Error::is_gap`]). So at most
//!   [`concurrent`](ServerConfig::concurrent) calls are under way at once. With 1, nothing is missed, whatever its length, up to 16 MiB.
//! - The host keeps 8 MiB of each of its two streams, so four servers take what a principal may have by default (64 MiB).
//! - What a server writes to standard error is read, so that it never waits for that, and its newest 8 MiB can be seen.
//! - A `ping` of the server is answered, and any other request of it refused, by the instance that reads it first. While no instance
//!   waits for an answer, none reads. While another instance writes, an instance answers later, or not at all if its own answer comes
//!   first. One id is answered once, as long as no more than 128 others came since, and of more than 128 at once the rest may stay unanswered.
//! - A request waits while the server does not read its input. Others wait for it with their own deadlines, and answers are read
//!   meanwhile. The interface has no deadline for a write: one that is under way ends when the server reads or ends, or with its instance.
//! - A request may have more than 1 MiB. If its instance ends in the middle, the server gets the part of it as a line of its own.
//! - After a server's end its calls in flight fail with [`rpc::Error::Ended`](crate::rpc::Error::Ended), and the next use starts it anew.
//! - It ends when it was not used for its idle time (10 minutes unless its configuration has another), or with the host.

mod config;
mod error;
mod exchange;
mod known;
mod server;
mod start;

pub use config::{ServerConfig, servers};
pub use error::{Error, Result};
pub use server::Server;
