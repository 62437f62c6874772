//! A file without the permission is `unknown("permission-denied: …")`, and a file of an unknown format is
//! `unknown("exec-failed: …")`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh", "./plain", "./garbage", "./folder"]}}"#: run);

fn run() -> Outcome {
    output(
        "printf '#!/bin/sh\\n' > plain; printf '\\001\\002\\003\\004garbage' > garbage; chmod +x garbage; mkdir folder",
    )?;
    for (cmd, kind) in [
        ("./plain", "permission-denied:"),
        ("./folder", "permission-denied:"),
        ("./garbage", "exec-failed:"),
    ] {
        refused_as(cmd, spawn(&command(cmd, &[])), kind)?;
        refused_as(cmd, spawn_persistent(&command(cmd, &[])), kind)?;
    }
    Ok("both told apart".into())
}
