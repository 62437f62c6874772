//! A place in a stream that outlives the instance which read up to it.
//!
//! The host seals a cursor at each chunk's end, and only there. Readers stop anywhere, usually at
//! the end of a line. So a place is a sealed token plus what lies between it and the reader:
//!
//! * `place`: the bytes that the host counted as lost up to the token's chunk, plus the bytes
//!   handed out of that chunk if the reader stopped inside it. Reading from the token again tells
//!   the loss anew; if it is less, the difference is still to be skipped, and if it is more, that
//!   much was lost which the reader did not have.
//! * `dropped`, what the reader lost so far. The host's own count would take bytes for lost that
//!   were handed out before they were evicted.
//! * `carry`, the unfinished line from before the token. Its own token must not be presented
//!   again: a later one was, which under backpressure gave those bytes up.
//! * `marks`, the places in `carry` where bytes are missing, of which the caller was not told.

use crate::ErrorKind;
use serde::{Deserialize, Serialize, de};
use std::{fmt, str::FromStr};

/// A place in one output stream of one process; the default is the oldest byte still kept.
///
/// It serialises as a string, so one action can return it and another one take it, and reading
/// goes on there without a gap or a repeat. It is valid only for the process and stream that it
/// came from: with another, reading fails with [`NoSuchProcess`](crate::Error::NoSuchProcess). If the reader
/// stopped within a line, the string holds the line's beginning.
///
/// ```
/// use capsule_sdk::Cursor;
///
/// let start = Cursor::default();
/// assert_eq!(serde_json::to_string(&start).unwrap(), "\"\"");
/// assert_eq!(start.to_string().parse(), Ok(start));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) token: Option<String>,
    pub(crate) place: u64,
    pub(crate) dropped: u64,
    pub(crate) carry: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
}

/// A place behind which the rest of a line is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// An index into the bytes.
    pub(crate) at: usize,
    /// So many bytes are missing here, and the caller was not told. None if the rest of the line is
    /// to be skipped without a word, because its error was handed out.
    pub(crate) lost: Option<u64>,
}

impl Mark {
    /// Another mark comes to the same place.
    pub(crate) fn join(&mut self, lost: Option<u64>) {
        self.lost = match (self.lost, lost) {
            (None, None) => None,
            (here, there) => Some(here.unwrap_or_default().saturating_add(there.unwrap_or_default())),
        };
    }
}

/// A text is not a cursor: it was cut off, or it never was one.
///
/// ```
/// let error = "yesterday".parse::<capsule_sdk::Cursor>().unwrap_err();
/// assert!(error.to_string().contains("not a cursor"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: pass one on exactly as it was returned, or none to begin with the oldest output")]
pub struct ParseCursorError;

impl ParseCursorError {
    /// Its kind: [`ErrorKind::InvalidInput`].
    ///
    /// ```
    /// let error = "yesterday".parse::<capsule_sdk::Cursor>().unwrap_err();
    /// assert_eq!(error.kind(), capsule_sdk::ErrorKind::InvalidInput);
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

/// Distinguishes this format from later ones; without it the format could never change.
const VERSION: &str = "2";

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        write!(f, "{VERSION}.{}.{}.", self.place, self.dropped)?;
        let mut marks = self.marks.iter().peekable();
        for at in 0..=self.carry.len() {
            while let Some(mark) = marks.next_if(|mark| mark.at == at) {
                match mark.lost {
                    Some(lost) => write!(f, "-{lost}-")?,
                    None => f.write_str("--")?,
                }
            }
            if let Some(byte) = self.carry.get(at) {
                write!(f, "{byte:02x}")?;
            }
        }
        // The token is the host's; it comes last, so it may hold anything.
        write!(f, ".{}", self.token.as_deref().unwrap_or_default())
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut parts = text.splitn(5, '.');
        let mut part = || parts.next().ok_or(ParseCursorError);
        if part()? != VERSION {
            return Err(ParseCursorError);
        }
        let place = part()?.parse().map_err(|_| ParseCursorError)?;
        let dropped = part()?.parse().map_err(|_| ParseCursorError)?;
        let (mut carry, mut marks) = (Vec::new(), Vec::new());
        let mut pieces = part()?.split('-');
        carry.extend(unhex(pieces.next().unwrap_or_default())?);
        while let Some(lost) = pieces.next() {
            let lost = (!lost.is_empty()).then(|| lost.parse().map_err(|_| ParseCursorError));
            marks.push(Mark {
                at: carry.len(),
                lost: lost.transpose()?,
            });
            carry.extend(unhex(pieces.next().ok_or(ParseCursorError)?)?);
        }
        let token = Some(part()?).filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self {
            token,
            place,
            dropped,
            carry,
            marks,
        })
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, ParseCursorError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(ParseCursorError),
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return Err(ParseCursorError);
    };
    pairs
        .iter()
        .map(|[high, low]| Ok(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// Hides the text of the unfinished line.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(..)")
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_survives_serialisation() {
        let cursor = |token: Option<&str>, place, dropped, carry: &[u8]| Cursor {
            token: token.map(str::to_owned),
            place,
            dropped,
            carry: carry.to_vec(),
            marks: Vec::new(),
        };
        let mark = |at, lost| Mark { at, lost };
        let marked = Cursor {
            marks: vec![mark(0, Some(17)), mark(2, None), mark(6, Some(u64::MAX))],
            ..cursor(Some("t"), 1, 2, b"half a")
        };
        assert_eq!(marked.to_string(), "2.1.2.-17-6861--6c662061-18446744073709551615-.t");
        for cursor in [
            Cursor::default(),
            cursor(Some("0badc0de"), 0, 0, b""),
            cursor(Some("a.b..c"), u64::MAX, 7, b""),
            cursor(None, 3, u64::MAX, b"half a \xc3"),
            marked,
        ] {
            let json = serde_json::to_string(&cursor).unwrap();
            assert!(serde_json::from_str::<Cursor>(&json).unwrap() == cursor, "{json}");
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for text in [
            "x",
            "1.0.0..t",
            "2.0.0.t",
            "2.-1.0..t",
            "2.0.-1..t",
            "2.0.0.f.t",
            "2.0.0.fF.t",
            "2.0.0.é.t",
            "2.0.0.61-1.t",
            "2.0.0.-x-.t",
            "2.0.0.-1-61-2.t",
            "2",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseCursorError), "{text}");
        }
    }
}
