//! An id works from any later instance of the capsule, and through either version of the interface.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", "use_it", "end"]}"#: make, use_it, end);

fn make() -> Outcome {
    start("echo first; sleep 1000")
}

fn use_it(id: &str) -> Outcome {
    printed(id, "first")?;
    check!(
        v1_0::status(id).is_ok_and(|info| info.id == id),
        "version 1.0.0 does not know it"
    );
    Ok(id.into())
}

fn end(id: &str) -> Outcome {
    let exit = v1_0::stop(id, Some(0));
    check!(exit.is_ok(), "version 1.0.0 cannot stop it: {exit:?}");
    refused("after the stop", status(id), &ErrorCode::NoSuchProcess)?;
    Ok("three instances, two versions".into())
}
