//! `max-cpu-secs` ends a tree that computes for longer, even if it divides the work among processes, or is refused as
//! `limit-unenforceable`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let limits = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: Some(1),
        max_pids: None,
        max_open_files: None,
    };
    // Each process of the relay runs for less than the limit.
    let relay = "while :; do sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; done";
    for script in ["while :; do :; done", relay] {
        let request = SpawnRequest {
            limits: Some(limits),
            ..sh(script)
        };
        let id = match spawn_persistent(&request) {
            Ok(id) => id,
            Err(error) => {
                refused_as(script, Err::<(), _>(error), "limit-unenforceable:")?;
                continue;
            }
        };
        let exit = until("its end", || Ok(wait(&id, 1000).ok()))?;
        check!(exit.signal.is_some(), "`{script}`: {exit:?}");
        let cpu = status(&id)?.cpu_ms;
        check!(
            cpu.is_none_or(|ms| (900..6000).contains(&ms)),
            "`{script}` had {cpu:?} ms"
        );
    }
    Ok("both ended".into())
}
