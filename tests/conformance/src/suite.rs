//! Selects cases, and runs many of them in this process, a few at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::{CASES, Case, Level};
use crate::drive::{MustBeAlone, Terms, drive};
use crate::host::Host;
use crate::report::{Outcome, Report, Verdict, level_name};

/// Which cases run. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The cases whose name contains one of these texts. With no text, every case.
    pub filter: Vec<String>,
    /// Without the cases whose name contains one of these texts.
    pub skip: Vec<String>,
    /// Only cases of these levels. With no level, those of every level.
    pub levels: Vec<Level>,
}

/// A part of a selection that is wrong, probably a misspelled name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// A text of [`Selection::filter`] that selects nothing.
    #[error("--filter: no case has a name that holds {0:?}")]
    Filter(String),
    /// A text of [`Selection::skip`] that skips nothing.
    #[error("--skip: no case has a name that holds {0:?}")]
    Skip(String),
    /// Each part by itself selects cases, and all together select none.
    #[error("no case is left by {0}")]
    Nothing(String),
}

impl Selection {
    /// The selected cases, in their order.
    ///
    /// # Errors
    /// [`SelectionError`]: a text that no name contains, or a selection of nothing.
    pub fn cases(&self) -> Result<Vec<Case>, SelectionError> {
        let is_in_none = |text: &&String| !CASES.iter().any(|case| case.name.contains(text.as_str()));
        if let Some(text) = self.filter.iter().find(is_in_none) {
            return Err(SelectionError::Filter(text.clone()));
        }
        if let Some(text) = self.skip.iter().find(is_in_none) {
            return Err(SelectionError::Skip(text.clone()));
        }
        let holds = |case: &Case, texts: &[String]| texts.iter().any(|text| case.name.contains(text.as_str()));
        let cases: Vec<Case> = CASES
            .iter()
            .filter(|case| self.filter.is_empty() || holds(case, &self.filter))
            .filter(|case| !holds(case, &self.skip))
            .filter(|case| self.levels.is_empty() || self.levels.contains(&case.level))
            .copied()
            .collect();
        if cases.is_empty() {
            return Err(SelectionError::Nothing(self.to_string()));
        }
        Ok(cases)
    }
}

impl std::fmt::Display for Selection {
    /// The options of the command line that select the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filter = self.filter.iter().map(|text| format!("--filter {text}"));
        let skip = self.skip.iter().map(|text| format!("--skip {text}"));
        let levels: BTreeSet<_> = self.levels.iter().map(|level| level_name(*level)).collect();
        let levels = levels.into_iter().map(|level| format!("--level {level}"));
        f.write_str(&filter.chain(skip).chain(levels).collect::<Vec<_>>().join(" "))
    }
}

/// Runs `cases` against `host` in this process, at most `jobs` at once. Calls `seen` with each outcome as it arrives.
///
/// A host that aborts ends the caller, and no memory is bounded. With the feature `command-line` the crate's `Options` run each
/// case in a process of its own.
pub async fn run<H: Host>(host: H, cases: &[Case], jobs: usize, mut seen: impl FnMut(&Outcome)) -> Report {
    let host = Arc::new(host);
    let slots = Arc::new(Semaphore::new(jobs.max(1)));
    let mut tasks = JoinSet::new();
    for case in cases.iter().copied() {
        let (host, slots) = (Arc::clone(&host), Arc::clone(&slots));
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let task = tokio::spawn(async move { run_one(&*host, case).await });
            task.await.unwrap_or_else(|error| Outcome {
                case,
                verdict: Verdict::Failed(format!("the host panicked: {error}")),
                ms: 0,
                output: String::new(),
            })
        });
    }
    let mut outcomes = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        // A task here fails only by a panic, and `run_one` turns panics into results.
        if let Ok(outcome) = ended {
            seen(&outcome);
            outcomes.push(outcome);
        }
    }
    sort(&mut outcomes);
    Report {
        host: host.describe(),
        command: String::new(),
        outcomes,
    }
}

/// Sorts outcomes in the order of the cases.
pub(crate) fn sort(outcomes: &mut [Outcome]) {
    let place = |outcome: &Outcome| CASES.iter().position(|case| case.name == outcome.case.name);
    outcomes.sort_by_key(place);
}

/// Runs one case in this process.
pub async fn run_one<H: Host>(host: &H, case: Case) -> Outcome {
    let started = Instant::now();
    let verdict = match drive(host, case, &Terms::default()).await {
        Ok(verdict) => verdict,
        // It waits for the others of this process.
        Err(MustBeAlone) => Verdict::Failed("was not run, because it must be alone".into()),
    };
    Outcome {
        case,
        verdict,
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        output: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_select_and_skip() {
        let selection = Selection {
            filter: texts(&["s1_", "s6_"]),
            skip: texts(&["s6_not"]),
            levels: Vec::new(),
        };
        let cases = selection.cases().unwrap();
        assert!(cases.iter().any(|case| case.name == "s1_bad_env_keys"));
        assert!(cases.iter().any(|case| case.name.starts_with("s6_")));
        assert!(cases.iter().all(|case| !case.name.contains("s6_not")));
        assert_eq!(Selection::default().cases().unwrap().len(), CASES.len());
    }

    #[test]
    fn a_selection_of_nothing_says_why() {
        let of = |filter: &[&str], skip: &[&str]| {
            let selection = Selection {
                filter: texts(filter),
                skip: texts(skip),
                levels: vec![Level::Contract],
            };
            selection.cases().map(|cases| cases.len()).unwrap_err().to_string()
        };
        assert_eq!(
            of(&["s1_", "s99_"], &[]),
            "--filter: no case has a name that holds \"s99_\""
        );
        assert_eq!(
            of(&[], &["nowhere"]),
            "--skip: no case has a name that holds \"nowhere\""
        );
        assert_eq!(
            of(&["s1_"], &["s1_"]),
            "no case is left by --filter s1_ --skip s1_ --level contract"
        );
    }
}
