//! A child starts in a directory of the workspace, also by relative links; a directory that does not exist is
//! `invalid-input`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkdir -p in/deep; ln -s in/deep fine; ln -s ../in in/again; echo > file")?;
    let top = output("pwd -P")?.trim_end().to_owned();
    for (cwd, place) in [
        ("in", "in"),
        ("in/deep", "in/deep"),
        ("fine", "in/deep"),
        ("in/again/deep", "in/deep"),
        ("./in", "in"),
    ] {
        let request = SpawnRequest {
            cwd: Some(cwd.to_owned()),
            ..sh("pwd -P")
        };
        for (tier, seen) in every_tier(&request)? {
            check!(seen.trim_end() == format!("{top}/{place}"), "{tier} in {cwd}: {seen:?}");
        }
    }
    for cwd in ["missing", "in/missing", "file/x"] {
        let request = SpawnRequest {
            cwd: Some(cwd.to_owned()),
            ..sh("pwd -P")
        };
        refused(cwd, spawn(&request), &ErrorCode::InvalidInput)?;
        refused(cwd, spawn_persistent(&request), &ErrorCode::InvalidInput)?;
    }
    Ok("inside, or refused".into())
}
