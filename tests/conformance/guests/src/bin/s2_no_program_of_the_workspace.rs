//! A bare command is never found beneath the workspace, and one with `/` is granted by that exact spelling only.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh", "planted", "bin/planted", "/bin/cat"]}}"#: run);

fn run() -> Outcome {
    output("mkdir bin; for f in planted bin/planted; do printf '#!/bin/sh\\necho owned\\n' > $f; chmod +x $f; done")?;
    for cwd in [None, Some("bin")] {
        let request = SpawnRequest {
            cwd: cwd.map(str::to_owned),
            ..command("planted", &[])
        };
        // With which error is another clause (S6).
        match spawn(&request) {
            Ok(done) => check!(
                !done.stdout.contains("owned"),
                "{cwd:?}: a program of the workspace ran"
            ),
            Err(_) => {}
        }
    }
    let denied = &ErrorCode::CapabilityDenied;
    for cmd in [
        "cat",
        "/bin/../bin/cat",
        "//bin/cat",
        "/usr/bin/cat",
        "/bin/cat/",
        "./planted",
        "bin//planted",
    ] {
        refused(cmd, spawn(&command(cmd, &[])), denied)?;
    }
    let cat = spawn(&command("/bin/cat", &["bin/planted"]))?;
    check!(cat.exit == code(0), "/bin/cat, which is granted: {cat:?}");
    Ok("not found, and denied by another spelling".into())
}
