//! `poll` and `block` end with `cancelled` when the capsule is unloaded, and so does every later blocking call.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [[{"call": "block_on_poll", "ends": "cancelled"}], [{"call": "block", "ends": "cancelled"}], [{"call": "see", "capsule": "b"}, {"do": "unload"}]]}]}"#: block_on_poll, block, see);

fn block_on_poll() -> Outcome {
    let handle = attach(&start("sleep 1000")?)?;
    let exit = handle.subscribe_exit();
    announce("one");
    let ended = poll::poll(&[&exit]);
    check!(ended == Err(poll::ErrorCode::Cancelled), "poll: {ended:?}");
    let later = exit.block();
    check!(later == Err(poll::ErrorCode::Cancelled), "a later block: {later:?}");
    Ok("poll".into())
}

fn block() -> Outcome {
    let handle = attach(&start("sleep 1000")?)?;
    let exit = handle.subscribe_exit();
    announce("two");
    let ended = exit.block();
    check!(ended == Err(poll::ErrorCode::Cancelled), "block: {ended:?}");
    refused("a later wait", handle.wait(Some(GIVE_UP)), &ErrorCode::Cancelled)?;
    Ok("block".into())
}

fn see() -> Outcome {
    until("both", || Ok(holds("test -e one && test -e two")?.then_some(())))?;
    Ok("unloaded".into())
}
