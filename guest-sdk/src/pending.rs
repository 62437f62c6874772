//! The bytes of a stream that were read and not yet handed out, cut into lines or searched for a
//! text. It calls no host, so every chunk border can be tested.
//!
//! At any moment it can say where the reader stands ([`Pending::cursor`]), although the host seals
//! places at chunk borders only; `cursor.rs` explains how.
//!
//! A loss is a mark between two bytes. No line and no match reaches across a mark, so that the
//! parts of two different lines are never joined. The search for a line end or a text goes on
//! where the last one stopped: a long line costs no more for each byte than a short one.

use crate::cursor::{Cursor, Mark};
use memchr::{memchr, memmem, memrchr};
use std::collections::VecDeque;

/// The longest line that is handed out unless the caller allows more, so that output without line
/// breaks cannot fill the instance's memory.
pub(crate) const LONGEST_LINE: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The bytes carried over from before the current chunk, then the rest of the chunk.
    held: Vec<u8>,
    /// How much of the front of `held` was handed out.
    head: usize,
    /// How much of the front of `held` came before the current chunk.
    carried: usize,
    /// Up to here `held` has no line end, from `head` on.
    searched: usize,
    /// In ascending order, none before `head`, and one at each place at most.
    marks: VecDeque<Mark>,
    /// The length of the line that is being skipped, behind a loss, as far as it was seen.
    skipped: usize,
    chunk: Option<Chunk>,
    /// Where the next read goes on.
    next: Option<String>,
    /// Where the reader stands at `next`, as `cursor.rs` counts places.
    place: u64,
    /// Bytes that the reader missed.
    dropped: u64,
}

/// Why there is no line, or no match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// So many bytes are missing.
    Lost(u64),
    /// More bytes than the caller allows.
    TooLong,
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
            searched: 0,
            marks: cursor.marks.into(),
            skipped: 0,
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
        self.forget_handed_out();
        self.carried = self.held.len();
        let skip = usize::try_from(self.place.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let lost = dropped.saturating_sub(self.place);
        if lost > 0 {
            self.dropped = self.dropped.saturating_add(lost);
            self.mark(self.held.len(), Some(lost));
        }
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
        self.forget_handed_out();
        self.held.extend_from_slice(data);
        self.carried = self.held.len();
    }

    fn forget_handed_out(&mut self) {
        self.held.drain(..self.head);
        self.searched = self.searched.saturating_sub(self.head);
        for mark in &mut self.marks {
            mark.at = mark.at.saturating_sub(self.head);
        }
        self.head = 0;
    }

    /// Marks a place behind all other marks, or at the last one.
    fn mark(&mut self, at: usize, lost: Option<u64>) {
        match self.marks.back_mut().filter(|last| last.at == at) {
            Some(last) => last.join(lost),
            None => self.marks.push_back(Mark { at, lost }),
        }
    }

    /// Drops the oldest bytes so that `keep` are left, and counts them as lost.
    pub(crate) fn keep_newest(&mut self, keep: usize) {
        let spare = self.rest().len().saturating_sub(keep);
        if spare > 0 {
            self.head += spare;
            self.dropped += spare as u64;
            let mut here = Mark {
                at: self.head,
                lost: Some(spare as u64),
            };
            while let Some(mark) = self.marks.pop_front_if(|mark| mark.at <= here.at) {
                here.join(mark.lost);
            }
            self.marks.push_front(here);
        }
    }

    /// Bytes that the reader missed.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn len(&self) -> usize {
        self.rest().len()
    }

    /// Whether all was handed out, and every loss was told.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty() && self.marks.iter().all(|mark| mark.lost.is_none())
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.head..).unwrap_or_default()
    }

    /// Where the reader stands: behind everything that was handed out.
    pub(crate) fn cursor(&self) -> Cursor {
        let rest = self.rest();
        let carry = self.held.get(self.head..self.carried).unwrap_or_default();
        let marks = self.marks.iter().map(|mark| Mark {
            at: mark.at.saturating_sub(self.head),
            lost: mark.lost,
        });
        let marks = marks.collect();
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
                    marks,
                }
            }
            Some(_) | None => Cursor {
                token: self.next.clone(),
                place: self.place,
                dropped: self.dropped,
                carry: rest.to_vec(),
                marks,
            },
        }
    }

    /// Everything that is here, whatever was lost in between.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let all = self.rest().to_vec();
        self.pass(all.len());
        all
    }

    /// As much as fits into `buffer`; how much that was.
    pub(crate) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let n = self.rest().len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), self.rest().get(..n)) {
            to.copy_from_slice(from);
        }
        self.pass(n);
        n
    }

    /// Goes on over `n` bytes and the marks among them. A mark at their end stays: a reader of
    /// lines that comes next must know of it.
    fn pass(&mut self, n: usize) {
        let begin = self.head;
        self.head += n;
        self.marks.retain(|mark| mark.at > begin && mark.at >= self.head);
    }

    /// The bytes up to the first loss.
    fn unbroken(&self) -> &[u8] {
        let end = self.marks.front().map_or(self.held.len(), |mark| mark.at);
        self.held.get(self.head..end).unwrap_or_default()
    }

    /// The next line without its end, of `most` bytes at most. The last one needs no end if the
    /// stream is over. Behind a [`Gap`] the lines go on: the rest of a line of which a part is
    /// missing, or which is too long, is dropped.
    pub(crate) fn take_line(&mut self, most: usize, over: bool) -> Option<Result<Vec<u8>, Gap>> {
        loop {
            if self.marks.front().is_some_and(|mark| mark.at == self.head) {
                match self.take_broken(most, over) {
                    Broken::Done => continue,
                    Broken::Told(lost) => return Some(Err(Gap::Lost(lost))),
                    Broken::Unfinished => return None,
                }
            }
            let begin = self.searched.max(self.head) - self.head;
            let unbroken = self.unbroken();
            if let Some(at) = unbroken.get(begin..).and_then(|rest| memchr(b'\n', rest)) {
                let line = unbroken.get(..begin + at).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = if line.len() > most {
                    Err(Gap::TooLong)
                } else {
                    Ok(line.to_vec())
                };
                self.head += begin + at + 1;
                self.searched = self.head;
                return Some(line);
            }
            let len = unbroken.len();
            let is_last = over && self.marks.is_empty();
            // A line of `most` bytes may end in `\r\n`, of which half is here.
            let too_long = len > most && (is_last || len > most.saturating_add(1) || unbroken.last() != Some(&b'\r'));
            if !self.marks.is_empty() {
                // The end of this line is missing, so what is here of it is missing, too.
                self.lose(len);
            } else if too_long {
                self.head += len;
                self.marks.push_front(Mark {
                    at: self.head,
                    lost: None,
                });
                return Some(Err(Gap::TooLong));
            } else if is_last && len > 0 {
                return Some(Ok(self.take_all()));
            } else {
                self.searched = self.head + len;
                return None;
            }
        }
    }

    /// Goes on over the `len` bytes up to the first mark, and counts them with it.
    fn lose(&mut self, len: usize) {
        self.head += len;
        if let Some(mark) = self.marks.front_mut() {
            mark.at = self.head;
            if let Some(lost) = &mut mark.lost {
                *lost = lost.saturating_add(len as u64);
                self.dropped = self.dropped.saturating_add(len as u64);
            }
        }
    }

    /// Goes on over the rest of the line behind the mark here.
    fn take_broken(&mut self, most: usize, over: bool) -> Broken {
        let Some(mut here) = self.marks.pop_front() else {
            return Broken::Done;
        };
        let rest = self.unbroken();
        let end = memchr(b'\n', rest).map(|at| at + 1);
        let len = end.unwrap_or(rest.len());
        self.head += len;
        here.at = self.head;
        if let Some(lost) = &mut here.lost {
            *lost = lost.saturating_add(len as u64);
            self.dropped = self.dropped.saturating_add(len as u64);
        }
        self.skipped = self.skipped.saturating_add(len);
        if end.is_none() {
            if let Some(next) = self.marks.front_mut() {
                next.join(here.lost);
                return Broken::Done;
            }
            if !over {
                // A line without end must not hold back the news for ever.
                let now = here.lost.filter(|lost| *lost > 0 && self.skipped > most);
                if now.is_some() {
                    self.skipped = 0;
                }
                here.lost = here.lost.map(|lost| if now.is_some() { 0 } else { lost });
                self.marks.push_front(here);
                return now.map_or(Broken::Unfinished, Broken::Told);
            }
        }
        self.skipped = 0;
        match here.lost {
            Some(lost) if lost > 0 => Broken::Told(lost),
            Some(_) | None => Broken::Done,
        }
    }

    /// Looks for the pattern that is complete first, from `searched` bytes on; of two that are
    /// complete at the same byte, for the first in the list. Hands out everything up to its end, and
    /// its index. Otherwise nothing is handed out, and `searched` says where to go on.
    pub(crate) fn take_until(
        &mut self,
        patterns: &[&[u8]],
        searched: &mut usize,
        most: usize,
    ) -> Option<Result<(usize, Vec<u8>), Gap>> {
        while self
            .marks
            .pop_front_if(|mark| mark.at == self.head && mark.lost.is_none_or(|lost| lost == 0))
            .is_some()
        {}
        let unbroken = self.unbroken();
        if let Some((index, found)) = first_match(patterns, unbroken, *searched) {
            let text = unbroken.get(..found.end).unwrap_or_default().to_vec();
            self.pass(text.len());
            *searched = 0;
            return Some(Ok((index, text)));
        }
        *searched = unbroken.len();
        if !self.marks.is_empty() {
            self.lose(*searched);
            *searched = 0;
            let lost = self.marks.pop_front().and_then(|mark| mark.lost);
            return Some(Err(Gap::Lost(lost.unwrap_or_default())));
        }
        (*searched > most).then_some(Err(Gap::TooLong))
    }

    /// As [`take_until`](Self::take_until), of one pattern and whatever was lost, but returns only the part from
    /// the beginning of the line that the pattern starts in. If the pattern is not here, drops whatever cannot be part
    /// of that.
    pub(crate) fn take_through(&mut self, pattern: &[u8], searched: &mut usize) -> Option<Vec<u8>> {
        loop {
            while self.marks.pop_front_if(|mark| mark.at == self.head).is_some() {}
            let unbroken = self.unbroken();
            let line_before = |at: usize| {
                let head = unbroken.get(..at).unwrap_or_default();
                memrchr(b'\n', head).map_or(0, |n| n + 1)
            };
            if let Some((_, found)) = first_match(&[pattern], unbroken, *searched) {
                let text = unbroken.get(line_before(found.start)..found.end);
                let text = text.unwrap_or_default().to_vec();
                self.pass(found.end);
                *searched = 0;
                return Some(text);
            }
            let len = unbroken.len();
            if !self.marks.is_empty() {
                self.head += len;
                *searched = 0;
                continue;
            }
            // The pattern may have begun in the last bytes; the line in which it did must stay too.
            let overlap = len.saturating_sub(pattern.len().saturating_sub(1));
            let spare = line_before(overlap);
            let too_long = len.saturating_sub(LONGEST_LINE.max(pattern.len()));
            let passed = spare.max(too_long);
            self.head += passed;
            *searched = len - passed;
            return None;
        }
    }

    /// Goes on to the last line that is not finished, or to the end. What was lost before is not told any more.
    pub(crate) fn skip_lines(&mut self) {
        let last = self.marks.back().map_or(self.head, |mark| mark.at);
        let tail = self.held.get(last..).unwrap_or_default();
        match memrchr(b'\n', tail) {
            Some(at) => {
                self.head = last + at + 1;
                self.marks.clear();
            }
            None if tail.len() > LONGEST_LINE => {
                self.head = self.held.len();
                self.marks = [Mark {
                    at: self.head,
                    lost: None,
                }]
                .into();
            }
            None if self.marks.is_empty() => {}
            None => {
                self.head = last;
                self.marks = [Mark { at: last, lost: None }].into();
            }
        }
    }
}

enum Broken {
    /// The lines go on at the head.
    Done,
    /// So many bytes are missing. The lines go on.
    Told(u64),
    /// The rest of the line is still to come.
    Unfinished,
}

/// The match that ends first, if it ends behind `searched`, before which there is none.
fn first_match(patterns: &[&[u8]], bytes: &[u8], searched: usize) -> Option<(usize, std::ops::Range<usize>)> {
    let matches = patterns.iter().enumerate().filter_map(|(index, pattern)| {
        // A match may have begun in the bytes that were searched.
        let from = searched.saturating_sub(pattern.len().saturating_sub(1));
        let start = from + memmem::find(bytes.get(from..)?, pattern)?;
        Some((index, start..start + pattern.len()))
    });
    matches.min_by_key(|(_, found)| found.end)
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
            if let Some(line) = pending.take_line(LONGEST_LINE, over) {
                lines.push(String::from_utf8(line.unwrap()).unwrap());
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
        assert_eq!(pending.take_line(LONGEST_LINE, false), Some(Ok(b"one".to_vec())));
        assert!(stream.feed(&mut pending));
        assert_eq!(pending.take_line(LONGEST_LINE, false), None);
        // Backpressure gives up what an earlier read acknowledged.
        stream.oldest = 5;
        let mut later = through_text(&pending);
        assert!(stream.feed(&mut later));
        assert_eq!(later.take_line(LONGEST_LINE, true), Some(Ok(b"two".to_vec())));
    }

    #[test]
    fn a_text_is_found_across_every_border_and_reading_goes_on_behind_it() {
        let text = "starting\nServing HTTP on ::1 port 4711 (…)\nmore\n";
        for chunk in 1..=text.len() {
            let stream = Stream::new(text.as_bytes(), chunk);
            let mut pending = Pending::at(Cursor::default());
            let mut find = |pattern: &str| {
                let mut searched = 0;
                loop {
                    if let Some(found) = pending.take_through(pattern.as_bytes(), &mut searched) {
                        return Some(String::from_utf8(found).unwrap());
                    }
                    if !stream.feed(&mut pending) {
                        return None;
                    }
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
        let mut searched = 0;
        while stream.feed(&mut pending) {
            assert_eq!(pending.take_through(b"y", &mut searched), None);
            assert!(pending.rest().len() <= LONGEST_LINE);
        }
        let mut pending = Pending::at(Cursor::default());
        let mut told = 0;
        while stream.feed(&mut pending) {
            while let Some(piece) = pending.take_line(LONGEST_LINE, false) {
                assert_eq!(piece, Err(Gap::TooLong));
                told += 1;
            }
            assert!(pending.rest().len() <= LONGEST_LINE + 1);
        }
        assert_eq!(told, 1);
    }

    /// A line that is too long is told of once and skipped; the others are whole. At every chunk size, limit, and in
    /// one instance or one for each step.
    #[test]
    fn a_line_that_is_too_long_is_told_once_and_the_next_one_is_whole() {
        for most in 1..12 {
            for chunk in 1..=TEXT.len() {
                for fresh in [false, true] {
                    let stream = Stream::new(TEXT.as_bytes(), chunk);
                    let found = everything(&stream, Pending::at(Cursor::default()), most, fresh);
                    let expected = TEXT.lines().map(|line| {
                        let fits = line.len() <= most;
                        if fits { Ok(line.to_owned()) } else { Err(Gap::TooLong) }
                    });
                    assert_eq!(
                        found,
                        expected.collect::<Vec<_>>(),
                        "at most {most}, chunks of {chunk}, {fresh}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_loss_in_a_line_without_end_is_told_whatever_the_size_of_a_read() {
        for chunk in [1, 3, 7, 30] {
            let mut pending = Pending::default();
            pending.accept(b"whole\nbeg", Some("a".to_owned()), 0);
            assert_eq!(pending.take_line(10, false), Some(Ok(b"whole".to_vec())));
            let mut read = 0;
            let told = loop {
                // The host counts what was lost since the first read.
                pending.accept(&vec![b'x'; chunk], Some("b".to_owned()), 100);
                read += chunk;
                match pending.take_line(10, false) {
                    None => assert!(read < 100, "chunks of {chunk}: nothing is told"),
                    Some(told) => break told,
                }
            };
            let Err(Gap::Lost(lost)) = told else { panic!("{told:?}") };
            assert_eq!(lost, pending.dropped(), "chunks of {chunk}");
        }
    }

    fn everything(stream: &Stream, mut pending: Pending, most: usize, fresh: bool) -> Vec<Result<String, Gap>> {
        let (mut all, mut over) = (Vec::new(), false);
        loop {
            match pending.take_line(most, over) {
                Some(line) => {
                    all.push(line.map(|line| String::from_utf8(line).unwrap()));
                    if fresh {
                        pending = through_text(&pending);
                        over = false;
                    }
                }
                None if over => return all,
                None => over = !stream.feed(&mut pending),
            }
        }
    }

    /// Some bytes are evicted between two reads: at every place, of every amount, with every chunk size. What comes is whole
    /// lines in their order and one told loss, where it was; nothing is missing but what was told.
    #[test]
    fn a_loss_is_told_where_it_happened_and_joins_no_two_lines() {
        let text = "first\n\nsecond line\r\nthird\nno end";
        for chunk in 1..=text.len() {
            for reads in 0..=text.len().div_ceil(chunk) {
                for oldest in 0..=text.len() {
                    for fresh in [false, true] {
                        one_loss(text, chunk, reads, oldest, fresh);
                    }
                }
            }
        }
    }

    fn one_loss(text: &str, chunk: usize, reads: usize, oldest: usize, fresh: bool) {
        let case = format!("{reads} reads of {chunk}, then {oldest} evicted, {fresh}");
        let mut stream = Stream::new(text.as_bytes(), chunk);
        let mut pending = Pending::at(Cursor::default());
        // Where the chain of cursors begins.
        pending.begin(Some("0/0".to_owned()));
        let mut before = Vec::new();
        for _ in 0..reads {
            stream.feed(&mut pending);
            while let Some(line) = pending.take_line(LONGEST_LINE, false) {
                before.push(line.map(|line| String::from_utf8(line).unwrap()));
            }
        }
        stream.oldest = oldest;
        let mut all = before;
        all.extend(everything(&stream, through_text(&pending), LONGEST_LINE, fresh));
        let told: Vec<_> = all.iter().filter_map(|line| line.as_ref().err()).collect();
        let lost = told.iter().map(|gap| match gap {
            Gap::Lost(bytes) => *bytes,
            Gap::TooLong => panic!("{case}: {all:?}"),
        });
        let lost: u64 = lost.sum();
        assert!(told.len() <= 1, "{case}: {all:?}");
        // Each line is one of the text, at its place: those before the loss are its first, the others its last.
        let lines: Vec<_> = text.lines().map(|line| Ok(line.to_owned())).collect();
        let at = all.iter().position(Result::is_err).unwrap_or(all.len());
        let (first, rest) = all.split_at(at);
        assert_eq!(first, &lines[..at], "{case}");
        let last = rest.get(1..).unwrap_or_default();
        assert_eq!(last, &lines[lines.len() - last.len()..], "{case}");
        // And the bytes between them are those that were told.
        let ends: Vec<_> = text.split_inclusive('\n').map(str::len).collect();
        let missing: usize = ends[at..lines.len() - last.len()].iter().sum();
        assert_eq!(lost, missing as u64, "{case}: {all:?}");
        let read = (reads * chunk).min(text.len());
        // A reader that stopped within a chunk reads that chunk again.
        let again = read - chunk.min(read);
        assert!(oldest > again || lost == 0, "{case}: {all:?}");
        assert!(oldest <= read || lost > 0, "{case}: {all:?}");
    }

    #[test]
    fn everything_up_to_the_first_pattern_that_ends_is_taken_across_every_border() {
        let text = "one\ntwo prompt> three";
        for chunk in 1..=text.len() {
            let stream = Stream::new(text.as_bytes(), chunk);
            let mut pending = Pending::at(Cursor::default());
            let mut find = |patterns: &[&[u8]]| {
                let mut searched = 0;
                loop {
                    if let Some(found) = pending.take_until(patterns, &mut searched, 100) {
                        return Some(found.map(|(which, text)| (which, String::from_utf8(text).unwrap())));
                    }
                    assert_eq!(searched, pending.rest().len());
                    if !stream.feed(&mut pending) {
                        return None;
                    }
                }
            };
            let found = find(&[b"wo prompt> thr", b"nothing", b"pt>", b"> "]);
            assert_eq!(found, Some(Ok((2, "one\ntwo prompt>".to_owned()))), "chunks of {chunk}");
            assert_eq!(find(&[b"th", b" t"]), Some(Ok((1, " t".to_owned()))));
            assert_eq!(find(&[b"absent"]), None);
            assert_eq!(pending.take_all(), b"hree");
        }
    }

    #[test]
    fn a_search_stops_at_a_loss_and_goes_on_behind_it() {
        let mut pending = Pending::at(Cursor::default());
        pending.begin(Some("0".to_owned()));
        pending.accept(b"pro", Some("1".to_owned()), 0);
        let mut searched = 0;
        assert_eq!(pending.take_until(&[b"prompt"], &mut searched, 5), None);
        pending.accept(b"mpt prompt", Some("2".to_owned()), 7);
        let mut later = through_text(&pending);
        later.accept(b"mpt prompt", Some("2".to_owned()), 7);
        for pending in [&mut pending, &mut later] {
            let mut searched = searched;
            assert_eq!(
                pending.take_until(&[b"prompt"], &mut searched, 5),
                Some(Err(Gap::Lost(10)))
            );
            let found = pending.take_until(&[b"prompt"], &mut searched, 5);
            assert_eq!(found, Some(Ok((0, b"mpt prompt".to_vec()))));
            assert_eq!(pending.dropped(), 10);
        }
        pending.accept(b"nothing", Some("3".to_owned()), 7);
        assert_eq!(pending.take_until(&[b"prompt"], &mut 0, 5), Some(Err(Gap::TooLong)));
        assert_eq!(pending.take_all(), b"nothing");
    }

    #[test]
    fn skipping_ends_at_the_line_that_is_not_finished() {
        for (text, rest) in [("a\nb\nhalf", "half"), ("a\n", ""), ("half", "half"), ("", "")] {
            let mut pending = Pending::at(Cursor::default());
            pending.accept(text.as_bytes(), None, 0);
            pending.skip_lines();
            assert_eq!(pending.take_all(), rest.as_bytes(), "{text}");
        }
        let mut pending = Pending::at(Cursor::default());
        pending.accept(b"a\nha", None, 0);
        pending.accept(b"lf", None, 9);
        pending.skip_lines();
        pending.accept(b" line\nnext\n", None, 9);
        assert_eq!(pending.take_line(9, false), Some(Ok(b"next".to_vec())));
    }

    /// The time of a long line grows with its length, not with its square.
    #[test]
    fn a_long_line_is_searched_once() {
        let mut pending = Pending::at(Cursor::default());
        for n in 1..100 {
            pending.accept(&[b'x'; 1000], None, 0);
            assert_eq!(pending.take_line(LONGEST_LINE, false), None);
            assert_eq!(pending.rest().len(), n * 1000);
        }
        // A line end that appears in bytes which were searched is not found: they are not searched again.
        *pending.held.first_mut().unwrap() = b'\n';
        assert_eq!(pending.take_line(LONGEST_LINE, false), None);
        *pending.held.first_mut().unwrap() = b'x';
        pending.accept(b"\n", None, 0);
        assert_eq!(pending.take_line(LONGEST_LINE, false), Some(Ok(vec![b'x'; 99_000])));
    }

    #[test]
    fn an_empty_pattern_is_everywhere() {
        let mut pending = Pending::at(Cursor::default());
        assert_eq!(pending.take_through(b"", &mut 0).as_deref(), Some(&b""[..]));
    }
}
