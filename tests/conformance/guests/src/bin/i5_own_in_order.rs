//! `list-processes` returns the live and exited processes of this principal and capsule, in spawn order.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 20}, "steps": [{"call": "noise", "as": "bob"}, {"call": "noise", "capsule": "b"}, "run"]}"#: noise, run);

fn noise() -> Outcome {
    start("sleep 1000")?;
    Ok(String::new())
}

fn run() -> Outcome {
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(start(if n % 2 == 0 { "exit 0" } else { "sleep 1000" })?);
    }
    stop(&ids.remove(5), Some(0))?;
    exit_of(&ids[0])?;
    release_process(&ids.remove(0))?;
    let listed: Vec<_> = list_processes(None)?.into_iter().map(|info| info.id).collect();
    check!(
        listed == ids,
        "another order, or others: {} listed, {} expected",
        listed.len(),
        ids.len()
    );
    Ok(format!("{} in order", listed.len()))
}
