//! The latest denials of one capsule, so that a tool that failed can say what was denied and what would change it.
//!
//! A denial does not say which call it belongs to. So a result has those that came while its call ran; with calls that run at
//! once, it may have another's, too. The runtime bounds their rate.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most denials that are kept, and so that a result can have.
const KEPT: usize = 8;

/// See the file.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    lines: VecDeque<(u64, String)>,
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

impl Recent {
    pub(super) fn add(&self, line: String) {
        let mut state = self.lock();
        state.count += 1;
        let count = state.count;
        state.lines.push_back((count, line));
        if state.lines.len() > KEPT {
            state.lines.pop_front();
        }
    }

    /// Now.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.lock().count)
    }

    /// The denials after this moment, each once.
    pub(super) fn since(&self, mark: Mark) -> Vec<String> {
        let mut lines = Vec::new();
        for (count, line) in &self.lock().lines {
            if *count > mark.0 && !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_denials_after_the_mark_are_told_and_each_once() {
        let recent = Recent::default();
        recent.add("before".into());
        let mark = recent.mark();
        assert!(recent.since(mark).is_empty());
        for line in ["a", "b", "a"] {
            recent.add(line.into());
        }
        assert_eq!(recent.since(mark), ["a", "b"]);
        for number in 0..100 {
            recent.add(number.to_string());
        }
        assert_eq!(recent.since(mark).len(), KEPT);
    }
}
