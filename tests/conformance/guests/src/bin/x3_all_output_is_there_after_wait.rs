//! Once the exit is visible, everything that the tree wrote is readable.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for round in 0..15 {
        let id = start("head -c 200000 /dev/zero & (setsid head -c 200000 /dev/zero >&2); wait; printf end")?;
        exit_of(&id)?;
        let info = status(&id)?;
        check!(
            info.phase == ProcessPhase::Exited && info.buffered_bytes == 400_003,
            "round {round}: {} bytes are there",
            info.buffered_bytes
        );
        let logs = read_logs(&id)?;
        check!(
            !logs.running
                && logs.stdout.len() == 200_003
                && logs.stdout.ends_with("end")
                && logs.stderr.len() == 200_000,
            "round {round}: {} and {} bytes",
            logs.stdout.len(),
            logs.stderr.len()
        );
        release_process(&id)?;
    }
    Ok("15 rounds of 400003 bytes".into())
}
