//! A process from its launch to its end, and the tasks that supervise it.

pub(crate) mod capture;
pub(crate) mod lifecycle;
pub(crate) mod monitor;
pub(crate) mod options;
pub(crate) mod process;
pub(crate) mod sampler;
pub(crate) mod stdin;
pub(crate) mod supervise;
pub(crate) mod timers;
