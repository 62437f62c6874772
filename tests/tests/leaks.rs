//! Nothing is left, however the processes end: no process, no zombie, no descriptor and no task.
//!
//! Descriptors and children are counted for the whole test process, so this is one test in a binary of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use capsule_host::supervisor::{Error, LogStream, Overflow, Scope, SpawnRequest};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use capsule_tests::holdings::{Holdings, children, descriptors, is_prepared};
use capsule_tests::{AllowAll, Host, chunk, command, exit, forever, runs, sh, signalled, until, watchdog};

const CROWD: usize = 10;

/// Processes whose rings are full, whose pipes are full, and whose writers are stuck.
struct Crowd {
    ids: Vec<String>,
    pids: BTreeSet<u32>,
    writers: Vec<JoinHandle<Result<u32, Error>>>,
}

impl Crowd {
    async fn in_(host: &Host) -> Self {
        let scope = host.scope();
        let mut crowd = Self {
            ids: Vec::new(),
            pids: BTreeSet::new(),
            writers: Vec::new(),
        };
        for number in 0..CROWD {
            // Half of them ignore TERM.
            let trap = if number % 2 == 0 { "" } else { "trap '' TERM;" };
            let id = host
                .start(SpawnRequest {
                    keep_stdin_open: true,
                    stdin: Some(vec![0; 4 << 20]),
                    overflow: Overflow::Backpressure,
                    log_ring_bytes: Some(4096),
                    ..sh(&format!("{trap} yes $$ & yes $! >&2 & wait"))
                })
                .await;
            for _ in 0..3 {
                let (scope, id) = (scope.clone(), id.clone());
                let write = async move { scope.write_stdin(&id, vec![0; 1 << 20]).await };
                crowd.writers.push(tokio::spawn(write));
            }
            let full = || scope.status(&id).expect("there").buffered_bytes == 2 * 4096;
            until("both rings are full", full).await;
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let data = chunk(&scope, &id, stream, None, 20).data;
                let text = String::from_utf8_lossy(&data).into_owned();
                let pid = text.lines().next().and_then(|line| line.parse().ok());
                crowd.pids.insert(pid.expect("a pid"));
            }
            crowd.ids.push(id);
        }
        assert_eq!(crowd.pids.len(), 2 * CROWD);
        assert!(crowd.pids.iter().all(|&pid| runs(pid)));
        // The next init exists, so no init is being made, which would be counted.
        until("all of it runs", || is_prepared() && children().len() == CROWD).await;
        assert!(crowd.writers.iter().all(|writer| !writer.is_finished()));
        crowd
    }

    /// Checks that none of them runs and that every writer got an answer.
    async fn see_gone(self) {
        for writer in self.writers {
            let result = watchdog(writer).await.expect("no panic");
            assert!(matches!(result, Err(Error::Closed | Error::Cancelled)), "{result:?}");
        }
        for pid in self.pids {
            until("none of the crowd runs", || !runs(pid)).await;
        }
    }
}

/// Checks that nothing is left but the spare init. While it is being made, it is a child like others.
async fn none_left(what: &str) {
    until(what, || is_prepared() && children().is_empty()).await;
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

async fn after_stop(host: &Host) {
    let crowd = Crowd::in_(host).await;
    let stops: Vec<_> = crowd
        .ids
        .iter()
        .map(|id| {
            let (scope, id) = (host.scope(), id.clone());
            tokio::spawn(async move { scope.stop(&id, Some(Duration::from_millis(50))).await })
        })
        .collect();
    for stop in stops {
        let exit = watchdog(stop).await.expect("no panic").expect("it ran");
        assert!([signalled(9), signalled(15)].contains(&exit), "{exit:?}");
    }
    none_left("a stop returns when it is reaped").await;
    crowd.see_gone().await;
    assert_eq!(host.registry.retained(), 0);
    until("no task supervises nothing", || host.registry.tasks() == 0).await;
}

async fn after_shutdown(host: &Host) {
    let crowd = Crowd::in_(host).await;
    let waits: Vec<_> = crowd
        .ids
        .iter()
        .map(|id| {
            let (scope, id) = (host.scope(), id.clone());
            tokio::spawn(async move { scope.wait(&id, capsule_tests::PATIENCE).await })
        })
        .collect();
    watchdog(host.registry.shutdown()).await;
    none_left("the shutdown returns when all are reaped").await;
    assert_eq!(host.registry.tasks(), 0);
    crowd.see_gone().await;
    for wait in waits {
        let result = watchdog(wait).await.expect("no panic");
        assert!(
            result.is_ok() || result == Err(Error::NoSuchProcess) || result == Err(Error::Cancelled),
            "{result:?}"
        );
    }
    watchdog(host.registry.shutdown()).await;
}

async fn after_drop(host: Host) {
    let crowd = Crowd::in_(&host).await;
    // The writers hold the registry, as the last instance would.
    for writer in &crowd.writers {
        writer.abort();
    }
    for writer in crowd.writers {
        assert!(watchdog(writer).await.expect_err("it was stuck").is_cancelled());
    }
    drop(host);
    until("no child is left", || children().is_empty()).await;
    for pid in crowd.pids {
        until("none of the crowd runs", || !runs(pid)).await;
    }
}

/// Processes that ended by themselves and left output behind a full ring. Some are released, some are not.
async fn after_exits(host: &Host) {
    let scope = host.scope();
    for number in 0..CROWD {
        let request = SpawnRequest {
            keep_stdin_open: true,
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            ..sh("head -c 30000 /dev/zero; head -c 30000 /dev/zero >&2")
        };
        let id = host.start(request).await;
        exit(&scope, &id).await;
        if number % 2 == 0 {
            watchdog(scope.release(&id)).await.expect("it has exited");
        }
    }
    none_left("an exit is shown when it is reaped").await;
    watchdog(host.registry.shutdown()).await;
    assert_eq!(host.registry.tasks(), 0);
}

async fn after_timers(host: &Host) {
    for number in 0..CROWD {
        let time = Some(Duration::from_millis(50));
        let request = match number % 3 {
            0 => SpawnRequest {
                max_lifetime: time,
                ..forever()
            },
            1 => SpawnRequest {
                idle_timeout: time,
                ..forever()
            },
            _ => SpawnRequest {
                exit_retention: time,
                ..command("/bin/true", &[])
            },
        };
        host.start(request).await;
    }
    until("all are reaped", || host.registry.retained() == 0).await;
    until("no task is left", || host.registry.tasks() == 0).await;
}

async fn after_dropped_and_refused_spawns(host: &Host) {
    let scope = host.scope();
    for number in 0..CROWD {
        // Dropped at once, dropped while it runs, and never polled.
        let started = host.dir().join(format!("started-{number}"));
        let mut gate = AllowAll;
        let request = SpawnRequest {
            stdin: Some(vec![0; 4 << 20]),
            ..sh(&format!("touch started-{number}; yes & yes >&2 & wait"))
        };
        let at_once = number % 3 == 0;
        tokio::select! {
            biased;
            result = scope.spawn(request, &host.workspace, &mut gate) => {
                assert_eq!(result, Err(Error::TooLarge), "it only ends when it printed too much");
            }
            () = until("it has started", || at_once || started.exists()) => (),
        }
        let mut gate = AllowAll;
        let persistent = scope.spawn_persistent(command("/bin/true", &[]), &host.workspace, &mut gate);
        tokio::select! {
            biased;
            id = persistent => drop(id.expect("a process")),
            () = std::future::ready(()) => (),
        }
        host.try_start(command("/nonexistent", &[]))
            .await
            .map(|_| ())
            .expect_err("no program");
        host.run(command("/nonexistent", &[])).await.expect_err("no program");
    }
    until("no child is left", || children().is_empty()).await;
    end_all(&scope).await;
    until("no task is left", || host.registry.tasks() == 0).await;
}

/// Exited processes that are kept for their output hold no descriptor for it, and are not zombies.
async fn while_kept(host: &Host, handle: &Handle) {
    let scope = host.scope();
    // Once, so that the host opens what it keeps.
    host.run(command("/bin/true", &[])).await.expect("it runs");
    let mut before = Holdings::now(handle);
    until("nothing is left of the first", || {
        let prepared = is_prepared();
        before = Holdings::now(handle);
        prepared && before.children.is_empty() && before.tasks == 1
    })
    .await;
    for _ in 0..20 {
        let id = host.start(command("/bin/true", &[])).await;
        exit(&scope, &id).await;
    }
    until("nothing is held for what has exited", || {
        let now = Holdings::now(handle);
        now.descriptors == before.descriptors && now.children == before.children
    })
    .await;
    assert_eq!(scope.list(None).len(), 20, "they are kept");
    end_all(&scope).await;
}

/// This includes processes that started although their caller was gone.
async fn end_all(scope: &Scope) {
    for info in scope.list(None) {
        let result = scope.stop(info.id.expose(), Some(Duration::ZERO)).await;
        assert!(result.is_ok() || result == Err(Error::NoSuchProcess), "{result:?}");
    }
}

fn roomy() -> Host {
    Host::with(|limits| {
        limits.processes_per_principal = 1000;
        limits.retained_per_owner = 1000;
        limits.grace_shutdown = Duration::from_millis(50);
        limits.grace_default = Duration::from_millis(50);
    })
}

#[test]
fn b3_k2_k4_s8_nothing_is_left_of_processes_however_they_end() {
    // The first runtime opens what every later one shares.
    drop(runtime());
    let before_all = descriptors();
    let runtime = runtime();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        // Once, so that the runtime opens what it keeps.
        let host = roomy();
        host.run(command("/bin/true", &[])).await.expect("it runs");
        drop(host);
        until("all tasks are done", || handle.metrics().num_alive_tasks() == 0).await;
        until("all is closed", || Holdings::now(&handle).children.is_empty()).await;
        let baseline = Holdings::now(&handle);
        let same = async |how: &str| {
            let mut now = Holdings::now(&handle);
            until(how, || {
                now = Holdings::now(&handle);
                now == baseline
            })
            .await;
        };

        for _ in 0..2 {
            let host = roomy();
            after_stop(&host).await;
            drop(host);
            same("as before, after stop").await;

            let host = roomy();
            after_shutdown(&host).await;
            drop(host);
            same("as before, after shutdown").await;

            after_drop(roomy()).await;
            same("as before, after drop").await;

            let host = roomy();
            after_exits(&host).await;
            drop(host);
            same("as before, after exits").await;

            let host = roomy();
            while_kept(&host, &handle).await;
            drop(host);
            same("as before, after exits that were kept").await;

            let host = roomy();
            after_timers(&host).await;
            drop(host);
            same("as before, after timers").await;

            let host = roomy();
            after_dropped_and_refused_spawns(&host).await;
            drop(host);
            same("as before, after dropped spawns").await;
        }
    });

    // The runtime ends, and the registry with all its processes still exists.
    let host = runtime.block_on(async { roomy() });
    let pids = runtime.block_on(async {
        let crowd = Crowd::in_(&host).await;
        // The next init exists, so no init is being made, which would be counted.
        until("all of it runs", || is_prepared() && children().len() == CROWD).await;
        crowd.pids
    });
    drop((runtime, handle));
    let scope = host.scope();
    let afterwards = Builder::new_current_thread().enable_all().build().expect("a runtime");
    afterwards.block_on(async {
        for pid in pids {
            until("none of the crowd runs", || !runs(pid)).await;
        }
        // The remaining part answers and does not hang.
        for info in scope.list(None) {
            let id = info.id.expose();
            let result = watchdog(scope.wait(id, Duration::ZERO)).await;
            assert!(!matches!(result, Ok(exit) if exit.signal.is_none()), "{result:?}");
            watchdog(scope.stop(id, None)).await.map(|_| ()).unwrap_or_default();
        }
        watchdog(host.registry.shutdown()).await;
    });
    drop(scope);
    drop(host);
    drop(afterwards);
    assert_eq!(descriptors(), before_all);
}
