//! A successful `write-stdin` wrote every byte, in order, and returns the count; an empty write succeeds.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("cat > copy")
    };
    let id = spawn_persistent(&request)?;
    let mut whole = Vec::new();
    for round in 0..3u32 {
        let part: Vec<u8> = (0..262_144u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) ^ round).to_le_bytes())
            .collect();
        let written = write_stdin(&id, &part)?;
        check!(written as usize == part.len(), "{written} of {} bytes", part.len());
        whole.extend(part);
        check!(write_stdin(&id, &[])? == 0, "an empty write wrote something");
    }
    close_stdin(&id)?;
    check!(exit_of(&id)? == code(0), "cat failed");
    let reader = spawn_persistent(&SpawnRequest {
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("cat copy")
    })?;
    let copy = all(&reader)?;
    check!(
        copy == whole,
        "{} bytes arrived of {}, or others",
        copy.len(),
        whole.len()
    );
    Ok("three writes of 1 MiB".into())
}
