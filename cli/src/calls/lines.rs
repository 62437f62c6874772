//! Reads a stream line by line, in bounded memory: of a line that is too long, no more than the bound is held.
//!
//! It blocks, so that any stream can be read; `source` has it read on a thread that may block.

use std::io::{self, BufRead, Read as _};

/// The most bytes of a line, without its end.
pub(crate) const LONGEST: usize = 16 << 20;

/// The lines of a stream.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    longest: usize,
    /// The number of the last line, from 1 on.
    number: u64,
    /// Whether the rest of that line is still to be skipped.
    in_long_line: bool,
}

/// A line that is not empty, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    /// It has more than [`LONGEST`] bytes. The rest of it is not read yet: it may have no end.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self {
            reader,
            longest: LONGEST,
            number: 0,
            in_long_line: false,
        }
    }

    /// The next line that is not empty, with its number. The last line needs no newline.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line)>> {
        loop {
            if self.in_long_line {
                self.reader.skip_until(b'\n')?;
                self.in_long_line = false;
            }
            let mut line = Vec::new();
            let most = u64::try_from(self.longest).unwrap_or(u64::MAX).saturating_add(1);
            if self.reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.len() > self.longest {
                self.in_long_line = true;
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::Whole(line))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &[u8], longest: usize) -> Vec<(u64, Line)> {
        // A small buffer, so that lines lie across its edges.
        let reader = BufReader::with_capacity(3, text);
        let mut lines = Lines {
            longest,
            ..Lines::new(reader)
        };
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn lines_have_the_numbers_of_an_editor_and_empty_ones_are_left_out() {
        assert_eq!(
            lines(b"one\n\n \t\r\ntwo\r\nthree", 8),
            [(1, whole("one")), (4, whole("two\r")), (5, whole("three"))]
        );
        assert_eq!(lines(b"", 8), []);
        assert_eq!(lines(b"\n\n", 8), []);
    }

    #[test]
    fn a_line_above_the_bound_is_told_and_the_next_one_is_read() {
        assert_eq!(
            lines(b"12345678\n123456789\n1\n123456789", 8),
            [
                (1, whole("12345678")),
                (2, Line::TooLong),
                (3, whole("1")),
                (4, Line::TooLong)
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_told_before_it_ends_and_takes_no_memory() {
        let mut lines = Lines {
            longest: 8,
            ..Lines::new(BufReader::new(io::repeat(b'x')))
        };
        assert_eq!(lines.next().unwrap(), Some((1, Line::TooLong)));
    }
}
