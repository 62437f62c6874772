//! Lifetime, idle timeout and retention in real time (T1 to T3): never early, and never missing.
//!
//! The tests on a paused clock check exactness. Here a timer may be as late as the machine is busy. The tests may be
//! late too, and some times are short. So everything runs on one thread: no timer fires between the start of a process
//! and the first call for it, however long that takes. Where a child must reach some state in time, see [`doubling`].

use std::time::{Duration, Instant};

use capsule_host::supervisor::{Error, LogStream, Overflow, Scope, Signal, SpawnRequest};

use capsule_tests::{
    Host, cat, chunk, code, command, exit, forever, lines, runs, sh, signalled, state, until, watchdog,
};

const HOUR: Duration = Duration::from_secs(3600);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Times to try in turn, until one of them was long enough for a child that must first reach some state.
fn doubling(from: Duration) -> impl Iterator<Item = Duration> {
    (0..9).map(move |times| from * 2_u32.pow(times))
}

async fn unknown(scope: &Scope, id: &str) {
    until("the id is gone", || scope.status(id).is_err()).await;
    assert_eq!(scope.status(id).map(|_| ()), Err(Error::NoSuchProcess));
}

#[tokio::test]
async fn t1_a_lifetime_ends_the_process_and_takes_its_id() {
    let host = Host::new();
    let scope = host.scope();
    let begun = Instant::now();
    let id = host
        .start(SpawnRequest {
            max_lifetime: Some(ms(300)),
            ..forever()
        })
        .await;
    let pid = scope.status(&id).expect("there").os_pid.expect("it runs");
    assert_eq!(watchdog(scope.wait(&id, HOUR)).await, Ok(signalled(15)));
    assert!(begun.elapsed() >= ms(300), "never early");
    unknown(&scope, &id).await;
    assert_eq!(state(pid), None);
    until("nothing is retained", || host.registry.retained() == 0).await;
}

#[tokio::test]
async fn t1_what_does_not_obey_is_killed_after_the_grace() {
    let host = Host::with(|limits| limits.grace_default = ms(200));
    let scope = host.scope();
    for lifetime in doubling(ms(400)) {
        let begun = Instant::now();
        let id = host
            .start(SpawnRequest {
                max_lifetime: Some(lifetime),
                ..sh("trap '' TERM; : >deaf; while :; do sleep 1; done")
            })
            .await;
        let ended = watchdog(scope.wait(&id, HOUR)).await;
        let took = begun.elapsed();
        unknown(&scope, &id).await;
        if host.dir().join("deaf").exists() {
            assert_eq!(ended, Ok(signalled(9)));
            assert!(took >= lifetime + ms(200), "never early");
            return;
        }
        assert!(took >= lifetime, "never early");
    }
    panic!("no time was long enough for a shell to become deaf");
}

#[tokio::test]
async fn t1_a_lifetime_is_clamped_to_the_hosts_ceiling() {
    let host = Host::with(|limits| limits.lifetime_max = ms(300));
    let scope = host.scope();
    for asked in [None, Some(HOUR), Some(Duration::MAX)] {
        let begun = Instant::now();
        let id = host
            .start(SpawnRequest {
                max_lifetime: asked,
                idle_timeout: Some(HOUR),
                ..forever()
            })
            .await;
        assert_eq!(watchdog(scope.wait(&id, HOUR)).await, Ok(signalled(15)));
        assert!(begun.elapsed() >= ms(300), "never early");
        unknown(&scope, &id).await;
    }
}

/// The timer applies to live processes. An exited one stays for its retention.
#[tokio::test]
async fn t1_t2_t3_an_exited_process_stays_for_its_retention() {
    let host = Host::new();
    let scope = host.scope();
    for time in doubling(ms(200)) {
        let begun = Instant::now();
        let id = host
            .start(SpawnRequest {
                max_lifetime: Some(time),
                idle_timeout: Some(time),
                ..command("/bin/true", &[])
            })
            .await;
        let ended = watchdog(scope.wait(&id, HOUR)).await;
        if ended != Ok(code(0)) {
            assert!(begun.elapsed() >= time, "{ended:?} before its time");
            continue;
        }
        let ended = Instant::now();
        until("both timers would have fired", || ended.elapsed() > 2 * time).await;
        assert_eq!(scope.wait(&id, Duration::ZERO).await, Ok(code(0)));
        return;
    }
    panic!("no time was long enough for a command to end by itself");
}

#[tokio::test]
async fn t1_t2_t3_no_time_at_all_is_invalid_input_but_for_retention() {
    let host = Host::new();
    let scope = host.scope();
    let marker = host.dir().join("ran");
    let touch = || command("/usr/bin/touch", &[marker.to_str().expect("a plain path")]);
    let zero = Some(Duration::ZERO);
    for request in [
        SpawnRequest {
            max_lifetime: zero,
            ..touch()
        },
        SpawnRequest {
            idle_timeout: zero,
            ..touch()
        },
        SpawnRequest {
            max_lifetime: zero,
            idle_timeout: zero,
            exit_retention: zero,
            ..touch()
        },
    ] {
        let result = host.try_start(request).await;
        assert!(matches!(result, Err(Error::InvalidInput(_))), "{result:?}");
    }
    assert!(!marker.exists());
    assert_eq!(host.registry.retained(), 0);
    let id = host
        .start(SpawnRequest {
            exit_retention: zero,
            keep_stdin_open: true,
            ..sh("echo last words; read -r x; exit 6")
        })
        .await;
    lines(&scope, &id, 1).await;
    let ours = scope.clone();
    let waits: Vec<_> = (0..10)
        .map(|_| {
            let (scope, id) = (ours.clone(), id.clone());
            tokio::spawn(async move { scope.wait(&id, HOUR).await })
        })
        .collect();
    let mut own = Box::pin(ours.wait(&id, HOUR));
    // The waiter waits before the exit: this polls it once, and again when the end is near.
    tokio::select! {
        biased;
        result = &mut own => panic!("it runs: {result:?}"),
        () = std::future::ready(()) => (),
    }
    scope.close_stdin(&id).expect("it is there");
    assert_eq!(watchdog(own).await, Ok(code(6)));
    unknown(&scope, &id).await;
    for wait in waits {
        let result = watchdog(wait).await.expect("no panic");
        // A waiter that had not yet begun to wait came too late.
        assert!(
            matches!(result, Err(Error::NoSuchProcess)) || result == Ok(code(6)),
            "{result:?}"
        );
    }
    until("nothing is retained", || host.registry.retained() == 0).await;
}

#[tokio::test]
async fn t3_an_id_and_its_output_stay_for_the_retention_and_then_go() {
    let host = Host::with(|limits| limits.retention_max = ms(400));
    let scope = host.scope();
    // The second request is clamped, and so is the default.
    for (asked, time) in [(Some(ms(200)), ms(200)), (Some(HOUR), ms(400)), (None, ms(400))] {
        let id = host
            .start(SpawnRequest {
                exit_retention: asked,
                ..cat()
            })
            .await;
        scope.write_stdin(&id, b"tail".to_vec()).await.expect("it reads");
        let begun = Instant::now();
        scope.close_stdin(&id).expect("it is there");
        assert_eq!(exit(&scope, &id).await, code(0));
        watchdog(async {
            loop {
                // Reading must not prolong it.
                match scope.read_since(&id, LogStream::Stdout, None, 9) {
                    Ok(chunk) => assert_eq!(chunk.data, b"tail"),
                    Err(error) => {
                        assert_eq!(error, Error::NoSuchProcess);
                        break;
                    }
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(begun.elapsed() >= time, "never early");
        unknown(&scope, &id).await;
    }
    until("nothing is retained", || host.registry.retained() == 0).await;
    until("no task is left", || host.registry.tasks() == 0).await;
}

#[tokio::test]
async fn t2_an_untouched_process_is_ended_though_its_status_is_asked_for() {
    let host = Host::new();
    let scope = host.scope();
    for what in ["nothing", "status", "status-many", "list"] {
        let begun = Instant::now();
        let id = host
            .start(SpawnRequest {
                idle_timeout: Some(ms(300)),
                ..forever()
            })
            .await;
        let pid = scope.status(&id).expect("there").os_pid.expect("it runs");
        // `retained` stands for a call that touches nothing: it reads the registry and not the process.
        until("it is ended", || match what {
            "status" => scope.status(&id).is_err(),
            "status-many" => scope.status_many([&*id]).is_empty(),
            "list" => scope.list(None).is_empty(),
            _ => host.registry.retained() == 0,
        })
        .await;
        assert!(begun.elapsed() >= ms(300), "{what}: never early");
        assert!(!runs(pid), "{what}");
        unknown(&scope, &id).await;
    }
}

#[tokio::test]
async fn t2_idleness_is_clamped_to_the_hosts_defaults() {
    let host = Host::with(|limits| {
        limits.idle_default = ms(300);
        limits.lifetime_max = HOUR;
    });
    let begun = Instant::now();
    let id = host.start(forever()).await;
    unknown(&host.scope(), &id).await;
    assert!(begun.elapsed() >= ms(300), "never early");
}

#[tokio::test]
async fn t2_a_process_with_a_call_in_flight_is_not_idle() {
    let host = Host::new();
    let scope = host.scope();
    let idle = ms(300);
    let deaf = || SpawnRequest {
        idle_timeout: Some(idle),
        keep_stdin_open: true,
        ..forever()
    };
    // A wait of several times the idle time, right from the start.
    let id = host.start(deaf()).await;
    assert_eq!(watchdog(scope.wait(&id, 4 * idle)).await, Err(Error::WaitTimeout));
    assert!(scope.status(&id).is_ok());
    // A write that the child does not take.
    let id = host.start(deaf()).await;
    let begun = Instant::now();
    tokio::select! {
        result = scope.write_stdin(&id, vec![0; 1 << 20]) => panic!("nothing reads: {result:?}"),
        () = until("long enough", || begun.elapsed() > 4 * idle) => (),
    }
    assert!(scope.status(&id).is_ok());
    // Of two calls, the one that ends first does not end the activity of both.
    let id = host.start(deaf()).await;
    let (long, short) = watchdog(async { tokio::join!(scope.wait(&id, 4 * idle), scope.wait(&id, ms(1))) }).await;
    assert_eq!((long, short), (Err(Error::WaitTimeout), Err(Error::WaitTimeout)));
    assert!(scope.status(&id).is_ok());
    // Then it is idle again.
    let begun = Instant::now();
    unknown(&scope, &id).await;
    assert!(begun.elapsed() <= Duration::from_secs(60), "a generous while");
}

#[tokio::test]
async fn t2_touches_are_reads_waits_signals_writes_and_closing_stdin() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::DropOldest,
            ..cat()
        })
        .await;
    let idle = || scope.status(&id).expect("it is there").idle;
    let aged = async || until("some idleness", || idle() >= ms(30)).await;
    for call in [
        "read-logs",
        "read-since",
        "write",
        "empty write",
        "signal",
        "wait",
        "close-stdin",
    ] {
        aged().await;
        let begun = Instant::now();
        match call {
            "read-logs" => drop(scope.read_logs(&id).expect("there")),
            "read-since" => drop(chunk(&scope, &id, LogStream::Stderr, None, 0)),
            "write" => drop(scope.write_stdin(&id, b"x".to_vec()).await.expect("it reads")),
            "empty write" => drop(scope.write_stdin(&id, Vec::new()).await.expect("it reads")),
            "signal" => scope.signal(&id, Signal::Cont).await.expect("there"),
            "wait" => assert_eq!(scope.wait(&id, Duration::ZERO).await, Err(Error::WaitTimeout)),
            _ => {
                // The end of cat would end the measurement, so this child never reads.
                let id = host
                    .start(SpawnRequest {
                        keep_stdin_open: true,
                        ..forever()
                    })
                    .await;
                let idle = || scope.status(&id).expect("it is there").idle;
                until("some idleness", || idle() >= ms(30)).await;
                let begun = Instant::now();
                scope.close_stdin(&id).expect("there");
                assert!(idle() <= begun.elapsed(), "{call}");
                continue;
            }
        }
        assert!(idle() <= begun.elapsed(), "{call}: nothing from before it counts");
    }
    for call in ["status", "status-many", "list", "list filtered"] {
        aged().await;
        let before = idle();
        match call {
            "status" => drop(scope.status(&id).expect("there")),
            "status-many" => assert_eq!(scope.status_many([&*id]).len(), 1),
            "list" => assert_eq!(scope.list(None).len(), 2),
            _ => assert_eq!(scope.list(Some("cat")).len(), 1),
        }
        assert!(idle() >= before, "{call}");
    }
}

#[tokio::test]
async fn t2_a_process_that_is_read_all_the_time_lives() {
    let host = Host::new();
    let scope = host.scope();
    for idle in doubling(ms(500)) {
        let begun = Instant::now();
        let id = host
            .start(SpawnRequest {
                idle_timeout: Some(idle),
                ..forever()
            })
            .await;
        // Before the last read that found it.
        let mut touched = begun;
        let mut lives = true;
        until("several times the idle time", || {
            let now = Instant::now();
            lives = scope.read_since(&id, LogStream::Stdout, None, 0).is_ok();
            if lives {
                touched = now;
            }
            !lives || begun.elapsed() > 4 * idle
        })
        .await;
        unknown(&scope, &id).await;
        assert!(touched.elapsed() >= idle, "never early");
        // Otherwise this test was delayed for so long that the process was idle in the meantime.
        if lives {
            return;
        }
    }
    panic!("no time was longer than the longest between two reads");
}

#[tokio::test]
async fn t2_a_call_whose_caller_went_away_is_no_longer_in_flight() {
    let host = Host::new();
    let scope = host.scope();
    let begun = Instant::now();
    let id = host
        .start(SpawnRequest {
            idle_timeout: Some(ms(300)),
            ..forever()
        })
        .await;
    let ours = scope.clone();
    tokio::select! {
        result = ours.wait(&id, HOUR) => panic!("it runs: {result:?}"),
        () = until("a while", || begun.elapsed() > ms(100)) => (),
    }
    unknown(&scope, &id).await;
    assert!(begun.elapsed() >= ms(400), "the wait was a touch");
}

/// Neither a full ring, nor a blocked writer, nor unread output keeps a process beyond its time.
#[tokio::test]
async fn t1_t3_timers_are_not_held_up_by_full_rings() {
    let host = Host::new();
    let scope = host.scope();
    let full = || SpawnRequest {
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4096),
        keep_stdin_open: true,
        ..command("/bin/sh", &["-c", "yes & exec yes >&2"])
    };
    let id = host
        .start(SpawnRequest {
            max_lifetime: Some(ms(300)),
            ..full()
        })
        .await;
    let write = scope.write_stdin(&id, vec![0; 1 << 20]);
    let (written, waited) = watchdog(async { tokio::join!(write, scope.wait(&id, HOUR)) }).await;
    assert!(matches!(written, Err(Error::Closed)), "{written:?}");
    assert_eq!(waited, Ok(signalled(15)));
    unknown(&scope, &id).await;
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            exit_retention: Some(ms(100)),
            ..command("/usr/bin/head", &["-c", "60000", "/dev/zero"])
        })
        .await;
    unknown(&scope, &id).await;
    until("no task is left", || host.registry.tasks() == 0).await;
}

/// An embedder may set no bound.
#[tokio::test]
async fn q4_limits_may_be_as_large_as_their_types() {
    let host = Host::with(|limits| {
        limits.processes_per_principal = usize::MAX;
        limits.retained_per_owner = usize::MAX;
        limits.retained_total = usize::MAX;
        limits.ring_memory_per_principal = usize::MAX;
        limits.capture_max = usize::MAX;
        limits.prelude_max = usize::MAX;
        limits.write_max = usize::MAX;
        limits.read_max = usize::MAX;
        for time in [
            &mut limits.wait_max,
            &mut limits.grace_default,
            &mut limits.grace_max,
            &mut limits.grace_shutdown,
            &mut limits.lifetime_max,
            &mut limits.idle_default,
            &mut limits.retention_default,
            &mut limits.retention_max,
            &mut limits.drain_time,
        ] {
            *time = Duration::MAX;
        }
    });
    let scope = host.scope();
    for asked in [None, Some(Duration::MAX), Some(Duration::from_millis(u64::MAX))] {
        let id = host
            .start(SpawnRequest {
                max_lifetime: asked,
                idle_timeout: asked,
                exit_retention: asked,
                ..cat()
            })
            .await;
        assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Ok(1));
        let waiting = tokio::spawn({
            let (scope, id) = (scope.clone(), id.clone());
            async move { scope.wait(&id, Duration::MAX).await }
        });
        scope.close_stdin(&id).expect("it is there");
        assert_eq!(watchdog(waiting).await.expect("no panic"), Ok(code(0)));
        let other = host.start(forever()).await;
        assert_eq!(watchdog(scope.stop(&other, asked)).await, Ok(signalled(15)));
        assert_eq!(scope.read_logs(&id).expect("it is retained").stdout, "x");
    }
    host.start(forever()).await;
    watchdog(host.registry.shutdown()).await;
}

#[tokio::test]
async fn t3_no_retention_at_all_leaves_nothing() {
    let host = Host::new();
    for _ in 0..20 {
        let id = host
            .start(SpawnRequest {
                exit_retention: Some(Duration::ZERO),
                ..command("/bin/true", &[])
            })
            .await;
        unknown(&host.scope(), &id).await;
    }
    until("nothing is retained", || host.registry.retained() == 0).await;
}
