//! After `stop` and after a timer's end, no process of the tree runs, whatever it did to escape.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"grace-default-ms": 50}}"#: run);

fn run() -> Outcome {
    // A daemon that forked twice, in a session of its own, and ignores signals; a process that forks all the time; and
    // a stopped one.
    let script = format!(
        "trap '' TERM; {}; {}; (exec 9>third; flock 9; kill -STOP $(exec sh -c 'echo $PPID'); sleep 1000) & \
         (exec 9>fourth; flock 9; while :; do (exec sleep 0.02) & done) & echo up; while :; do sleep 0.01; done",
        daemon("first"),
        daemon("second")
    );
    let gone = |way: &str| -> Result<(), Stop> {
        for lock in ["first", "second", "third", "fourth"] {
            check!(!held(lock)?, "after {way} something of {lock} runs");
        }
        Ok(())
    };
    let id = start(&script)?;
    printed(&id, "up")?;
    until_held("third")?;
    until_held("fourth")?;
    stop(&id, Some(0))?;
    gone("stop")?;
    let id = start(&script)?;
    printed(&id, "up")?;
    signal(&id, ProcessSignal::Hup)?;
    stop(&id, Some(20))?;
    gone("a second stop")?;
    let id = spawn_persistent(&SpawnRequest {
        max_lifetime_ms: Some(1000),
        ..sh(&script)
    })?;
    until("its end", || Ok(status(&id).is_err().then_some(())))?;
    gone("its lifetime")?;
    Ok("nothing of four hideouts".into())
}
