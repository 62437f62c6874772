//! Items that `capsule-host` uses beside the public interface. They may change with every version.

pub use crate::guest_log::GuestLog;
pub use crate::interned::Interned;
pub use crate::network::relay::{End, Ended, Relays, Stream, relay};
pub use crate::quota::{Budget, Permit};
pub use crate::rate::Rates;
pub use crate::text::{cut, lossy};

/// The grammar of topics.
pub mod topic {
    pub use crate::topic::*;
}
