//! No output is lost at the end (X3, L7), and none under backpressure (L6): everything that a child wrote can be read,
//! on a busy machine too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use capsule_host::supervisor::{LogStream, Overflow, Phase, Scope, SpawnRequest};

use capsule_tests::{Busy, Host, breathe, chunk, code, command, exit, follow, news, sh, watchdog};

const CHILDREN: usize = 2_000;
const IN_FLIGHT: usize = 8;

/// A short-lived child and its output.
struct Shape {
    request: SpawnRequest,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Starts the children, a few at a time, and reads each in one of three ways.
async fn none_lost(shape: Shape) {
    let host = Arc::new(Host::roomy());
    let shape = Arc::new(shape);
    let next = Arc::new(AtomicUsize::new(0));
    let _busy = Busy::cores();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (host, shape, next) = (Arc::clone(&host), Arc::clone(&shape), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CHILDREN {
                        break;
                    }
                    one(&host, &shape, number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no child lost anything");
    }
    assert_eq!(host.registry.retained(), 0);
}

async fn one(host: &Host, shape: &Shape, number: usize) {
    let scope = host.scope();
    let id = host.start(shape.request.clone()).await;
    match number % 3 {
        // After `wait` all output is there at once, and its end is announced.
        0 => {
            assert_eq!(exit(&scope, &id).await, code(0));
            whole(&scope, &id, LogStream::Stdout, &shape.stdout);
            whole(&scope, &id, LogStream::Stderr, &shape.stderr);
        }
        // The same by draining.
        1 => {
            assert_eq!(exit(&scope, &id).await, code(0));
            let logs = scope.read_logs(&id).expect("it is retained");
            assert_eq!(logs.stdout.as_bytes(), shape.stdout, "child {number}");
            assert_eq!(logs.stderr.as_bytes(), shape.stderr, "child {number}");
            assert!(!logs.running);
            assert_eq!(logs.exit, Some(code(0)));
        }
        // A follower that never pauses gets everything.
        _ => {
            busy_follow(&scope, &id, LogStream::Stdout, &shape.stdout).await;
            busy_follow(&scope, &id, LogStream::Stderr, &shape.stderr).await;
        }
    }
    scope.release(&id).await.expect("it has exited");
}

fn whole(scope: &Scope, id: &str, stream: LogStream, expected: &[u8]) {
    let chunk = chunk(scope, id, stream, None, u32::MAX);
    assert_eq!(chunk.data.len(), expected.len(), "{stream:?}");
    assert_eq!(chunk.data, expected);
    assert!(chunk.drained_eof, "after the exit this is all there will be");
    assert_eq!(chunk.bytes_dropped, 0);
}

async fn busy_follow(scope: &Scope, id: &str, stream: LogStream, expected: &[u8]) {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    watchdog(async {
        loop {
            let chunk = chunk(scope, id, stream, cursor.as_deref(), 16 * 1024);
            all.extend_from_slice(&chunk.data);
            if chunk.drained_eof {
                assert_eq!(all.len(), expected.len(), "an end of {stream:?} was announced");
                break;
            }
            cursor = Some(chunk.next);
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(all, expected);
    let status = scope.status(id).expect("it is retained");
    assert_eq!(status.phase, Phase::Exited, "the end comes with the exit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l7_no_tail_of_5_bytes_is_lost() {
    none_lost(Shape {
        request: command("/usr/bin/printf", &["hello"]),
        stdout: b"hello".to_vec(),
        stderr: Vec::new(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l7_no_tail_of_4_kib_is_lost() {
    none_lost(Shape {
        request: command("/usr/bin/head", &["-c", "4096", "/dev/zero"]),
        stdout: vec![0; 4096],
        stderr: Vec::new(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l7_no_tail_of_60_000_bytes_is_lost() {
    none_lost(Shape {
        request: command("/usr/bin/head", &["-c", "60000", "/dev/zero"]),
        stdout: vec![0; 60_000],
        stderr: Vec::new(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l7_no_tail_of_two_streams_is_lost() {
    none_lost(Shape {
        request: sh("echo out; echo err >&2; echo more; echo worse >&2"),
        stdout: b"out\nmore\n".to_vec(),
        stderr: b"err\nworse\n".to_vec(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l7_no_tail_of_a_shell_command_is_lost() {
    none_lost(Shape {
        request: sh("printf 'one\\n'; /usr/bin/printf 'last words'"),
        stdout: b"one\nlast words".to_vec(),
        stderr: Vec::new(),
    })
    .await;
}

/// The same under backpressure, where the ring is smaller than the output: the rest waits in the pipe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x3_l6_l7_no_tail_is_lost_that_waits_for_room() {
    let host = Host::roomy();
    let scope = host.scope();
    let expected: Vec<u8> = numbers(0, 7_500);
    let _busy = Busy::cores();
    for round in 0..300 {
        let id = host
            .start(SpawnRequest {
                overflow: Overflow::Backpressure,
                log_ring_bytes: Some(4096),
                ..command("/usr/bin/seq", &["-f", "%07g", "0", "7499"])
            })
            .await;
        // 60,000 bytes fit the ring and the pipe together, so the child can exit unread.
        assert_eq!(exit(&scope, &id).await, code(0), "round {round}");
        if round % 2 == 0 {
            let (all, dropped) = follow(&scope, &id, LogStream::Stdout, u32::MAX).await;
            assert_eq!(all.len(), expected.len(), "round {round}");
            assert_eq!(all, expected);
            assert_eq!(dropped, 0);
        } else {
            let all = drain(&scope, &id, expected.len()).await;
            assert_eq!(all.as_bytes(), expected, "round {round}");
        }
        scope.release(&id).await.expect("it has exited");
    }
}

/// Lines of seven digits, as `seq -f %07g` prints them: eight bytes each.
pub(crate) fn numbers(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|number| format!("{number:07}\n").into_bytes())
        .collect()
}

/// Stdout read by `read_logs` alone, until there are `len` bytes.
async fn drain(scope: &Scope, id: &str, len: usize) -> String {
    let mut all = String::new();
    watchdog(async {
        while all.len() < len {
            let logs = scope.read_logs(id).expect("it is retained");
            if logs.stdout.is_empty() {
                breathe().await;
            }
            all.push_str(&logs.stdout);
        }
    })
    .await;
    assert_eq!(scope.read_logs(id).expect("it is retained").stdout, "");
    all
}

/// The child keeps a copy of its output.
async fn lossless(count: u64, ring: u32) {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(ring),
            ..sh(&format!("head -c {count} /dev/urandom | tee copy"))
        })
        .await;
    let mut hash = blake3::Hasher::new();
    let mut seen = 0_u64;
    let mut cursor: Option<String> = None;
    let mut ended = false;
    while !ended {
        let pause = tokio::task::yield_now;
        let chunk = news(&scope, &id, LogStream::Stdout, &mut cursor, u32::MAX, pause).await;
        assert_eq!(chunk.bytes_dropped, 0, "after {seen} bytes");
        hash.update(&chunk.data);
        seen += u64::try_from(chunk.data.len()).expect("a length");
        ended = chunk.drained_eof;
    }
    assert_eq!(seen, count);
    assert_eq!(exit(&scope, &id).await, code(0));
    let mut copy = blake3::Hasher::new();
    let file = std::fs::File::open(host.dir().join("copy")).expect("the copy");
    copy.update_reader(file).expect("the copy");
    assert_eq!(hash.finalize(), copy.finalize());
    assert_eq!(scope.status(&id).expect("retained").bytes_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_cursor_follows_256_mib_through_a_ring_of_1_mib_without_loss() {
    lossless(256 << 20, 1 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_cursor_follows_256_mib_through_a_ring_of_4_kib_without_loss() {
    lossless(256 << 20, 4 << 10).await;
}
