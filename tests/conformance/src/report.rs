//! The results: a line for a reader, an object for a program.

use std::fmt;

use serde::Serialize;

use crate::case::Case;
use crate::host::Description;

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host has the behaviour. The text is what was observed.
    Passed(String),
    /// The host does not have the behaviour. The text is what was observed instead.
    Failed(String),
    /// The case could not be tried, for this reason. It never counts as passed.
    NotApplicable(String),
}

impl Verdict {
    /// The result as one word of the line.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Failed(_) => "FAIL",
            Self::NotApplicable(_) => "n/a",
        }
    }

    /// The observation, or the reason.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Failed(text) | Self::NotApplicable(text) => text,
        }
    }
}

/// One case's outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// The result.
    pub verdict: Verdict,
    /// The time that the case took, in milliseconds.
    pub ms: u64,
}

impl fmt::Display for Outcome {
    /// One line: `ok    S1   s1_bad_env_keys  what was seen`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.verdict.text().replace(['\n', '\r'], " ");
        let (word, clause, name) = (self.verdict.word(), self.case.clause(), self.case.name);
        write!(f, "{word:<4}  {clause:<3}  {name}  {}", cut(&text, 400))
    }
}

/// All outcomes of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The host under test.
    pub host: Description,
    /// The outcomes, in the order of the cases.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// The numbers of cases that passed, failed and were not applicable.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |word| self.outcomes.iter().filter(|one| one.verdict.word() == word).count();
        (count("ok"), count("FAIL"), count("n/a"))
    }

    /// The number of cases that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.counts().1
    }

    /// A summary such as `97 passed, 0 failed, 3 not applicable`.
    #[must_use]
    pub fn summary(&self) -> String {
        let (passed, failed, not_applicable) = self.counts();
        format!("{passed} passed, {failed} failed, {not_applicable} not applicable")
    }

    /// The report as one JSON object, indented.
    ///
    /// # Panics
    /// Never: every part of it can be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (passed, failed, not_applicable) = self.counts();
        let document = Document {
            suite: env!("CARGO_PKG_VERSION"),
            host: &self.host,
            passed,
            failed,
            not_applicable,
            cases: self
                .outcomes
                .iter()
                .map(|outcome| CaseObject {
                    clause: outcome.case.clause(),
                    name: outcome.case.name,
                    title: outcome.case.title,
                    verdict: match outcome.verdict {
                        Verdict::Passed(_) => "passed",
                        Verdict::Failed(_) => "failed",
                        Verdict::NotApplicable(_) => "not-applicable",
                    },
                    seen: cut(outcome.verdict.text(), 4000),
                    ms: outcome.ms,
                })
                .collect(),
        };
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    suite: &'static str,
    host: &'a Description,
    passed: usize,
    failed: usize,
    not_applicable: usize,
    cases: Vec<CaseObject<'a>>,
}

#[derive(Serialize)]
struct CaseObject<'a> {
    clause: String,
    name: &'static str,
    title: &'static str,
    verdict: &'static str,
    seen: &'a str,
    ms: u64,
}

/// The longest prefix of whole characters with at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
