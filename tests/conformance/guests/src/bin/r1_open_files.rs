//! `max-open-files` is enforced in every tier, or refused as `limit-unenforceable`; it cannot be raised by the child.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn limited(script: &str) -> SpawnRequest {
    let limits = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: Some(32),
    };
    SpawnRequest {
        limits: Some(limits),
        ..sh(script)
    }
}

fn run() -> Outcome {
    let script = "ulimit -n; ulimit -Hn; ulimit -n 64 2>/dev/null && echo raised; true";
    let seen = match spawn(&limited(script)) {
        Ok(done) => done.stdout,
        Err(error) => {
            refused_as("spawn", Err::<(), _>(error), "limit-unenforceable:")?;
            refused_as(
                "spawn-persistent",
                spawn_persistent(&limited(script)),
                "limit-unenforceable:",
            )?;
            return Ok("refused".into());
        }
    };
    check!(seen == "32\n32\n", "spawn: {seen:?}");
    for (tier, seen) in every_tier(&limited(script))? {
        check!(seen == "32\n32\n", "{tier}: {seen:?}");
    }
    Ok("32 in all tiers".into())
}
