//! `spawn-persistent` returns although the prelude is not read, and a write follows all of the prelude.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let prelude = vec![b'a'; 4 << 20];
    let request = SpawnRequest {
        stdin: Some(prelude.clone()),
        keep_stdin_open: Some(true),
        ..sh("read go < gate; cat > copy")
    };
    let id = spawn_persistent(&request)?;
    check!(status(&id)?.phase == ProcessPhase::Running, "it does not run");
    // Opening the gate returns when the child has reached it. The child can reach it without reading.
    output("echo > gate")?;
    let written = write_stdin(&id, b"the end")?;
    check!(written == 7, "{written} of 7 bytes were written");
    close_stdin(&id)?;
    check!(exit_of(&id)? == code(0), "cat failed");
    let seen = output("wc -c < copy; head -c 4194304 copy | tr -d a | wc -c; tail -c 7 copy")?;
    check!(seen.lines().map(str::trim).eq(["4194311", "0", "the end"]), "{seen:?}");
    Ok("4 MiB waited, and came first".into())
}
