//! That each case fails when the host has the fault that the case is about, by the table in `table.rs`; and this project's host with
//! faults of the whole host, which are made around it. Faults of what a guest sees are made in `mutant`.

use std::collections::BTreeSet;
use std::sync::Arc;

use capsule_conformance::{
    Answer, AuditRecord, CASES, CallFailure, CapsuleHost, CapsuleRunning, Description, Host, Load, Metrics, Refusal,
    Running, Settings, Start, run_one,
};
use capsule_host::sandbox::LaunchError;
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;

use crate::mutant::Mutant;
use crate::table::{OF_THE_HOST, OF_THE_INTERFACE, Row};

pub(crate) fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = vec![Trial::test("every_case_is_shown_to_fail", every_case_is_shown_to_fail)];
    let kinds: [(&str, &'static [Row]); 2] = [("host", OF_THE_HOST), ("interface", OF_THE_INTERFACE)];
    for (kind, rows) in kinds {
        trials.extend(
            rows.iter()
                .flat_map(|row| row.caught_by.iter().map(move |caught| (row, caught)))
                .map(|(row, (case, words))| {
                    let runtime = Arc::clone(runtime);
                    let name = format!("{case}: {}", row.change);
                    Trial::test(name, move || runtime.block_on(catches(kind, row, case, words))).with_kind(kind)
                }),
        );
    }
    // What is unchanged must pass, or failing proves nothing.
    trials.extend(UNCHANGED.iter().map(|case| {
        let runtime = Arc::clone(runtime);
        let unchanged =
            move || runtime.block_on(async { expect(&Mutant::new("", false)?, case, "ok").await.map(drop) });
        Trial::test(format!("{case}: nothing is changed"), unchanged).with_kind("interface")
    }));
    let runtime = Arc::clone(runtime);
    let not_offered = move || {
        runtime.block_on(async {
            expect(&Broken::new("it offers nothing")?, "i4_after_a_reload", "n/a")
                .await
                .map(drop)
        })
    };
    trials.push(Trial::test("i4_after_a_reload: it offers nothing", not_offered).with_kind("host"));
    trials
}

/// Cases that try most of the interface together.
const UNCHANGED: [&str; 6] = [
    "a1_every_method_of_an_attached_handle",
    "a4_unloading_cancels",
    "e2_reasons",
    "i3_no_oracle",
    "q4_the_embedder_sets_them",
    "u1_what_stands_in_them",
];

/// The case fails by the change, with these words.
async fn catches(kind: &str, row: &Row, case: &str, words: &str) -> Result<(), Failed> {
    let said = if kind == "host" {
        expect(&Broken::new(row.change)?, case, "FAIL").await?
    } else {
        expect(&Mutant::new(row.change, row.hurry)?, case, "FAIL").await?
    };
    if words.split('|').any(|words| said.contains(words)) {
        Ok(())
    } else {
        Err(format!("it fails for another reason than {words:?}: {said}").into())
    }
}

/// What the case says, with this verdict.
async fn expect<H: Host>(host: &H, case: &str, word: &str) -> Result<String, Failed> {
    let case = CASES
        .iter()
        .find(|one| one.name == case)
        .ok_or("there is no such case")?;
    let verdict = run_one(host, *case).await.verdict;
    if verdict.word() == word {
        Ok(verdict.text().to_owned())
    } else {
        Err(format!("the verdict is {} and not {word}: {}", verdict.word(), verdict.text()).into())
    }
}

fn every_case_is_shown_to_fail() -> Result<(), Failed> {
    let rows = OF_THE_HOST.iter().chain(OF_THE_INTERFACE);
    let caught: BTreeSet<&str> = rows.flat_map(|row| row.caught_by).map(|(case, _)| *case).collect();
    let cases = CASES.iter().map(|case| case.name);
    let not_shown: Vec<_> = cases.filter(|case| !caught.contains(case)).collect();
    if not_shown.is_empty() {
        Ok(())
    } else {
        Err(format!("no row of tests/suite/table.rs makes these fail: {not_shown:?}").into())
    }
}

struct Broken {
    inner: CapsuleHost,
    change: &'static str,
}

impl Broken {
    fn new(change: &'static str) -> Result<Self, LaunchError> {
        Ok(Self {
            inner: CapsuleHost::confined()?.cache_dir(Some(crate::cache::dir())),
            change,
        })
    }
}

struct BrokenRunning {
    inner: CapsuleRunning,
    change: &'static str,
}

impl Host for Broken {
    type Running = BrokenRunning;

    fn describe(&self) -> Description {
        self.inner.describe()
    }

    async fn start(&self, mut start: Start) -> Result<BrokenRunning, Refusal> {
        if self.change == "settings are forgotten" {
            start.needs = Settings::default();
            start.wishes = Settings::default();
        }
        Ok(BrokenRunning {
            inner: self.inner.start(start).await?,
            change: self.change,
        })
    }
}

impl Running for BrokenRunning {
    async fn load(&self, mut load: Load) -> Result<(), Refusal> {
        if self.change == "every capsule may have persistent processes" {
            load.grants.persistent = true;
        }
        self.inner.load(load).await
    }

    async fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        if self.change == "every call is answered with continue" {
            return Ok(Answer {
                action: "continue".into(),
                data: None,
            });
        }
        let principal = if self.change == "all callers are one principal" {
            Some("shared")
        } else {
            principal
        };
        match self.inner.call(capsule, principal, action, payload).await {
            Err(CallFailure::Cancelled | CallFailure::Trapped(_))
                if self.change == "an interrupted call is answered" =>
            {
                Ok(Answer {
                    action: "continue".into(),
                    data: None,
                })
            }
            answer => answer,
        }
    }

    async fn reload(&self, capsule: &str) -> Result<(), Refusal> {
        match self.change {
            "it offers nothing" => return Err(Refusal::NotOffered("it offers nothing".into())),
            "a reload ends processes" => self.inner.shutdown().await,
            _ => {}
        }
        self.inner.reload(capsule).await
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        self.inner.unload(capsule).await
    }

    async fn audit(&self) -> Result<Vec<AuditRecord>, Refusal> {
        self.inner.audit().await
    }

    async fn metrics(&self) -> Result<Metrics, Refusal> {
        let mut metrics = self.inner.metrics().await?;
        if self.change == "exits are not measured" {
            metrics.exit_latencies = None;
        }
        Ok(metrics)
    }

    async fn shutdown(&self) {
        if self.change != "a shutdown leaves processes" {
            self.inner.shutdown().await;
        }
    }
}
