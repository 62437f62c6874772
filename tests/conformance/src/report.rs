//! The results of a run. [`crate::format`] writes them for readers and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::case::{Case, Level};
use crate::host::Description;
use crate::text::cut;

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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

    /// The result as reports name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "failed",
            Self::NotApplicable(_) => "not-applicable",
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
    /// The end of what the case's process wrote to its standard output and error, at most 16 KiB. It is empty if the case ran in the
    /// process of the caller.
    pub output: String,
}

impl fmt::Display for Outcome {
    /// One line: `ok    S1   s1_bad_env_keys  what was seen`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.verdict.text().replace(['\n', '\r'], " ");
        let (word, clause, name) = (self.verdict.word(), self.case.clause(), self.case.name);
        write!(f, "{word:<4}  {clause:<3}  {name}  {}", cut(&text, 400))
    }
}

/// How many cases had each result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that were not applicable.
    pub not_applicable: usize,
}

impl Counts {
    /// Counts these outcomes.
    #[must_use]
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Passed(_) => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::NotApplicable(_) => counts.not_applicable += 1,
            }
        }
        counts
    }

    /// The number of cases.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.passed + self.failed + self.not_applicable
    }

    /// Whether there are cases, and all passed.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.not_applicable == 0
    }
}

impl fmt::Display for Counts {
    /// `97 passed, 0 failed, 3 not applicable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            not_applicable,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {not_applicable} not applicable")
    }
}

/// The levels, in the order of reports.
pub(crate) const LEVELS: [Level; 3] = [Level::Interface, Level::Contract, Level::Platform];

/// A level as options and reports name it.
pub(crate) const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Interface => "interface",
        Level::Contract => "contract",
        Level::Platform => "platform",
    }
}

/// All outcomes of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The host under test.
    pub host: Description,
    /// The command to which `--filter NAME` is added to run one case again. It is empty if the cases were not run by a command.
    pub command: String,
    /// The outcomes, in the order of the cases.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// The numbers of cases that passed, failed and were not applicable.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(&self.outcomes)
    }

    /// The same for the cases of each level that has any.
    #[must_use]
    pub fn levels(&self) -> Vec<(Level, Counts)> {
        let of_level = |level| {
            let outcomes = self.outcomes.iter().filter(|outcome| outcome.case.level == level);
            (level, Counts::of(outcomes))
        };
        let all = LEVELS.into_iter().map(of_level);
        all.filter(|(_, counts)| counts.total() > 0).collect()
    }

    /// The number of cases that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.counts().failed
    }

    /// The summary: a line such as `97 passed, 0 failed, 3 not applicable`, and a line for each level, such as
    /// `interface: all 49 passed`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = vec![self.counts().to_string()];
        lines.extend(self.levels().into_iter().map(|(level, counts)| {
            let level = level_name(level);
            if counts.is_all() {
                format!("{level}: all {} passed", counts.passed)
            } else {
                format!("{level}: {counts}")
            }
        }));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CASES;

    fn report(verdicts: &[(Level, Verdict)]) -> Report {
        let outcome = |(level, verdict): &(Level, Verdict)| {
            let mut case = CASES[0];
            case.level = *level;
            Outcome {
                case,
                verdict: verdict.clone(),
                ms: 1,
                output: String::new(),
            }
        };
        Report {
            host: Description {
                name: "mine".into(),
                version: "1".into(),
                confinement: Vec::new(),
                concurrent_calls: true,
                persistent_unconfined: false,
                notes: Vec::new(),
            },
            command: String::new(),
            outcomes: verdicts.iter().map(outcome).collect(),
        }
    }

    #[test]
    fn levels_are_counted_apart() {
        let (passed, failed) = (Verdict::Passed(String::new()), Verdict::Failed(String::new()));
        let skipped = Verdict::NotApplicable(String::new());
        let report = report(&[
            (Level::Contract, failed),
            (Level::Interface, passed.clone()),
            (Level::Interface, passed.clone()),
            (Level::Contract, passed),
            (Level::Platform, skipped),
        ]);
        assert_eq!(
            report.summary(),
            "3 passed, 1 failed, 1 not applicable\n\
             interface: all 2 passed\n\
             contract: 1 passed, 1 failed, 0 not applicable\n\
             platform: 0 passed, 0 failed, 1 not applicable"
        );
    }
}
