//! The SDK above its seam, over the mock: what a capsule's author may rely on, and what the mock
//! promises to a test.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure of a test shows where"
)]

mod child;
mod events;
mod futures;
mod mcp;
mod net;
mod process;
mod rpc;
mod select;
mod store;
mod sync;

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
