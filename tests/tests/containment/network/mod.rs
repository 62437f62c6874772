//! A private network: who shares it, what leads into it and out of it, and that nothing of it stays.
//!
//! ```text
//! reach     who reaches a tree, and what a tree reaches        clients   the same by the programs that users run
//! carry     what connections carry, and what ends them         attacks   what a hostile tree tries
//! bounds    what trees can take of the host                    gone      what is left after the last tree
//! storms    what a storm costs the host                        ports     the ports of one tree, and a wait for one
//! labels    the port of a label
//! decisions what is recorded of egress                         support   connectors, servers and commands of these tests
//! ```

mod attacks;
mod bounds;
mod carry;
mod clients;
mod decisions;
mod gone;
mod labels;
mod ports;
mod reach;
mod storms;
mod support;
