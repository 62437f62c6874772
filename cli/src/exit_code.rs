//! The exit codes of the command. A signal that ended it has [a code of its own](crate::interrupt::Interrupt::exit_code).

/// Success: every call succeeded, every case passed, nothing is missing.
pub(crate) const SUCCEEDED: u8 = 0;
/// A call failed, or the calls could not be made.
pub(crate) const FAILED: u8 = 1;
/// The command line is not valid; nothing ran.
pub(crate) const BAD_USAGE: u8 = 2;
