//! A process that `spawn-background` started ends with its instance, whether the instance returns, traps or forgets the
//! handle.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["leave", "gone", {"call": "trap", "ends": "trapped"}, "gone"]}"#: leave, trap, gone);

fn up() -> Result<(), Stop> {
    let handle = spawn_background(&sh(&format!("rm -f up; {}; echo > up; sleep 1000", daemon("lock"))))?;
    until("the daemon", || Ok(holds("test -e up")?.then_some(())))?;
    check!(held("lock")?, "the daemon does not run");
    std::mem::forget(handle);
    Ok(())
}

fn leave() -> Outcome {
    up()?;
    Ok(String::new())
}

fn trap() -> Outcome {
    up()?;
    std::process::abort()
}

fn gone() -> Outcome {
    until_free("lock")?;
    output("rm -f up")?;
    Ok("gone after a return and after a trap".into())
}
