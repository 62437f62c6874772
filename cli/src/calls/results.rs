//! The results to which later calls may refer: those of calls with an id, as many as the bounds allow.
//!
//! A reference means the last earlier line with its id. So it is bound to that line's result when its own line is read, and a later
//! line with the same id changes nothing. Calls share a result by an `Arc`: one that was bound stays, even if it is not kept here any
//! more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use super::id::Id;

/// The most results that are kept.
const MOST: usize = 1000;

/// The most bytes of data that they have together.
const LARGEST: usize = 32 << 20;

/// Why a reference has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoResult {
    #[error("no earlier call has the id `{0}`")]
    Unknown(String),
    #[error(
        "no call whose result is kept has the id `{0}`: only the last {MOST} results with an id are kept, and of these at most \
         {LARGEST} bytes"
    )]
    NotKept(String),
}

/// The result of a call, once the call has ended.
#[derive(Debug)]
pub(crate) struct Kept {
    id: String,
    /// The number of the call's line.
    pub(crate) line: u64,
    end: OnceLock<End>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With this data, which is JSON by convention only.
    Data(Option<String>),
    Failed,
}

impl Kept {
    /// None while the call runs.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.get()
    }

    fn bytes(&self) -> usize {
        match self.end.get() {
            Some(End::Data(Some(data))) => data.len(),
            Some(End::Data(None) | End::Failed) | None => 0,
        }
    }
}

/// The kept results.
#[derive(Debug, Default)]
pub(crate) struct Results {
    by_id: HashMap<String, Arc<Kept>>,
    /// The same ones, in the order of their lines.
    order: VecDeque<Arc<Kept>>,
    bytes: usize,
    /// Whether a result was left out to stay within the bounds.
    is_short: bool,
}

impl Results {
    /// Makes a place for the result of this line. It takes the place of an earlier one with the same id.
    pub(crate) fn add(&mut self, id: &Id, line: u64) -> Arc<Kept> {
        let kept = Arc::new(Kept {
            id: id.as_text().into_owned(),
            line,
            end: OnceLock::new(),
        });
        if let Some(earlier) = self.by_id.insert(kept.id.clone(), Arc::clone(&kept)) {
            self.bytes -= earlier.bytes();
            self.order.retain(|kept| !Arc::ptr_eq(kept, &earlier));
        }
        self.order.push_back(Arc::clone(&kept));
        self.leave_out();
        kept
    }

    /// The result, or its place, of the last line with this id.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Kept>, NoResult> {
        self.by_id.get(id).cloned().ok_or_else(|| {
            let id = id.to_owned();
            if self.is_short {
                NoResult::NotKept(id)
            } else {
                NoResult::Unknown(id)
            }
        })
    }

    /// The call of that place has ended.
    pub(crate) fn end(&mut self, kept: &Arc<Kept>, end: End) {
        // A call ends once.
        drop(kept.end.set(end));
        let is_kept = |found: &Arc<Kept>| Arc::ptr_eq(found, kept);
        if self.by_id.get(&kept.id).is_some_and(is_kept) {
            self.bytes += kept.bytes();
            self.leave_out();
        }
    }

    fn leave_out(&mut self) {
        while self.order.len() > MOST || self.bytes > LARGEST {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.by_id.remove(&oldest.id);
            self.is_short = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::Text(text.to_owned())
    }

    fn data(text: impl Into<String>) -> End {
        End::Data(Some(text.into()))
    }

    #[test]
    fn a_reference_means_the_last_earlier_line_and_is_not_changed_by_a_later_one() {
        let mut results = Results::default();
        assert_eq!(results.find("a").unwrap_err(), NoResult::Unknown("a".into()));
        let first = results.add(&id("a"), 1);
        let bound = results.find("a").unwrap();
        let second = results.add(&id("a"), 2);
        results.end(&first, data("first"));
        results.end(&second, End::Failed);
        assert!(matches!(bound.end(), Some(End::Data(Some(text))) if text == "first"));
        assert!(matches!(results.find("a").unwrap().end(), Some(End::Failed)));
        assert_eq!((results.order.len(), results.bytes), (1, 0));
    }

    #[test]
    fn a_number_and_its_text_are_the_same_id() {
        let mut results = Results::default();
        results.add(&Id::Number(7), 1);
        results.add(&id("7"), 2);
        assert_eq!((results.find("7").unwrap().line, results.order.len()), (2, 1));
    }

    #[test]
    fn as_many_results_are_kept_as_the_bound_says() {
        let mut results = Results::default();
        for number in 0..=MOST as u64 {
            results.add(&Id::Number(number), number + 1);
        }
        assert_eq!(results.find("0").unwrap_err(), NoResult::NotKept("0".into()));
        assert_eq!(results.find("1").unwrap().line, 2);
        assert_eq!((results.order.len(), results.by_id.len()), (MOST, MOST));
    }

    #[test]
    fn the_bytes_of_all_results_have_a_bound_and_the_oldest_go_first() {
        let mut results = Results::default();
        let half = "x".repeat(LARGEST / 2);
        for (line, name) in ["a", "b", "c"].into_iter().enumerate() {
            let kept = results.add(&id(name), line as u64);
            results.end(&kept, data(&*half));
        }
        assert!(results.find("a").is_err() && results.find("b").is_ok() && results.find("c").is_ok());
        // One that is replaced takes no room.
        results.add(&id("b"), 4);
        let kept = results.add(&id("d"), 5);
        results.end(&kept, data(&*half));
        assert!(results.find("c").is_ok());
        // One that is too large by itself is not kept, and keeps no other one.
        let kept = results.add(&id("e"), 6);
        results.end(&kept, data("x".repeat(LARGEST + 1)));
        assert!(results.find("e").is_err());
        assert_eq!(results.bytes, 0);
    }
}
