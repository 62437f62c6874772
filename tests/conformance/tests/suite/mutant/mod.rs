//! A host with one change: `capsule-host`'s adapter, as an embedder with an engine of its own uses it, of which one behaviour is
//! another than that of the contract.
//!
//! A change has a name, which is the same text in the table of mutations and at the place that makes it. A name that no place
//! knows changes nothing; then the case passes, and the table's test fails.
//!
//! The cases' components are linked as they are: the change is in the host, between the case and the adapter. This host starts no
//! interceptors, serves no WASI, and does not end a guest that computes for too long.

mod answer;
mod errors;
mod hooks;
mod host;
mod other;
mod process;
mod request;
mod served;
mod shared;

pub(crate) use self::host::Mutant;
