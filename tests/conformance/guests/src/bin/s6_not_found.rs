//! If the program does not exist, the spawn itself fails with `unknown("not-found: …")`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["absent", "/absent", "./absent"]}}"#: run);

fn run() -> Outcome {
    for cmd in ["absent", "/absent", "./absent"] {
        refused_as(cmd, spawn(&command(cmd, &[])), "not-found:")?;
        refused_as(cmd, spawn_persistent(&command(cmd, &[])), "not-found:")?;
    }
    check!(list_processes(None)?.is_empty(), "a process that never ran is listed");
    Ok("in both tiers".into())
}
