//! Real components with real processes, through the runtime, as the author of a capsule and an embedder use them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure of a test shows where"
)]

mod audit;
mod every_function;
mod foreign;
mod handles;
mod main_job;
mod net;
mod reach;
mod sdk;
mod store;
mod sync;
mod unknown_unknown;
