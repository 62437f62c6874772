//! The ends of processes, and when callers see them (X1 to X4, X7).
//!
//! The processes are unconfined. The containment tests cover what only a namespace provides.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::{Duration, Instant};

use capsule_host::supervisor::{Error, ExitInfo, LogStream, Overflow, Phase, SpawnRequest};

use crate::tail::numbers;
use capsule_tests::{
    Host, breathe, cat, chunk, code, exit, follow, forever, lines, printed_pid, runs, sh, signalled, state, until,
    watchdog,
};

const OUT: LogStream = LogStream::Stdout;

/// A host with an endless drain time, so every visible exit has its streams at their end.
fn patient() -> Host {
    Host::with(|limits| limits.drain_time = Duration::from_secs(24 * 3600))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_what_the_command_leaves_behind_ends_with_it() {
    let host = patient();
    let scope = host.scope();
    for script in [
        "sleep 1000 & echo $!; exit 3",
        // Ignores every signal that can be ignored, and holds both streams.
        "sh -c 'trap \"\" TERM HUP INT; echo $$; while :; do sleep 1; done' & read -r x; exit 3",
        // Several generations of processes.
        "sh -c 'sleep 1000 & sleep 1000 & echo $$; wait' & read -r x; exit 3",
        // Stopped, so it could not obey a signal.
        "sleep 1000 & kill -STOP $!; echo $!; exit 3",
    ] {
        let id = host
            .start(SpawnRequest {
                keep_stdin_open: true,
                ..sh(script)
            })
            .await;
        let left = printed_pid(&scope, &id).await;
        scope.close_stdin(&id).expect("it is there");
        assert_eq!(exit(&scope, &id).await, code(3), "{script}");
        until("it is gone", || !runs(left)).await;
        assert!(chunk(&scope, &id, OUT, None, 99).drained_eof);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_what_a_captured_command_leaves_behind_ends_with_it() {
    let host = patient();
    let output = host.run(sh("sleep 1000 & echo $!; exit 3")).await.expect("it runs");
    assert_eq!(output.exit, code(3));
    let text = String::from_utf8_lossy(&output.stdout);
    let left = text.trim().parse().expect("a pid");
    until("it is gone", || !runs(left)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x2_a_code_is_a_code_and_a_signal_is_a_signal() {
    let host = Host::roomy();
    let scope = host.scope();
    let cases: Vec<(String, ExitInfo)> = [0, 1, 42, 126, 127, 128, 137, 143, 255]
        .into_iter()
        .map(|number| (format!("exit {number}"), code(number)))
        .chain(
            [1, 2, 3, 6, 9, 10, 11, 13, 14, 15, 34, 40, 64]
                .into_iter()
                .map(|number| {
                    // The shell would exit with a code if it could catch the signal; 11 and similar signals would dump
                    // core.
                    (format!("ulimit -c 0; kill -{number} $$; sleep 1000"), signalled(number))
                }),
        )
        .chain([
            // A signal that ended a child of the command did not end the command.
            ("sh -c 'kill -9 $$'; exit $?".to_owned(), code(137)),
            ("sh -c 'kill -15 $$'; true".to_owned(), code(0)),
        ])
        .collect();
    for (script, expected) in cases {
        let id = host.start(sh(&script)).await;
        assert_eq!(exit(&scope, &id).await, expected, "{script}");
        let logs = scope.read_logs(&id).expect("it is there");
        assert_eq!((logs.running, logs.exit), (false, Some(expected)), "{script}");
        assert_eq!(scope.status(&id).expect("there").exit, Some(expected), "{script}");
        let output = host.run(sh(&script)).await.expect("it runs");
        assert_eq!(output.exit, expected, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_a_daemon_in_a_session_of_its_own_ends_with_the_command() {
    let host = patient();
    let scope = host.scope();
    let script = "setsid sh -c 'trap \"\" TERM HUP INT; echo $$; touch up; while :; do sleep 1; done' & until [ -e up ]; do :; done; rm up; exit 3";
    for _ in 0..20 {
        let id = host.start(sh(script)).await;
        let pid = printed_pid(&scope, &id).await;
        assert_eq!(exit(&scope, &id).await, code(3));
        assert!(!runs(pid), "it ended before the exit was seen");
        scope.release(&id).await.expect("it has exited");
    }
}

/// A command that continues with `script` after the test has its streams: see [`hold`].
fn with_an_outsider(script: &str) -> SpawnRequest {
    sh(&format!(
        "echo $$ > pid.new; mv pid.new pid; until [ -e held ]; do :; done; rm held; {script}"
    ))
}

/// Opens streams of the running command, as a process outside of its tree: the test is in no tree.
async fn hold(host: &Host, streams: &[u32]) -> Vec<File> {
    let path = host.dir().join("pid");
    until("the command runs", || path.exists()).await;
    let pid = std::fs::read_to_string(&path).expect("a pid");
    std::fs::remove_file(&path).expect("it is there");
    let open = |stream: &u32| {
        let path = format!("/proc/{}/fd/{stream}", pid.trim());
        let file = OpenOptions::new().read(*stream == 0).write(*stream != 0).open(path);
        file.expect("a stream of the command")
    };
    let held = streams.iter().map(open).collect();
    std::fs::write(host.dir().join("held"), "").expect("a file");
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_a_pipe_held_from_outside_is_given_up_after_the_drain_time() {
    const DRAIN: Duration = Duration::from_millis(300);
    let host = Host::with(|limits| limits.drain_time = DRAIN);
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..with_an_outsider("seq -f %07g 0 29999; read -r x; echo last; exit 6")
        })
        .await;
    let outside = hold(&host, &[1, 2]).await;
    until("the command waits", || {
        chunk(&scope, &id, OUT, None, u32::MAX).data.len() == 240_000
    })
    .await;
    let begun = Instant::now();
    scope.close_stdin(&id).expect("it is there");
    assert_eq!(exit(&scope, &id).await, code(6));
    assert!(begun.elapsed() >= DRAIN, "an outsider might still have written");
    // Everything that the tree wrote is there, and the streams have ended.
    let all = chunk(&scope, &id, OUT, None, u32::MAX);
    assert!(all.data == [numbers(0, 30_000).as_slice(), b"last\n"].concat());
    assert!(all.drained_eof);
    assert!(chunk(&scope, &id, LogStream::Stderr, None, 99).drained_eof);
    drop(outside);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_a_captured_command_gives_up_a_pipe_held_from_outside_too() {
    const DRAIN: Duration = Duration::from_millis(300);
    let host = Host::with(|limits| limits.drain_time = DRAIN);
    let begun = Instant::now();
    let running = host.run(with_an_outsider("seq -f %07g 0 29999; exit 6"));
    let (output, outside) = tokio::join!(running, hold(&host, &[1, 2]));
    let output = output.expect("it runs");
    assert!(begun.elapsed() >= DRAIN);
    assert_eq!(output.exit, code(6));
    assert!(output.stdout == numbers(0, 30_000));
    drop(outside);
}

/// The rest of the output waits in the pipe, behind a ring that is not emptied, and a process outside of the tree holds
/// the other end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_a_full_ring_is_emptied_after_the_exit_even_if_another_process_holds_the_pipe() {
    for outside in [false, true] {
        let host = Host::with(|limits| limits.drain_time = Duration::from_millis(100));
        let scope = host.scope();
        let script = "seq -f %07g 0 7499; exit 6";
        let request = if outside { with_an_outsider(script) } else { sh(script) };
        let id = host
            .start(SpawnRequest {
                overflow: Overflow::Backpressure,
                log_ring_bytes: Some(4096),
                ..request
            })
            .await;
        let held = if outside {
            hold(&host, &[1, 2]).await
        } else {
            Vec::new()
        };
        assert_eq!(exit(&scope, &id).await, code(6));
        let info = scope.status(&id).expect("it is there");
        assert_eq!((info.phase, info.exit), (Phase::Exited, Some(code(6))));
        let begin = chunk(&scope, &id, OUT, None, 4096);
        assert!(!begin.drained_eof, "there is more than fits the ring");
        let (all, dropped) = follow(&scope, &id, OUT, 1000).await;
        assert_eq!((all.len(), dropped), (60_000, 0));
        assert!(all == numbers(0, 7_500));
        drop(held);
    }
}

/// A process that still writes is ended with the rest of the tree. What it wrote into the pipe can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_x3_a_full_ring_with_a_writer_left_behind_ends_too() {
    let host = patient();
    let scope = host.scope();
    for overflow in [Overflow::Backpressure, Overflow::DropOldest] {
        let id = host
            .start(SpawnRequest {
                overflow,
                log_ring_bytes: Some(4096),
                keep_stdin_open: true,
                ..sh("yes & yes >&2 & read -r x; exit 5")
            })
            .await;
        until("the rings are full", || {
            scope.status(&id).expect("there").buffered_bytes == 2 * 4096
        })
        .await;
        scope.close_stdin(&id).expect("it is there");
        assert_eq!(exit(&scope, &id).await, code(5));
        for stream in [OUT, LogStream::Stderr] {
            let (all, dropped) = follow(&scope, &id, stream, u32::MAX).await;
            assert!(all.len() >= 4096 && dropped == 0);
            assert!(all.chunks(2).all(|line| b"y\n".starts_with(line)));
        }
        scope.release(&id).await.expect("it has exited");
    }
}

/// The host does not wait for a process outside of the tree that continues to write. One read that finds the pipe empty
/// is enough, however much came before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_an_outsider_that_goes_on_writing_does_not_hold_the_exit() {
    let host = Host::with(|limits| limits.drain_time = Duration::from_millis(200));
    let scope = host.scope();
    let id = host.start(with_an_outsider("exit 6")).await;
    let mut outside = hold(&host, &[1]).await.remove(0);
    // Until the host closes its end.
    let writing = tokio::spawn(async move {
        while outside.write_all(b"x\n").is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(exit(&scope, &id).await, code(6));
    assert!(chunk(&scope, &id, OUT, None, u32::MAX).drained_eof);
    watchdog(writing).await.expect("no panic");
}

/// The child's exit ends a write (N3), whatever else holds the pipe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_x1_a_stdin_held_from_outside_does_not_hold_the_writer() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..with_an_outsider("touch up; exec sleep 1000")
        })
        .await;
    let outside = hold(&host, &[0]).await;
    let ours = scope.clone();
    let write = ours.write_stdin(&id, vec![0; 1 << 20]);
    let ending = async {
        until("the command waits", || host.dir().join("up").exists()).await;
        scope
            .signal(&id, capsule_host::supervisor::Signal::Term)
            .await
            .expect("it is there");
        exit(&scope, &id).await
    };
    let (written, ended) = watchdog(async { tokio::join!(write, ending) }).await;
    assert_eq!((written, ended), (Err(Error::Closed), signalled(15)));
    assert!(!scope.status(&id).expect("there").stdin_open);
    drop(outside);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_the_exit_shows_everywhere_at_once_and_not_before_the_streams_end() {
    let host = patient();
    let scope = host.scope();
    for _ in 0..100 {
        let id = host.start(sh("seq -f %07g 0 999; exit 8")).await;
        watchdog(async {
            loop {
                let info = scope.status(&id).expect("it is there");
                let chunk = chunk(&scope, &id, OUT, None, u32::MAX);
                if info.phase == Phase::Exited {
                    assert_eq!(info.exit, Some(code(8)));
                    assert_eq!((chunk.data.len(), chunk.drained_eof), (8000, true));
                    assert_eq!(scope.wait(&id, Duration::ZERO).await, Ok(code(8)));
                    break;
                }
                assert_eq!(info.exit, None);
                tokio::task::yield_now().await;
            }
        })
        .await;
        scope.release(&id).await.expect("it has exited");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_waiting_for_no_time_is_a_poll_and_waiting_reaps_nothing() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(cat()).await;
    for _ in 0..3 {
        assert_eq!(watchdog(scope.wait(&id, Duration::ZERO)).await, Err(Error::WaitTimeout));
    }
    let begun = Instant::now();
    let time = Duration::from_millis(50);
    assert_eq!(watchdog(scope.wait(&id, time)).await, Err(Error::WaitTimeout));
    assert!(begun.elapsed() >= time, "never early");
    scope.close_stdin(&id).expect("it is there");
    for _ in 0..3 {
        assert_eq!(exit(&scope, &id).await, code(0));
        assert_eq!(scope.wait(&id, Duration::ZERO).await, Ok(code(0)));
        assert_eq!(scope.wait(&id, Duration::MAX).await, Ok(code(0)));
    }
    assert_eq!(host.registry.retained(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_a_wait_is_never_longer_than_the_hosts_maximum() {
    let time = Duration::from_millis(100);
    let host = Host::with(|limits| limits.wait_max = time);
    let scope = host.scope();
    let id = host.start(forever()).await;
    for asked in [
        Duration::from_secs(3600),
        Duration::from_millis(u64::MAX),
        Duration::MAX,
    ] {
        let begun = Instant::now();
        assert_eq!(watchdog(scope.wait(&id, asked)).await, Err(Error::WaitTimeout));
        assert!(begun.elapsed() >= time, "never early");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_a_thousand_waiters_all_get_the_exit() {
    let host = Host::new();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("read -r x; exit 9")
        })
        .await;
    let waiters: Vec<_> = (0..1000)
        .map(|_| {
            let (scope, id) = (host.scope(), id.clone());
            tokio::spawn(async move { scope.wait(&id, Duration::from_secs(100)).await })
        })
        .collect();
    // Some waits are dropped, and the others are not affected.
    let mut staying = Vec::new();
    for (number, waiter) in waiters.into_iter().enumerate() {
        if number % 3 == 0 {
            waiter.abort();
        } else {
            staying.push(waiter);
        }
    }
    for _ in 0..10 {
        breathe().await;
        assert!(staying.iter().all(|waiter| !waiter.is_finished()));
    }
    host.scope().close_stdin(&id).expect("it is there");
    for waiter in staying {
        assert_eq!(watchdog(waiter).await.expect("no panic"), Ok(code(9)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_k4_waiting_after_the_stop_is_no_such_process() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(forever()).await;
    assert_eq!(watchdog(scope.stop(&id, None)).await, Ok(signalled(15)));
    assert_eq!(
        watchdog(scope.wait(&id, Duration::from_secs(100))).await,
        Err(Error::NoSuchProcess)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x7_the_pid_is_the_commands_own_and_only_while_it_runs() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("echo $$; read -r x")
        })
        .await;
    let pid = printed_pid(&scope, &id).await;
    assert_eq!(scope.status(&id).expect("there").os_pid, Some(pid));
    assert!(runs(pid));
    scope.close_stdin(&id).expect("it is there");
    exit(&scope, &id).await;
    assert_eq!(scope.status(&id).expect("there").os_pid, None);
    // It was reaped, because it was a child of this process and no longer exists.
    assert_eq!(state(pid), None);
    lines(&scope, &id, 1).await;
}

/// The kernel reports a process's name in arbitrary bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_a_name_that_is_not_text_hides_no_process() {
    let host = Host::new();
    let scope = host.scope();
    let script = r#"
        name=$(printf '\377\376'); cp /bin/sleep "$name"
        setsid "./$name" 1000 & echo $!
        until [ "$(cat /proc/$!/comm)" = "$name" ]; do sleep 0.01; done
        exit 3
    "#;
    let id = host.start(sh(script)).await;
    let hidden = printed_pid(&scope, &id).await;
    assert_eq!(exit(&scope, &id).await, code(3));
    assert!(!runs(hidden));
}
