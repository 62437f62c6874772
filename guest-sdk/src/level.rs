//! How much a log line matters, for `sys::log`.

use crate::wit::generated::astrid::sys::host::LogLevel;

/// How much a log line matters.
///
/// ```no_run
/// # use capsule_sdk::sys;
/// sys::log(sys::Level::Warn, "the disk is nearly full");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every single step.
    Trace,
    /// Details for debugging.
    Debug,
    /// Events of normal work.
    Info,
    /// A problem, but work goes on.
    Warn,
    /// A failure: some work was not done.
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}
