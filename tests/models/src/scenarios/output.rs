//! The ring of a stream, with its pipe, its reading task and its consumers (contract L4 to L7, X3).

use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use tokio::sync::Notify;

use super::{ChildEnd, begin, pipe};
use crate::log::cursor::Position;
use crate::log::output::{Flow, Output};
use crate::log::reader;
use crate::log::ring::Overflow;

const DRAIN_TIME: Duration = Duration::from_secs(1);

struct Stream {
    output: Arc<Output>,
    monitor_wake: Arc<Notify>,
    reader: JoinHandle<()>,
    child: ChildEnd,
    /// A copy of the pipe for a process outside of the tree.
    other: OwnedFd,
}

fn stream(capacity: usize, overflow: Overflow) -> Stream {
    begin();
    let (read, write) = pipe();
    let monitor_wake = Arc::new(Notify::new());
    let output = Output::new(read, capacity, overflow, Arc::clone(&monitor_wake)).expect("a stream");
    let output = Arc::new(output);
    let other = write.try_clone().expect("a descriptor");
    Stream {
        reader: spawn(reader::run(Arc::clone(&output), DRAIN_TIME)),
        output,
        monitor_wake,
        child: ChildEnd::new(write),
        other,
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// The monitor's wait for the end of all output of an ended tree.
async fn settled(output: Arc<Output>, monitor_wake: Arc<Notify>) {
    while output.flow() == Flow::Reading {
        monitor_wake.notified().await;
    }
}

/// The data of one reader.
#[derive(Debug, PartialEq, Eq)]
struct Followed {
    bytes: Vec<u8>,
    dropped: u64,
    /// The oldest byte that existed when it began.
    start: u64,
}

/// Follows the stream to its end by cursor.
async fn follow(output: Arc<Output>, max: usize) -> Followed {
    let (mut bytes, mut at, mut start) = (Vec::new(), None, 0);
    loop {
        let mut changed = pin!(output.changed());
        // From here on the reader misses no change.
        changed.as_mut().enable();
        let chunk = output.read_since(at, max);
        assert!(chunk.data.len() <= max);
        if at.is_none() {
            start = chunk.next.offset - chunk.data.len() as u64;
        }
        bytes.extend_from_slice(&chunk.data);
        let dropped = chunk.next.dropped;
        assert_eq!(
            chunk.next.offset - start,
            bytes.len() as u64 + dropped,
            "delivered and dropped"
        );
        if chunk.at_end {
            return Followed { bytes, dropped, start };
        }
        at = Some(chunk.next);
        if chunk.data.is_empty() {
            changed.await;
        }
    }
}

fn whole(bytes: Vec<u8>) -> Followed {
    let (dropped, start) = (0, 0);
    Followed { bytes, dropped, start }
}

fn accounts_for(followed: &Followed, all: &[u8]) {
    let known = followed.start + followed.dropped + followed.bytes.len() as u64;
    assert_eq!(known, all.len() as u64, "{followed:?}");
    // The delivered bytes are in order, and from the position that they claim.
    let mut rest = all.iter();
    assert!(followed.bytes.iter().all(|byte| rest.any(|other| other == byte)));
}

/// A child that writes more than the ring holds, a reader that follows it, and a monitor that waits for the end.
pub fn l6_a_reader_loses_nothing_of_a_full_ring() {
    let all = text(23);
    let Stream {
        output,
        monitor_wake,
        reader,
        child,
        other,
    } = stream(8, Overflow::Backpressure);
    drop(other);
    let written = all.clone();
    let writer = spawn(async move {
        for piece in written.chunks(5) {
            assert_eq!(child.write(piece), piece.len());
        }
        child.close();
    });
    let following = spawn(follow(Arc::clone(&output), 6));
    block_on(async {
        writer.await.expect("no panic");
        assert_eq!(following.await.expect("no panic"), whole(all));
        settled(Arc::clone(&output), monitor_wake).await;
        reader.await.expect("the reader task ends with the stream");
    });
    assert_eq!(output.evicted(), 0);
}

/// Readers of both kinds at once: bytes that one removed are losses in the other's count, and no byte comes twice.
pub fn l1_l4_what_is_drained_is_not_read_and_nothing_is_unaccounted_for() {
    let all = text(20);
    let Stream {
        output,
        reader,
        child,
        other,
        ..
    } = stream(8, Overflow::Backpressure);
    drop(other);
    let written = all.clone();
    let writer = spawn(async move {
        for piece in written.chunks(7) {
            assert_eq!(child.write(piece), piece.len());
        }
        child.close();
    });
    let drainer = spawn({
        let output = Arc::clone(&output);
        async move {
            let mut taken = 0;
            for _ in 0..2 {
                taken += output.drain().into_bytes().len() as u64;
                yield_now().await;
            }
            taken
        }
    });
    let following = spawn(follow(Arc::clone(&output), 6));
    block_on(async {
        writer.await.expect("no panic");
        let taken = drainer.await.expect("no panic");
        let followed = following.await.expect("no panic");
        assert!(followed.start + followed.dropped <= taken, "{followed:?} of {taken}");
        accounts_for(&followed, &all);
        reader.await.expect("the reader task ends with the stream");
    });
}

/// The newest bytes can be read, whichever caller reads meanwhile.
pub fn l5_the_newest_bytes_are_retained() {
    let all = text(23);
    let Stream {
        output,
        reader,
        child,
        other,
        ..
    } = stream(8, Overflow::DropOldest);
    drop(other);
    let written = all.clone();
    let writer = spawn(async move {
        for piece in written.chunks(6) {
            assert_eq!(child.write(piece), piece.len());
        }
        child.close();
    });
    let following = spawn(follow(Arc::clone(&output), 3));
    block_on(async {
        writer.await.expect("no panic");
        accounts_for(&following.await.expect("no panic"), &all);
        reader.await.expect("the reader task ends with the stream");
    });
    let newest = output.read_since(None, 100);
    assert_eq!(newest.data, all.get(15..).expect("the last eight"));
    assert_eq!(newest.next, Position { offset: 23, dropped: 0 });
    assert!(newest.at_end);
}

/// A child that never stops filling a full ring is read further as soon as a reader acknowledges or drains. An exit is
/// visible although the ring is full.
pub fn x3_a_full_ring_settles_and_is_emptied_later() {
    let all = text(20);
    let Stream {
        output,
        monitor_wake,
        reader,
        child,
        other,
    } = stream(8, Overflow::Backpressure);
    drop(other);
    assert_eq!(child.write(&all), all.len());
    child.close();
    let ending = spawn({
        let output = Arc::clone(&output);
        async move { output.tree_ended() }
    });
    block_on(async {
        settled(Arc::clone(&output), monitor_wake).await;
        assert_eq!(output.flow(), Flow::Parked, "twenty bytes do not fit into eight");
        ending.await.expect("no panic");
        assert_eq!(follow(Arc::clone(&output), 6).await, whole(all));
        reader.await.expect("the reader task ends with the stream");
    });
}

/// A process outside of the tree holds the pipe. The stream ends by the drain time, and not before all was read.
pub fn x3_a_pipe_that_others_hold_ends_by_the_drain_time() {
    let all = text(12);
    let Stream {
        output,
        monitor_wake,
        reader,
        child,
        other,
    } = stream(16, Overflow::DropOldest);
    let written = all.clone();
    let tree = spawn({
        let output = Arc::clone(&output);
        async move {
            for piece in written.chunks(5) {
                assert_eq!(child.write(piece), piece.len());
            }
            child.close();
            output.tree_ended();
        }
    });
    let clock = spawn(async {
        for _ in 0..8 {
            tokio::time::advance(DRAIN_TIME);
            yield_now().await;
        }
    });
    block_on(async {
        tree.await.expect("no panic");
        clock.await.expect("no panic");
        // However late the task sees that the tree has ended, the time advances.
        let more = spawn({
            let output = Arc::clone(&output);
            async move {
                while output.flow() != Flow::Ended {
                    tokio::time::advance(DRAIN_TIME);
                    yield_now().await;
                }
            }
        });
        settled(Arc::clone(&output), monitor_wake).await;
        more.await.expect("no panic");
        reader.await.expect("the reader task ends with the stream");
    });
    let chunk = output.read_since(None, 100);
    assert_eq!((chunk.data, chunk.at_end), (all, true));
    drop(other);
}

/// The host closes its end at any moment. The task ends, and so does every wait.
pub fn k2_a_closed_stream_ends_every_wait() {
    let Stream {
        output,
        monitor_wake,
        reader,
        child,
        other,
    } = stream(8, Overflow::Backpressure);
    let writer = spawn(async move {
        // A closed pipe cannot report anything, and a full one need not.
        let _ = rustix::io::write(child.fd(), &text(20));
        tokio::io::event(tokio::io::pipe_of(child.fd().as_fd()));
    });
    let closing = spawn({
        let output = Arc::clone(&output);
        async move { output.close() }
    });
    let following = spawn(follow(Arc::clone(&output), 6));
    block_on(async {
        while output.flow() != Flow::Ended {
            monitor_wake.notified().await;
        }
        closing.await.expect("no panic");
        writer.await.expect("no panic");
        following.await.expect("no panic");
        reader.await.expect("the reader task ends with the stream");
    });
    drop(other);
}

/// The tree ends while all its output is drained. Nothing stays in a ring that was full, and no wait is endless.
pub fn a2_k3_what_a_tree_wrote_is_drained_to_its_end() {
    let all = text(23);
    let Stream {
        output,
        reader,
        child,
        other,
        ..
    } = stream(8, Overflow::Backpressure);
    drop(other);
    let written = all.clone();
    let tree = spawn({
        let output = Arc::clone(&output);
        async move {
            for piece in written.chunks(9) {
                assert_eq!(child.write(piece), piece.len());
            }
            child.close();
            output.tree_ended();
        }
    });
    let draining = spawn({
        let output = Arc::clone(&output);
        async move { output.drain_to_end().await }
    });
    block_on(async {
        tree.await.expect("no panic");
        assert_eq!(draining.await.expect("no panic"), all);
        reader.await.expect("the reader task ends with the stream");
    });
}

/// The reading task is dropped at any moment, as when its runtime ends. The bytes that it read can be drained, and no
/// wait is for more.
pub fn b3_a2_a_drain_ends_with_the_reader() {
    let all = text(23);
    let Stream {
        output,
        reader,
        child,
        other,
        ..
    } = stream(8, Overflow::Backpressure);
    let draining = spawn({
        let output = Arc::clone(&output);
        async move { output.drain_to_end().await }
    });
    assert_eq!(child.write(&all), all.len());
    reader.abort();
    block_on(async {
        let drained = draining.await.expect("no panic");
        assert!(all.starts_with(&drained), "{drained:?}");
    });
    drop((child, other));
}

/// Output is announced exactly once for each change from empty to not empty.
pub fn e2_log_ready_comes_once_for_each_change_from_empty() {
    let Stream {
        output,
        monitor_wake,
        reader,
        child,
        other,
    } = stream(64, Overflow::DropOldest);
    drop(other);
    let announced = spawn({
        let output = Arc::clone(&output);
        async move {
            let mut announced = 0;
            loop {
                let over = output.flow() == Flow::Ended;
                announced += u32::from(output.take_pending_event());
                if over {
                    return announced;
                }
                monitor_wake.notified().await;
            }
        }
    });
    let watching = spawn({
        let output = Arc::clone(&output);
        async move { output.announce(true) }
    });
    block_on(async {
        assert_eq!(child.write(b"one"), 3);
        watching.await.expect("no panic");
        let mut taken = 0;
        while taken < 3 {
            let mut changed = pin!(output.changed());
            changed.as_mut().enable();
            match output.drain().into_bytes().len() {
                0 => changed.await,
                some => taken += some,
            }
        }
        assert_eq!(child.write(b"two"), 3);
        child.close();
        let announced = announced.await.expect("no panic");
        // The first bytes may have been read before a reader waited, or in two parts.
        assert!((1..=2).contains(&announced), "{announced} announcements");
        reader.await.expect("the reader task ends with the stream");
    });
}
