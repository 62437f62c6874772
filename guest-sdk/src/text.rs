//! Decoding text from bytes that come in pieces.

use std::str;

/// Turns bytes that come in pieces into text, so that a character cut by a border between two
/// pieces comes out whole. Dropping it loses at most the beginning of a last character.
///
/// Bytes that are not UTF-8 become U+FFFD, as with [`String::from_utf8_lossy`] on the whole.
///
/// ```
/// use capsule_sdk::TextDecoder;
///
/// let mut decoder = TextDecoder::new();
/// let bytes = "grün".as_bytes();
/// assert_eq!(decoder.push(&bytes[..3]), "gr");
/// assert_eq!(decoder.push(&bytes[3..]), "ün");
/// assert_eq!(decoder.finish(), "");
/// ```
#[derive(Clone, Debug, Default)]
pub struct TextDecoder {
    /// The beginning of a character: three bytes at most.
    held: Vec<u8>,
}

impl TextDecoder {
    /// Begins a stream.
    ///
    /// ```
    /// let decoder = capsule_sdk::TextDecoder::new();
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { held: Vec::new() }
    }

    /// The text of all bytes up to these, except the beginning of a character whose rest may
    /// still come.
    ///
    /// ```
    /// # use capsule_sdk::TextDecoder;
    /// let mut decoder = TextDecoder::new();
    /// assert_eq!(decoder.push(b"caf\xc3"), "caf");
    /// assert_eq!(decoder.push(b"\xa9 \xff"), "é \u{fffd}");
    /// ```
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let rest = self.held.split_off(complete(&self.held));
        lossy(std::mem::replace(&mut self.held, rest))
    }

    /// Ends the stream, and returns an unfinished character as U+FFFD. The decoder can then be used
    /// for another stream.
    ///
    /// ```
    /// # use capsule_sdk::TextDecoder;
    /// let mut decoder = TextDecoder::new();
    /// decoder.push(b"caf\xc3");
    /// assert_eq!(decoder.finish(), "\u{fffd}");
    /// ```
    pub fn finish(&mut self) -> String {
        lossy(std::mem::take(&mut self.held))
    }
}

/// How many of the bytes do not belong to an unfinished character at the end.
pub(crate) fn complete(bytes: &[u8]) -> usize {
    // A character is four bytes at most, so an unfinished one is within the last three.
    let tail = bytes.len().saturating_sub(3);
    (tail..bytes.len())
        .find(|at| {
            let end = bytes.get(*at..).unwrap_or_default();
            str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(bytes.len())
}

/// Without a copy where the bytes are text already.
pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every position of one or two borders, in text, in broken text and in other bytes.
    #[test]
    fn pieces_decode_as_the_whole_does_wherever_they_are_cut() {
        let samples: [&[u8]; 6] = [
            "zwölf \u{1f980} Boxkämpfer".as_bytes(),
            b"\xf0\x9f\xa6",
            b"a\xf0\x9fb\xc3\xc3\xa9\xff",
            b"\xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80",
            b"\xe2\x82\xe2\x82\xac",
            b"\x80\x80\x80\x80\xf0\xf0\xf0\x9f",
        ];
        for sample in samples {
            let whole = String::from_utf8_lossy(sample);
            for first in 0..=sample.len() {
                for second in first..=sample.len() {
                    let mut decoder = TextDecoder::new();
                    let mut text = String::new();
                    for piece in [&sample[..first], &sample[first..second], &sample[second..]] {
                        text += &decoder.push(piece);
                        assert!(decoder.held.len() <= 3);
                    }
                    text += &decoder.finish();
                    assert_eq!(text, whole, "{sample:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_whole_character_is_never_held_back() {
        for text in ["a", "é", "€", "\u{1f980}", ""] {
            assert_eq!(TextDecoder::new().push(text.as_bytes()), text);
        }
    }
}
