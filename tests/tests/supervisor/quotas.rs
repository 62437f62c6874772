//! Quotas: the counts, who shares them, and when a place is given back (S5, Q1 to Q3).

use std::sync::Arc;

use capsule_host::supervisor::{Error, Phase, ProcessId, SpawnRequest};

use capsule_tests::{AllowAll, Busy, Host, cat, code, command, exit, forever, sh, until, watchdog};

fn denied(result: Result<ProcessId, Error>) -> Error {
    result.map(|_| ()).expect_err("beyond the quota")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_eight_processes_of_a_principal_run_at_once() {
    let host = Host::new();
    let marker = host.dir().join("ran");
    let touch = || command("/usr/bin/touch", &[marker.to_str().expect("a plain path")]);
    let mut ids = Vec::new();
    // All capsules of a principal share it.
    for number in 0..8 {
        let scope = host.scope_of("alice", &format!("capsule {}", number % 3));
        let id = host.start_in(&scope, cat()).await.expect("there is room");
        ids.push((scope, id.expose().to_owned()));
    }
    // Both tiers share it.
    assert_eq!(denied(host.try_start(touch()).await), Error::Quota);
    assert_eq!(host.run(touch()).await, Err(Error::Quota));
    assert!(!marker.exists(), "a refused spawn has no side effect");
    assert_eq!(host.registry.retained(), 8);
    // Other principals do not share it, and neither do anonymous callers.
    let bob = host.scope_of("bob", "editor");
    host.start_in(&bob, forever()).await.expect("bob has his own");
    let anonymous = host.anonymous();
    let result = anonymous
        .spawn(command("/bin/true", &[]), &host.workspace, &mut AllowAll)
        .await;
    assert_eq!(result.expect("it runs").exit, code(0));
    // The exit gives the slot back before the id is released.
    let (scope, id) = &ids[3];
    scope.close_stdin(id).expect("it is there");
    exit(scope, id).await;
    assert_eq!(host.run(command("/bin/true", &[])).await.expect("a slot").exit, code(0));
    host.start(forever()).await;
    assert_eq!(denied(host.try_start(touch()).await), Error::Quota);
    // The release of the exited process gives no further slot back.
    scope.release(id).await.expect("it has exited");
    assert_eq!(denied(host.try_start(touch()).await), Error::Quota);
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_a_captured_run_holds_a_slot_while_it_runs() {
    let host = Host::with(|limits| limits.processes_per_principal = 1);
    let scope = host.scope();
    let (ready, go) = (host.dir().join("ready"), host.dir().join("go"));
    let mut gate = AllowAll;
    let request = sh("touch ready; until [ -e go ]; do sleep 0.01; done");
    let running = scope.spawn(request, &host.workspace, &mut gate);
    let checking = async {
        until("it runs", || ready.exists()).await;
        assert_eq!(denied(host.try_start(forever()).await), Error::Quota);
        assert_eq!(host.run(forever()).await, Err(Error::Quota));
        std::fs::write(go, "").expect("a file");
    };
    let both = std::pin::pin!(async { tokio::join!(running, checking) });
    let (result, ()) = watchdog(both).await;
    assert_eq!(result.expect("it ran").exit, code(0));
    host.start(forever()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_s5_of_sixty_four_racing_spawns_exactly_eight_succeed() {
    let host = Arc::new(Host::with(|limits| limits.retained_per_owner = 1000));
    for round in 0..20 {
        let spawns: Vec<_> = (0..64)
            .map(|number| {
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    let scope = host.scope_of("alice", &format!("capsule {}", number % 2));
                    let id = host.start_in(&scope, cat()).await;
                    id.map(|id| (scope, id.expose().to_owned()))
                })
            })
            .collect();
        let mut running = Vec::new();
        for spawn in spawns {
            match watchdog(spawn).await.expect("no panic") {
                Ok(process) => running.push(process),
                Err(error) => assert_eq!(error, Error::Quota, "round {round}"),
            }
        }
        assert_eq!(running.len(), 8, "round {round}");
        for (scope, id) in running {
            scope.stop(&id, None).await.expect("it ran");
        }
    }
}

/// Both kinds of spawn at once, with short commands: no call ever finds more processes than the quota allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_no_more_than_the_quota_are_ever_at_work() {
    let host = Arc::new(Host::with(|limits| limits.processes_per_principal = 4));
    // Each process takes a unique number, and counts the others.
    let script = "touch here.$$; ls -d here.* | wc -l; rm here.$$";
    let spawns: Vec<_> = (0..64)
        .map(|_| {
            let host = Arc::clone(&host);
            tokio::spawn(async move {
                let mut most = 0;
                for _ in 0..5 {
                    match host.run(sh(script)).await {
                        Ok(output) => {
                            let text = String::from_utf8_lossy(&output.stdout).into_owned();
                            let here: u32 = text.trim().parse().expect("a number");
                            most = most.max(here);
                        }
                        Err(error) => assert_eq!(error, Error::Quota),
                    }
                }
                most
            })
        })
        .collect();
    let mut most = 0;
    for spawn in spawns {
        most = most.max(watchdog(spawn).await.expect("no panic"));
    }
    assert!((1..=4).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_the_slot_is_free_before_the_exit_is_visible() {
    let host = Host::with(|limits| {
        limits.processes_per_principal = 1;
        limits.retained_per_owner = 1000;
        limits.ring_memory_per_principal = usize::MAX / 2;
    });
    let scope = host.scope();
    let _busy = Busy::cores();
    let true_ = || command("/bin/true", &[]);
    for round in 0..500 {
        // Each way of seeing the exit, and each way of spawning after it.
        let id = match host.try_start(true_()).await {
            Ok(id) => id.expose().to_owned(),
            Err(error) => panic!("round {round}: {error:?}"),
        };
        match round % 4 {
            0 => drop(exit(&scope, &id).await),
            1 => {
                watchdog(async {
                    while scope.status(&id).expect("there").phase != Phase::Exited {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
            2 => {
                watchdog(async {
                    while scope.read_logs(&id).expect("there").running {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
            _ => drop(watchdog(scope.stop(&id, None)).await.expect("it is there")),
        }
        let output = host.run(true_()).await;
        assert_eq!(output.map(|output| output.exit), Ok(code(0)), "round {round}");
        if round % 4 != 3 {
            scope.release(&id).await.expect("it has exited");
        }
    }
    assert_eq!(host.registry.retained(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q2_retained_ids_are_counted_per_capsule() {
    let host = Host::with(|limits| limits.retained_per_owner = 3);
    let scope = host.scope();
    let marker = host.dir().join("ran");
    let touch = || command("/usr/bin/touch", &[marker.to_str().expect("a plain path")]);
    let mut ids = Vec::new();
    for request in [command("/bin/true", &[]), command("/bin/true", &[]), forever()] {
        ids.push(host.start(request).await);
    }
    exit(&scope, &ids[0]).await;
    exit(&scope, &ids[1]).await;
    assert_eq!(denied(host.try_start(touch()).await), Error::RegistryFull);
    assert!(!marker.exists());
    // A captured run retains no id. Another capsule or principal has ids of its own.
    host.run(command("/bin/true", &[])).await.expect("it runs");
    for other in [host.scope_of("alice", "viewer"), host.scope_of("bob", "editor")] {
        host.start_in(&other, command("/bin/true", &[]))
            .await
            .expect("there is room");
    }
    // A release makes room for one, and so does a stop.
    scope.release(&ids[0]).await.expect("it has exited");
    host.start(command("/bin/true", &[])).await;
    assert_eq!(denied(host.try_start(touch()).await), Error::RegistryFull);
    scope.stop(&ids[2], None).await.expect("it runs");
    host.start(forever()).await;
    assert_eq!(denied(host.try_start(touch()).await), Error::RegistryFull);
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q2_retained_ids_are_counted_per_registry() {
    let host = Host::with(|limits| limits.retained_total = 4);
    let mut ids = Vec::new();
    for number in 0..4 {
        let scope = host.scope_of(&format!("principal {number}"), "editor");
        let id = host.start_in(&scope, forever()).await.expect("there is room");
        ids.push((scope, id));
    }
    let late = host.scope_of("late", "editor");
    assert_eq!(denied(host.start_in(&late, forever()).await), Error::RegistryFull);
    assert_eq!(host.registry.retained(), 4);
    let (scope, id) = &ids[0];
    scope.stop(id.expose(), None).await.expect("it runs");
    host.start_in(&late, forever()).await.expect("there is room again");
    assert_eq!(denied(host.start_in(&late, forever()).await), Error::RegistryFull);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q2_racing_spawns_retain_no_more_than_they_may() {
    let host = Arc::new(Host::with(|limits| {
        limits.processes_per_principal = 1000;
        limits.retained_per_owner = 5;
    }));
    for round in 0..10 {
        let spawns: Vec<_> = (0..40)
            .map(|_| {
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    let id = host.try_start(command("/bin/true", &[])).await;
                    id.map(|id| id.expose().to_owned())
                })
            })
            .collect();
        let mut started = Vec::new();
        for spawn in spawns {
            match watchdog(spawn).await.expect("no panic") {
                Ok(id) => started.push(id),
                Err(error) => assert_eq!(error, Error::RegistryFull, "round {round}"),
            }
        }
        assert_eq!(started.len(), 5, "round {round}");
        for id in started {
            exit(&host.scope(), &id).await;
            host.scope().release(&id).await.expect("it has exited");
        }
        assert_eq!(host.registry.retained(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q3_memory_for_rings_is_bounded_per_principal() {
    let host = Host::with(|limits| limits.ring_memory_per_principal = 3 << 20);
    let scope = host.scope();
    let marker = host.dir().join("ran");
    let touch = || command("/usr/bin/touch", &[marker.to_str().expect("a plain path")]);
    let ring = |size: u32, request: SpawnRequest| SpawnRequest {
        log_ring_bytes: Some(size),
        ..request
    };
    // Two streams of 1 MiB. There is no room for two more, although nothing was written yet.
    let first = host.start(forever()).await;
    assert_eq!(denied(host.try_start(touch()).await), Error::Quota);
    assert_eq!(denied(host.try_start(ring(8 << 20, touch())).await), Error::Quota);
    assert!(!marker.exists());
    assert_eq!(host.registry.retained(), 1);
    // Small rings still fit, exactly up to the bound.
    let second = host.start(ring(256 << 10, command("/bin/true", &[]))).await;
    let third = host.start(ring(256 << 10, forever())).await;
    assert_eq!(denied(host.try_start(ring(4096, touch())).await), Error::Quota);
    // Another principal has a bound of its own; in another capsule the bound is the same.
    host.start_in(&host.scope_of("bob", "editor"), forever())
        .await
        .expect("bob has his own");
    let viewer = host.scope_of("alice", "viewer");
    assert_eq!(denied(host.start_in(&viewer, ring(4096, touch())).await), Error::Quota);
    // Rings live as long as their ids.
    exit(&scope, &second).await;
    scope.release(&second).await.expect("it has exited");
    let again = host.start(ring(256 << 10, forever())).await;
    for id in [first, third, again] {
        scope.stop(&id, None).await.expect("it runs");
    }
    host.start(ring(1536 << 10, forever())).await;
    assert!(!marker.exists());
}

/// Many refusals of every kind: each gives back what it took on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_refused_spawns_keep_nothing() {
    let host = Host::with(|limits| {
        limits.processes_per_principal = 2;
        limits.retained_per_owner = 2;
        limits.retained_total = 2;
        limits.ring_memory_per_principal = 2 * 2 * limits.ring_default;
    });
    for _ in 0..100 {
        let id = host.try_start(command("/nonexistent", &[])).await;
        assert!(matches!(id, Err(Error::NotFound(_))), "{id:?}");
        let output = host.run(command("/etc/passwd", &[])).await;
        assert!(matches!(output, Err(Error::PermissionDenied(_))), "{output:?}");
        let request = SpawnRequest {
            cwd: Some("..".to_owned()),
            ..forever()
        };
        assert_eq!(denied(host.try_start(request).await), Error::BoundaryEscape);
    }
    let ids = [host.start(forever()).await, host.start(forever()).await];
    for _ in 0..100 {
        let error = denied(host.try_start(forever()).await);
        assert!(matches!(error, Error::Quota | Error::RegistryFull), "{error:?}");
        assert_eq!(host.run(forever()).await, Err(Error::Quota));
    }
    for id in ids {
        host.scope().stop(&id, None).await.expect("it runs");
    }
    host.start(forever()).await;
    host.start(forever()).await;
}
