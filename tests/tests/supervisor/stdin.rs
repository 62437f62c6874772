//! Writing to a child: in order, complete, and in one piece (N1 to N4).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use capsule_host::supervisor::{Error, LogStream, Overflow, Phase, Scope, Signal, SpawnRequest};

use capsule_tests::{
    Host, breathe, cat, chunk, code, command, exit, follow, forever, lines, noise, sh, signalled, until, watchdog,
};

const OUT: LogStream = LogStream::Stdout;

/// A write that was polled until it waits.
struct Arrived<'a> {
    write: Pin<Box<dyn Future<Output = Result<u32, Error>> + Send + 'a>>,
    result: Option<Result<u32, Error>>,
}

impl<'a> Arrived<'a> {
    async fn new(scope: &'a Scope, id: &'a str, data: Vec<u8>) -> Self {
        let mut write = Box::pin(scope.write_stdin(id, data));
        let result = poll_fn(|context| match write.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        Self { write, result }
    }

    /// The same, for a write that must wait.
    async fn stuck(scope: &'a Scope, id: &'a str, data: Vec<u8>) -> Self {
        let arrived = Self::new(scope, id, data).await;
        assert_eq!(arrived.result, None, "it was not read yet");
        arrived
    }

    async fn result(self) -> Result<u32, Error> {
        match self.result {
            Some(result) => result,
            None => watchdog(self.write).await,
        }
    }
}

/// Echoes through a ring of 4 KiB, so it reads no faster than the test does.
fn slow_cat() -> SpawnRequest {
    SpawnRequest {
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4096),
        ..cat()
    }
}

/// A child that never reads, and does not end by itself.
fn deaf() -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..forever()
    }
}

async fn writers_are_served_in_order(writers: u8, rounds: usize) {
    const SIZE: usize = 256 << 10;
    let host = Host::roomy();
    let scope = host.scope();
    for round in 0..rounds {
        let id = host.start(slow_cat()).await;
        let (following, reading_id) = (scope.clone(), id.clone());
        let mut pending = Vec::new();
        let mut expected = Vec::new();
        for writer in 0..writers {
            let data = vec![b'a' + writer; SIZE];
            expected.extend_from_slice(&data);
            let write = Arrived::new(&scope, &id, data).await;
            pending.push(write);
        }
        let reader = tokio::spawn(async move { follow(&following, &reading_id, OUT, 4096).await });
        for (writer, write) in pending.into_iter().enumerate().rev() {
            let result = write.result().await;
            assert_eq!(
                result,
                Ok(u32::try_from(SIZE).expect("small")),
                "writer {writer} in round {round}"
            );
        }
        scope.close_stdin(&id).expect("it is there");
        let (read, dropped) = reader.await.expect("no panic");
        assert_eq!((read.len(), dropped), (expected.len(), 0), "round {round}");
        assert!(read == expected, "round {round}: contiguous and in order of arrival");
        assert_eq!(exit(&scope, &id).await, code(0));
        scope.release(&id).await.expect("it has exited");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_n2_two_writers_are_served_whole_and_in_order() {
    writers_are_served_in_order(2, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_n2_ten_writers_are_served_whole_and_in_order() {
    writers_are_served_in_order(10, 5).await;
}

/// Writers in tasks of their own, while the child reads as fast as it can. Their order is open, but each write is
/// complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n2_racing_writers_do_not_mix() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            ..cat()
        })
        .await;
    let reader = tokio::spawn({
        let (scope, id) = (scope.clone(), id.clone());
        async move { follow(&scope, &id, OUT, u32::MAX).await.0 }
    });
    let sizes: Vec<usize> = (0..40).map(|writer| 1 + writer * writer * 97).collect();
    let writers: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(writer, &size)| {
            let (scope, id) = (scope.clone(), id.clone());
            let data = vec![u8::try_from(writer).expect("few"); size];
            tokio::spawn(async move { scope.write_stdin(&id, data).await })
        })
        .collect();
    for (writer, &size) in writers.into_iter().zip(&sizes) {
        let result = watchdog(writer).await.expect("no panic");
        assert_eq!(result, Ok(u32::try_from(size).expect("small")));
    }
    scope.close_stdin(&id).expect("it is there");
    let read = reader.await.expect("no panic");
    let runs: Vec<_> = read.chunk_by(|a, b| a == b).collect();
    assert_eq!(runs.len(), sizes.len(), "each in one piece");
    for run in runs {
        assert_eq!(run.len(), sizes[usize::from(run[0])]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_more_than_1_mib_is_too_large_and_writes_nothing() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            log_ring_bytes: Some(8 << 20),
            ..cat()
        })
        .await;
    let most = noise(4, 1 << 20);
    let too_much = scope.write_stdin(&id, vec![0; (1 << 20) + 1]).await;
    assert_eq!(too_much, Err(Error::TooLarge));
    assert_eq!(watchdog(scope.write_stdin(&id, most.clone())).await, Ok(1 << 20));
    let too_much = scope.write_stdin(&id, vec![0; 10 << 20]).await;
    assert_eq!(too_much, Err(Error::TooLarge));
    assert_eq!(scope.write_stdin(&id, b"end".to_vec()).await, Ok(3));
    scope.close_stdin(&id).expect("it is there");
    assert_eq!(exit(&scope, &id).await, code(0));
    let (read, _) = follow(&scope, &id, OUT, u32::MAX).await;
    assert!(read == [most.as_slice(), b"end"].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_an_empty_write_succeeds() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(cat()).await;
    for _ in 0..3 {
        assert_eq!(watchdog(scope.write_stdin(&id, Vec::new())).await, Ok(0));
    }
    assert!(scope.status(&id).expect("it is there").stdin_open);
    assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Ok(1));
    scope.close_stdin(&id).expect("it is there");
    assert_eq!(follow(&scope, &id, OUT, 9).await.0, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_a_child_that_does_not_read_blocks_only_its_writer() {
    let host = Host::new();
    let scope = host.scope();
    let stuck = host.start(deaf()).await;
    let write = Arrived::stuck(&scope, &stuck, vec![0; 1 << 20]).await;
    // All other calls continue, on the same process and on others.
    assert_eq!(scope.status(&stuck).expect("there").phase, Phase::Running);
    assert_eq!(scope.read_logs(&stuck).expect("there").stdout, "");
    assert_eq!(
        watchdog(scope.wait(&stuck, std::time::Duration::ZERO)).await,
        Err(Error::WaitTimeout)
    );
    let other = host.start(cat()).await;
    assert_eq!(watchdog(scope.write_stdin(&other, b"hi\n".to_vec())).await, Ok(3));
    assert_eq!(lines(&scope, &other, 1).await, ["hi"]);
    // The write ends when the child is stopped.
    let (stopped, written) = watchdog(async { tokio::join!(scope.stop(&stuck, None), write.result()) }).await;
    assert_eq!(stopped, Ok(signalled(15)));
    assert_eq!(written, Err(Error::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_a_write_to_a_child_that_exits_is_closed_and_so_are_later_ones() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("trap 'read -r x; exit 3' USR1; echo ready; while :; do sleep 1000 & wait; done")
        })
        .await;
    lines(&scope, &id, 1).await;
    let first = Arrived::stuck(&scope, &id, [b"go\n".as_slice(), &[0; (1 << 20) - 3]].concat()).await;
    let second = Arrived::stuck(&scope, &id, b"and more".to_vec()).await;
    // The child reads, and ends because of that, only after both have arrived.
    assert_eq!(scope.signal(&id, Signal::Usr1).await, Ok(()));
    assert_eq!(first.result().await, Err(Error::Closed));
    assert_eq!(second.result().await, Err(Error::Closed));
    assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Err(Error::Closed));
    assert_eq!(exit(&scope, &id).await, code(3));
    assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Err(Error::Closed));
    assert!(!scope.status(&id).expect("it is there").stdin_open);
    assert_eq!(scope.close_stdin(&id), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_a_write_to_an_exited_child_is_closed() {
    let host = Host::new();
    let scope = host.scope();
    for script in ["exit 0", "exec 0<&-; exit 0"] {
        let id = host
            .start(SpawnRequest {
                keep_stdin_open: true,
                ..sh(script)
            })
            .await;
        exit(&scope, &id).await;
        assert!(!scope.status(&id).expect("it is there").stdin_open);
        assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Err(Error::Closed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_a_child_that_closes_its_end_closes_the_stream() {
    let host = Host::new();
    let scope = host.scope();
    // Before any write, and during one.
    for blocked in [false, true] {
        // Background commands of a script read from the null device. The child reports when it has reached this state.
        let script = "trap 'exec 0<&-; echo closed' USR1; { trap '' USR1; echo ready; exec sleep 1000; } & while :; do wait; done";
        let id = host
            .start(SpawnRequest {
                keep_stdin_open: true,
                ..sh(script)
            })
            .await;
        lines(&scope, &id, 1).await;
        let write = if blocked {
            let write = Arrived::stuck(&scope, &id, vec![0; 1 << 20]).await;
            Some(write)
        } else {
            None
        };
        // Only the shell has its stdin.
        scope.signal(&id, Signal::Usr1).await.expect("it is there");
        lines(&scope, &id, 2).await;
        if let Some(write) = write {
            assert_eq!(write.result().await, Err(Error::Closed));
        }
        assert_eq!(
            watchdog(scope.write_stdin(&id, b"x".to_vec())).await,
            Err(Error::Closed)
        );
        assert_eq!(
            watchdog(scope.write_stdin(&id, b"x".to_vec())).await,
            Err(Error::Closed)
        );
        let info = scope.status(&id).expect("it is there");
        assert_eq!((info.phase, info.stdin_open), (Phase::Running, false));
        scope.stop(&id, Some(std::time::Duration::ZERO)).await.expect("it runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_a_prelude_that_fails_closes_the_stream() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            stdin: Some(vec![0; 4 << 20]),
            keep_stdin_open: true,
            ..sh("exec 0<&-; echo closed; exec sleep 1000")
        })
        .await;
    lines(&scope, &id, 1).await;
    assert_eq!(
        watchdog(scope.write_stdin(&id, b"x".to_vec())).await,
        Err(Error::Closed)
    );
    until("it is known", || !scope.status(&id).expect("there").stdin_open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_close_stdin_is_idempotent_and_ends_the_input() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(cat()).await;
    assert_eq!(scope.write_stdin(&id, b"all of it".to_vec()).await, Ok(9));
    assert!(scope.status(&id).expect("there").stdin_open);
    for _ in 0..3 {
        assert_eq!(scope.close_stdin(&id), Ok(()));
        assert!(!scope.status(&id).expect("there").stdin_open);
        assert_eq!(scope.write_stdin(&id, b"more".to_vec()).await, Err(Error::Closed));
    }
    assert_eq!(exit(&scope, &id).await, code(0));
    assert_eq!(scope.close_stdin(&id), Ok(()));
    assert_eq!(follow(&scope, &id, OUT, 99).await.0, b"all of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_the_end_of_the_input_follows_the_prelude_and_every_accepted_write() {
    let host = Host::new();
    let scope = host.scope();
    let prelude = noise(20, 300_000);
    let id = host
        .start(SpawnRequest {
            stdin: Some(prelude.clone()),
            ..slow_cat()
        })
        .await;
    let mut expected = prelude;
    let mut pending = Vec::new();
    for writer in 0..5 {
        let data = noise(30 + writer, 200_000);
        expected.extend_from_slice(&data);
        let write = Arrived::new(&scope, &id, data).await;
        pending.push(write);
    }
    // It returns at once, although nothing reads.
    scope.close_stdin(&id).expect("it is there");
    let late = Arrived::new(&scope, &id, b"too late".to_vec()).await;
    assert_eq!(late.result, Some(Err(Error::Closed)));
    let reader = follow(&scope, &id, OUT, u32::MAX);
    let writers = async {
        for write in pending {
            assert_eq!(write.result().await, Ok(200_000));
        }
    };
    let ((read, _), ()) = watchdog(async { tokio::join!(reader, writers) }).await;
    assert!(read == expected);
    assert_eq!(exit(&scope, &id).await, code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_a_caller_that_goes_away_does_not_tear_its_write() {
    let host = Host::new();
    let scope = host.scope();
    for round in 0..10 {
        let id = host.start(slow_cat()).await;
        let mut expected = Vec::new();
        let mut pending = Vec::new();
        for writer in 0..6 {
            let data = noise(40 + writer, 150_000);
            expected.extend_from_slice(&data);
            let write = Arrived::new(&scope, &id, data).await;
            // The first is in progress, and others still wait for their turn.
            if writer % 2 == 0 {
                drop(write);
            } else {
                pending.push(write);
            }
        }
        scope.close_stdin(&id).expect("it is there");
        let writers = async {
            for write in pending {
                assert_eq!(write.result().await, Ok(150_000), "round {round}");
            }
        };
        let reader = follow(&scope, &id, OUT, u32::MAX);
        let ((read, _), ()) = watchdog(async { tokio::join!(reader, writers) }).await;
        assert_eq!(read.len(), expected.len(), "round {round}");
        assert!(read == expected, "round {round}");
        scope.release(&id).await.expect("it has exited");
    }
}

/// If a write is dropped at any point, it is made completely or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_a_write_dropped_anywhere_is_whole_or_unmade() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(slow_cat()).await;
    let reader = tokio::spawn({
        let (scope, id) = (scope.clone(), id.clone());
        async move { follow(&scope, &id, OUT, 4096).await.0 }
    });
    const SIZE: usize = 50_000;
    let mut certain = Vec::new();
    for round in 0..50_u8 {
        let byte = b'0' + round;
        let mut write = Box::pin(scope.write_stdin(&id, vec![byte; SIZE]));
        let mut polls = round % 8;
        let result = poll_fn(|context| match write.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => {
                polls -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        drop(write);
        if let Some(result) = result {
            assert_eq!(result, Ok(50_000));
            certain.push(byte);
        }
        if round % 5 == 0 {
            breathe().await;
        }
    }
    assert_eq!(watchdog(scope.write_stdin(&id, b"end".to_vec())).await, Ok(3));
    scope.close_stdin(&id).expect("it is there");
    let read = watchdog(reader).await.expect("no panic");
    let (writes, end) = read.split_at(read.len() - 3);
    assert_eq!(end, b"end");
    let mut seen = Vec::new();
    for run in writes.chunk_by(|a, b| a == b) {
        assert_eq!(run.len(), SIZE, "whole");
        assert!(seen.last().is_none_or(|&last| last < run[0]), "in order");
        seen.push(run[0]);
    }
    assert!(certain.iter().all(|byte| seen.contains(byte)));
}

/// Dropped calls leave no more bytes than the host's bound. Writes beyond it are not made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_abandoned_writes_are_bounded_and_none_is_torn() {
    const SIZE: usize = 50_000;
    let host = Host::with(|limits| limits.abandoned_writes_max = 4 * SIZE);
    let scope = host.scope();
    let id = host.start(slow_cat()).await;
    // Fills the pipes for good, so that everything after it waits.
    let first = Arrived::stuck(&scope, &id, vec![b'-'; 1 << 20]).await;
    for round in 0..40_u8 {
        drop(Arrived::stuck(&scope, &id, vec![b'0' + round; SIZE]).await);
    }
    let last = Arrived::stuck(&scope, &id, b"end".to_vec()).await;
    scope.close_stdin(&id).expect("it is there");
    let reader = follow(&scope, &id, OUT, u32::MAX);
    let ((read, _), first, last) = watchdog(async { tokio::join!(reader, first.result(), last.result()) }).await;
    assert_eq!((first, last), (Ok(1 << 20), Ok(3)));
    let abandoned = &read[1 << 20..read.len() - 3];
    assert!(
        (SIZE..=4 * SIZE).contains(&abandoned.len()),
        "{} bytes",
        abandoned.len()
    );
    let mut before = b'-';
    for run in abandoned.chunk_by(|a, b| a == b) {
        assert_eq!(run.len(), SIZE, "whole");
        assert!(before < run[0], "in order");
        before = run[0];
    }
    assert!(read.ends_with(b"end"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_without_keep_stdin_open_a_write_is_closed() {
    let host = Host::new();
    let scope = host.scope();
    for stdin in [None, Some(Vec::new()), Some(b"prelude".to_vec())] {
        let id = host
            .start(SpawnRequest {
                stdin: stdin.clone(),
                ..command("/bin/sh", &["-c", "cat; exec sleep 1000"])
            })
            .await;
        assert_eq!(scope.write_stdin(&id, b"x".to_vec()).await, Err(Error::Closed));
        assert!(!scope.status(&id).expect("there").stdin_open);
        assert_eq!(scope.close_stdin(&id), Ok(()));
        let prelude = stdin.unwrap_or_default();
        until("the prelude", || chunk(&scope, &id, OUT, None, 99).data == prelude).await;
        scope.stop(&id, None).await.expect("it runs");
    }
}
