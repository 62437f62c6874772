//! The child of the measurements, which is this same program. It writes as fast as it can.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;

/// The argument with which this program is the child.
pub(crate) const NAME: &str = "as-child";

/// A program that does `work`, and its arguments.
pub(crate) fn command(work: &[&str]) -> (String, Vec<String>) {
    let program = std::env::current_exe().unwrap();
    let args = std::iter::once(NAME).chain(work.iter().copied());
    (program.to_str().unwrap().to_owned(), args.map(str::to_owned).collect())
}

pub(crate) fn main(args: &[String]) {
    let number = |at: usize| args.get(at).unwrap().parse::<usize>().unwrap();
    let mut stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    match args.first().map(String::as_str) {
        // `flood SIZE CHUNK`: SIZE bytes in writes of CHUNK.
        Some("flood") => {
            let (mut left, chunk) = (number(1), vec![b'x'; number(2)]);
            while left > 0 {
                let now = chunk.get(..left.min(chunk.len())).unwrap();
                stdout.write_all(now).unwrap();
                left -= now.len();
            }
        }
        // `serve SIZE KIND`: SIZE bytes of text or noise for every byte read.
        Some("serve") => {
            let bytes = content(args.get(2).unwrap(), number(1));
            let mut asked = [0];
            while std::io::stdin().read(&mut asked).unwrap() > 0 {
                stdout.write_all(&bytes).unwrap();
            }
        }
        other => panic!("no such work: {other:?}"),
    }
}

/// `size` bytes: `ascii`, `text` in several scripts, or `noise`.
pub(crate) fn content(kind: &str, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = match kind {
        "ascii" => b"a line of a log, as programs write them\n"
            .iter()
            .copied()
            .cycle()
            .take(size)
            .collect(),
        "text" => "Zeile, größer; строка; 行; línea – and one in English\n"
            .bytes()
            .cycle()
            .take(size)
            .collect(),
        // Latin-1 text, in which some bytes are not UTF-8.
        "latin" => b"a line of a log, with a caf\xE9 in it, as older programs write them\n"
            .iter()
            .copied()
            .cycle()
            .take(size)
            .collect(),
        // Random bytes that are not text, from a generator, so that every run has the same.
        _ => {
            let mut state = 0x9E37_79B9_7F4A_7C15_u64;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            };
            std::iter::repeat_with(&mut next).take(size).collect()
        }
    };
    if matches!(kind, "ascii" | "text") {
        // Ends at a character boundary.
        let valid = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
        bytes.get_mut(valid..).unwrap().fill(b'.');
    }
    bytes
}
