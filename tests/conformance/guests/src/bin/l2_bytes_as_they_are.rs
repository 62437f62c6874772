//! `read-since` returns every byte unchanged, whatever the bytes are and wherever they are cut.
//!
//! Interface process@1.1.0: "`list<u8>` not `string`: children emit non-UTF-8; the caller decodes."; process@1.1.0:
//! "`max-bytes` bounds the chunk (host also hard-caps)."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let bytes: Vec<u8> = (0..=255u8)
        .flat_map(|byte| [byte, byte.wrapping_mul(7), 0, b'\n'])
        .collect();
    let request = SpawnRequest {
        stdin: Some(bytes.clone()),
        ..sh("cat; cat /dev/null >&2")
    };
    let id = spawn_persistent(&request)?;
    exit_of(&id)?;
    for size in [1, 3, 100, 4096] {
        let (mut cursor, mut got) = (oldest(), Vec::new());
        loop {
            let chunk = read_since(&id, LogStream::Stdout, &cursor, size)?;
            check!(
                chunk.data.len() <= size as usize,
                "{} bytes for at most {size}",
                chunk.data.len()
            );
            got.extend(chunk.data);
            cursor = chunk.next;
            if chunk.drained_eof {
                break;
            }
        }
        check!(got == bytes, "in pieces of {size} something else came");
    }
    Ok("1024 bytes in pieces of 1, 3, 100 and 4096".into())
}
