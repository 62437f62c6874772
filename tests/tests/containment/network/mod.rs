//! A private network: who shares it, what leads into it and out of it, and that nothing of it stays.
//!
//! ```text
//! reach     who reaches a tree, and what a tree reaches        clients   the same by the programs that users run
//! carry     what connections carry, and what ends them         attacks   what a hostile tree tries
//! bounds    what trees can take of the host                    gone      what is left after the last tree
//! storms    what a storm leaves others                         support   connectors, servers and commands of these tests
//! ```

mod attacks;
mod bounds;
mod carry;
mod clients;
mod gone;
mod reach;
mod storms;
pub(crate) mod support;
