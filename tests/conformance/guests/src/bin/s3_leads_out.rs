//! A working directory that is absolute, contains `..`, or is a symbolic link that leads out is `boundary-escape`.
//!
//! Contract.
//!
//! Any absolute link counts as one that leads out, even a link back into the workspace, and it may be anywhere on the
//! path.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output(
        "mkdir -p in/deep; ln -s / root; ln -s \"$PWD/in\" back; ln -s .. up; ln -s ../../.. in/deep/far; ln -s in/deep \
         fine; ln -s up/up chain; mkdir here; ln -s /nowhere dangling",
    )?;
    let inside = output("pwd -P")?;
    let absolute = inside.trim_end();
    let bad = [
        "/",
        "/tmp",
        absolute,
        "..",
        "../x",
        "in/../..",
        "root",
        "root/tmp",
        "back",
        "back/deep",
        "up",
        "up/up",
        "in/deep/far",
        "fine/far",
        "chain",
        "fine/../../..",
        "dangling",
    ];
    for cwd in bad {
        let request = SpawnRequest {
            cwd: Some(cwd.to_owned()),
            ..sh("echo >> \"$OLDPWD\"/ran; pwd -P")
        };
        refused(cwd, spawn(&request), &ErrorCode::BoundaryEscape)?;
        refused(cwd, spawn_persistent(&request), &ErrorCode::BoundaryEscape)?;
    }
    Ok(format!("{} ways out refused", bad.len()))
}
