//! A child has the descriptors 0, 1 and 2 and no other.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh", "ls"]}}"#: run);

fn run() -> Outcome {
    // The fourth is the folder that `ls` reads.
    let seen = spawn(&command("ls", &["/proc/self/fd"]))?.stdout;
    check!(
        seen.split_whitespace().collect::<Vec<_>>() == ["0", "1", "2", "3"],
        "spawn: {seen:?}"
    );
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        ..command("ls", &["/proc/self/fd"])
    };
    let id = spawn_persistent(&request)?;
    let seen = String::from_utf8_lossy(&all(&id)?).into_owned();
    check!(
        seen.split_whitespace().collect::<Vec<_>>() == ["0", "1", "2", "3"],
        "spawn-persistent: {seen:?}"
    );
    Ok("0, 1 and 2".into())
}
