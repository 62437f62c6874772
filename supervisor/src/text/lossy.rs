//! Decodes bytes that are not all valid UTF-8. Invalid bytes become U+FFFD, in the same units as in the standard library
//! (the Unicode standard's "maximal subparts").
//!
//! The standard library takes a branch on every byte, and with random bytes the processor mispredicts half of the branches. That
//! takes 11 ns a byte, and a child could cause this cost by printing noise. This decoder has no such branches. Each byte is one
//! step of an automaton. Every step stores a result, over the result of the previous step or after it.

use self::automaton::{START, step, unfinished};
use crate::os::utf8;

/// A fault after so much valid text is treated alone: it is replaced, and the following bytes are tried as text.
const ALONE: usize = 16;
/// How much is decoded byte by byte where one does not: more each time, as long as no text follows.
const SHORTEST: usize = 32;
const LONGEST: usize = 512;
const REPLACEMENT_BYTES: &[u8] = "\u{FFFD}".as_bytes();
const REPLACEMENT_LEN: usize = REPLACEMENT_BYTES.len();
/// The same as it is stored, in the order of memory.
const REPLACEMENT: u32 = u32::from_le_bytes([0xEF, 0xBF, 0xBD, 0]);

/// `bytes` with everything that is no text replaced.
pub(super) fn decode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    let (mut rest, mut length) = (bytes, SHORTEST);
    while let Err(fault) = simdutf8::compat::from_utf8(rest) {
        let (valid, other) = rest.split_at_checked(fault.valid_up_to()).unwrap_or((rest, &[]));
        text.extend_from_slice(valid);
        if valid.len() < ALONE {
            rest = stretch(other, length, &mut text);
            length = LONGEST.min(length * 2);
        } else {
            text.extend_from_slice(REPLACEMENT_BYTES);
            // Without a length it is a character that the bytes end in.
            rest = fault
                .error_len()
                .and_then(|length| other.get(length..))
                .unwrap_or_default();
            length = SHORTEST;
        }
    }
    text.extend_from_slice(rest);
    // The text is checked all the same. The check is cheap, and no mistake in the code above can make invalid text.
    utf8::text(text).unwrap_or_else(|text| String::from_utf8_lossy(&text).into_owned())
}

/// Decodes `length` bytes, or as many as there are, and returns the rest, which begins where a character does or might.
fn stretch<'a>(bytes: &'a [u8], length: usize, text: &mut Vec<u8>) -> &'a [u8] {
    let some = bytes.get(..length).unwrap_or(bytes);
    let mut end = text.len();
    // Room for one more replacement at the end, and for a word, because every store writes a whole word.
    text.resize(end + (some.len() + 1) * REPLACEMENT_LEN + size_of::<u32>(), 0);
    let mut put = |at: usize, what: u32| {
        if let Some(place) = text.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = what.to_le_bytes();
        }
    };
    let (mut state, mut pending) = (START, 0);
    for &byte in some {
        let step = step(state, byte);
        put(end, REPLACEMENT);
        end += usize::from(step.breaks);
        pending = (pending & step.keeps) | (u32::from(byte) << step.shift);
        pending = (pending & step.shows) | (REPLACEMENT & !step.shows);
        put(end, pending);
        end += usize::from(step.ends);
        state = step.next;
    }
    let mut taken = some.len();
    if state != START && taken < bytes.len() {
        taken -= unfinished(state);
    } else if state != START {
        put(end, REPLACEMENT);
        end += REPLACEMENT_LEN;
    }
    text.truncate(end);
    bytes.get(taken..).unwrap_or_default()
}

mod automaton {
    //! The automaton, which the compiler works out.
    #![expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "in constants only, where a fault is one of the build"
    )]

    use super::REPLACEMENT_LEN;

    /// The effect of a byte on a character that is unfinished in a certain way.
    #[derive(Clone, Copy)]
    pub(super) struct Step {
        /// How far the end moves because the pending bytes cannot continue: by a replacement, or not at all.
        pub(super) breaks: u8,
        /// Which of the pending bytes the byte is joined to: all or none.
        pub(super) keeps: u32,
        /// By how much it is moved to stand behind them.
        pub(super) shift: u8,
        /// Whether the bytes themselves are stored (all bits), or the replacement (none).
        pub(super) shows: u32,
        /// How far the end moves because a character, or an invalid byte, is complete.
        pub(super) ends: u8,
        pub(super) next: u8,
    }

    pub(super) fn step(state: u8, byte: u8) -> Step {
        let class = CLASSES.get(usize::from(byte)).copied().unwrap_or(NONE);
        let steps = STEPS
            .get(usize::from(state))
            .and_then(|steps| steps.get(usize::from(class)));
        steps.copied().unwrap_or(invalid(0))
    }

    /// How many bytes of a character are there.
    pub(super) fn unfinished(state: u8) -> usize {
        STATES
            .get(usize::from(state))
            .map_or(0, |state| usize::from(state.bytes))
    }

    // Bytes that do the same in every state have a class in common. The continuations are three because some first bytes allow
    // only a part of them (the Unicode standard, table 3-7).
    const ASCII: u8 = 0;
    const LOW: u8 = 1;
    const MIDDLE: u8 = 2;
    const HIGH: u8 = 3;
    /// The first of them; the others follow in the order of [`STATES`].
    const FIRST: u8 = 4;
    const NONE: u8 = 11;
    const CLASS_COUNT: usize = 12;

    static CLASSES: [u8; 256] = {
        let mut classes = [NONE; 256];
        let mut byte = 0;
        while byte < 256 {
            classes[byte] = match byte {
                0x00..=0x7F => ASCII,
                0x80..=0x8F => LOW,
                0x90..=0x9F => MIDDLE,
                0xA0..=0xBF => HIGH,
                0xC2..=0xDF => FIRST,
                0xE0 => FIRST + 1,
                0xED => FIRST + 2,
                0xE1..=0xEF => FIRST + 3,
                0xF0 => FIRST + 4,
                0xF4 => FIRST + 5,
                0xF1..=0xF3 => FIRST + 6,
                _ => NONE,
            };
            byte += 1;
        }
        classes
    };

    /// A character with `bytes` read and `missing` left to read; the next byte is of a class between the two.
    struct Unfinished {
        bytes: u8,
        missing: u8,
        from: u8,
        to: u8,
    }

    const fn with(bytes: u8, missing: u8, from: u8, to: u8) -> Unfinished {
        Unfinished {
            bytes,
            missing,
            from,
            to,
        }
    }

    /// No character is unfinished.
    pub(super) const START: u8 = 0;
    /// The meaning of the other states. First the states that a first byte leads to, in the order of their classes.
    const STATES: [Unfinished; 11] = [
        with(0, 0, NONE, ASCII),
        with(1, 1, LOW, HIGH),
        with(1, 2, HIGH, HIGH),
        with(1, 2, LOW, MIDDLE),
        with(1, 2, LOW, HIGH),
        with(1, 3, MIDDLE, HIGH),
        with(1, 3, LOW, LOW),
        with(1, 3, LOW, HIGH),
        with(2, 1, LOW, HIGH),
        with(2, 2, LOW, HIGH),
        with(3, 1, LOW, HIGH),
    ];

    static STEPS: [[Step; CLASS_COUNT]; STATES.len()] = {
        let mut steps = [[invalid(0); CLASS_COUNT]; STATES.len()];
        let mut state = 0;
        while state < STATES.len() {
            let mut class = 0;
            while class < CLASS_COUNT {
                steps[state][class] = made(&STATES[state], class as u8);
                class += 1;
            }
            state += 1;
        }
        steps
    };

    const fn made(state: &Unfinished, class: u8) -> Step {
        if class >= state.from && class <= state.to {
            return Step {
                breaks: 0,
                keeps: u32::MAX,
                shift: state.bytes * 8,
                shows: u32::MAX,
                ends: if state.missing == 1 { state.bytes + 1 } else { 0 },
                next: after(state),
            };
        }
        let breaks = if state.bytes == 0 { 0 } else { REPLACEMENT_LEN as u8 };
        match class {
            LOW | MIDDLE | HIGH | NONE => invalid(breaks),
            _ => Step {
                breaks,
                keeps: 0,
                shift: 0,
                shows: u32::MAX,
                ends: if class == ASCII { 1 } else { 0 },
                next: if class == ASCII { START } else { class - FIRST + 1 },
            },
        }
    }

    /// The state in which one more byte of it is there.
    const fn after(state: &Unfinished) -> u8 {
        if state.missing == 1 {
            return START;
        }
        let mut next = STATES.len() - 1;
        while STATES[next].bytes != state.bytes + 1 || STATES[next].missing != state.missing - 1 {
            next -= 1;
        }
        next as u8
    }

    /// A byte that is no part of any character.
    const fn invalid(breaks: u8) -> Step {
        Step {
            breaks,
            keeps: 0,
            shift: 0,
            shows: 0,
            ends: REPLACEMENT_LEN as u8,
            next: START,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(bytes: &[u8]) {
        assert_eq!(decode(bytes), String::from_utf8_lossy(bytes), "{bytes:x?}");
    }

    /// The first and the last byte of every class.
    const EDGES: [u8; 27] = [
        0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
        0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF,
    ];

    #[test]
    fn l1_what_is_no_text_is_replaced_as_the_standard_library_does() {
        for a in EDGES {
            for b in EDGES {
                for c in EDGES {
                    for d in EDGES {
                        same(&[a, b, c, d]);
                        same(&[0xF1, a, b, c, d, b'z']);
                    }
                    same(&[a, b, c]);
                }
                same(&[a, b]);
            }
            same(&[a]);
        }
        for byte in 0..=u8::MAX {
            same(&[byte]);
        }
    }

    #[test]
    fn l1_no_end_of_a_stretch_is_seen_in_the_text() {
        let unit = "z\u{e9}\u{20ac}\u{1f600}".as_bytes();
        for before in 0..12 {
            for broken in 1..unit.len() {
                let mut bytes = vec![0xFF; before];
                while bytes.len() < 3 * LONGEST {
                    bytes.extend_from_slice(unit);
                    bytes.extend_from_slice(unit.get(..broken).unwrap());
                }
                for shorter in 0..6 {
                    same(&bytes[..bytes.len() - shorter]);
                }
            }
        }
    }

    #[test]
    fn l1_a_stretch_ends_before_what_may_be_a_character() {
        for first in [0xC3, 0xE1, 0xED, 0xF1] {
            for place in 1..4 * SHORTEST {
                for rest in ["\u{e9}", "\u{149e}", "\u{1f600}"] {
                    let mut bytes = vec![0xFF; place];
                    bytes.resize(place + 8, first);
                    bytes.extend_from_slice(rest.as_bytes());
                    same(&bytes);
                }
            }
        }
    }

    #[test]
    fn l1_a_fault_that_stands_alone_is_one_replacement() {
        for text in [ALONE - 1, ALONE, 3 * ALONE] {
            for fault in [&b"\xE9"[..], b"\xE2\x82", b"\xF0\x9F\x98", b"\xE9\xE9", b"\xC0\x80"] {
                let unit = [&vec![b'z'; text], fault].concat();
                same(&unit);
                same(&[&unit.repeat(20), &b"z"[..]].concat());
            }
        }
    }

    proptest! {
        #[test]
        fn l1_noise_is_decoded_as_by_the_standard_library(
            bytes in proptest::collection::vec(any::<u8>(), 0..4 * LONGEST),
        ) {
            same(&bytes);
        }
    }
}
