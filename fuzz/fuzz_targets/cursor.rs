//! Cursor tokens (contract L3): whatever string a guest presents, it opens only if it was sealed, for that process and
//! that stream, and is then what was sealed.

#![no_main]

use arbitrary::Arbitrary;
use capsule_host::supervisor::LogStream;
use capsule_supervisor::fuzzing::Cursors;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    key: [u8; 16],
    other_key: [u8; 16],
    offset: u64,
    dropped: u64,
    stderr: bool,
    /// What is done to the token, byte for byte.
    edits: Vec<(u8, u8)>,
    cut: Option<u8>,
    tail: String,
    /// An invented token.
    guess: String,
    /// The same as bytes, so that its length and alphabet are right.
    guess_bytes: [u8; 26],
}

fuzz_target!(|input: Input| {
    let (stream, other) = match input.stderr {
        false => (LogStream::Stdout, LogStream::Stderr),
        true => (LogStream::Stderr, LogStream::Stdout),
    };
    let cursors = Cursors::new(input.key);
    let token = cursors.seal(stream, input.offset, input.dropped);
    assert_eq!(cursors.open(stream, &token), Some((input.offset, input.dropped)));
    assert_eq!(cursors.open(other, &token), None, "the other stream's");
    if input.key != input.other_key {
        assert_eq!(
            Cursors::new(input.other_key).open(stream, &token),
            None,
            "another process's"
        );
    }

    let mut bytes = token.clone().into_bytes();
    for (at, byte) in input.edits {
        let at = usize::from(at) % bytes.len();
        bytes[at] = byte;
    }
    if let Some(cut) = input.cut {
        bytes.truncate(usize::from(cut));
    }
    let hex: String = input.guess_bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let altered = String::from_utf8_lossy(&bytes).into_owned() + &input.tail;
    for string in [altered, input.guess, hex] {
        for stream in [stream, other] {
            if let Some((offset, dropped)) = cursors.open(stream, &string) {
                // There is one spelling of a place, and only the host can write it.
                assert_eq!(string, cursors.seal(stream, offset, dropped), "forged");
                assert_eq!(string, token, "the tag was guessed");
            }
        }
    }
});
