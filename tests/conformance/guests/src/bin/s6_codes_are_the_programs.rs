//! Codes that wrappers use for their own failures are the program's own if the program returns them.
//!
//! Interface process@1.1.0: "Normal exit code if exited normally; `none` if killed by signal or platform didn't surface
//! one."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for number in [1, 2, 125, 126, 127, 128, 137, 143, 254, 255] {
        let exit = spawn(&sh(&format!("exit {number}")))?.exit;
        check!(exit == code(number), "exit {number} became {exit:?}");
    }
    let missing = spawn(&sh("no-such-program-anywhere"))?;
    check!(missing.exit == code(127), "a shell's own 127 became {:?}", missing.exit);
    Ok("1 to 255 as they are".into())
}
