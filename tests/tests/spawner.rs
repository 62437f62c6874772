//! A spawner can be killed, and so can a spare init: no running process is affected, and the next command starts.
//! Neither is left when its host is gone, and no init holds a descriptor of another's.
//!
//! The children of the whole test process are counted, so this is one test in a binary of its own.

use std::sync::Arc;

use capsule_host::sandbox::{Confined, Launcher, Policy, Unconfined};
use rustix::process::{Pid, Signal, kill_process};

use capsule_tests::holdings::{children_of, waits_for_configuration};
use capsule_tests::{AllowAll, Host, cat, chunk, command, signalled, until, watchdog};

/// The only child of this process.
fn spawner() -> u32 {
    let [spawner] = children_of(std::process::id())[..] else {
        panic!("not one child");
    };
    spawner
}

/// The spare init, once it exists.
async fn spare() -> u32 {
    let mut spare = None;
    until("an init waits", || {
        spare = children_of(spawner())
            .into_iter()
            .find(|pid| waits_for_configuration(*pid));
        spare.is_some()
    })
    .await;
    spare.expect("it waits")
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it runs");
}

fn gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn says_back(host: &Host, id: &str, word: &str) {
    let scope = host.scope();
    watchdog(scope.write_stdin(id, word.into())).await.expect("it listens");
    until("it has come back", || {
        let said = chunk(&scope, id, capsule_host::supervisor::LogStream::Stdout, None, 1 << 16).data;
        String::from_utf8_lossy(&said).ends_with(word)
    })
    .await;
}

async fn a_killed_spawner_is_replaced(host: &Host) {
    let scope = host.scope();
    let before = host.start(cat()).await;
    says_back(host, &before, "first").await;
    for _ in 0..50 {
        let killed = spawner();
        kill(killed);
        // At once, so that the spawner is asked for an init while it dies. Perhaps it is not asked yet: one init can be
        // ready, and another being made.
        for _ in 0..3 {
            host.run(command("/bin/true", &[])).await.expect("the next one starts");
        }
        // The request for the next spare init may be the one that uses the new spawner, or starts it.
        until(
            "another makes inits",
            || matches!(children_of(std::process::id())[..], [spawner] if spawner != killed),
        )
        .await;
    }
    says_back(host, &before, "second").await;
    let exit = watchdog(scope.stop(&before, None)).await;
    assert_eq!(exit, Ok(signalled(15)));
}

async fn a_killed_spare_is_passed_over(host: &Host) {
    host.run(command("/bin/true", &[])).await.expect("it runs");
    for _ in 0..3 {
        let waiting = spare().await;
        kill(waiting);
        until("it is gone", || gone(waiting)).await;
        host.run(command("/bin/true", &[])).await.expect("the next one starts");
    }
}

/// A stopped spawner delays the next command for a moment, and does not prevent its start.
async fn a_stopped_spare_is_passed_over(host: &Host) {
    host.run(command("/bin/true", &[])).await.expect("it runs");
    for _ in 0..3 {
        let waiting = spare().await;
        stop(waiting).await;
        // Not always by the first command: an init may be ready before the host knows it.
        for _ in 0..100 {
            host.run(command("/bin/true", &[])).await.expect("the next one starts");
            if gone(waiting) {
                break;
            }
        }
        until("it is gone", || gone(waiting)).await;
    }
}

async fn a_stopped_spawner_is_replaced(host: &Host) {
    let before = host.start(cat()).await;
    says_back(host, &before, "first").await;
    for _ in 0..3 {
        let stopped = spawner();
        stop(stopped).await;
        // A spare init may be used first, and an init that is being made second.
        for _ in 0..3 {
            host.run(command("/bin/true", &[])).await.expect("the next one starts");
        }
        until("it is gone", || gone(stopped)).await;
    }
    says_back(host, &before, "second").await;
    let exit = watchdog(host.scope().stop(&before, None)).await;
    assert_eq!(exit, Ok(signalled(15)));
}

async fn stop(pid: u32) {
    let stopped = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(stopped, Signal::STOP).expect("it runs");
    until("it is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, fields)| fields.starts_with(" T"))
    })
    .await;
}

/// The descriptors of a process; none if it does not exist.
fn sockets_of(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// An init that held the end of another init's channel would keep the channel open when that init dies.
async fn an_init_has_no_channel_but_its_own(host: &Host) {
    let scope = host.scope();
    for _ in 0..5 {
        // Started together, so that one init is a spare and the others are made on request.
        let start = || Box::pin(host.start(cat()));
        let (one, two, three) = tokio::join!(start(), start(), start());
        spare().await;
        // An init that is being made has the spawner's own end for a moment, and an earlier init may be ending.
        until("each init has one socket", || {
            children_of(spawner()).into_iter().all(|init| sockets_of(init) <= 1)
        })
        .await;
        for id in [one, two, three] {
            watchdog(scope.stop(&id, None)).await.expect("it runs");
        }
    }
}

/// As many as can start at once: with the spare init, with one that was requested in advance, and with others that are
/// made on request.
async fn many_at_once_all_start(host: &Host) {
    for _ in 0..20 {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let (scope, workspace) = (host.scope(), host.workspace.clone());
                tokio::spawn(async move {
                    let request = command("/bin/true", &[]);
                    scope
                        .spawn(request, &workspace, &mut AllowAll)
                        .await
                        .map(|output| output.exit.exit_code)
                })
            })
            .collect();
        for run in runs {
            assert_eq!(watchdog(run).await.expect("no panic"), Ok(Some(0)));
        }
    }
}

#[test]
fn b3_b5_s6_what_makes_inits_can_be_lost_and_is_not_left_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let confined = || Arc::new(Confined::new(Policy::new()).expect("a confinement"));
        let unconfined = || Arc::new(Unconfined::new().allow_persistent());
        let launchers: [&dyn Fn() -> Arc<dyn Launcher>; 2] = [&|| confined(), &|| unconfined()];
        for launcher in launchers {
            let host = Host::launching(launcher());
            a_killed_spawner_is_replaced(&host).await;
            a_killed_spare_is_passed_over(&host).await;
            a_stopped_spare_is_passed_over(&host).await;
            a_stopped_spawner_is_replaced(&host).await;
            many_at_once_all_start(&host).await;
            an_init_has_no_channel_but_its_own(&host).await;
            let (spawner, spare) = (spawner(), spare().await);
            drop(host);
            until("neither is left", || gone(spawner) && gone(spare)).await;
        }
    });
}
