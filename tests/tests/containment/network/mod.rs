//! A private network: who shares it, what leads into it and out of it, and that nothing of it stays.
//!
//! ```text
//! reach     who reaches a tree, and what a tree reaches        clients   the same by the programs that users run
//! support   connectors, servers and commands of these tests
//! ```

mod clients;
mod reach;
pub(crate) mod support;
