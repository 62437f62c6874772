//! Standard input is `/dev/null` unless a prelude or `keep-stdin-open` asks for a pipe.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let script = "readlink /proc/$$/fd/0; wc -c";
    let seen = output(script)?;
    check!(
        seen.split_whitespace().collect::<Vec<_>>() == ["/dev/null", "0"],
        "without: {seen:?}"
    );
    let id = start(script)?;
    let info = status(&id)?;
    check!(!info.stdin_open, "stdin-open is true without a pipe");
    exit_of(&id)?;
    let seen = String::from_utf8_lossy(&all(&id)?).into_owned();
    check!(seen.starts_with("/dev/null"), "persistent: {seen:?}");
    let request = SpawnRequest {
        stdin: Some(Vec::new()),
        ..sh("wc -c")
    };
    let empty = spawn(&request)?;
    check!(empty.stdout.trim() == "0", "an empty prelude: {empty:?}");
    Ok(seen.trim().to_owned())
}
