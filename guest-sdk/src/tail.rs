//! What the two ways of reading output have in common, as far as [`Lines`](crate::Lines),
//! [`Follow`](crate::Follow) and the searches need it.

use crate::{
    Error, Result,
    pending::{Gap, Pending},
    text::lossy,
    waiting::Waiting,
};
use std::time::Duration;

/// A stream that is being read: a [`Log`](crate::Log) or a [`ChildOutput`](crate::ChildOutput).
/// There are no others.
///
/// ```no_run
/// fn first<T: capsule_sdk::Tail>(lines: capsule_sdk::Lines<T>) -> Option<String> {
///     lines.filter_map(Result::ok).next()
/// }
/// ```
#[expect(private_bounds, reason = "it keeps others from being one")]
pub trait Tail: Reader {}

pub(crate) trait Reader {
    /// What was read and not yet handed out.
    fn pending<R>(&mut self, use_it: impl FnOnce(&mut Pending) -> R) -> R;

    /// Whether the stream is over and its last byte was read.
    fn is_over(&self) -> bool;

    /// Reads once. Returns whether there was output.
    fn fill(&mut self) -> Result<bool>;

    /// There was no output: waits for a while.
    fn pause(&mut self, waiting: &mut Waiting) -> Result<()>;

    /// Reads until there is output. False if the stream is over.
    fn fill_waiting(&mut self, waiting: &mut Waiting) -> Result<bool> {
        while !self.is_over() {
            if self.fill()? {
                waiting.had_output()?;
                return Ok(true);
            }
            if !self.is_over() {
                self.pause(waiting)?;
            }
        }
        Ok(false)
    }
}

impl<T: Reader> Reader for &mut T {
    fn pending<R>(&mut self, use_it: impl FnOnce(&mut Pending) -> R) -> R {
        (**self).pending(use_it)
    }

    fn is_over(&self) -> bool {
        (**self).is_over()
    }

    fn fill(&mut self) -> Result<bool> {
        (**self).fill()
    }

    fn pause(&mut self, waiting: &mut Waiting) -> Result<()> {
        (**self).pause(waiting)
    }
}

impl<T: Tail> Tail for &mut T {}

/// The most that [`Log::read_until`](crate::Log::read_until) keeps while it searches.
pub(crate) const LONGEST_SEARCH: usize = 16 * 1024 * 1024;

/// Waits until one of the patterns appears; its index, and everything up to its end.
pub(crate) fn read_until(log: &mut impl Reader, patterns: &[&[u8]], timeout: Duration) -> Result<(usize, Vec<u8>)> {
    let mut waiting = Waiting::at_most(timeout);
    let mut searched = 0;
    loop {
        match log.pending(|pending| pending.take_until(patterns, &mut searched, LONGEST_SEARCH)) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(Gap::Lost(bytes))) => return Err(Error::Lost { bytes }),
            Some(Err(Gap::TooLong)) => return Err(Error::TooLarge),
            None if log.fill_waiting(&mut waiting)? => {}
            None => return Err(Error::Closed),
        }
    }
}

/// Waits until the pattern appears; the line it is in, up to its end.
pub(crate) fn wait_for(log: &mut impl Reader, pattern: &str, timeout: Duration) -> Result<String> {
    let mut waiting = Waiting::at_most(timeout);
    let mut searched = 0;
    loop {
        let found = log.pending(|pending| pending.take_through(pattern.as_bytes(), &mut searched));
        if let Some(text) = found {
            return Ok(lossy(text));
        }
        if !log.fill_waiting(&mut waiting)? {
            return Err(Error::Closed);
        }
    }
}
