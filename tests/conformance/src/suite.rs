//! Runs many cases, a few at a time.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::{CASES, Case};
use crate::drive::drive;
use crate::host::Host;
use crate::report::{Outcome, Report, Verdict};

/// The selected cases, and how many run concurrently.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Selects the cases whose name contains this; without it, every case.
    pub filter: Option<String>,
    /// How many cases run concurrently, each against a host of its own. At least one does.
    pub jobs: usize,
}

/// Runs the selected cases against `host`. Calls `seen` with each outcome as it arrives.
pub async fn run<H: Host>(host: H, selection: Selection, mut seen: impl FnMut(&Outcome)) -> Report {
    let host = Arc::new(host);
    let slots = Arc::new(Semaphore::new(selection.jobs.max(1)));
    let mut tasks = JoinSet::new();
    let wanted = |case: &&Case| {
        selection
            .filter
            .as_ref()
            .is_none_or(|text| case.name.contains(text.as_str()))
    };
    for case in CASES.iter().copied().filter(|case| wanted(&case)) {
        let (host, slots) = (Arc::clone(&host), Arc::clone(&slots));
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let task = tokio::spawn(async move { run_one(&*host, case).await });
            task.await.unwrap_or_else(|error| Outcome {
                case,
                verdict: Verdict::Failed(format!("the host panicked: {error}")),
                ms: 0,
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
    outcomes.sort_by_key(|outcome| outcome.case.name);
    Report {
        host: host.describe(),
        outcomes,
    }
}

/// Runs one case.
pub async fn run_one<H: Host>(host: &H, case: Case) -> Outcome {
    let started = Instant::now();
    let verdict = drive(host, case).await;
    Outcome {
        case,
        verdict,
        ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
