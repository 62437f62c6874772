//! More than 1 MiB of arguments and variables together is `invalid-input`; slightly less runs.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let part = "x".repeat(64 * 1024);
    let request = |args: usize, values: usize| {
        let mut request = sh("echo $#; echo >> ran");
        request.args.extend((0..args).map(|_| part.clone()));
        request.env = (0..values).map(|n| var(&format!("V{n}"), &part)).collect();
        request
    };
    for (args, values) in [(17, 0), (0, 17), (9, 8)] {
        let what = format!("{args} arguments and {values} values of 64 KiB");
        refused(&what, spawn(&request(args, values)), &ErrorCode::InvalidInput)?;
        refused(
            &what,
            spawn_persistent(&request(args, values)),
            &ErrorCode::InvalidInput,
        )?;
    }
    check!(holds("test ! -e ran")?, "a refused command ran");
    let ran = spawn(&request(7, 8))?;
    // The first is `$0`.
    check!(ran.stdout == "6\n", "15 parts of 64 KiB: {ran:?}");
    Ok("17 parts of 64 KiB refused, 15 passed".into())
}
