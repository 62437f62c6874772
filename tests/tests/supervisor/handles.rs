//! Processes by handle: those that end with the handle, and attached ones (S9, A1 to A3, K3, X5, X7).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use capsule_host::supervisor::{Error, Handle, LogStream, Overflow, Scope, Signal, SpawnRequest};

use capsule_tests::{
    AllowAll, Busy, Host, PATIENCE, cat, chunk, code, command, exit, forever, lines, noise, printed_pid, runs, sh,
    signalled, state, until, watchdog,
};

const OUT: LogStream = LogStream::Stdout;

async fn background(host: &Host, scope: &Scope, request: SpawnRequest) -> Result<Handle, Error> {
    watchdog(scope.spawn_background(request, &host.workspace, &mut AllowAll)).await
}

/// Drains the output of a handle's process until it is all of `wanted`.
async fn printed(handle: &Handle, wanted: &str) {
    let mut all = String::new();
    until("the output", || {
        all += &handle.read_logs().expect("it is there").stdout;
        all.len() >= wanted.len()
    })
    .await;
    assert_eq!(all, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_s5_a_dropped_handle_has_ended_its_tree_and_given_its_slot_back() {
    let host = Host::with(|limits| limits.processes_per_principal = 1);
    let scope = host.scope();
    let _busy = Busy::cores();
    for _ in 0..50 {
        // A daemon in a session of its own that ignores every signal.
        let script = "setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec sleep 1000' & wait";
        let handle = background(&host, &scope, sh(script)).await.expect("the slot is free");
        let mut pid = String::new();
        until("the daemon", || {
            pid += &handle.read_logs().expect("it is there").stdout;
            pid.ends_with('\n')
        })
        .await;
        watchdog(handle.close()).await;
        assert_eq!(state(pid.trim().parse().expect("a pid")), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_a_handle_that_is_dropped_without_waiting_ends_its_tree_too() {
    let host = Host::new();
    let handle = background(&host, &host.scope(), forever()).await.expect("a process");
    let pid = handle.os_pid().expect("it runs");
    assert!(runs(pid));
    drop(handle);
    until("the end", || state(pid).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_what_is_for_persistent_processes_does_not_count() {
    let host = Host::new();
    let request = SpawnRequest {
        label: Some("x".into()),
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4096),
        max_lifetime: Some(Duration::ZERO),
        idle_timeout: Some(Duration::ZERO),
        exit_retention: Some(Duration::ZERO),
        ..sh("head -c 100000 /dev/zero; exit 4")
    };
    let scope = host.scope();
    let handle = background(&host, &scope, request).await.expect("a process");
    assert_eq!(watchdog(handle.wait(None)).await, Ok(code(4)));
    assert_eq!(handle.read_logs().expect("it stays").stdout.len(), 100_000);
    assert!(scope.list(None).is_empty());
    // An anonymous caller cannot have persistent processes.
    let handle = background(&host, &host.anonymous(), sh("exit 5"))
        .await
        .expect("a process");
    assert_eq!(watchdog(handle.wait(None)).await, Ok(code(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_a_handle_writes_to_a_stdin_that_was_kept_open() {
    let host = Host::new();
    let scope = host.scope();
    let handle = background(&host, &scope, cat()).await.expect("a process");
    assert_eq!(watchdog(handle.write_stdin(b"hello\n".to_vec())).await, Ok(6));
    printed(&handle, "hello\n").await;
    assert_eq!(handle.close_stdin(), Ok(()));
    assert_eq!(handle.write_stdin(b"x".to_vec()).await, Err(Error::Closed));
    assert_eq!(watchdog(handle.wait(None)).await, Ok(code(0)));
    let closed = background(&host, &scope, command("/bin/cat", &[]))
        .await
        .expect("a process");
    assert_eq!(closed.write_stdin(b"x".to_vec()).await, Err(Error::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_q3_handles_count_against_the_principals_quotas() {
    let host = Host::with(|limits| {
        limits.processes_per_principal = 2;
        limits.ring_memory_per_principal = 6 << 20;
    });
    let (one, other) = (host.scope(), host.scope_of("alice", "other"));
    let first = background(&host, &one, forever()).await.expect("a process");
    let second = background(&host, &other, forever()).await.expect("a process");
    assert!(matches!(background(&host, &one, forever()).await, Err(Error::Quota)));
    drop((first, second));
    let host = Host::with(|limits| limits.ring_memory_per_principal = 4 << 20);
    let scope = host.scope();
    let _two = [
        background(&host, &scope, forever()).await.expect("a process"),
        background(&host, &scope, forever()).await.expect("a process"),
    ];
    assert!(matches!(background(&host, &scope, forever()).await, Err(Error::Quota)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_an_attached_handle_and_the_calls_by_id_act_on_one_process() {
    let host = Host::new();
    let id = host.start(cat()).await;
    let (scope, later) = (host.scope(), host.scope());
    let handle = later.attach(&id).expect("it is there");
    assert_eq!(watchdog(handle.write_stdin(b"by handle\n".to_vec())).await, Ok(10));
    assert_eq!(watchdog(scope.write_stdin(&id, b"by id\n".to_vec())).await, Ok(6));
    lines(&scope, &id, 2).await;
    printed(&handle, "by handle\nby id\n").await;
    assert_eq!(scope.read_logs(&id).expect("it is there").stdout, "");
    assert_eq!(scope.status(&id).expect("it is there").os_pid, handle.os_pid().ok());
    drop(handle);
    drop(later.attach(&id).expect("it is still there"));
    assert_eq!(later.attach(&id).expect("and again").close_stdin(), Ok(()));
    assert_eq!(exit(&scope, &id).await, code(0));
    assert_eq!(scope.list(None).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a_handle_whose_id_is_gone_is_closed() {
    let host = Host::new();
    let scope = host.scope();
    for ending in ["stop", "release"] {
        let id = host.start(cat()).await;
        let handle = scope.attach(&id).expect("it is there");
        let (exited, logs) = (handle.exit_ready(), handle.logs_ready());
        if ending == "stop" {
            watchdog(scope.stop(&id, Some(Duration::ZERO)))
                .await
                .expect("it was there");
        } else {
            scope.close_stdin(&id).expect("it is there");
            exit(&scope, &id).await;
            scope.release(&id).await.expect("it has exited");
        }
        assert_eq!(handle.read_logs(), Err(Error::Closed));
        assert_eq!(handle.write_stdin(Vec::new()).await, Err(Error::Closed));
        assert_eq!(handle.close_stdin(), Err(Error::Closed));
        assert_eq!(handle.signal(Signal::Term).await, Err(Error::Closed));
        assert_eq!(handle.kill().await, Err(Error::Closed));
        assert_eq!(handle.wait(Some(PATIENCE)).await, Err(Error::Closed));
        assert_eq!(handle.wait_with_output(Some(PATIENCE)).await, Err(Error::Closed));
        assert_eq!(handle.os_pid(), Err(Error::Closed));
        watchdog(async { tokio::join!(exited.ready(), logs.ready()) }).await;
        assert!(matches!(scope.attach(&id), Err(Error::NoSuchProcess)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_wait_with_output_takes_all_and_on_a_timeout_nothing() {
    let host = Host::new();
    let scope = host.scope();
    let handle = background(
        &host,
        &scope,
        sh("echo out; echo err >&2; read -r x; printf '\\303'; exit 6"),
    )
    .await
    .expect("a process");
    let held = background(
        &host,
        &scope,
        SpawnRequest {
            keep_stdin_open: true,
            ..sh("echo out; echo err >&2; read -r x; printf '\\303'; exit 6")
        },
    )
    .await
    .expect("a process");
    let output = watchdog(handle.wait_with_output(None)).await.expect("it ends");
    assert_eq!(
        (output.exit, &output.stdout[..], &output.stderr[..]),
        (code(6), &b"out\n\xC3"[..], &b"err\n"[..])
    );
    assert_eq!(
        held.wait_with_output(Some(Duration::ZERO)).await,
        Err(Error::WaitTimeout)
    );
    assert_eq!(watchdog(held.write_stdin(b"go\n".to_vec())).await, Ok(3));
    let output = watchdog(held.wait_with_output(Some(PATIENCE))).await.expect("it ends");
    assert_eq!(
        (output.exit, &output.stdout[..], &output.stderr[..]),
        (code(6), &b"out\n\xC3"[..], &b"err\n"[..])
    );
    assert_eq!(held.read_logs().expect("it stays").stdout, "", "it was taken out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_k3_what_waits_for_room_is_taken_out_too() {
    let host = Host::new();
    let scope = host.scope();
    // 4 KiB are in the ring, more is in the pipe, and the rest is still to be written.
    let request = || SpawnRequest {
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4096),
        ..command("/bin/sh", &["-c", "cat noise; sleep 1000"])
    };
    let noise = noise(3, 4096 + 65_536);
    std::fs::write(host.dir().join("noise"), &noise).expect("a file");
    let id = host.start(request()).await;
    until("a full ring", || {
        scope.status(&id).expect("it is there").buffered_bytes == 4096
    })
    .await;
    let killed = watchdog(scope.attach(&id).expect("it is there").kill())
        .await
        .expect("it ran");
    assert!(killed.killed);
    assert_eq!(killed.exit, signalled(9));
    assert!(
        noise.starts_with(&killed.stdout) && killed.stdout.len() > 4096,
        "{}",
        killed.stdout.len()
    );
    // Its id stays, as that of an exited process, and its output was removed.
    let chunk = chunk(&scope, &id, OUT, None, 10);
    assert!(chunk.data.is_empty() && chunk.drained_eof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k3_a_kill_of_what_has_exited_tells_how() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh("echo rest; exit 7")).await;
    exit(&scope, &id).await;
    let attached = scope.attach(&id).expect("it is there");
    let killed = attached.kill().await.expect("it is there");
    assert_eq!(
        (killed.killed, killed.exit, &killed.stdout[..]),
        (false, code(7), &b"rest\n"[..])
    );
    let again = attached.kill().await.expect("it is there");
    assert_eq!((again.killed, again.exit, again.stdout.len()), (false, code(7), 0));
    assert!(scope.status(&id).is_ok());

    let handle = background(&host, &scope, sh("trap '' TERM; echo deaf; sleep 1000 & wait"))
        .await
        .expect("a process");
    printed(&handle, "deaf\n").await;
    handle.signal(Signal::Term).await.expect("it runs");
    let killed = watchdog(handle.kill()).await.expect("it runs");
    assert_eq!((killed.killed, killed.exit), (true, signalled(9)));
    let again = handle.kill().await.expect("the handle holds it");
    assert_eq!((again.killed, again.exit), (false, signalled(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x5_only_an_ephemeral_process_is_waited_for_without_end() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(forever()).await;
    let attached = scope.attach(&id).expect("it is there");
    assert!(matches!(attached.wait(None).await, Err(Error::InvalidInput(_))));
    assert!(matches!(
        attached.wait_with_output(None).await,
        Err(Error::InvalidInput(_))
    ));
    assert_eq!(attached.wait(Some(Duration::ZERO)).await, Err(Error::WaitTimeout));
    let handle = background(&host, &scope, sh("exit 8")).await.expect("a process");
    assert_eq!(watchdog(handle.wait(Some(Duration::MAX))).await, Ok(code(8)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x7_os_pid_is_the_commands_own_and_closed_after_its_end() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("echo $$; read -r x")
        })
        .await;
    let handle = scope.attach(&id).expect("it is there");
    assert_eq!(handle.os_pid(), Ok(printed_pid(&scope, &id).await));
    scope.close_stdin(&id).expect("it is there");
    exit(&scope, &id).await;
    assert_eq!(handle.os_pid(), Err(Error::Closed));
    assert_eq!(scope.status(&id).expect("it is there").os_pid, None);
}

/// Counts the wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether it is ready now.
async fn is_ready(ready: impl Future<Output = ()>) -> bool {
    let mut ready = pin!(ready);
    poll_fn(|context| Poll::Ready(ready.as_mut().poll(context).is_ready())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_logs_are_ready_while_there_is_something_this_reader_has_not_had() {
    let host = Host::new();
    let (scope, other) = (host.scope(), host.scope());
    let id = host.start(cat()).await;
    let handle = scope.attach(&id).expect("it is there");
    let (logs, exited) = (handle.logs_ready(), handle.exit_ready());
    let others = other.attach(&id).expect("it is there").logs_ready();
    assert!(is_ready(others.ready()).await, "its handle was dropped");
    let other_handle = other.attach(&id).expect("it is there");
    let others = other_handle.logs_ready();
    let say = async |text: &[u8]| {
        let before = chunk(&host.scope(), &id, OUT, None, u32::MAX).data.len();
        scope.write_stdin(&id, text.to_vec()).await.expect("it reads");
        until("the echo", || {
            chunk(&host.scope(), &id, OUT, None, u32::MAX).data.len() == before + text.len()
        })
        .await;
    };
    assert!(!is_ready(logs.ready()).await);
    say(b"one ").await;
    assert!(
        is_ready(logs.ready()).await && is_ready(logs.ready()).await,
        "it stays so"
    );

    // This reader has it by cursor, and other readers do not.
    let first = chunk(&scope, &id, OUT, None, 2);
    assert!(is_ready(logs.ready()).await, "there are two more bytes");
    let second = chunk(&scope, &id, OUT, Some(&first.next), 100);
    assert!(!is_ready(logs.ready()).await);
    assert!(is_ready(others.ready()).await);
    // Reading a part again makes no part of it new.
    chunk(&scope, &id, OUT, None, 1);
    assert!(!is_ready(logs.ready()).await);

    // `read-logs` cannot return a part of a character, so it does not count.
    assert_eq!(scope.read_logs(&id).expect("it is there").stdout, "one ");
    assert!(!is_ready(others.ready()).await, "it was taken from all");
    say(b"\xE2\x82").await;
    assert!(!is_ready(others.ready()).await);
    say(b"\xAC").await;
    assert!(is_ready(others.ready()).await && is_ready(logs.ready()).await);
    chunk(&scope, &id, OUT, Some(&second.next), 100);
    assert!(!is_ready(logs.ready()).await);

    assert!(!is_ready(exited.ready()).await);
    scope.close_stdin(&id).expect("it is there");
    watchdog(async { tokio::join!(logs.ready(), exited.ready()) }).await;
    assert!(
        is_ready(logs.ready()).await && is_ready(exited.ready()).await,
        "for good"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_a_wait_is_woken_by_its_own_cause_only() {
    let host = Host::new();
    let scope = host.scope();
    let (quiet, loud) = (host.start(cat()).await, host.start(cat()).await);
    let (quiet_handle, loud_handle) = (scope.attach(&quiet), scope.attach(&loud));
    let (quiet_handle, loud_handle) = (quiet_handle.expect("it is there"), loud_handle.expect("it is there"));
    let (logs, exited, loud_exited) = (
        quiet_handle.logs_ready(),
        quiet_handle.exit_ready(),
        loud_handle.exit_ready(),
    );
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut waits = [
        Box::pin(logs.ready()) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
        Box::pin(exited.ready()),
        Box::pin(loud_exited.ready()),
    ];
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut context).is_pending());
    }
    for _ in 0..100 {
        scope.write_stdin(&loud, b"noise\n".to_vec()).await.expect("it reads");
        scope.status(&quiet).expect("it is there");
    }
    lines(&scope, &loud, 100).await;
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    scope.write_stdin(&quiet, b"x".to_vec()).await.expect("it reads");
    until("the wake-up", || count.0.load(Ordering::SeqCst) > 0).await;
    let [logs, exited, loud_exited] = &mut waits;
    assert!(logs.as_mut().poll(&mut context).is_ready());
    assert!(exited.as_mut().poll(&mut context).is_pending());
    assert!(loud_exited.as_mut().poll(&mut context).is_pending());
}

/// On one thread, so that no timer fires between the start and the first call, however long that takes.
#[tokio::test]
async fn t2_who_waits_for_a_process_keeps_it_from_being_idle() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            idle_timeout: Some(Duration::from_millis(100)),
            ..forever()
        })
        .await;
    let handle = scope.attach(&id).expect("it is there");
    let exited = handle.exit_ready();
    let mut waiting = pin!(exited.ready());
    assert!(!is_ready(waiting.as_mut()).await);
    // Another process, idle from the start, marks the time at which this one would have ended.
    let mark = host
        .start(SpawnRequest {
            idle_timeout: Some(Duration::from_millis(300)),
            ..forever()
        })
        .await;
    until("the mark", || scope.status(&mark).is_err()).await;
    assert!(scope.status(&id).is_ok());
}
