//! A suffix consists of segments of `[a-z0-9_-]+` joined by dots, in a topic of at most 8 segments and 256 bytes;
//! anything else is `invalid-input`. The default is the id.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("sleep 1000")?;
    // `astrid.process.v1.log-ready` has four segments and 27 bytes; with the longest kind, `stdin-drained`, 31.
    let longest = format!("{}.x", "a".repeat(200));
    for good in ["a", "a.b.c.d", "0-_9", "-", &longest] {
        let watched = watch(&id, Some(good));
        check!(watched.is_ok(), "{good:?}: {watched:?}");
    }
    let long = "a".repeat(256);
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "A",
        "a b",
        "a/b",
        "*",
        "a.*",
        "a\0",
        "\u{e9}",
        "a.b.c.d.e",
        "a\n",
        &long,
    ] {
        refused(&format!("{bad:?}"), watch(&id, Some(bad)), &ErrorCode::InvalidInput)?;
    }
    let mut events = Events::subscribe()?;
    watch(&id, None)?;
    stop(&id, Some(0))?;
    let exited = events.until("exited", 1)?;
    check!(exited[0].suffix == id, "without a suffix it is {:?}", exited[0].suffix);
    Ok("fifteen bad ones refused".into())
}
