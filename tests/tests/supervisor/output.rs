//! Output: draining, following, losses and how they are reported (L1 to L8).
//!
//! The child is mostly `cat`, so each test decides byte by byte what is written and when, and waits until it has
//! arrived.

use capsule_host::supervisor::{Error, LogChunk, LogStream, Overflow, Phase, Scope, SpawnRequest};

use crate::tail::numbers;
use capsule_tests::{Host, breathe, cat, chunk, code, command, exit, follow, noise, sh, until, watchdog};

const OUT: LogStream = LogStream::Stdout;
const ERR: LogStream = LogStream::Stderr;

/// `cat` with a ring of a given size and kind, and the number of bytes that were written to it.
struct Echo {
    host: Host,
    scope: Scope,
    id: String,
    /// A cursor at the very beginning.
    origin: String,
    written: u64,
}

impl Echo {
    async fn new(overflow: Overflow, ring: Option<u32>) -> Self {
        let host = Host::new();
        let scope = host.scope();
        let id = host
            .start(SpawnRequest {
                overflow,
                log_ring_bytes: ring,
                ..cat()
            })
            .await;
        let origin = chunk(&scope, &id, OUT, None, 0).next;
        Self {
            host,
            scope,
            id,
            origin,
            written: 0,
        }
    }

    fn since(&self, cursor: &str) -> LogChunk {
        chunk(&self.scope, &self.id, OUT, Some(cursor), u32::MAX)
    }

    fn retained(&self) -> LogChunk {
        chunk(&self.scope, &self.id, OUT, None, u32::MAX)
    }

    fn logs(&self) -> String {
        self.scope.read_logs(&self.id).expect("it is there").stdout
    }

    fn buffered(&self) -> u64 {
        self.scope.status(&self.id).expect("it is there").buffered_bytes
    }

    fn dropped(&self) -> u64 {
        self.scope.status(&self.id).expect("it is there").bytes_dropped
    }

    /// Writes, and waits until the bytes are in the ring. It reads with the cursor of the beginning, which acknowledges
    /// nothing.
    async fn write(&mut self, data: &[u8]) {
        self.send(data).await;
        self.arrived().await;
    }

    async fn send(&mut self, data: &[u8]) {
        let count = self.scope.write_stdin(&self.id, data.to_vec()).await;
        assert_eq!(count, Ok(u32::try_from(data.len()).expect("small")));
        self.written += u64::try_from(data.len()).expect("small");
    }

    async fn arrived(&self) {
        until("what was written arrives", || {
            position(&self.since(&self.origin)) == self.written
        })
        .await;
    }

    async fn end(&self) {
        self.scope.close_stdin(&self.id).expect("it is there");
        assert_eq!(exit(&self.scope, &self.id).await, code(0));
    }
}

/// The end of a chunk that was read from the cursor at the beginning.
fn position(chunk: &LogChunk) -> u64 {
    length(&chunk.data) + chunk.bytes_dropped
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_text_read_in_two_pieces_at_every_split_is_whole() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    let text = "aéß漢字🎉\u{10ffff}\u{ffff}\u{7ff}z\u{800}\u{10000}é";
    for split in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(split);
        let mut read = String::new();
        for piece in [head, tail] {
            echo.write(piece).await;
            read.push_str(&echo.logs());
        }
        assert_eq!(read, text, "split at {split}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_text_read_byte_by_byte_is_whole() {
    let mut echo = Echo::new(Overflow::Backpressure, Some(4096)).await;
    let text = "aéß漢字🎉\u{10ffff}z".repeat(20);
    let mut read = String::new();
    for byte in text.as_bytes() {
        echo.write(&[*byte]).await;
        read.push_str(&echo.logs());
        assert!(text.starts_with(&read), "nothing but whole characters: {read:?}");
    }
    assert_eq!(read, text);
}

/// Lossy decoding of the pieces gives the same as lossy decoding of the whole, for every kind of invalid text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_invalid_bytes_become_replacement_characters_at_every_split() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    let cases: &[&[u8]] = &[
        b"a\xffb",
        b"\xc3(",
        b"\xc0\xaf",
        b"\xc1\x81",
        b"\xe2\x82(",
        b"\xe2(\xa1",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x9f\x8e(",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\x80\x80\x80\x80",
        b"\xf0\x9f\xe6\xbc\xa2",
        b"\xe6\xbc\xf0\x9f\x8e\x89",
        b"\xf8\x88\x80\x80\x80",
        b"\xe6\xe6\xe6\xe6",
        b"\xf0\xf0\x9f\xf0\x9f\x8e\xc3",
    ];
    for case in cases {
        let whole = [case, b"z".as_slice()].concat();
        let expected = String::from_utf8_lossy(&whole).into_owned();
        for split in 0..=whole.len() {
            let (head, tail) = whole.split_at(split);
            let mut read = String::new();
            for piece in [head, tail] {
                echo.write(piece).await;
                read.push_str(&echo.logs());
            }
            assert_eq!(read, expected, "{case:02x?} split at {split}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_only_what_can_still_become_a_character_is_held_back() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    for (bytes, handed_over) in [
        (b"a\xe6".as_slice(), "a"),
        (b"\xbc", ""),
        (b"\xa2", "漢"),
        // None of these can be completed, so holding them back would be useless.
        (b"\xff", "\u{fffd}"),
        (b"\x80", "\u{fffd}"),
        (b"\xc0", "\u{fffd}"),
        (b"\xed\xa0", "\u{fffd}\u{fffd}"),
        (b"\xf4\x90", "\u{fffd}\u{fffd}"),
        (b"\xe2\x82x", "\u{fffd}x"),
    ] {
        echo.write(bytes).await;
        assert_eq!(echo.logs(), handed_over, "after {bytes:02x?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_held_back_fragment_is_handed_over_when_the_stream_ends() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    echo.write(b"ab\xf0\x9f\x8e").await;
    assert_eq!(echo.logs(), "ab");
    assert_eq!(echo.logs(), "");
    echo.end().await;
    let logs = echo.scope.read_logs(&echo.id).expect("it is there");
    assert_eq!(logs.stdout, "\u{fffd}");
    assert!(!logs.running);
    assert_eq!(echo.logs(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_fragment_on_one_stream_is_not_completed_by_the_other() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("printf '\\303'; printf '\\303' >&2; read -r x; printf '\\251'; printf 'x' >&2")
        })
        .await;
    until("both fragments", || {
        chunk(&scope, &id, OUT, None, 9).data.len() + chunk(&scope, &id, ERR, None, 9).data.len() == 2
    })
    .await;
    let logs = scope.read_logs(&id).expect("it is there");
    assert_eq!((&*logs.stdout, &*logs.stderr), ("", ""));
    scope.write_stdin(&id, b"\n".to_vec()).await.expect("it reads");
    exit(&scope, &id).await;
    let logs = scope.read_logs(&id).expect("it is there");
    assert_eq!((&*logs.stdout, &*logs.stderr), ("é", "\u{fffd}x"));
}

/// A byte that is held back is evicted like any other byte, and no older byte is returned in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l5_an_evicted_fragment_leaves_the_newest_bytes() {
    let mut echo = Echo::new(Overflow::DropOldest, Some(4096)).await;
    // 6,000 bytes of three each: the oldest retained byte is the last of its character.
    echo.write("漢".repeat(2000).as_bytes()).await;
    assert_eq!(echo.logs(), format!("\u{fffd}{}", "漢".repeat(1365)));
    assert_eq!(echo.dropped(), 6000 - 4096);
    // The whole fragment is evicted.
    echo.write(b"\xe6\xbc").await;
    assert_eq!(echo.logs(), "");
    echo.write(&[b'a'; 5000]).await;
    assert_eq!(echo.buffered(), 4096);
    assert!(echo.logs() == "a".repeat(4096));
    assert_eq!(echo.dropped(), 6000 - 4096 + 2 + 5000 - 4096);
    // Half of it is evicted, and the other half can no longer become a character.
    echo.write(b"\xe6\xbc").await;
    assert_eq!(echo.logs(), "");
    echo.write(&[b'b'; 4095]).await;
    assert!(echo.logs() == format!("\u{fffd}{}", "b".repeat(4095)));
    // None of it is evicted.
    echo.write(b"\xe6\xbc").await;
    assert_eq!(echo.logs(), "");
    let rest = [b"\xa2".as_slice(), &[b'c'; 4093]].concat();
    echo.write(&rest).await;
    assert!(echo.logs() == format!("漢{}", "c".repeat(4093)));
}

/// A full ring that ends within a character neither hangs nor breaks the character.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l6_text_drained_through_a_full_ring_is_whole() {
    let host = Host::new();
    let scope = host.scope();
    let text = "漢🎉é".repeat(30_000);
    let id = host
        .start(SpawnRequest {
            stdin: Some(text.clone().into_bytes()),
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            ..command("/bin/cat", &[])
        })
        .await;
    let mut read = String::new();
    watchdog(async {
        while read.len() < text.len() {
            let logs = scope.read_logs(&id).expect("it is there");
            assert!(!logs.stdout.contains('\u{fffd}'), "after {} bytes", read.len());
            if logs.stdout.is_empty() {
                breathe().await;
            }
            read.push_str(&logs.stdout);
        }
    })
    .await;
    assert_eq!(read, text);
    assert_eq!(exit(&scope, &id).await, code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_reading_drains_and_running_tells_of_the_exit() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    echo.write(b"one").await;
    let logs = echo.scope.read_logs(&echo.id).expect("it is there");
    assert_eq!(
        (&*logs.stdout, &*logs.stderr, logs.running, logs.exit),
        ("one", "", true, None)
    );
    assert_eq!(echo.logs(), "");
    echo.write(b"two").await;
    echo.end().await;
    let logs = echo.scope.read_logs(&echo.id).expect("it is there");
    assert_eq!((&*logs.stdout, logs.running, logs.exit), ("two", false, Some(code(0))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_reading_by_cursor_drains_nothing_and_is_byte_faithful() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    let bytes: Vec<u8> = (0..=255).collect();
    echo.write(&bytes).await;
    for _ in 0..3 {
        assert_eq!(echo.retained().data, bytes);
    }
    // Reads of any size give the same bytes.
    for bite in [1, 2, 3, 100, 255, 256, 257, u32::MAX] {
        let mut read = Vec::new();
        let mut cursor = echo.origin.clone();
        while read.len() < bytes.len() {
            let chunk = chunk(&echo.scope, &echo.id, OUT, Some(&cursor), bite);
            assert!(!chunk.data.is_empty() && length(&chunk.data) <= u64::from(bite));
            read.extend_from_slice(&chunk.data);
            cursor = chunk.next;
        }
        assert_eq!(read, bytes, "in bites of {bite}");
        assert!(echo.since(&cursor).data.is_empty());
        // An old cursor still works.
        assert_eq!(echo.since(&echo.origin).data, bytes);
    }
    assert_eq!(echo.buffered(), 256);
    assert_eq!(echo.logs(), String::from_utf8_lossy(&bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_no_more_than_4_mib_come_at_once() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            log_ring_bytes: Some(8 << 20),
            ..command("/usr/bin/head", &["-c", "6000000", "/dev/zero"])
        })
        .await;
    assert_eq!(exit(&scope, &id).await, code(0));
    let first = chunk(&scope, &id, OUT, None, u32::MAX);
    assert_eq!(first.data.len(), 4 << 20);
    assert!(!first.drained_eof, "there is more");
    let second = chunk(&scope, &id, OUT, Some(&first.next), u32::MAX);
    assert_eq!(second.data.len(), 6_000_000 - (4 << 20));
    assert!(second.drained_eof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_max_bytes_zero_returns_no_data_and_a_valid_cursor() {
    for overflow in [Overflow::DropOldest, Overflow::Backpressure] {
        let mut echo = Echo::new(overflow, Some(4096)).await;
        echo.write(b"abc").await;
        let nothing = chunk(&echo.scope, &echo.id, OUT, None, 0);
        assert_eq!(
            (&*nothing.data, nothing.bytes_dropped, nothing.drained_eof),
            (&[][..], 0, false)
        );
        assert_eq!(echo.since(&nothing.next).data, b"abc");
        let again = chunk(&echo.scope, &echo.id, OUT, Some(&nothing.next), 0);
        assert_eq!(echo.since(&again.next).data, b"abc");
        echo.end().await;
        let nothing = chunk(&echo.scope, &echo.id, OUT, Some(&again.next), 0);
        assert!(!nothing.drained_eof, "it does not reach the end");
        assert_eq!(echo.since(&nothing.next).data, b"abc");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_forged_altered_foreign_or_wrong_stream_cursor_is_no_such_process() {
    let mut echo = Echo::new(Overflow::DropOldest, None).await;
    echo.write(b"hello").await;
    let cursor = echo.retained().next;
    let refuses = |cursor: &str, stream, what: &str| {
        for max in [0, u32::MAX] {
            let result = echo.scope.read_since(&echo.id, stream, Some(cursor), max);
            assert_eq!(result, Err(Error::NoSuchProcess), "{what}: {cursor:.80}");
        }
    };
    refuses(&cursor, ERR, "wrong stream");
    let digits = b"0123456789abcdef";
    for place in 0..cursor.len() {
        for digit in digits {
            let mut altered = cursor.clone().into_bytes();
            if altered[place] == *digit {
                continue;
            }
            altered[place] = *digit;
            refuses(&String::from_utf8(altered).expect("text"), OUT, "altered");
        }
        refuses(&cursor[..place], OUT, "cut");
        refuses(&cursor[place + 1..], OUT, "cut");
    }
    for digit in ["0", "00", "a", " ", "\n", "\0"] {
        refuses(&format!("{cursor}{digit}"), OUT, "longer");
        refuses(&format!("{digit}{cursor}"), OUT, "longer");
    }
    refuses(&cursor.to_uppercase(), OUT, "upper case");
    refuses(&format!("{cursor}{cursor}"), OUT, "twice");
    refuses("0", OUT, "made up");
    refuses("ü", OUT, "made up");
    refuses(&"0".repeat(1 << 20), OUT, "huge");
    refuses(&"ü".repeat(cursor.len() / 2), OUT, "not ASCII");

    // The other process has written the same.
    let twin = echo.host.start(cat()).await;
    echo.scope
        .write_stdin(&twin, b"hello".to_vec())
        .await
        .expect("it reads");
    until("the twin's bytes", || {
        chunk(&echo.scope, &twin, OUT, None, 9).data.len() == 5
    })
    .await;
    refuses(&chunk(&echo.scope, &twin, OUT, None, 9).next, OUT, "of another process");
    let other = Host::new();
    let stranger = other.start(cat()).await;
    refuses(
        &chunk(&other.scope(), &stranger, OUT, None, 9).next,
        OUT,
        "of another registry",
    );
    // None of these calls changed anything.
    assert!(echo.since(&cursor).data.is_empty());
    assert_eq!(echo.since(&echo.origin).data, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_l6_a_refused_cursor_acknowledges_nothing() {
    let mut echo = Echo::new(Overflow::Backpressure, Some(4096)).await;
    let bytes = noise(3, 4096);
    echo.write(&bytes).await;
    let mut forged = echo.retained().next;
    let last = if forged.ends_with('0') { "1" } else { "0" };
    forged.replace_range(forged.len() - 1.., last);
    let result = echo.scope.read_since(&echo.id, OUT, Some(&forged), 0);
    assert_eq!(result, Err(Error::NoSuchProcess));
    // More output finds no room, so all of it is still there.
    echo.send(b"more").await;
    let first = echo.since(&echo.origin);
    assert!(first.data == bytes && first.bytes_dropped == 0);
    echo.since(&first.next);
    echo.arrived().await;
    let second = echo.since(&first.next);
    assert_eq!((&*second.data, second.bytes_dropped), (&b"more"[..], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_cursor_carries_its_own_loss() {
    let mut echo = Echo::new(Overflow::DropOldest, Some(4096)).await;
    echo.write(&noise(1, 1000)).await;
    let early = echo.since(&echo.origin).next;
    echo.write(&noise(2, 9000)).await;
    // The same position, reached in three ways: with all, some and none of the loss.
    let from_origin = echo.since(&echo.origin);
    let from_early = echo.since(&early);
    let fresh = echo.retained();
    assert_eq!(from_origin.bytes_dropped, 10_000 - 4096);
    assert_eq!(from_early.bytes_dropped, 9000 - 4096);
    assert_eq!(fresh.bytes_dropped, 0);
    assert!(from_origin.data == fresh.data && from_early.data == fresh.data);
    echo.write(b"later").await;
    for (cursor, loss) in [
        (&from_origin.next, 10_000 - 4096),
        (&from_early.next, 9000 - 4096),
        (&fresh.next, 0),
    ] {
        let later = echo.since(cursor);
        assert_eq!((&*later.data, later.bytes_dropped), (&b"later"[..], loss));
    }
}

/// Line `n` is at offset `8 n`, so each chunk shows its own position. The bytes delivered and the bytes dropped must
/// add up to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_delivered_and_dropped_add_up_to_the_position_under_a_flood() {
    const LINES: usize = 1_000_000;
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            log_ring_bytes: Some(4096),
            ..command("/usr/bin/seq", &["-f", "%07g", "0", &(LINES - 1).to_string()])
        })
        .await;
    let mut cursor = Some(chunk(&scope, &id, OUT, None, 0).next);
    // The chain may have begun late. Its first data shows where.
    let mut start: Option<usize> = None;
    let mut delivered = 0;
    let mut bite = 0;
    let mut losses = 0;
    watchdog(async {
        loop {
            bite = bite % 5000 + 37;
            let chunk = chunk(&scope, &id, OUT, cursor.as_deref(), bite);
            let dropped = usize::try_from(chunk.bytes_dropped).expect("small");
            delivered += chunk.data.len();
            if let Some(first) = first_line(&chunk.data) {
                let place = first.0 * 8 - first.1;
                let begun = place - (delivered - chunk.data.len()) - dropped;
                assert_eq!(*start.get_or_insert(begun), begun, "at line {}", first.0);
                let lines = numbers(place / 8, (place + chunk.data.len()).div_ceil(8));
                assert!(lines[place % 8..].starts_with(&chunk.data), "at line {}", first.0);
            }
            losses = losses.max(dropped);
            if chunk.drained_eof {
                break;
            }
            cursor = Some(chunk.next);
            tokio::task::yield_now().await;
        }
    })
    .await;
    let start = start.expect("some data");
    assert_eq!(start + delivered + losses, LINES * 8);
    assert!(losses > 0, "the ring was too small for it");
    // The host's own count is of all bytes that can no longer be read. At the end the ring contains the rest.
    let info = scope.status(&id).expect("it is there");
    assert_eq!(info.bytes_dropped + info.buffered_bytes, length(&numbers(0, LINES)));
    assert_eq!(info.buffered_bytes, 4096);
}

/// The number of the first whole line in `data`, and the number of bytes before it.
fn first_line(data: &[u8]) -> Option<(usize, usize)> {
    let skip = if data.get(7) == Some(&b'\n') {
        0
    } else {
        data.iter().position(|&byte| byte == b'\n')? + 1
    };
    let line = data.get(skip..skip + 7)?;
    let number = std::str::from_utf8(line).ok()?.parse().ok()?;
    Some((number, skip))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_what_read_logs_drained_counts_for_the_cursor_and_not_for_the_process() {
    for overflow in [Overflow::DropOldest, Overflow::Backpressure] {
        let mut echo = Echo::new(overflow, None).await;
        echo.write(b"0123456789").await;
        let behind = chunk(&echo.scope, &echo.id, OUT, Some(&echo.origin), 4).next;
        assert_eq!(echo.logs(), "0123456789");
        assert_eq!(echo.dropped(), 0);
        let drained = echo.since(&behind);
        assert_eq!((&*drained.data, drained.bytes_dropped), (&b""[..], 6));
        echo.write(b"abc").await;
        let later = echo.since(&drained.next);
        assert_eq!((&*later.data, later.bytes_dropped), (&b"abc"[..], 6));
        let from_origin = echo.since(&echo.origin);
        assert_eq!((&*from_origin.data, from_origin.bytes_dropped), (&b"abc"[..], 10));
        let fresh = echo.retained();
        assert_eq!((&*fresh.data, fresh.bytes_dropped), (&b"abc"[..], 0));
        assert_eq!(echo.dropped(), 0);
        echo.end().await;
        let end = echo.since(&later.next);
        assert_eq!((end.bytes_dropped, end.drained_eof), (6, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_the_newest_bytes_of_a_ring_are_retained_exactly() {
    let mut echo = Echo::new(Overflow::DropOldest, Some(4096)).await;
    let all = noise(5, 60_000);
    let mut end = 0;
    for size in [1, 4094, 1, 1, 4096, 4097, 1, 8192, 5000, 3, 12_000, 100] {
        echo.write(&all[end..end + size]).await;
        end += size;
        let start = end.saturating_sub(4096);
        let retained = echo.retained();
        assert!(retained.data == all[start..end], "after {end} bytes");
        assert_eq!(retained.bytes_dropped, 0);
        assert_eq!(echo.dropped(), length(&all[..start]));
        assert_eq!(echo.since(&echo.origin).bytes_dropped, length(&all[..start]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_flooded_ring_is_never_less_than_full() {
    is_never_less_than_full(4096).await;
}

/// A large ring takes small writes without asking how many bytes wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_large_ring_flooded_by_small_writes_is_never_less_than_full() {
    is_never_less_than_full(256 << 10).await;
}

async fn is_never_less_than_full(ring: usize) {
    const LINES: usize = 1_000_000;
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            log_ring_bytes: Some(u32::try_from(ring).expect("small")),
            // It writes 4 KiB at a time.
            ..command("/usr/bin/seq", &["-f", "%07g", "0", &(LINES - 1).to_string()])
        })
        .await;
    let mut full = 0;
    watchdog(async {
        loop {
            let info = scope.status(&id).expect("it is there");
            let is_full = info.buffered_bytes == ring as u64;
            assert!(is_full || full == 0, "it was full before: {info:?}");
            full += usize::from(is_full);
            if info.exit.is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let newest = chunk(&scope, &id, OUT, None, u32::MAX).data;
    assert!(newest == numbers(LINES - ring / 8, LINES));
    let info = scope.status(&id).expect("it is there");
    assert_eq!(info.bytes_dropped, length(&numbers(0, LINES - ring / 8)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_ring_sizes_are_clamped() {
    let host = Host::new();
    let scope = host.scope();
    for (asked, size) in [
        (Some(0), 4 << 10),
        (Some(1), 4 << 10),
        (Some(4095), 4 << 10),
        (Some(5000), 5000),
        (None, 1 << 20),
        (Some(8 << 20), 8 << 20),
        (Some(u32::MAX), 8 << 20),
    ] {
        let id = host
            .start(SpawnRequest {
                log_ring_bytes: asked,
                ..sh("head -c 9000000 /dev/zero & head -c 9000000 /dev/zero >&2; wait")
            })
            .await;
        assert_eq!(exit(&scope, &id).await, code(0));
        let info = scope.status(&id).expect("it is there");
        assert_eq!(info.buffered_bytes, 2 * size, "{asked:?}");
        assert_eq!(info.bytes_dropped, 2 * (9_000_000 - size), "{asked:?}");
        for stream in [OUT, ERR] {
            let (data, _) = follow(&scope, &id, stream, u32::MAX).await;
            assert_eq!(length(&data), size, "{asked:?}");
        }
        scope.release(&id).await.expect("it has exited");
    }
}

/// A ring of 4 KiB and a child that writes much more.
async fn full_echo() -> (Echo, Vec<u8>) {
    let mut echo = Echo::new(Overflow::Backpressure, Some(4096)).await;
    let bytes = numbers(0, 512);
    echo.write(&bytes).await;
    (echo, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_without_a_reader_nothing_is_evicted_and_the_writer_blocks() {
    let (echo, mut all) = full_echo().await;
    // Two pipes of at most 1 MiB each and the child's buffer cannot hold this.
    let much = noise(9, 1 << 20);
    let mut writing = Vec::new();
    for _ in 0..4 {
        let (scope, id, data) = (echo.scope.clone(), echo.id.clone(), much.clone());
        all.extend_from_slice(&much);
        writing.push(tokio::spawn(async move { scope.write_stdin(&id, data).await }));
    }
    for _ in 0..50 {
        breathe().await;
        let first = echo.since(&echo.origin);
        assert!(first.data == all[..4096] && first.bytes_dropped == 0);
        assert_eq!((echo.buffered(), echo.dropped()), (4096, 0));
    }
    assert!(!writing[3].is_finished());
    let mut read = Vec::new();
    let mut cursor = echo.origin.clone();
    watchdog(async {
        while read.len() < all.len() {
            let chunk = echo.since(&cursor);
            assert_eq!(chunk.bytes_dropped, 0);
            read.extend_from_slice(&chunk.data);
            cursor = chunk.next;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(read == all);
    for write in writing {
        assert_eq!(write.await.expect("no panic"), Ok(1 << 20));
    }
    assert_eq!(echo.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_acknowledged_bytes_stay_until_room_is_needed() {
    let (mut echo, mut all) = full_echo().await;
    // Reading alone acknowledges nothing. Presenting the next cursor does.
    let first = echo.since(&echo.origin);
    let end = echo.since(&first.next);
    assert!(end.data.is_empty());
    // No room is needed, so all of them are still there, for any cursor and for a drain.
    assert!(echo.since(&echo.origin).data == all);
    assert!(echo.retained().data == all);
    assert_eq!(echo.buffered(), 4096);
    // Now a little room is needed.
    all.extend_from_slice(b"a little");
    echo.write(b"a little").await;
    let next = echo.since(&first.next);
    assert_eq!((&*next.data, next.bytes_dropped), (&b"a little"[..], 0));
    // A slower reader sees its loss in its own count, and the process has lost nothing.
    let slow = echo.since(&echo.origin);
    let missing = usize::try_from(slow.bytes_dropped).expect("small");
    assert!(missing >= 8, "room was needed");
    assert!(slow.data == all[missing..]);
    assert!(echo.retained().data == slow.data);
    assert_eq!(echo.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_the_furthest_cursor_presented_counts() {
    let (mut echo, mut all) = full_echo().await;
    let half = chunk(&echo.scope, &echo.id, OUT, Some(&echo.origin), 2048).next;
    // Presenting the cursor acknowledges the first half, even for a read of no bytes. Presenting an older one does not
    // undo that.
    chunk(&echo.scope, &echo.id, OUT, Some(&half), 0);
    echo.since(&echo.origin);
    let more = noise(10, 2048);
    all.extend_from_slice(&more);
    echo.write(&more).await;
    assert!(echo.since(&half).data == all[2048..]);
    // The next byte would have to evict an unacknowledged one, so it waits.
    echo.send(b"x").await;
    for _ in 0..50 {
        breathe().await;
        let rest = echo.since(&half);
        assert!(rest.data == all[2048..] && rest.bytes_dropped == 0);
    }
    assert_eq!(echo.dropped(), 0);
    let end = echo.since(&half).next;
    echo.since(&end);
    echo.arrived().await;
    assert_eq!(echo.since(&end).data, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_drain_makes_room_too() {
    let (mut echo, all) = full_echo().await;
    echo.send(b"and more").await;
    assert!(echo.logs().into_bytes() == all);
    echo.arrived().await;
    assert_eq!(echo.logs(), "and more");
}

/// Two followers of different speed: the fast one loses nothing, and the slow one knows its loss to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_l4_a_slower_second_reader_sees_its_loss() {
    const LINES: usize = 200_000;
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            overflow: Overflow::Backpressure,
            log_ring_bytes: Some(4096),
            ..command("/usr/bin/seq", &["-f", "%07g", "0", &(LINES - 1).to_string()])
        })
        .await;
    let origin = chunk(&scope, &id, OUT, None, 0).next;
    let all = numbers(0, LINES);
    let (mut fast, mut slow) = (origin.clone(), origin);
    let (mut fast_read, mut slow_read) = (0, 0);
    watchdog(async {
        loop {
            let next = chunk(&scope, &id, OUT, Some(&fast), u32::MAX);
            assert_eq!(next.bytes_dropped, 0);
            assert!(all[fast_read..].starts_with(&next.data));
            fast_read += next.data.len();
            fast = next.next;
            let late = chunk(&scope, &id, OUT, Some(&slow), 100);
            slow_read += late.data.len();
            slow = late.next;
            let place = slow_read + usize::try_from(late.bytes_dropped).expect("small");
            assert!(all[..place].ends_with(&late.data));
            if late.drained_eof {
                assert_eq!(place, all.len());
                assert!(late.bytes_dropped > 0);
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(fast_read, all.len());
    assert_eq!(scope.status(&id).expect("it is there").bytes_dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_the_end_is_announced_by_the_last_chunk_and_not_before() {
    for overflow in [Overflow::DropOldest, Overflow::Backpressure] {
        let mut echo = Echo::new(overflow, Some(4096)).await;
        echo.write(b"0123456789").await;
        let reached = echo.since(&echo.origin);
        assert!(!reached.drained_eof, "it runs");
        assert!(!echo.since(&reached.next).drained_eof, "it runs");
        echo.end().await;
        let mut cursor = echo.origin.clone();
        for place in 1..=10 {
            let bite = chunk(&echo.scope, &echo.id, OUT, Some(&cursor), 1);
            assert_eq!(bite.data, [b'0' + place - 1]);
            assert_eq!(bite.drained_eof, place == 10);
            cursor = bite.next;
        }
        assert!(echo.since(&cursor).drained_eof, "again and again");
        assert!(chunk(&echo.scope, &echo.id, ERR, None, 1).drained_eof);
        echo.logs();
        let drained = echo.retained();
        assert!(drained.data.is_empty() && drained.drained_eof);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_stream_that_the_child_closed_early_ends_with_the_exit() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("echo last; exec >&-; echo closed >&2; read -r x")
        })
        .await;
    until("stdout is closed", || !chunk(&scope, &id, ERR, None, 9).data.is_empty()).await;
    for _ in 0..20 {
        breathe().await;
        let read = chunk(&scope, &id, OUT, None, u32::MAX);
        assert_eq!((&*read.data, read.drained_eof), (&b"last\n"[..], false));
        assert_eq!(scope.status(&id).expect("it is there").phase, Phase::Running);
    }
    scope.close_stdin(&id).expect("it is there");
    exit(&scope, &id).await;
    assert!(chunk(&scope, &id, OUT, None, u32::MAX).drained_eof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_a_full_stream_does_not_hold_up_the_other() {
    let host = Host::new();
    let scope = host.scope();
    for (redirect, full, flowing) in [(">&2", OUT, ERR), ("", ERR, OUT)] {
        let other = if redirect.is_empty() { ">&2" } else { "" };
        let id = host
            .start(SpawnRequest {
                overflow: Overflow::Backpressure,
                log_ring_bytes: Some(4096),
                ..sh(&format!(
                    "head -c 1000000 /dev/zero {other} & seq -f %07g 0 99999 {redirect}; wait"
                ))
            })
            .await;
        let expected = numbers(0, 100_000);
        let mut read = Vec::new();
        let mut cursor: Option<String> = None;
        watchdog(async {
            while read.len() < expected.len() {
                let chunk = chunk(&scope, &id, flowing, cursor.as_deref(), u32::MAX);
                read.extend_from_slice(&chunk.data);
                assert!(!chunk.drained_eof, "the other stream still has much to say");
                cursor = Some(chunk.next);
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(read == expected);
        assert_eq!(scope.status(&id).expect("it is there").phase, Phase::Running);
        let (rest, dropped) = follow(&scope, &id, full, u32::MAX).await;
        assert_eq!((rest.len(), dropped), (1_000_000, 0));
        assert_eq!(exit(&scope, &id).await, code(0));
    }
}
