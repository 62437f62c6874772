//! Cursors: the position of a reader in a stream, sealed so that a guest can keep one but cannot forge one (contract L3, L4).
//!
//! The seal is SipHash-2-4, a MAC for short texts. A read computes two seals, which with keyed BLAKE3 took a sixth of its time.
//!
//! The host keeps no state for a reader. The token counts the bytes that its reader could never get, so that any number of
//! readers can follow one stream, each with its own loss.

use faster_hex::{CheckCase, hex_decode_array_with_case, hex_string};
use siphasher::sip::SipHasher24;

use crate::LogStream;

/// The bytes of a token before its tag: version, stream, offset, dropped.
const BODY: usize = 1 + 1 + 8 + 8;
/// A guess at an 8-byte tag succeeds once in 2^64 calls.
const TAG: usize = 8;
const VERSION: u8 = 1;

/// The position of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The offset in the stream of the next byte to deliver.
    pub(crate) offset: u64,
    /// The number of bytes that this reader could never get, since its chain began.
    pub(crate) dropped: u64,
}

/// Seals the cursors of one process.
pub(crate) struct CursorKey(SipHasher24);

impl CursorKey {
    /// The length of a key in bytes.
    pub(crate) const LENGTH: usize = 16;

    pub(crate) fn new(key: [u8; Self::LENGTH]) -> Self {
        Self(SipHasher24::new_with_key(&key))
    }

    pub(crate) fn seal(&self, stream: LogStream, position: Position) -> String {
        let mut token = [0; BODY + TAG];
        let (body, tag) = token.split_at_mut(BODY);
        body.copy_from_slice(&encode(stream, position));
        tag.copy_from_slice(&self.tag(body));
        hex_string(&token)
    }

    /// The position in `token`; none if this process did not issue the token for this stream.
    pub(crate) fn open(&self, stream: LogStream, token: &str) -> Option<Position> {
        // Each token has only one accepted spelling.
        let bytes: [u8; BODY + TAG] = hex_decode_array_with_case(token.as_bytes(), CheckCase::Lower).ok()?;
        let (body, tag) = bytes.split_at(BODY);
        if !constant_time_eq::constant_time_eq(tag, &self.tag(body)) {
            return None;
        }
        let (header, numbers) = body.split_at(2);
        if header != [VERSION, stream_byte(stream)] {
            return None;
        }
        let (offset, dropped) = numbers.split_at(8);
        Some(Position {
            offset: u64::from_le_bytes(offset.try_into().ok()?),
            dropped: u64::from_le_bytes(dropped.try_into().ok()?),
        })
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG] {
        self.0.hash(body).to_le_bytes()
    }
}

fn encode(stream: LogStream, position: Position) -> [u8; BODY] {
    let mut body = [0; BODY];
    let (header, numbers) = body.split_at_mut(2);
    header.copy_from_slice(&[VERSION, stream_byte(stream)]);
    let (offset, dropped) = numbers.split_at_mut(8);
    offset.copy_from_slice(&position.offset.to_le_bytes());
    dropped.copy_from_slice(&position.dropped.to_le_bytes());
    body
}

fn stream_byte(stream: LogStream) -> u8 {
    match stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn l3_a_token_opens_only_where_it_was_sealed(
            offset: u64, dropped: u64, key: [u8; 16], other: [u8; 16], flip in 0..(BODY + TAG) * 8,
        ) {
            let position = Position { offset, dropped };
            let sealer = CursorKey::new(key);
            let token = sealer.seal(LogStream::Stdout, position);
            prop_assert_eq!(sealer.open(LogStream::Stdout, &token), Some(position));
            prop_assert_eq!(sealer.open(LogStream::Stderr, &token), None);
            if key != other {
                prop_assert_eq!(CursorKey::new(other).open(LogStream::Stdout, &token), None);
            }
            let mut bytes: [u8; BODY + TAG] = hex_decode_array_with_case(token.as_bytes(), CheckCase::Lower).unwrap();
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert_eq!(sealer.open(LogStream::Stdout, &hex_string(&bytes)), None);
        }

        #[test]
        fn l3_no_string_that_was_not_sealed_opens(token in ".{0,60}") {
            prop_assert_eq!(CursorKey::new([7; 16]).open(LogStream::Stdout, &token), None);
        }
    }

    #[test]
    fn l3_one_spelling_only() {
        let sealer = CursorKey::new([7; 16]);
        let token = sealer.seal(
            LogStream::Stderr,
            Position {
                offset: u64::MAX,
                dropped: 171,
            },
        );
        for altered in [
            token.to_uppercase(),
            format!("0x{token}"),
            format!("{token} "),
            format!("{token}00"),
            token[2..].to_owned(),
        ] {
            assert_eq!(sealer.open(LogStream::Stderr, &altered), None, "{altered}");
        }
    }
}
