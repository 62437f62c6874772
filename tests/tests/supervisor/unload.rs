//! The end of a capsule ends everything that the capsule started, however it is held (B3).

use capsule_host::supervisor::Error;

use capsule_tests::{AllowAll, Host, forever, sh, until, watchdog};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_an_ended_capsule_has_nothing_left_and_may_start_anew() {
    let host = Host::with(|limits| limits.processes_per_principal = 20);
    let (scope, other) = (host.scope(), host.scope_of("alice", "other"));
    let bob = host.scope_of("bob", "editor");
    let mine = host.start(forever()).await;
    let his = host
        .start_in(&bob, forever())
        .await
        .expect("a process")
        .expose()
        .to_owned();
    let others = host
        .start_in(&other, forever())
        .await
        .expect("a process")
        .expose()
        .to_owned();
    let handle = watchdog(scope.spawn_background(forever(), &host.workspace, &mut AllowAll))
        .await
        .expect("a process");
    let captured = {
        let (scope, workspace) = (scope.clone(), host.workspace.clone());
        tokio::spawn(async move { scope.spawn(forever(), &workspace, &mut AllowAll).await })
    };
    until("all of them", || host.registry.tasks() >= 5).await;
    watchdog(host.registry.end_capsule("editor")).await;
    assert_eq!(scope.status(&mine).err(), Some(Error::NoSuchProcess));
    assert_eq!(bob.status(&his).err(), Some(Error::NoSuchProcess));
    assert_eq!(handle.read_logs(), Err(Error::Closed));
    assert_eq!(watchdog(captured).await.expect("no panic"), Err(Error::Cancelled));
    assert!(other.status(&others).expect("it is another's").exit.is_none());
    // Later processes are not affected.
    let again = host.start(forever()).await;
    assert!(scope.status(&again).expect("it runs").exit.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_an_unload_waits_for_dropped_runs_and_handles_too() {
    let host = Host::new();
    for round in 0..20 {
        let lock = format!("lock{round}");
        let daemon = format!("setsid flock {lock} sh -c 'trap \"\" TERM; touch {lock}.held; sleep 1000' & wait");
        let held = host.dir().join(format!("{lock}.held"));
        // A captured command and a handle, both dropped with the last scope of their owner.
        let (scope, mut gate) = (host.scope(), AllowAll);
        if round % 2 == 0 {
            let run = scope.spawn(sh(&daemon), &host.workspace, &mut gate);
            tokio::select! {
                ran = run => panic!("{ran:?}"),
                () = until("it runs", || held.exists()) => {}
            }
        } else {
            let handle = watchdog(scope.spawn_background(sh(&daemon), &host.workspace, &mut AllowAll)).await;
            until("it runs", || held.exists()).await;
            drop(handle);
        }
        drop(scope);
        watchdog(host.registry.end_capsule("editor")).await;
        // The test checks this itself, because a command that checks would give the tree more time.
        let file = std::fs::File::open(host.dir().join(lock)).expect("the lock");
        let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        assert_eq!(free, Ok(()), "round {round}");
    }
}
