//! The exit codes of the command. A signal that ended it has [a code of its own](crate::interrupt::Interrupt::exit_code).

/// It did what was asked: every call succeeded, every case passed, nothing is missing.
pub(crate) const SUCCEEDED: u8 = 0;
/// A call failed, or it did not come to the calls.
pub(crate) const FAILED: u8 = 1;
/// The command line cannot be carried out as it stands; nothing ran.
pub(crate) const BAD_USAGE: u8 = 2;
