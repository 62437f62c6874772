//! Signals, stopping and releasing (K1, K2, K4).

use std::time::{Duration, Instant};

use capsule_host::supervisor::{Error, LogStream, Overflow, Phase, Signal, SpawnRequest};

use capsule_tests::{
    Host, cat, chunk, code, command, exit, forever, lines, noise, printed_pid, runs, sh, signalled, state, until,
    watchdog,
};

/// A command that reports each signal that it receives, and continues.
const REPORTER: &str = "
    for name in TERM HUP USR1 USR2 INT; do trap \"echo $name\" $name; done
    echo ready
    while :; do sleep 1000 & wait $!; done
";

/// A command that ignores TERM, as do all processes that it starts.
const DEAF: &str = "trap '' TERM; echo $$; while :; do sleep 1; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_every_signal_reaches_the_command() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh(REPORTER)).await;
    lines(&scope, &id, 1).await;
    let mut expected = vec!["ready".to_owned()];
    for (signal, name) in [
        (Signal::Term, "TERM"),
        (Signal::Hup, "HUP"),
        (Signal::Usr1, "USR1"),
        (Signal::Usr2, "USR2"),
        (Signal::Int, "INT"),
        (Signal::Term, "TERM"),
    ] {
        assert_eq!(watchdog(scope.signal(&id, signal)).await, Ok(()));
        expected.push(name.to_owned());
        assert_eq!(lines(&scope, &id, expected.len()).await, expected);
    }
    assert_eq!(scope.status(&id).expect("there").phase, Phase::Running);
    assert_eq!(watchdog(scope.stop(&id, Some(Duration::ZERO))).await, Ok(signalled(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_stop_and_cont_suspend_and_resume_the_whole_group() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh("sleep 1000 & echo $!; wait")).await;
    let member = printed_pid(&scope, &id).await;
    let leader = scope.status(&id).expect("there").os_pid.expect("it runs");
    for _ in 0..3 {
        scope.signal(&id, Signal::Stop).await.expect("it is there");
        until("both are suspended", || {
            state(leader) == Some('T') && state(member) == Some('T')
        })
        .await;
        assert_eq!(scope.status(&id).expect("there").phase, Phase::Running);
        scope.signal(&id, Signal::Cont).await.expect("it is there");
        until("both run again", || {
            state(leader) == Some('S') && state(member) == Some('S')
        })
        .await;
    }
    scope.signal(&id, Signal::Hup).await.expect("it is there");
    assert_eq!(exit(&scope, &id).await, signalled(1));
    until("the group is gone", || !runs(member)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_signals_end_what_does_not_catch_them() {
    let host = Host::new();
    let scope = host.scope();
    for (signal, number) in [
        (Signal::Term, 15),
        (Signal::Hup, 1),
        (Signal::Usr1, 10),
        (Signal::Usr2, 12),
        (Signal::Int, 2),
    ] {
        let id = host.start(forever()).await;
        scope.signal(&id, signal).await.expect("it is there");
        assert_eq!(exit(&scope, &id).await, signalled(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_signalling_an_exited_process_succeeds_and_does_nothing() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh("echo bye; exit 3")).await;
    exit(&scope, &id).await;
    for signal in [
        Signal::Term,
        Signal::Hup,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Int,
        Signal::Stop,
        Signal::Cont,
    ] {
        assert_eq!(watchdog(scope.signal(&id, signal)).await, Ok(()));
    }
    assert_eq!(exit(&scope, &id).await, code(3));
    assert_eq!(scope.read_logs(&id).expect("there").stdout, "bye\n");
}

/// Many signals while the child is about to exit: each succeeds, and none hits another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_signals_that_race_with_the_exit_succeed() {
    let host = Host::roomy();
    let scope = host.scope();
    let bystander = host.start(forever()).await;
    for _ in 0..100 {
        let id = host.start(command("/bin/true", &[])).await;
        watchdog(async {
            while scope.status(&id).expect("it is retained").phase != Phase::Exited {
                assert_eq!(scope.signal(&id, Signal::Cont).await, Ok(()));
            }
        })
        .await;
        assert_eq!(scope.signal(&id, Signal::Term).await, Ok(()));
        assert_eq!(exit(&scope, &id).await, code(0));
        scope.release(&id).await.expect("it has exited");
    }
    assert_eq!(scope.status(&bystander).expect("there").phase, Phase::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_stop_returns_the_true_exit() {
    let host = Host::new();
    let scope = host.scope();
    let polite = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done";
    let long = Duration::from_secs(30);
    for (script, expected) in [
        (polite, code(7)),
        (
            "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done",
            code(0),
        ),
        (
            "trap 'kill -9 $$' TERM; echo ready; while :; do sleep 1000 & wait $!; done",
            signalled(9),
        ),
        ("echo ready; exec sleep 1000", signalled(15)),
    ] {
        let id = host.start(sh(script)).await;
        lines(&scope, &id, 1).await;
        let begun = Instant::now();
        assert_eq!(watchdog(scope.stop(&id, Some(long))).await, Ok(expected), "{script}");
        assert!(begun.elapsed() < long, "{script}: it obeyed");
    }
    // An exited process keeps its exit.
    let id = host.start(sh("exit 11")).await;
    exit(&scope, &id).await;
    assert_eq!(watchdog(scope.stop(&id, None)).await, Ok(code(11)));
    assert_eq!(scope.status(&id).map(|_| ()), Err(Error::NoSuchProcess));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_what_does_not_obey_is_killed_after_the_grace_and_not_before() {
    let host = Host::with(|limits| limits.grace_max = Duration::from_millis(400));
    let scope = host.scope();
    for (asked, grace) in [
        (Duration::from_millis(200), Duration::from_millis(200)),
        // Clamped to the host's maximum.
        (Duration::from_secs(3600), Duration::from_millis(400)),
        (Duration::MAX, Duration::from_millis(400)),
    ] {
        let id = host.start(sh(DEAF)).await;
        printed_pid(&scope, &id).await;
        let begun = Instant::now();
        assert_eq!(watchdog(scope.stop(&id, Some(asked))).await, Ok(signalled(9)));
        assert!(begun.elapsed() >= grace, "never early");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_no_grace_given_means_the_default() {
    let grace = Duration::from_millis(300);
    let host = Host::with(|limits| limits.grace_default = grace);
    let scope = host.scope();
    let id = host.start(sh(DEAF)).await;
    printed_pid(&scope, &id).await;
    let begun = Instant::now();
    assert_eq!(watchdog(scope.stop(&id, None)).await, Ok(signalled(9)));
    assert!(begun.elapsed() >= grace, "never early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_a_suspended_process_is_woken_to_obey() {
    let host = Host::new();
    let scope = host.scope();
    for (script, expected) in [
        ("echo ready; exec sleep 1000", signalled(15)),
        (
            "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done",
            code(7),
        ),
    ] {
        let id = host.start(sh(script)).await;
        lines(&scope, &id, 1).await;
        let pid = scope.status(&id).expect("there").os_pid.expect("it runs");
        scope.signal(&id, Signal::Stop).await.expect("it is there");
        until("it is suspended", || state(pid) == Some('T')).await;
        let long = Duration::from_secs(30);
        assert_eq!(watchdog(scope.stop(&id, Some(long))).await, Ok(expected), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_no_grace_at_all_is_term_and_kill_at_once() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh(DEAF)).await;
    let pid = printed_pid(&scope, &id).await;
    assert_eq!(watchdog(scope.stop(&id, Some(Duration::ZERO))).await, Ok(signalled(9)));
    assert_eq!(state(pid), None, "reaped, not only dead");
    // A process that would obey gets no time for it, or just enough.
    let id = host.start(forever()).await;
    let exit = watchdog(scope.stop(&id, Some(Duration::ZERO))).await.expect("it ran");
    assert!([signalled(9), signalled(15)].contains(&exit), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_nothing_of_the_group_is_left() {
    let host = Host::new();
    let scope = host.scope();
    // The command obeys, its child does not.
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & exec sleep 1000";
    let id = host.start(sh(script)).await;
    let child = printed_pid(&scope, &id).await;
    let command = scope.status(&id).expect("there").os_pid.expect("it runs");
    watchdog(scope.stop(&id, Some(Duration::from_millis(100))))
        .await
        .expect("it ran");
    assert_eq!(state(command), None);
    until("the child is gone", || !runs(child)).await;
}

/// A process that moves to another group escapes the group's signals, but not its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_a_command_that_left_its_group_is_ended_all_the_same() {
    let host = Host::new();
    let scope = host.scope();
    let perl = "/usr/bin/perl";
    assert!(std::path::Path::new(perl).exists(), "this test needs perl");
    let script =
        "$| = 1; setpgrp(0, getpgrp(getppid())); print getpgrp(0) == $$ ? 'same' : 'other', \"\\n\"; sleep 1000";
    let id = host.start(command(perl, &["-e", script])).await;
    lines(&scope, &id, 1).await;
    let pid = scope.status(&id).expect("there").os_pid.expect("it runs");
    watchdog(scope.signal(&id, Signal::Cont)).await.expect("it is there");
    let exit = watchdog(scope.stop(&id, Some(Duration::from_millis(100)))).await;
    assert!(matches!(exit, Ok(exit) if exit.signal.is_some()), "{exit:?}");
    assert_eq!(state(pid), None);
}

/// Neither a process that only holds the pipe nor one that fills it keeps a stopped process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_an_outsider_at_the_pipe_does_not_hold_up_a_stop() {
    for outsider in ["exec sleep 60", "exec timeout 60 yes"] {
        let host = Host::new();
        let scope = host.scope();
        let id = host
            .start(SpawnRequest {
                log_ring_bytes: Some(4096),
                ..sh(&format!("setsid sh -c 'echo $$ >&2; {outsider}' & exec sleep 1000"))
            })
            .await;
        let mut daemon = None;
        until("the outsider is up", || {
            let data = chunk(&scope, &id, LogStream::Stderr, None, 99).data;
            let text = String::from_utf8_lossy(&data).into_owned();
            daemon = text.strip_suffix('\n').and_then(|text| text.parse::<u32>().ok());
            daemon.is_some()
        })
        .await;
        let exit = watchdog(scope.stop(&id, None)).await;
        assert_eq!(exit, Ok(signalled(15)), "{outsider}");
        assert_eq!(scope.status(&id).map(drop), Err(Error::NoSuchProcess));
        let pid = daemon.expect("a pid").to_string();
        host.run(command("/bin/kill", &["-9", &pid])).await.expect("kill runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_a_signal_whose_caller_goes_away_is_still_sent() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(forever()).await;
    let ours = scope.clone();
    let mut signal = Box::pin(ours.signal(&id, Signal::Usr1));
    drop(futures_poll(&mut signal).await);
    drop(signal);
    assert_eq!(exit(&scope, &id).await, signalled(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_after_a_stop_the_id_is_gone_and_its_slots_are_free() {
    let host = Host::with(|limits| {
        limits.processes_per_principal = 1;
        limits.retained_per_owner = 1;
        limits.retained_total = 1;
        limits.ring_memory_per_principal = 2 * limits.ring_default;
    });
    let scope = host.scope();
    for round in 0..50 {
        let id = host.start(forever()).await;
        let full = host.try_start(forever()).await;
        assert!(matches!(full, Err(Error::Quota | Error::RegistryFull)), "round {round}");
        watchdog(scope.stop(&id, None)).await.expect("it ran");
        assert_eq!(scope.status(&id).map(|_| ()), Err(Error::NoSuchProcess));
        assert!(scope.list(None).is_empty());
        assert_eq!(host.registry.retained(), 0);
        assert_eq!(watchdog(scope.stop(&id, None)).await, Err(Error::NoSuchProcess));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_concurrent_stops_return_an_exit_or_no_such_process() {
    let host = Host::roomy();
    for (stops, script) in [
        (2, "exec sleep 1000"),
        (50, "exec sleep 1000"),
        (50, DEAF),
        (50, "exit 5"),
    ] {
        for round in 0..10 {
            let id = host.start(sh(script)).await;
            let grace = Duration::from_millis(round * 3);
            let stopping: Vec<_> = (0..stops)
                .map(|_| {
                    let (scope, id) = (host.scope(), id.clone());
                    tokio::spawn(async move { scope.stop(&id, Some(grace)).await })
                })
                .collect();
            let mut exits = Vec::new();
            for stop in stopping {
                match watchdog(stop).await.expect("no panic") {
                    Ok(exit) => exits.push(exit),
                    Err(error) => assert_eq!(error, Error::NoSuchProcess),
                }
            }
            assert!(!exits.is_empty(), "one of them stopped it");
            assert!(exits.iter().all(|exit| exit == &exits[0]), "{exits:?}");
            assert_eq!(host.registry.retained(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_a_shorter_stop_is_not_held_up_by_a_longer_one() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh(DEAF)).await;
    printed_pid(&scope, &id).await;
    let long = Duration::from_secs(30);
    let begun = Instant::now();
    let patient = tokio::spawn({
        let (scope, id) = (scope.clone(), id.clone());
        async move { scope.stop(&id, Some(long)).await }
    });
    // The TERM of the first must have been sent for the second to be second. In either order the process must end soon.
    tokio::task::yield_now().await;
    let hasty = watchdog(scope.stop(&id, Some(Duration::ZERO))).await;
    let patient = watchdog(patient).await.expect("no panic");
    assert!(begun.elapsed() < long, "KILL came with the second");
    for result in [&hasty, &patient] {
        assert!(matches!(result, Ok(_) | Err(Error::NoSuchProcess)), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_waits_in_flight_get_the_exit() {
    let host = Host::new();
    let id = host
        .start(sh(
            "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done",
        ))
        .await;
    lines(&host.scope(), &id, 1).await;
    let ours = host.scope();
    let mut waits = Vec::new();
    for _ in 0..20 {
        let mut wait = Box::pin(ours.wait(&id, Duration::from_secs(100)));
        let pending = futures_poll(&mut wait).await;
        assert_eq!(pending, None, "it runs");
        waits.push(wait);
    }
    assert_eq!(watchdog(ours.stop(&id, None)).await, Ok(code(7)));
    for wait in waits {
        assert_eq!(watchdog(wait).await, Ok(code(7)));
    }
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_neither_a_full_ring_nor_a_blocked_writer_holds_up_a_stop() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            ..cat()
        })
        .await;
    // The child cannot write, so it does not read, so the writer is blocked.
    let mut write = Box::pin(scope.write_stdin(&id, noise(1, 1 << 20)));
    assert_eq!(futures_poll(&mut write).await, None);
    until("the ring is full", || {
        chunk(&scope, &id, LogStream::Stdout, None, 5000).data.len() == 4096
    })
    .await;
    let other = scope.clone();
    let mut wait = Box::pin(other.wait(&id, Duration::from_secs(100)));
    assert_eq!(futures_poll(&mut wait).await, None);
    assert_eq!(
        watchdog(scope.stop(&id, Some(Duration::from_secs(30)))).await,
        Ok(signalled(15))
    );
    assert_eq!(watchdog(write).await, Err(Error::Closed));
    assert_eq!(watchdog(wait).await, Ok(signalled(15)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_a_stop_whose_caller_goes_away_goes_on() {
    let host = Host::new();
    let scope = host.scope();
    for grace in [Duration::ZERO, Duration::from_millis(100)] {
        let id = host.start(sh(DEAF)).await;
        let pid = printed_pid(&scope, &id).await;
        {
            let mut stop = Box::pin(scope.stop(&id, Some(grace)));
            drop(futures_poll(&mut stop).await);
        }
        until("the id is gone", || scope.status(&id).is_err()).await;
        until("the process is gone", || state(pid).is_none()).await;
        assert_eq!(host.registry.retained(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_releasing_a_live_process_is_invalid_input_and_changes_nothing() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(cat()).await;
    for _ in 0..3 {
        let result = scope.release(&id).await;
        assert!(matches!(result, Err(Error::InvalidInput(_))), "{result:?}");
    }
    assert_eq!(scope.write_stdin(&id, b"still\n".to_vec()).await, Ok(6));
    assert_eq!(lines(&scope, &id, 1).await, ["still"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_releasing_an_exited_process_frees_it_once() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh("echo x")).await;
    exit(&scope, &id).await;
    let cursor = chunk(&scope, &id, LogStream::Stdout, None, 9).next;
    assert_eq!(host.registry.retained(), 1);
    for _ in 0..3 {
        assert_eq!(scope.release(&id).await, Ok(()));
        assert_eq!(host.registry.retained(), 0);
        assert_eq!(scope.status(&id).map(|_| ()), Err(Error::NoSuchProcess));
        assert_eq!(
            scope.read_since(&id, LogStream::Stdout, Some(&cursor), 9),
            Err(Error::NoSuchProcess)
        );
        assert_eq!(scope.signal(&id, Signal::Term).await, Err(Error::NoSuchProcess));
        assert!(scope.list(None).is_empty());
    }
    until("no task is left", || host.registry.tasks() == 0).await;
}

/// Output that waits in the pipe behind a full ring does not keep a released process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_releasing_does_not_wait_for_a_full_ring() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            ..command("/usr/bin/head", &["-c", "60000", "/dev/zero"])
        })
        .await;
    exit(&scope, &id).await;
    assert_eq!(watchdog(scope.release(&id)).await, Ok(()));
    until("no task is left", || host.registry.tasks() == 0).await;
}

/// The command ends only if the process outside of its group received the signal, and that process is suspended at that
/// time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_stop_reaches_who_left_the_group_and_is_suspended() {
    let host = Host::new();
    let scope = host.scope();
    let outside = "trap \": > told; exit\" TERM; echo $$; kill -STOP $$; while :; do sleep 1; done";
    let id = host
        .start(sh(&format!(
            "trap 'until [ -e told ]; do sleep 0.01; done; exit 7' TERM; setsid sh -c '{outside}' & wait"
        )))
        .await;
    let outside = printed_pid(&scope, &id).await;
    until("it is suspended", || state(outside) == Some('T')).await;
    let exit = watchdog(scope.stop(&id, Some(Duration::from_secs(60)))).await;
    assert_eq!(exit, Ok(code(7)));
    assert!(!runs(outside));
}
