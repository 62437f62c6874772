//! The bytes of a stream that were read and not yet handed out, cut into lines or searched for a
//! text. It calls no host, so every chunk border can be tested.
//!
//! At any moment it can say where the reader stands ([`Pending::cursor`]), although the host seals
//! places at chunk borders only; `cursor.rs` explains how.

use crate::cursor::Cursor;

/// A line longer than this is handed out in pieces, so that output without line breaks cannot fill
/// the instance's memory.
pub(crate) const LONGEST_LINE: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The bytes carried over from before the current chunk, then the rest of the chunk.
    held: Vec<u8>,
    /// How much of the front of `held` was handed out.
    head: usize,
    /// How much of the front of `held` came before the current chunk.
    carried: usize,
    chunk: Option<Chunk>,
    /// Where the next read goes on.
    next: Option<String>,
    /// Where the reader stands at `next`, as `cursor.rs` counts places.
    place: u64,
    /// Bytes that the reader missed.
    dropped: u64,
}

#[derive(Debug)]
struct Chunk {
    /// The token that it was read with.
    origin: Option<String>,
    dropped: u64,
    len: usize,
}

impl Pending {
    pub(crate) fn at(cursor: Cursor) -> Self {
        let carried = cursor.carry.len();
        Self {
            held: cursor.carry,
            head: 0,
            carried,
            chunk: None,
            next: cursor.token,
            place: cursor.place,
            dropped: cursor.dropped,
        }
    }

    /// The token to read with.
    pub(crate) fn token(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Takes the place of a stream of which nothing was read yet.
    pub(crate) fn begin(&mut self, token: Option<String>) {
        self.next = token;
    }

    /// Takes in what a read with [`token`](Self::token) brought.
    pub(crate) fn accept(&mut self, data: &[u8], next: Option<String>, dropped: u64) {
        self.held.drain(..self.head);
        self.head = 0;
        self.carried = self.held.len();
        let skip = usize::try_from(self.place.saturating_sub(dropped)).unwrap_or(usize::MAX);
        self.dropped = self.dropped.saturating_add(dropped.saturating_sub(self.place));
        match data.get(skip..) {
            Some(rest) => {
                self.held.extend_from_slice(rest);
                self.place = dropped;
            }
            // The place is in a later chunk, which begins this much further on.
            None => self.place -= data.len() as u64,
        }
        let origin = std::mem::replace(&mut self.next, next);
        self.chunk = Some(Chunk {
            origin,
            dropped,
            len: data.len(),
        });
    }

    /// Takes in the next bytes of a stream that has no places.
    pub(crate) fn accept_plain(&mut self, data: &[u8]) {
        self.held.drain(..self.head);
        self.head = 0;
        self.held.extend_from_slice(data);
        self.carried = self.held.len();
    }

    /// Lets go of the oldest bytes so that `keep` are left, and counts them as dropped.
    pub(crate) fn keep_newest(&mut self, keep: usize) {
        let spare = self.rest().len().saturating_sub(keep);
        self.head += spare;
        self.dropped += spare as u64;
    }

    /// Bytes that the reader missed.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn len(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.head..).unwrap_or_default()
    }

    /// Where the reader stands: behind everything that was handed out.
    pub(crate) fn cursor(&self) -> Cursor {
        let rest = self.rest();
        let carry = self.held.get(self.head..self.carried).unwrap_or_default();
        match &self.chunk {
            Some(chunk) if !rest.is_empty() => {
                let handed_out = chunk.len - (rest.len() - carry.len());
                // A line that began before the chunk: nothing of the chunk is handed out yet.
                let handed_out = if carry.is_empty() { handed_out as u64 } else { 0 };
                Cursor {
                    token: chunk.origin.clone(),
                    place: chunk.dropped + handed_out,
                    dropped: self.dropped,
                    carry: carry.to_vec(),
                }
            }
            Some(_) | None => Cursor {
                token: self.next.clone(),
                place: self.place,
                dropped: self.dropped,
                carry: rest.to_vec(),
            },
        }
    }

    /// Everything that is here.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let all = self.rest().to_vec();
        self.head = self.held.len();
        all
    }

    /// Copies as much as fits into `buffer`, and returns how much that was.
    pub(crate) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let n = self.rest().len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), self.rest().get(..n)) {
            to.copy_from_slice(from);
        }
        self.head += n;
        n
    }

    /// The next line without its end. If the stream is over, the last line needs no end.
    pub(crate) fn take_line(&mut self, over: bool) -> Option<Vec<u8>> {
        let rest = self.rest();
        let (mut line, used) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (rest.get(..at)?, at + 1),
            None if rest.len() >= LONGEST_LINE || (over && !rest.is_empty()) => (rest, rest.len()),
            None => return None,
        };
        if used > line.len() {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        let line = line.to_vec();
        self.head += used;
        Some(line)
    }

    /// Looks for `pattern`. If it is here, consumes everything up to its end, and returns the part
    /// from the beginning of the line in which it starts. If not, discards the lines before the one
    /// in which it can still start.
    pub(crate) fn take_through(&mut self, pattern: &[u8]) -> Option<Vec<u8>> {
        let rest = self.rest();
        let line_before = |at: usize| {
            rest.get(..at)
                .and_then(|head| head.iter().rposition(|byte| *byte == b'\n'))
                .map_or(0, |n| n + 1)
        };
        let found = if pattern.is_empty() {
            Some(0)
        } else {
            rest.windows(pattern.len()).position(|window| window == pattern)
        };
        if let Some(at) = found {
            let end = at + pattern.len();
            let text = rest.get(line_before(at)..end).unwrap_or_default().to_vec();
            self.head += end;
            return Some(text);
        }
        // The pattern may have begun in the last bytes; the line in which it did must stay too.
        let overlap = rest.len().saturating_sub(pattern.len().saturating_sub(1));
        let spare = line_before(overlap);
        let too_long = rest.len().saturating_sub(LONGEST_LINE.max(pattern.len()));
        self.head += spare.max(too_long);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream in memory that hands out chunks and cursors as the host does: tokens are offsets
    /// with the loss up to them.
    struct Stream {
        bytes: Vec<u8>,
        oldest: usize,
        chunk: usize,
    }

    impl Stream {
        fn new(bytes: &[u8], chunk: usize) -> Self {
            Self {
                bytes: bytes.to_vec(),
                oldest: 0,
                chunk,
            }
        }

        /// False at the end.
        fn feed(&self, pending: &mut Pending) -> bool {
            if pending.token().is_none() {
                pending.begin(Some(format!("{}/0", self.oldest)));
            }
            let (at, lost) = pending.token().unwrap().split_once('/').unwrap();
            let (at, lost): (usize, usize) = (at.parse().unwrap(), lost.parse().unwrap());
            let from = at.max(self.oldest);
            let lost = lost + from - at;
            let to = (from + self.chunk).min(self.bytes.len());
            pending.accept(&self.bytes[from..to], Some(format!("{to}/{lost}")), lost as u64);
            from < to
        }
    }

    fn through_text(pending: &Pending) -> Pending {
        Pending::at(pending.cursor().to_string().parse().unwrap())
    }

    fn lines(stream: &Stream, mut pending: Pending, fresh_instance_each: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut over = false;
        loop {
            if let Some(line) = pending.take_line(over) {
                lines.push(String::from_utf8(line).unwrap());
                if fresh_instance_each {
                    pending = through_text(&pending);
                    over = false;
                }
            } else if over {
                return lines;
            } else {
                over = !stream.feed(&mut pending);
            }
        }
    }

    const TEXT: &str = "first\n\nwith return\r\nzwölf Boxkämpfer \u{1f980}\nno end";

    #[test]
    fn lines_are_the_same_at_every_chunk_size() {
        for chunk in 1..=TEXT.len() {
            let found = lines(
                &Stream::new(TEXT.as_bytes(), chunk),
                Pending::at(Cursor::default()),
                false,
            );
            assert_eq!(found, TEXT.lines().collect::<Vec<_>>(), "chunks of {chunk}");
        }
    }

    #[test]
    fn a_cursor_after_each_line_loses_and_repeats_nothing() {
        for chunk in 1..=TEXT.len() {
            let found = lines(
                &Stream::new(TEXT.as_bytes(), chunk),
                Pending::at(Cursor::default()),
                true,
            );
            assert_eq!(found, TEXT.lines().collect::<Vec<_>>(), "chunks of {chunk}");
        }
    }

    #[test]
    fn a_cursor_within_a_chunk_survives_other_chunk_sizes_and_eviction() {
        for taken in 0..TEXT.len() {
            for chunk in 1..=TEXT.len() {
                for oldest in 0..TEXT.len() {
                    let mut stream = Stream::new(TEXT.as_bytes(), TEXT.len());
                    let mut pending = Pending::at(Cursor::default());
                    stream.feed(&mut pending);
                    pending.take_into(&mut vec![0; taken]);
                    let mut later = through_text(&pending);
                    (stream.chunk, stream.oldest) = (chunk, oldest);
                    let mut rest = Vec::new();
                    while stream.feed(&mut later) {
                        rest.extend(later.take_all());
                    }
                    assert_eq!(rest, TEXT.as_bytes()[taken.max(oldest)..], "{taken} {chunk} {oldest}");
                    let lost = oldest.saturating_sub(taken) as u64;
                    assert_eq!(later.dropped(), lost, "{taken} {chunk} {oldest}");
                    assert_eq!(through_text(&later).dropped(), lost);
                }
            }
        }
    }

    #[test]
    fn an_unfinished_line_is_carried_and_its_token_not_presented_again() {
        let mut stream = Stream::new(b"one\ntwo", 5);
        let mut pending = Pending::at(Cursor::default());
        assert!(stream.feed(&mut pending));
        assert_eq!(pending.take_line(false).unwrap(), b"one");
        assert!(stream.feed(&mut pending));
        assert_eq!(pending.take_line(false), None);
        // Backpressure gives up what an earlier read acknowledged.
        stream.oldest = 5;
        let mut later = through_text(&pending);
        assert!(stream.feed(&mut later));
        assert_eq!(later.take_line(true).unwrap(), b"two");
    }

    #[test]
    fn a_text_is_found_across_every_border_and_reading_goes_on_behind_it() {
        let text = "starting\nServing HTTP on ::1 port 4711 (…)\nmore\n";
        for chunk in 1..=text.len() {
            let stream = Stream::new(text.as_bytes(), chunk);
            let mut pending = Pending::at(Cursor::default());
            let mut find = |pattern: &str| loop {
                if let Some(found) = pending.take_through(pattern.as_bytes()) {
                    return Some(String::from_utf8(found).unwrap());
                }
                if !stream.feed(&mut pending) {
                    return None;
                }
            };
            assert_eq!(
                find(" port ").as_deref(),
                Some("Serving HTTP on ::1 port "),
                "chunks of {chunk}"
            );
            assert_eq!(find(" ").as_deref(), Some("4711 "));
            assert_eq!(find(")\nmo").as_deref(), Some("(…)\nmo"));
            assert_eq!(find("absent"), None);
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_end() {
        let stream = Stream::new(&vec![b'x'; LONGEST_LINE * 3], LONGEST_LINE / 4);
        let mut pending = Pending::at(Cursor::default());
        while stream.feed(&mut pending) {
            assert_eq!(pending.take_through(b"y"), None);
            assert!(pending.rest().len() <= LONGEST_LINE);
        }
        let mut pending = Pending::at(Cursor::default());
        let mut total = 0;
        while stream.feed(&mut pending) {
            while let Some(piece) = pending.take_line(false) {
                total += piece.len();
            }
        }
        assert_eq!(total, LONGEST_LINE * 3);
    }

    #[test]
    fn an_empty_pattern_is_everywhere() {
        let mut pending = Pending::at(Cursor::default());
        assert_eq!(pending.take_through(b"").as_deref(), Some(&b""[..]));
    }
}
