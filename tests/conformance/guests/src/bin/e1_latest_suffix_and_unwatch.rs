//! Watching again moves the events to the latest suffix; `unwatch` stops them and the process runs on; both may be
//! repeated.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let mut events = Events::subscribe()?;
    let (moved, quiet) = (start("sleep 1000")?, start("sleep 1000")?);
    for suffix in ["one", "two.three", "two.three"] {
        watch(&moved, Some(suffix))?;
        watch(&quiet, Some(suffix))?;
    }
    for _ in 0..2 {
        unwatch(&quiet)?;
    }
    check!(status(&quiet)?.phase == ProcessPhase::Running, "unwatch ended it");
    let never = start("exit 0")?;
    unwatch(&never)?;
    stop(&quiet, Some(0))?;
    stop(&moved, Some(0))?;
    let all = events.settled()?;
    check!(
        all.len() == 1
            && all[0].kind == "exited"
            && all[0].suffix == "two.three"
            && all[0].payload["id"] == moved.as_str(),
        "{all:?}"
    );
    Ok("one event, under the latest suffix".into())
}
