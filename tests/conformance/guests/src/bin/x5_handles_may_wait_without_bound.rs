//! A wait on the handle of an ephemeral process may be unbounded; on an attached handle an unbounded wait is
//! `invalid-input`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let handle = spawn_background(&sh("exit 5"))?;
    check!(
        handle.wait(None)? == code(5) && handle.wait(None)? == code(5),
        "another exit"
    );
    let output = handle.wait_with_output(None)?;
    check!(output.exit == code(5), "{output:?}");
    let id = start("exit 6")?;
    let attached = attach(&id)?;
    refused("wait", attached.wait(None), &ErrorCode::InvalidInput)?;
    refused(
        "wait-with-output",
        attached.wait_with_output(None).map(drop),
        &ErrorCode::InvalidInput,
    )?;
    check!(attached.wait(Some(GIVE_UP))? == code(6), "another exit");
    let running = spawn_background(&sh("sleep 1000"))?;
    refused("wait(0)", running.wait(Some(0)), &ErrorCode::WaitTimeout)?;
    Ok("without bound, and with".into())
}
