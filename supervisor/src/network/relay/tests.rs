//! Relays between real sockets. The peers are blocking sockets of the test's thread; a read that takes too long is an error.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream as StdTcp};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::sync::{Arc, LazyLock};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::net::sockopt::{Timeout, set_socket_timeout, tcp_nodelay};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::*;
use crate::os::pipe::bytes_waiting;

/// No test waits so long unless it fails.
const LONG: Duration = Duration::from_secs(20);

/// What a peer of a relay holds.
struct Peer(OwnedFd);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Unix,
}

struct Relayed {
    a: Peer,
    b: Peer,
    cut: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Peer {
    fn shutdown(&self) {
        shutdown(self, Shutdown::Write).unwrap();
    }

    fn reset(self) {
        set_socket_linger(&self, Some(Duration::ZERO)).unwrap();
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// What can be read, and the error after it.
    fn rest_and_error(&mut self) -> (Vec<u8>, ErrorKind) {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => panic!(
                "an end of file after {} bytes, as if the stream had finished",
                bytes.len()
            ),
            Err(error) => (bytes, error.kind()),
        }
    }

    /// Writes until nothing more is taken for a while, and returns how much was.
    fn fill(&mut self) -> u64 {
        set_socket_timeout(&self, Timeout::Send, Some(Duration::from_millis(300))).unwrap();
        let (chunk, mut taken) = ([7; 64 * 1024], 0);
        while let Ok(written) = self.write(&chunk) {
            taken += written as u64;
        }
        set_socket_timeout(&self, Timeout::Send, Some(LONG)).unwrap();
        taken
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self, bytes)?)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// The relay's end of a connection, and the peer's.
fn connect(runtime: &Runtime, kind: Kind) -> (Stream, Peer) {
    let _context = runtime.enter();
    let (stream, peer) = match kind {
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = StdTcp::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = listener.accept().unwrap();
            ours.set_nonblocking(true).unwrap();
            (TcpStream::from_std(ours).unwrap().into(), OwnedFd::from(peer))
        }
        Kind::Unix => {
            let (ours, peer) = StdUnix::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (UnixStream::from_std(ours).unwrap().into(), OwnedFd::from(peer))
        }
    };
    set_socket_timeout(&peer, Timeout::Recv, Some(LONG)).unwrap();
    set_socket_timeout(&peer, Timeout::Send, Some(LONG)).unwrap();
    (stream, Peer(peer))
}

fn start(runtime: &Runtime, relays: &Arc<Relays>, kinds: [Kind; 2]) -> Relayed {
    let [(ours_a, a), (ours_b, b)] = kinds.map(|kind| connect(runtime, kind));
    let (relays, cut) = (Arc::clone(relays), CancellationToken::new());
    let cutting = cut.clone();
    let task = runtime.spawn(async move { relay(ours_a, ours_b, &relays, &cutting).await });
    Relayed { a, b, cut, task }
}

fn tcp(runtime: &Runtime, idle: Duration) -> Relayed {
    start(runtime, &Arc::new(Relays::new(idle)), [Kind::Tcp; 2])
}

fn ended(runtime: &Runtime, task: JoinHandle<Ended>) -> Ended {
    let ended = runtime.block_on(async { tokio::time::timeout(LONG, task).await });
    ended.expect("the relay goes on").unwrap()
}

#[test]
fn network_half_close_goes_on_the_other_way() {
    let runtime = runtime();
    for kinds in [
        [Kind::Tcp; 2],
        [Kind::Tcp, Kind::Unix],
        [Kind::Unix, Kind::Tcp],
        [Kind::Unix; 2],
    ] {
        let relays = Arc::new(Relays::new(LONG));
        let Relayed { mut a, mut b, task, .. } = start(&runtime, &relays, kinds);
        a.write_all(b"a question").unwrap();
        a.shutdown();
        assert_eq!(b.rest(), b"a question", "{kinds:?}");
        b.write_all(b"an answer").unwrap();
        assert_eq!(a.exactly(9), b"an answer", "{kinds:?}");
        b.write_all(b", later").unwrap();
        b.shutdown();
        assert_eq!(a.rest(), b", later", "{kinds:?}");
        let (up, down, why) = (10, 16, End::Finished);
        assert_eq!(ended(&runtime, task), Ended { up, down, why }, "{kinds:?}");
    }
}

#[test]
fn network_a_finished_relay_leaves_the_kernel_to_deliver_the_rest() {
    let runtime = runtime();
    let Relayed { mut a, mut b, task, .. } = tcp(&runtime, LONG);
    a.shutdown();
    assert_eq!(b.rest(), b"");
    // As much as the sockets take, of which much is still in the relay's socket when it ends.
    let sent = b.fill();
    let reader = thread::spawn(move || a.rest().len() as u64);
    b.shutdown();
    assert_eq!(ended(&runtime, task).why, End::Finished);
    assert_eq!(reader.join().unwrap(), sent);
}

#[test]
fn network_a_reset_of_one_side_resets_the_other() {
    let runtime = runtime();
    for a_resets in [true, false] {
        let Relayed { mut a, mut b, task, .. } = tcp(&runtime, LONG);
        a.write_all(b"x").unwrap();
        b.exactly(1);
        b.write_all(b"y").unwrap();
        a.exactly(1);
        let (resets, mut other) = if a_resets { (a, b) } else { (b, a) };
        resets.reset();
        assert_eq!(other.rest_and_error(), (vec![], ErrorKind::ConnectionReset));
        let (up, down, why) = (1, 1, End::Reset);
        assert_eq!(ended(&runtime, task), Ended { up, down, why });
    }
}

#[test]
fn network_what_was_sent_before_a_reset_arrives() {
    let runtime = runtime();
    for _ in 0..50 {
        let Relayed { mut a, mut b, task, .. } = tcp(&runtime, LONG);
        // A server that answers, and closes with a part of the request unread: its kernel resets the connection.
        a.write_all(&[1; 1000]).unwrap();
        b.exactly(10);
        b.write_all(&[2; 50_000]).unwrap();
        drop(b);
        assert_eq!(a.rest_and_error(), (vec![2; 50_000], ErrorKind::ConnectionReset));
        assert_eq!(ended(&runtime, task).why, End::Reset);
    }
}

#[test]
fn network_an_answer_arrives_although_the_question_goes_on() {
    let runtime = runtime();
    for _ in 0..50 {
        let Relayed { mut a, mut b, task, .. } = tcp(&runtime, LONG);
        let mut upload = Peer(a.0.try_clone().unwrap());
        let writer = thread::spawn(move || while upload.write_all(&[1; 64 * 1024]).is_ok() {});
        // The relay may learn of the reset by a write, before it has read the answer.
        b.exactly(10);
        b.write_all(&[2; 50_000]).unwrap();
        drop(b);
        assert_eq!(a.exactly(50_000), [2; 50_000]);
        writer.join().unwrap();
        assert_eq!(ended(&runtime, task).why, End::Reset);
    }
}

#[test]
fn network_a_reset_is_noticed_while_the_other_way_is_blocked() {
    let runtime = runtime();
    let Relayed { mut a, b, task, .. } = tcp(&runtime, Duration::MAX);
    // The relay waits for `b`, which reads nothing, and has unread bytes of `a`.
    a.fill();
    a.reset();
    assert_eq!(ended(&runtime, task).why, End::Reset);
    drop(b);
}

#[test]
fn network_a_reset_is_noticed_after_the_end_of_file() {
    let runtime = runtime();
    let Relayed { a, mut b, task, .. } = tcp(&runtime, Duration::MAX);
    a.shutdown();
    assert_eq!(b.rest(), b"");
    // Nothing is read from `a` any more, and nothing is written to it.
    a.reset();
    assert_eq!(ended(&runtime, task).why, End::Reset);
}

#[test]
fn network_an_idle_relay_is_reset() {
    let (runtime, idle) = (runtime(), Duration::from_millis(300));
    let begun = Instant::now();
    let Relayed { mut a, mut b, task, .. } = tcp(&runtime, idle);
    // Each byte begins the idle time anew.
    while begun.elapsed() < 2 * idle {
        a.write_all(b"x").unwrap();
        b.exactly(1);
    }
    let last = Instant::now();
    assert_eq!(ended(&runtime, task).why, End::Idle);
    assert!(last.elapsed() > idle / 2, "{:?}", last.elapsed());
    assert_eq!(a.rest_and_error().1, ErrorKind::ConnectionReset);
    assert_eq!(b.rest_and_error().1, ErrorKind::ConnectionReset);
}

#[test]
fn network_a_peer_that_never_reads_stops_the_other_until_both_are_idle() {
    let runtime = runtime();
    let relays = Arc::new(Relays::new(Duration::from_secs(2)));
    let Relayed { mut a, b, task, .. } = start(&runtime, &relays, [Kind::Tcp; 2]);
    let sent = a.fill();
    assert_eq!(relays.pool().large, 1, "a blocked direction has one buffer");
    let ended = ended(&runtime, task);
    assert_eq!(ended.why, End::Idle);
    // What the relay took is in the two sockets to `b`; the rest, up to a buffer, has not left those of `a`.
    assert!(ended.up < sent, "{} of {sent}", ended.up);
    assert_eq!(a.rest_and_error().1, ErrorKind::ConnectionReset);
    drop(b);
}

#[test]
fn network_a_cut_resets_both() {
    let runtime = runtime();
    let Relayed {
        mut a,
        mut b,
        cut,
        task,
    } = tcp(&runtime, LONG);
    a.write_all(b"half of").unwrap();
    b.exactly(7);
    cut.cancel();
    assert_eq!(a.rest_and_error(), (vec![], ErrorKind::ConnectionReset));
    assert_eq!(b.rest_and_error(), (vec![], ErrorKind::ConnectionReset));
    assert_eq!(ended(&runtime, task).why, End::Cut);
}

#[test]
fn network_a_cut_ends_a_stream_that_never_blocks() {
    let runtime = runtime();
    let Relayed {
        mut a,
        mut b,
        cut,
        task,
    } = tcp(&runtime, LONG);
    let writer = thread::spawn(move || while a.write_all(&[0; 64 * 1024]).is_ok() {});
    let reader = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while b.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    thread::scope(|_| cut.cancel());
    assert_eq!(ended(&runtime, task).why, End::Cut);
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn network_a_relay_that_is_dropped_resets_both() {
    let runtime = runtime();
    let Relayed { mut a, mut b, task, .. } = tcp(&runtime, LONG);
    a.write_all(b"half of").unwrap();
    b.exactly(7);
    task.abort();
    assert_eq!(a.rest_and_error().1, ErrorKind::ConnectionReset);
    assert_eq!(b.rest_and_error().1, ErrorKind::ConnectionReset);
}

#[test]
fn network_idle_relays_hold_no_buffers() {
    let runtime = runtime();
    let relays = Arc::new(Relays::new(Duration::MAX));
    let mut all: Vec<_> = (0..100)
        .map(|_| start(&runtime, &relays, [Kind::Tcp, Kind::Unix]))
        .collect();
    for relayed in &mut all {
        relayed.a.write_all(b"ping").unwrap();
        relayed.b.exactly(4);
        relayed.b.write_all(b"pong").unwrap();
        relayed.a.exactly(4);
    }
    // A direction gives its buffer back a moment after its peer has read.
    let begun = Instant::now();
    while relays.pool().large > 0 {
        assert!(begun.elapsed() < LONG, "{} buffers are held", relays.pool().large);
        thread::yield_now();
    }
    let kept = relays.pool().free.len();
    assert!((1..=KEPT).contains(&kept), "{kept} buffers are kept");
}

#[test]
fn network_blocked_relays_share_the_large_buffers() {
    let runtime = runtime();
    let relays = Arc::new(Relays::new(LONG));
    let mut held = Vec::new();
    for _ in 0..LARGE_MAX {
        held.push(relays.buffer());
    }
    assert_eq!(relays.buffer().room.len(), SMALL);
    // With a small buffer, everything else is the same.
    let Relayed { mut a, mut b, task, .. } = start(&runtime, &relays, [Kind::Tcp; 2]);
    let writer = thread::spawn(move || {
        a.write_all(&[3; 1 << 20]).unwrap();
        a.shutdown();
        a.rest()
    });
    assert_eq!(b.rest(), [3; 1 << 20]);
    b.shutdown();
    assert_eq!(writer.join().unwrap(), b"");
    assert_eq!(ended(&runtime, task).why, End::Finished);
    drop(held);
    assert_eq!(relays.pool().large, 0);
    assert_eq!(relays.pool().free.len(), KEPT);
    let buffer = relays.buffer();
    assert_eq!(
        (buffer.room.len(), buffer.memory.as_ptr().align_offset(LINE)),
        (LARGE, buffer.room.start)
    );
}

#[test]
fn network_a_fast_stream_ends_its_turn() {
    let runtime = runtime();
    let relays = Relays::new(LONG);
    let [(ours_a, mut a), (ours_b, mut b)] = [Kind::Tcp; 2].map(|kind| connect(&runtime, kind));
    let total = 512 << 20;
    let writer = thread::spawn(move || {
        let chunk = vec![0; 1 << 20];
        for _ in 0..total >> 20 {
            a.write_all(&chunk).unwrap();
        }
    });
    let reader = thread::spawn(move || {
        let mut chunk = vec![0; 1 << 20];
        while b.read(&mut chunk).unwrap() > 0 {}
    });
    let mut direction = Direction::new(&relays);
    let mut most = 0;
    runtime.block_on(async {
        loop {
            let turn = poll_fn(|context| {
                let before = direction.copied;
                let turn = direction.poll(context, &ours_a, &ours_b);
                most = most.max(direction.copied - before);
                turn
            });
            match turn.await {
                Ok(Turn::Over) => tokio::task::yield_now().await,
                Ok(Turn::Ended) => break,
                Err(Failed) => panic!("a socket failed"),
            }
        }
    });
    assert_eq!(direction.copied, total);
    assert!(most <= (TURN + LARGE) as u64, "{most} bytes in one turn");
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn network_an_urgent_byte_arrives_in_its_place() {
    let runtime = runtime();
    let Relayed { mut a, mut b, .. } = tcp(&runtime, LONG);
    // The relay's socket has its options once a byte came through.
    a.write_all(b"-").unwrap();
    b.exactly(1);
    a.write_all(b"before").unwrap();
    assert_eq!(send(&a, b"!", SendFlags::OOB).unwrap(), 1);
    a.write_all(b"after").unwrap();
    assert_eq!(b.exactly(12), b"before!after");
}

#[test]
fn network_relayed_tcp_sends_at_once() {
    let runtime = runtime();
    let (ours, _peer) = connect(&runtime, Kind::Tcp);
    ours.begin();
    assert!(tcp_nodelay(&ours).unwrap());
}

/// What a peer does.
#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    Read(usize),
    Shutdown,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1usize..400_000).prop_map(Act::Write),
        3 => (1usize..300_000).prop_map(Act::Read),
        1 => Just(Act::Shutdown),
    ];
    vec(act, 0..12)
}

/// Does all acts, reads the rest, and returns what was written and read. A thread writes and one reads, so that no order of acts
/// waits for itself.
fn perform(peer: Peer, acts: &[Act], salt: u8) -> (Vec<u8>, Vec<u8>) {
    let peer = &peer;
    thread::scope(|scope| {
        let writes = scope.spawn(move || {
            let mut written: Vec<u8> = Vec::new();
            for act in acts {
                match act {
                    Act::Write(length) => {
                        let bytes: Vec<u8> = (0..*length).map(|at| (at / 251 + at).to_le_bytes()[0] ^ salt).collect();
                        let mut rest = &bytes[..];
                        while !rest.is_empty() {
                            let taken = send(peer, rest, SendFlags::NOSIGNAL).unwrap();
                            rest = &rest[taken..];
                        }
                        written.extend(bytes);
                    }
                    Act::Read(_) => thread::yield_now(),
                    Act::Shutdown => break,
                }
            }
            peer.shutdown();
            written
        });
        let mut read = Vec::new();
        let sizes = acts.iter().filter_map(|act| match act {
            Act::Read(length) => Some(*length),
            Act::Write(_) | Act::Shutdown => None,
        });
        for length in sizes.chain(std::iter::repeat(100_000)) {
            let mut bytes = vec![0; length];
            let (_, count) = recv(peer, &mut *bytes, RecvFlags::empty()).unwrap();
            if count == 0 {
                break;
            }
            read.extend_from_slice(&bytes[..count]);
        }
        (writes.join().unwrap(), read)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn network_the_bytes_that_arrive_are_those_that_were_sent(
        acts_a in acts(),
        acts_b in acts(),
        kinds in prop_oneof![
            Just([Kind::Tcp; 2]),
            Just([Kind::Unix, Kind::Tcp]),
            Just([Kind::Unix; 2]),
        ],
    ) {
        let runtime = runtime();
        let relays = Arc::new(Relays::new(LONG));
        let Relayed { a, b, task, .. } = start(&runtime, &relays, kinds);
        let ((sent_a, read_a), (sent_b, read_b)) = thread::scope(|scope| {
            let b = scope.spawn(|| perform(b, &acts_b, 0x55));
            (perform(a, &acts_a, 0), b.join().unwrap())
        });
        prop_assert!(read_b == sent_a, "{} bytes of {} came up", read_b.len(), sent_a.len());
        prop_assert!(read_a == sent_b, "{} bytes of {} came down", read_a.len(), sent_b.len());
        let (up, down, why) = (sent_a.len() as u64, sent_b.len() as u64, End::Finished);
        prop_assert_eq!(ended(&runtime, task), Ended { up, down, why });
    }
}

/// Permits for pipes: more than one test takes.
static PAIRS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1000)));

fn pair() -> Option<OwnedSemaphorePermit> {
    Arc::clone(&PAIRS).try_acquire_owned().ok()
}

/// Relays with pipes of their own.
fn relays_with(pipes: &Arc<Pipes>) -> Arc<Relays> {
    Arc::new(Relays {
        pipes: Arc::clone(pipes),
        ..Relays::new(LONG)
    })
}

/// Sends `total` bytes to the relay and reads as many from it.
fn stream(relayed: &mut Relayed, total: usize) {
    let Relayed { a, b, .. } = relayed;
    let bytes: Vec<u8> = (0..total).map(|at| (at % 251).to_le_bytes()[0]).collect();
    thread::scope(|scope| {
        scope.spawn(|| a.write_all(&bytes).unwrap());
        assert!(b.exactly(total) == bytes);
    });
}

#[test]
fn network_a_stream_goes_by_a_pipe_and_a_message_does_not() {
    let runtime = runtime();
    let pipes = Arc::new(Pipes::new(1 << 20, pair));
    let relays = relays_with(&pipes);
    let mut relayed = start(&runtime, &relays, [Kind::Tcp; 2]);
    for _ in 0..10 {
        stream(&mut relayed, STREAM / 2);
    }
    assert_eq!(pipes.open(), (0, 0));
    stream(&mut relayed, 8 << 20);
    // The direction returns it a moment after the peer has read.
    await_fact(|| pipes.open() == (1, 1));
    await_fact(|| relays.pool().large == 0);
    assert_eq!(relays.pool().pipes, 0);
    stream(&mut relayed, 8 << 20);
    await_fact(|| pipes.open() == (1, 1));
}

/// Returns when it is so.
fn await_fact(fact: impl Fn() -> bool) {
    let begun = Instant::now();
    while !fact() {
        assert!(begun.elapsed() < LONG, "it is never so");
        thread::yield_now();
    }
}

#[test]
fn network_bytes_of_one_connection_never_reach_another() {
    let runtime = runtime();
    let pipes = Arc::new(Pipes::new(1 << 20, pair));
    let relays = relays_with(&pipes);
    let [(from, mut a), (to, _b)] = [Kind::Tcp; 2].map(|kind| connect(&runtime, kind));
    a.write_all(b"a secret").unwrap();
    await_fact(|| bytes_waiting(from.as_fd()).unwrap() == 8);
    let mut direction = Direction::new(&relays);
    direction.streams = true;
    assert_eq!(direction.take(&from, &to, TURN).unwrap(), 8);
    assert_eq!(pipes.open(), (1, 0));
    // As when the relay is cut.
    drop(direction);
    assert_eq!(pipes.open(), (0, 0), "a pipe with bytes is kept");
    let mut next = start(&runtime, &relays, [Kind::Tcp; 2]);
    stream(&mut next, 4 << 20);
    await_fact(|| pipes.open() == (1, 1));
}

#[test]
fn network_a_relay_without_pipes_copies() {
    let runtime = runtime();
    // No descriptors are left; or the kernel refuses the size, as when the user has too many pages in pipes.
    let refused = [Pipes::new(1 << 20, || None), Pipes::new(usize::MAX, pair)];
    for pipes in refused.map(Arc::new) {
        let mut relayed = start(&runtime, &relays_with(&pipes), [Kind::Tcp; 2]);
        stream(&mut relayed, 8 << 20);
        relayed.a.shutdown();
        assert_eq!(relayed.b.rest(), b"");
        relayed.b.shutdown();
        let (up, down, why) = (8 << 20, 0, End::Finished);
        assert_eq!(ended(&runtime, relayed.task), Ended { up, down, why });
        assert_eq!(pipes.open(), (0, 0));
    }
}

#[test]
fn network_pipes_are_bounded_for_an_owner_and_for_the_process() {
    let pipes = Arc::new(Pipes::new(1 << 20, pair));
    let one = relays_with(&pipes);
    let of_one: Vec<_> = std::iter::from_fn(|| one.pipe()).take(100).collect();
    assert_eq!((of_one.len(), one.pool().large), (PIPES_MAX, PIPES_MAX));
    let mut got = Vec::new();
    while got.len() < 100
        && let Some(pipe) = pipes.get()
    {
        got.push(pipe);
    }
    assert_eq!(got.len() + PIPES_MAX, 16);
    drop(got);
    // Each has a permit for its descriptors while it is open.
    let few = Arc::new(Pipes::new(4096, || {
        static TWO: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));
        Arc::clone(&TWO).try_acquire_owned().ok()
    }));
    let both = [few.get(), few.get()];
    assert!(both.iter().all(Option::is_some) && few.get().is_none());
    drop(both);
    few.close_free();
    assert!(few.get().is_some());
}

/// What is in the pipe of a direction when a socket fails is handed on, as what is in its buffer.
#[test]
fn network_what_is_in_a_pipe_when_a_socket_fails_arrives() {
    let runtime = runtime();
    let pipes = Arc::new(Pipes::new(1 << 20, pair));
    let relays = relays_with(&pipes);
    let [(from, mut a), (to, mut b)] = [Kind::Tcp; 2].map(|kind| connect(&runtime, kind));
    a.write_all(b"by the pipe, ").unwrap();
    let mut direction = Direction::new(&relays);
    direction.streams = true;
    await_fact(|| bytes_waiting(from.as_fd()).unwrap() == 13);
    assert_eq!(direction.take(&from, &to, TURN).unwrap(), 13);
    assert_eq!(direction.pipe.as_ref().unwrap().pipe.len(), 13);
    a.write_all(b"and in the socket").unwrap();
    await_fact(|| bytes_waiting(from.as_fd()).unwrap() == 17);
    a.reset();
    direction.flush(&from, &to);
    assert_eq!(direction.copied, 30);
    assert_eq!(b.exactly(30), b"by the pipe, and in the socket");
}

#[test]
fn network_an_urgent_byte_of_a_stream_arrives_in_its_place() {
    let runtime = runtime();
    let pipes = Arc::new(Pipes::new(1 << 20, pair));
    let relays = relays_with(&pipes);
    let [(from, mut a), (to, mut b)] = [Kind::Tcp; 2].map(|kind| connect(&runtime, kind));
    from.begin();
    a.write_all(b"before").unwrap();
    assert_eq!(send(&a, b"!", SendFlags::OOB).unwrap(), 1);
    a.write_all(b"after").unwrap();
    a.shutdown();
    let mut direction = Direction::new(&relays);
    direction.streams = true;
    let turn = poll_fn(|context| direction.poll(context, &from, &to));
    let turn = runtime.block_on(async { tokio::time::timeout(LONG, turn).await });
    assert!(turn.expect("it waits before the urgent byte").unwrap() == Turn::Ended);
    assert_eq!(b.rest(), b"before!after");
    assert_eq!(pipes.open(), (1, 1), "it did not go by a pipe");
}

#[test]
fn network_a_reset_of_a_stream_resets_the_other_after_its_bytes() {
    let runtime = runtime();
    for _ in 0..20 {
        let pipes = Arc::new(Pipes::new(1 << 20, pair));
        let Relayed { mut a, mut b, task, .. } = start(&runtime, &relays_with(&pipes), [Kind::Tcp; 2]);
        a.write_all(&[1; 100]).unwrap();
        b.exactly(10);
        let writer = thread::spawn(move || {
            b.write_all(&[2; 4 << 20]).unwrap();
            // All of it has arrived, so the reset takes nothing back.
            b
        });
        assert!(a.exactly(4 << 20) == [2; 4 << 20]);
        let mut b = writer.join().unwrap();
        b.write_all(&[3; 50_000]).unwrap();
        drop(b);
        assert_eq!(a.rest_and_error(), (vec![3; 50_000], ErrorKind::ConnectionReset));
        assert_eq!(ended(&runtime, task).why, End::Reset);
        assert!(pipes.open().0 > 0, "the stream did not go by a pipe");
    }
}
