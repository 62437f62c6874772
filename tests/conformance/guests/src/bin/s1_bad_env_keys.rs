//! A variable whose name is malformed, comes twice or is reserved is `invalid-input` in every tier, and nothing runs.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let none = ["", "1A", "A-B", "A=B", "A\0B", "A B", "\u{c4}", "A\n", "A.B"];
    let reserved = [
        "PATH",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_ANYTHING",
        "DYLD_INSERT_LIBRARIES",
        "BASH_ENV",
        "ENV",
        "PYTHONSTARTUP",
        "PERL5OPT",
        "RUBYOPT",
        "NODE_OPTIONS",
    ];
    for key in none.iter().chain(&reserved) {
        refuse(&format!("the key {key:?}"), vec![var(key, "x")])?;
    }
    refuse(
        "a key given twice",
        vec![var("TWICE", "1"), var("OTHER", "2"), var("TWICE", "1")],
    )?;
    check!(holds("test ! -e ran")?, "a refused command ran");
    Ok(format!("{} bad keys refused", none.len() + reserved.len() + 1))
}

fn refuse(what: &str, env: Vec<EnvVar>) -> Result<(), Stop> {
    let request = SpawnRequest {
        env,
        ..sh("echo >> ran")
    };
    refused(what, spawn(&request), &ErrorCode::InvalidInput)?;
    refused(what, spawn_persistent(&request), &ErrorCode::InvalidInput)
}
