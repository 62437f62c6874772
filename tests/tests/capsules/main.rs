//! Real components over real processes, through the runtime: what a capsule's author and an embedder see.

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
mod unknown_unknown;
