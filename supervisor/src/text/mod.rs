//! Decodes the bytes of a stream as text, and cuts text to size.

mod lossy;

use crate::os::utf8;

/// Bytes of the longest character.
pub(crate) const LONGEST: usize = 4;

/// How many bytes at the end of `tail` are the beginning of a character whose rest is still to come (contract L1).
///
/// `tail` is the end of the stream so far; four bytes of it are enough.
pub(crate) fn unfinished(tail: &[u8]) -> usize {
    // A character's first byte is never a continuation byte, so the last such byte decides.
    let Some(first) = tail.iter().rposition(|byte| byte & 0xC0 != 0x80) else {
        return 0;
    };
    let last = tail.get(first..).unwrap_or_default();
    match std::str::from_utf8(last) {
        // Without an error length, the bytes are a valid beginning of a character.
        Err(error) if error.error_len().is_none() => last.len() - error.valid_up_to(),
        _ => 0,
    }
}

/// `bytes` as text, with each invalid part as U+FFFD. Does not copy valid text.
pub fn lossy(bytes: Vec<u8>) -> String {
    utf8::text(bytes).unwrap_or_else(|bytes| lossy::decode(&bytes))
}

/// `text` cut to at most `max` bytes, on a character boundary.
pub fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_an_unfinished_character_is_told_from_a_wrong_one() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("ü".as_bytes(), 0),
            (b"\xC3", 1),
            (b"ab\xC3", 1),
            (b"\xE2\x82", 2),
            (b"\xE2", 1),
            (b"\xF0\x9F\x98", 3),
            ("😀".as_bytes(), 0),
            (b"\x82\x82\x82\x82", 0), // continuations of nothing
            (b"\xE0\x80", 0),         // an overlong form can never become right
            (b"\xF8\x88", 0),         // no such first byte
            (b"\xC3\xC3", 1),
            (b"\xED\xA0", 0), // a surrogate
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn l1_text_cut_anywhere_comes_out_whole() {
        let text = "aü€😀z".repeat(3);
        for split in 0..text.len() {
            let (mut first, second) = (text.as_bytes()[..split].to_vec(), &text.as_bytes()[split..]);
            let held = first.split_off(split - unfinished(&first[split.saturating_sub(4)..]));
            assert_eq!(
                lossy(first) + &lossy([&held, second].concat()),
                text,
                "split at {split}"
            );
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        for (text, max, expected) in [("abc", 3, "abc"), ("abcd", 3, "abc"), ("aéé", 2, "a"), ("é", 0, "")] {
            assert_eq!(cut(text, max), expected);
        }
    }
}
