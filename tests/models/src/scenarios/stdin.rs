//! The queue of writes into a process's stdin (contract N1 to N4).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use tokio::sync::Notify;

use super::{ChildEnd, begin, pipe};
use crate::Error;
use crate::life::stdin::{Stdin, run};

/// More than half of the pipe, so that the second write waits for the child.
const LENGTH: usize = 2500;

struct Input {
    stdin: Arc<Stdin>,
    task: JoinHandle<()>,
    child: OwnedFd,
}

fn input(prelude: Option<Vec<u8>>, abandoned_max: usize) -> Input {
    begin();
    let (read, write) = pipe();
    let stdin = Arc::new(Stdin::new(prelude, true, abandoned_max, Arc::new(Notify::new())));
    Input {
        task: spawn(run(Arc::clone(&stdin), write)),
        stdin,
        child: read,
    }
}

/// A child that reads to the end of file.
async fn read_all(child: ChildEnd) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match child.read(1000) {
            Ok(bytes) if bytes.is_empty() => return all,
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(_) => yield_now().await,
        }
    }
}

fn write(stdin: &Arc<Stdin>, byte: u8) -> JoinHandle<Result<(), Error>> {
    let stdin = Arc::clone(stdin);
    spawn(async move { stdin.write(vec![byte; LENGTH]).await })
}

/// The data that the child read, as runs of equal bytes: the byte and the length.
fn pieces(all: &[u8]) -> Vec<(u8, usize)> {
    all.chunk_by(|one, next| one == next)
        .filter_map(|piece| Some((*piece.first()?, piece.len())))
        .collect()
}

/// Concurrent writers, and a close at any moment. A writer that succeeds has written everything in one piece, a refused
/// one has written nothing, and end of file comes after all of it.
pub fn n1_n2_n4_writes_are_whole_and_end_of_file_follows_them() {
    let Input { stdin, task, child } = input(Some(b"prelude".repeat(100)), 1 << 20);
    let reading = spawn(read_all(ChildEnd::new(child)));
    let writers: Vec<_> = (b'1'..=b'3').map(|byte| (byte, write(&stdin, byte))).collect();
    let closing = spawn({
        let stdin = Arc::clone(&stdin);
        async move { stdin.close() }
    });
    block_on(async {
        let mut written = Vec::new();
        for (byte, writer) in writers {
            match writer.await.expect("no panic") {
                Ok(()) => written.push(byte),
                Err(error) => assert_eq!(error, Error::Closed),
            }
        }
        closing.await.expect("no panic");
        let all = reading.await.expect("no panic");
        task.await.expect("the task ends");
        let (prelude, rest) = all.split_at(700);
        assert_eq!(prelude, b"prelude".repeat(100));
        let mut seen = pieces(rest);
        seen.sort_unstable();
        assert_eq!(seen, written.into_iter().map(|byte| (byte, LENGTH)).collect::<Vec<_>>());
        assert!(!stdin.is_open());
    });
}

/// The child ends, or closes its end, while writers wait. Each gets an answer, and the task ends.
pub fn n3_a_child_that_reads_no_more_ends_every_write() {
    let Input { stdin, task, child } = input(None, 1 << 20);
    let child = ChildEnd::new(child);
    let writers: Vec<_> = (b'1'..=b'3').map(|byte| write(&stdin, byte)).collect();
    let ending = spawn({
        let stdin = Arc::clone(&stdin);
        async move {
            // The monitor does this, before or after the pipe breaks.
            stdin.break_off();
            drop(child);
        }
    });
    block_on(async {
        for writer in writers {
            // Whether the write was in time is open, but it must end.
            if let Err(error) = writer.await.expect("no panic") {
                assert_eq!(error, Error::Closed);
            }
        }
        ending.await.expect("no panic");
        task.await.expect("the task ends");
    });
}

/// The same, if only the pipe shows the end.
pub fn n3_a_broken_pipe_ends_every_write() {
    let Input { stdin, task, child } = input(None, 1 << 20);
    let child = ChildEnd::new(child);
    let writers: Vec<_> = (b'1'..=b'3').map(|byte| write(&stdin, byte)).collect();
    let ending = spawn(async move { child.close() });
    block_on(async {
        for writer in writers {
            if let Err(error) = writer.await.expect("no panic") {
                assert_eq!(error, Error::Closed);
            }
        }
        ending.await.expect("no panic");
        // The writes before the pipe broke may all have fitted into it.
        let last = stdin.write(vec![0; 3 * LENGTH]).await;
        assert_eq!(last, Err(Error::Closed));
        task.await.expect("the task ends");
        assert!(!stdin.is_open());
    });
}

/// The writing task is dropped at any moment, as when its runtime ends. Each writer gets an answer, and later ones do
/// too.
pub fn b3_every_write_ends_with_the_writing_task() {
    let Input { stdin, task, child } = input(None, 1 << 20);
    let writers: Vec<_> = (b'1'..=b'3').map(|byte| write(&stdin, byte)).collect();
    task.abort();
    block_on(async {
        for writer in writers {
            if let Err(error) = writer.await.expect("no panic") {
                assert_eq!(error, Error::Closed);
            }
        }
        let last = stdin.write(vec![0; 3 * LENGTH]).await;
        assert_eq!(last, Err(Error::Closed));
        drop(child);
    });
}

/// A call is dropped at any moment. Its write is made completely, or not at all if too many bytes of such writes wait.
pub fn n4_a_caller_that_goes_away_tears_nothing() {
    // Room for one abandoned write, not for two.
    let Input { stdin, task, child } = input(None, LENGTH + LENGTH / 2);
    let writers: Vec<_> = (b'1'..=b'3').map(|byte| write(&stdin, byte)).collect();
    let leaving = spawn(async move {
        for writer in writers {
            writer.abort();
            yield_now().await;
        }
    });
    let reading = spawn(read_all(ChildEnd::new(child)));
    block_on(async {
        leaving.await.expect("no panic");
        stdin.close();
        let all = reading.await.expect("no panic");
        task.await.expect("the task ends");
        for (byte, length) in pieces(&all) {
            assert_eq!(length, LENGTH, "{byte} is torn");
        }
    });
}
