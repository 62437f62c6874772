//! What the two ways of reading output have in common, as far as [`Lines`](crate::Lines) and
//! [`Follow`](crate::Follow) need it.

use crate::{Result, pending::Pending, waiting::Waiting};

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
                waiting.reset();
                return Ok(true);
            }
            if !self.is_over() {
                self.pause(waiting)?;
            }
        }
        Ok(false)
    }

    fn take_through(&mut self, pattern: &str) -> Option<String> {
        let found = self.pending(|pending| pending.take_through(pattern.as_bytes()));
        found.map(crate::text::lossy)
    }
}
