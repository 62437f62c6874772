//! Values that outlive the instance and the host: a small persistent store, for this capsule and principal alone.
//!
//! A capsule that reads a process's output keeps the [`Cursor`](crate::Cursor) here, and needs no caller that passes it on:
//!
//! ```
//! use capsule_sdk::{Cursor, Process, ProcessId, store};
//! use std::error::Error;
//!
//! /// The lines since the last call, whichever instance that was.
//! fn news() -> Result<Vec<String>, Box<dyn Error>> {
//!     let server = Process::find("web")?.ok_or("no server is running")?;
//!     let place: Option<(ProcessId, Cursor)> = store::get_json("web")?;
//!     // A cursor is of use for the process that it came from.
//!     let place = place.filter(|(id, _)| id == server.id());
//!     let cursor = place.map(|(_, cursor)| cursor).unwrap_or_default();
//!     let mut output = server.stdout().resume(cursor);
//!     let news = output.lines().collect::<Result<_, _>>()?;
//!     store::set_json("web", &(server.id(), output.cursor()))?;
//!     Ok(news)
//! }
//! ```
//!
//! A key has 1 to 256 bytes and no NUL, and a value at most 64 KiB. Unless the embedder says otherwise, a capsule has 1,024 entries
//! and 1 MiB for each principal. A change is on the disk when the call returns, so it takes as long as the disk does. This is not
//! for much data: use a file of the workspace for that. Two instances that read a value and then set it may overwrite each other's
//! change; [`compare_and_set`] does not.
//!
//! These calls are of the package `capsule:store`, which a host may lack. A capsule that makes none of them does not import the
//! package, and runs on every host; one that makes some is refused when such a host loads it, with the name of the package. A host
//! that has the package may keep no store: then every call answers [`Error::Unavailable`].

use crate::{ErrorKind, wit::store as wit};
use serde::{Serialize, de::DeserializeOwned};
use std::result;

/// The result of a call on the store.
///
/// ```no_run
/// fn is_known(name: &str) -> capsule_sdk::store::Result<bool> {
///     Ok(capsule_sdk::store::get(name)?.is_some())
/// }
/// ```
pub type Result<T> = result::Result<T, Error>;

/// Why the host did not do what was asked. But for [`Cancelled`](Self::Cancelled) and [`Unknown`](Self::Unknown), nothing was
/// changed.
///
/// ```no_run
/// use capsule_sdk::store::{self, Error};
///
/// match store::set("last", "42") {
///     Ok(()) => {}
///     Err(Error::Quota) => println!("delete something first"),
///     Err(error) => println!("{}: {error}", error.kind()),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key is malformed; the text says how.
    #[error("{0}")]
    InvalidInput(String),
    /// The value has more than 64 KiB.
    #[error("too-large: a value of more than 64 KiB")]
    TooLarge,
    /// There would be more entries or bytes than the host keeps.
    #[error("quota: more entries or bytes than the host keeps for this capsule and principal")]
    Quota,
    /// The caller is not authenticated, so the next such caller would read what this one keeps.
    #[error("not-authenticated: a caller who is not authenticated keeps nothing")]
    NotAuthenticated,
    /// The host keeps no store.
    #[error("unavailable: this host keeps no store")]
    Unavailable,
    /// What the host kept cannot be read. It stays as it is until the host's user mends it; the host told them.
    #[error("damaged: what the host kept cannot be read; its log says more")]
    Damaged,
    /// Another host was changing the entries all the time.
    #[error("busy: another host changes the entries; try again")]
    Busy,
    /// The capsule is being unloaded. A change that was under way may have been made.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// The value is not the JSON that was asked for, or has no JSON; the text says why.
    #[error("json: {0}")]
    Json(String),
    /// Another error, as the host describes it: `kind: text`. A change may have been made.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name; [`ErrorKind::Json`] is the SDK's own.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::store::Error::TooLarge.kind().as_str(), "too-large");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidInput(_) => ErrorKind::InvalidInput,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Quota => ErrorKind::Quota,
            Self::NotAuthenticated => ErrorKind::NotAuthenticated,
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Damaged => ErrorKind::Damaged,
            Self::Busy => ErrorKind::Busy,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Json(_) => ErrorKind::Json,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

impl From<wit::ErrorCode> for Error {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::InvalidInput(text) => Self::InvalidInput(text),
            wit::ErrorCode::TooLarge => Self::TooLarge,
            wit::ErrorCode::Quota => Self::Quota,
            wit::ErrorCode::NotAuthenticated => Self::NotAuthenticated,
            wit::ErrorCode::Unavailable => Self::Unavailable,
            wit::ErrorCode::Damaged => Self::Damaged,
            wit::ErrorCode::Busy => Self::Busy,
            wit::ErrorCode::Cancelled => Self::Cancelled,
            wit::ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// What became of a [`compare_and_set`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// use capsule_sdk::store::{self, Swap};
///
/// let is_first = store::compare_and_set("setup", None, Some(b"done"))? == Swap::Swapped;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value was as expected, and is the new one now.
    Swapped,
    /// The value is another one, and was not changed: the present value, none if there is no entry.
    Mismatch(Option<Vec<u8>>),
}

/// The value of a key; none if there is no entry.
///
/// # Errors
/// [`Error::Unavailable`] if the host keeps no store, [`Error::NotAuthenticated`] for a caller without a name.
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// let theme = capsule_sdk::store::get("theme")?.unwrap_or_else(|| b"dark".to_vec());
/// # Ok(()) }
/// ```
pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
    Ok(wit::get(key)?)
}

/// Sets the value of a key. When this returns, the value is on the disk.
///
/// # Errors
/// [`Error::TooLarge`] or [`Error::Quota`] if there is no room for it; otherwise as of [`get`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// capsule_sdk::store::set("theme", "light")?;
/// # Ok(()) }
/// ```
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<()> {
    Ok(wit::set(key, value.as_ref())?)
}

/// Removes an entry, and returns whether there was one.
///
/// # Errors
/// As of [`get`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// if !capsule_sdk::store::delete("theme")? {
///     println!("there was none");
/// }
/// # Ok(()) }
/// ```
pub fn delete(key: &str) -> Result<bool> {
    Ok(wit::delete(key)?)
}

/// Sets the value of a key if its value is the expected one, in one step: no other instance, and no other host that uses the same
/// store, comes between. For both, none means no entry.
///
/// # Errors
/// As of [`set`].
///
/// ```
/// use capsule_sdk::store::{self, Swap};
///
/// /// Each number once, however many instances ask at once.
/// fn next_number() -> store::Result<u64> {
///     let mut present = store::get("number")?;
///     loop {
///         let number = present.as_deref().map_or(0, |bytes| String::from_utf8_lossy(bytes).parse().unwrap_or(0_u64));
///         let next = (number + 1).to_string();
///         match store::compare_and_set("number", present.as_deref(), Some(next.as_bytes()))? {
///             Swap::Swapped => return Ok(number + 1),
///             Swap::Mismatch(other) => present = other,
///         }
///     }
/// }
/// ```
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<Swap> {
    Ok(match wit::compare_and_set(key, expected, new)? {
        wit::Swap::Swapped => Swap::Swapped,
        wit::Swap::Mismatch(present) => Swap::Mismatch(present),
    })
}

/// All keys that begin with a prefix, in the order of their bytes. Keys that are set or deleted meanwhile may be missing or present.
///
/// # Errors
/// As of [`get`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// for key in capsule_sdk::store::list("cursor/")? {
///     capsule_sdk::store::delete(&key)?;
/// }
/// # Ok(()) }
/// ```
pub fn list(prefix: &str) -> Result<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = wit::list(prefix, keys.last().map(String::as_str), u32::MAX)?;
        let more = page.more && !page.keys.is_empty();
        keys.extend(page.keys);
        if !more {
            return Ok(keys);
        }
    }
}

/// [`get`] of a value that was set by [`set_json`].
///
/// # Errors
/// [`Error::Json`] if the value is something else; otherwise as of [`get`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// let cursor: capsule_sdk::Cursor = capsule_sdk::store::get_json("cursor")?.unwrap_or_default();
/// # Ok(()) }
/// ```
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let value = get(key)?;
    let value = value.as_deref().map(serde_json::from_slice).transpose();
    value.map_err(|error| Error::Json(error.to_string()))
}

/// [`set`] of a value as JSON.
///
/// # Errors
/// [`Error::Json`] if the value has no JSON; otherwise as of [`set`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::store::Result<()> {
/// # let cursor = capsule_sdk::Cursor::default();
/// capsule_sdk::store::set_json("cursor", &cursor)?;
/// # Ok(()) }
/// ```
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<()> {
    let value = serde_json::to_vec(value).map_err(|error| Error::Json(error.to_string()))?;
    set(key, value)
}
