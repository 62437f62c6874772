//! The capsule's surroundings: configuration, the caller, a log, time, random bytes.
//!
//! None of this needs WASI, so it works in a component built for `wasm32-unknown-unknown` too.
//!
//! ```no_run
//! use capsule_sdk::sys;
//!
//! sys::info("starting");
//! let root = sys::config("root")?.unwrap_or_else(|| ".".to_owned());
//! # Ok::<(), sys::Error>(())
//! ```

pub use crate::level::Level;
use crate::{ErrorKind, wit::sys as wit};
use std::time::{Duration, SystemTime};

/// Why the host did not answer.
///
/// ```no_run
/// use capsule_sdk::sys;
///
/// match sys::config("token") {
///     Ok(value) => println!("{} characters", value.unwrap_or_default().len()),
///     Err(sys::Error::ConfigKeyReserved) => println!("pick another key"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The capsule may not ask this.
    #[error("capability-denied: the capsule may not ask for this")]
    CapabilityDenied,
    /// The key belongs to the host.
    #[error("config-key-reserved: the key belongs to the host")]
    ConfigKeyReserved,
    /// More than one call may ask for.
    #[error("too-large: the request exceeds the limit of one call")]
    TooLarge,
    /// This host has no such registry.
    #[error("registry-unavailable: this host has no registry of capsules")]
    RegistryUnavailable,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// Another error, as the host describes it.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::sys::Error::TooLarge.kind().as_str(), "too-large");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::CapabilityDenied => ErrorKind::CapabilityDenied,
            Self::ConfigKeyReserved => ErrorKind::ConfigKeyReserved,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::RegistryUnavailable => ErrorKind::RegistryUnavailable,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

impl From<wit::ErrorCode> for Error {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::CapabilityDenied => Self::CapabilityDenied,
            wit::ErrorCode::ConfigKeyReserved => Self::ConfigKeyReserved,
            wit::ErrorCode::TooLarge => Self::TooLarge,
            wit::ErrorCode::RegistryUnavailable => Self::RegistryUnavailable,
            wit::ErrorCode::Cancelled => Self::Cancelled,
            wit::ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// For the calls that wait for time as well as for a process.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Cancelled => Self::Cancelled,
            Error::CapabilityDenied => Self::CapabilityDenied,
            Error::TooLarge => Self::TooLarge,
            Error::ConfigKeyReserved | Error::RegistryUnavailable | Error::Unknown(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

/// Writes a line to the host's log, under the capsule's name.
///
/// ```no_run
/// # use capsule_sdk::sys;
/// sys::log(sys::Level::Info, "ready");
/// ```
pub fn log(level: Level, message: &str) {
    wit::log(level.into(), message);
}

/// [`log`] at [`Level::Trace`].
///
/// ```no_run
/// capsule_sdk::sys::trace("third attempt");
/// ```
pub fn trace(message: &str) {
    log(Level::Trace, message);
}

/// [`log`] at [`Level::Debug`].
///
/// ```no_run
/// capsule_sdk::sys::debug("the cache is cold");
/// ```
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// [`log`] at [`Level::Info`].
///
/// ```no_run
/// capsule_sdk::sys::info("ready");
/// ```
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// [`log`] at [`Level::Warn`].
///
/// ```no_run
/// capsule_sdk::sys::warn("the configuration has no root; using the workspace");
/// ```
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// [`log`] at [`Level::Error`].
///
/// ```no_run
/// capsule_sdk::sys::error("the server did not start");
/// ```
pub fn error(message: &str) {
    log(Level::Error, message);
}

/// A value of the capsule's configuration; none if the key is not set.
///
/// # Errors
/// [`Error::ConfigKeyReserved`] if the key belongs to the host.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// let root = capsule_sdk::sys::config("root")?;
/// # Ok(()) }
/// ```
pub fn config(key: &str) -> Result<Option<String>, Error> {
    Ok(wit::get_config(key)?)
}

/// On whose behalf a call runs.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// let authenticated = capsule_sdk::sys::caller()?.principal.is_some();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The principal, if the caller is authenticated.
    pub principal: Option<String>,
    /// What caused the call.
    pub source_id: String,
    /// The time of the call, in ISO 8601.
    pub timestamp: String,
}

/// On whose behalf this call runs.
///
/// # Errors
/// [`Error::Cancelled`] when the capsule is being unloaded.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// println!("called at {}", capsule_sdk::sys::caller()?.timestamp);
/// # Ok(()) }
/// ```
pub fn caller() -> Result<Caller, Error> {
    let wit::CallerContext {
        principal,
        source_id,
        timestamp,
    } = wit::get_caller()?;
    Ok(Caller {
        principal,
        source_id,
        timestamp,
    })
}

/// Tells the host that the capsule is ready for work.
///
/// ```no_run
/// capsule_sdk::sys::signal_ready();
/// ```
pub fn signal_ready() {
    wit::signal_ready();
}

/// The time by the host's clock, to the millisecond.
///
/// ```no_run
/// let now = capsule_sdk::sys::now();
/// ```
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(wit::clock_ms())
}

/// The time since some fixed moment, for measuring; it never runs backwards.
///
/// ```no_run
/// use capsule_sdk::sys;
///
/// let start = sys::monotonic();
/// let took = sys::monotonic() - start;
/// ```
#[must_use]
pub fn monotonic() -> Duration {
    Duration::from_nanos(wit::clock_monotonic_ns())
}

/// Waits for this time, in several calls to the host if it exceeds the limit of one. To wait for a
/// process, use the methods of the process.
///
/// # Errors
/// [`Error::Cancelled`] when the capsule is being unloaded.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// capsule_sdk::sys::sleep(std::time::Duration::from_millis(200))?;
/// # Ok(()) }
/// ```
pub fn sleep(duration: Duration) -> Result<(), Error> {
    const MOST: Duration = Duration::from_secs(60);
    let mut left = duration;
    while !left.is_zero() {
        let piece = left.min(MOST);
        wit::sleep_ns(u64::try_from(piece.as_nanos()).unwrap_or(u64::MAX))?;
        left -= piece;
    }
    Ok(())
}

/// Random bytes that are fit for keys, by several calls to the host if the number exceeds the limit
/// of one.
///
/// # Errors
/// [`Error::Cancelled`] when the capsule is being unloaded.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// let key = capsule_sdk::sys::random_bytes(32)?;
/// # Ok(()) }
/// ```
pub fn random_bytes(length: usize) -> Result<Vec<u8>, Error> {
    const MOST: u64 = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let left = (length - bytes.len()) as u64;
        let mut piece = wit::random_bytes(left.min(MOST))?;
        if piece.is_empty() {
            return Err(Error::Unknown("host: no random bytes".to_owned()));
        }
        bytes.append(&mut piece);
    }
    Ok(bytes)
}

/// Whether another capsule holds a capability.
///
/// # Errors
/// [`Error::CapabilityDenied`] if this one may not ask, [`Error::RegistryUnavailable`] if the host
/// cannot tell.
///
/// ```no_run
/// # fn main() -> Result<(), capsule_sdk::sys::Error> {
/// let allowed = capsule_sdk::sys::has_capability("3f1c…", "process")?;
/// # Ok(()) }
/// ```
pub fn has_capability(source_uuid: &str, capability: &str) -> Result<bool, Error> {
    let request = wit::CapabilityCheckRequest {
        source_uuid: source_uuid.to_owned(),
        capability: capability.to_owned(),
    };
    Ok(wit::check_capsule_capability(&request)?.allowed)
}

/// The names of the capabilities that this capsule holds.
///
/// ```no_run
/// println!("{}", capsule_sdk::sys::capabilities().join(", "));
/// ```
#[must_use]
pub fn capabilities() -> Vec<String> {
    wit::enumerate_capabilities()
}
