//! A small persistent store: values by key, for each owner (contract V1 to V4).
//!
//! A [`Store`] keeps the entries of each owner in one file of a folder. These constraints shape the code:
//! - The guest is hostile, so the size of a key and of a value, and the entries and bytes of an owner, are bounded. Each owner has
//!   at most one blocking job at a time, and a store has eight, so that an owner who writes without end delays others little.
//! - A host may die at any moment. A file is replaced as a whole, by a rename of one that is complete and on the disk.
//! - Two hosts may use one folder. A change reads the file again, and replaces it, under a file lock of the owner.
//! - A file that is damaged, or could be another user's, is reported and left as it is. It is never replaced by an empty one.

mod document;
mod entries;
mod error;
mod folder;
mod limits;
mod store;

pub use self::entries::{Page, Swap};
pub use self::error::{Error, OpenError};
pub use self::limits::{KEY_MAX, Limits, VALUE_MAX};
pub use self::store::Store;
