//! Hosts with deliberate faults, to show that the suite notices them.

use std::sync::Arc;

use capsule_conformance::{
    Answer, CASES, CallFailure, CapsuleHost, CapsuleRunning, Description, Host, Load, Refusal, Running, Settings,
    Start, run_one,
};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;

/// The fault of a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// No fault. The cases must pass then, or failing proves nothing.
    None,
    /// It grants every capsule everything that the cases name.
    GrantsAll,
    /// It treats every caller as the same principal.
    OnePrincipal,
    /// It ignores the quotas of the settings.
    ForgetsSettings,
    /// It loses its capsules' processes when it reloads.
    ReloadEnds,
    /// It leaves processes running at its shutdown, until it is dropped.
    ShutdownForgets,
    /// It makes every guest answer that all is well.
    AlwaysWell,
    /// It offers no optional operation.
    OffersNothing,
}

pub(crate) fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let expectations: [(&str, Fault, &str, &str); 8] = [
        ("a_sound_host_passes", Fault::None, "s10_needs_the_grant", "ok"),
        (
            "too_many_grants_are_seen",
            Fault::GrantsAll,
            "s10_needs_the_grant",
            "FAIL",
        ),
        (
            "mixed_up_principals_are_seen",
            Fault::OnePrincipal,
            "i3_of_another_principal",
            "FAIL",
        ),
        (
            "a_forgotten_quota_is_seen",
            Fault::ForgetsSettings,
            "q1_shared_by_all_tiers",
            "FAIL",
        ),
        (
            "a_reload_that_ends_processes_is_seen",
            Fault::ReloadEnds,
            "i4_after_a_reload",
            "FAIL",
        ),
        (
            "a_shutdown_that_leaves_processes_is_seen",
            Fault::ShutdownForgets,
            "b3_after_shutdown",
            "FAIL",
        ),
        (
            "a_guest_that_cannot_say_its_plan_is_seen",
            Fault::AlwaysWell,
            "s1_bad_env_keys",
            "FAIL",
        ),
        (
            "what_is_not_offered_is_not_passed",
            Fault::OffersNothing,
            "i4_after_a_reload",
            "n/a",
        ),
    ];
    expectations
        .into_iter()
        .map(|(name, fault, case, word)| {
            let runtime = Arc::clone(runtime);
            Trial::test(name, move || runtime.block_on(expect(fault, case, word)))
        })
        .collect()
}

async fn expect(fault: Fault, case: &str, word: &str) -> Result<(), Failed> {
    let case = CASES
        .iter()
        .find(|one| one.name == case)
        .ok_or("there is no such case")?;
    let host = Broken {
        inner: CapsuleHost::confined()?.cache_dir(Some(super::cache())),
        fault,
    };
    let verdict = run_one(&host, *case).await.verdict;
    if verdict.word() == word {
        Ok(())
    } else {
        Err(format!("{}: {verdict:?}", case.name).into())
    }
}

struct Broken {
    inner: CapsuleHost,
    fault: Fault,
}

struct BrokenRunning {
    inner: CapsuleRunning,
    fault: Fault,
}

impl Host for Broken {
    type Running = BrokenRunning;

    fn describe(&self) -> Description {
        self.inner.describe()
    }

    async fn start(&self, mut start: Start) -> Result<BrokenRunning, Refusal> {
        if self.fault == Fault::ForgetsSettings {
            start.needs = Settings::default();
            start.wishes = Settings::default();
        }
        Ok(BrokenRunning {
            inner: self.inner.start(start).await?,
            fault: self.fault,
        })
    }
}

impl Running for BrokenRunning {
    async fn load(&self, mut load: Load) -> Result<(), Refusal> {
        if self.fault == Fault::GrantsAll {
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
        if self.fault == Fault::AlwaysWell {
            return Ok(Answer {
                action: "continue".into(),
                data: None,
            });
        }
        let principal = if self.fault == Fault::OnePrincipal {
            Some("shared")
        } else {
            principal
        };
        self.inner.call(capsule, principal, action, payload).await
    }

    async fn reload(&self, capsule: &str) -> Result<(), Refusal> {
        match self.fault {
            Fault::OffersNothing => Err(Refusal::NotOffered("it offers nothing".into())),
            Fault::ReloadEnds => {
                self.inner.shutdown().await;
                self.inner.reload(capsule).await
            }
            Fault::None
            | Fault::GrantsAll
            | Fault::OnePrincipal
            | Fault::ForgetsSettings
            | Fault::ShutdownForgets
            | Fault::AlwaysWell => self.inner.reload(capsule).await,
        }
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        self.inner.unload(capsule).await
    }

    async fn shutdown(&self) {
        if self.fault != Fault::ShutdownForgets {
            self.inner.shutdown().await;
        }
    }
}
