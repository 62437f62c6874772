//! A handle's `wait` returns the code or the signal, too.
//!
//! Interface process@1.1.0: "`timeout-ms: none` waits indefinitely"; process@1.1.0: "Returns exit-info on exit"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for (script, expected) in [
        ("exit 7", code(7)),
        ("kill -9 $$", by_signal(9)),
        ("exit 137", code(137)),
    ] {
        let handle = spawn_background(&sh(script))?;
        let exit = handle.wait(None)?;
        check!(exit == expected, "`{script}`: {exit:?}");
    }
    Ok("three ends".into())
}
