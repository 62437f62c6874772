//! The supervisor against docs/contract.md, over real processes: one module a subject, each case named after its clause.

mod chaos;
mod events;
mod exit;
mod handles;
mod identity;
mod output;
mod quotas;
mod signals;
mod spawn;
mod stdin;
mod tail;
mod timers;
mod unload;
