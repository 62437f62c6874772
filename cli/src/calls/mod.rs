//! The calls of `capsule run`: from the command line, from a file, from standard input.
//!
//! `flags` are the options, `source` gives one call after the other, `lines` reads a stream line by line, `line` reads one line, `id`
//! is a caller's name for a call, `reference` finds the references in a payload and fills them in, `results` keeps what they refer
//! to, and `make` makes the calls.
//!
//! These constraints shape it:
//! - A program may drive the command through pipes, for days. So an answer is out before the next line is waited for, and nothing
//!   grows with the number of lines.
//! - Lines are hostile. A line that cannot be used is answered as an error of that line alone, and the lines after it are read.

mod flags;
mod id;
mod line;
mod lines;
mod make;
mod reference;
mod results;
mod source;

pub(crate) use self::flags::Flags;
pub(crate) use self::id::Id;
pub(crate) use self::make::{Making, Principals, Stopped, print};
pub(crate) use self::source::{Source, SourceError};
