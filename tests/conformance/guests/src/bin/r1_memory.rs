//! `max-memory-bytes` limits the whole tree, or the spawn is refused as `limit-unenforceable`.
//!
//! Contract.
//!
//! Eight processes together try to use ten times the limit, each of them less than the limit.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let limits = ResourceLimits {
        max_memory_bytes: Some(64 << 20),
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: None,
    };
    // The read after the sleep keeps the shell from executing the sleep in its own place, which would free its memory.
    let hog = "x=$(head -c 40000000 /dev/zero | tr '\\0' a); echo ${#x} >> had; sleep 1000; : \"$x\"";
    let script = format!("for i in 1 2 3 4 5 6 7 8; do (x=; {hog}) & done; wait");
    let request = SpawnRequest {
        limits: Some(limits),
        ..sh(&script)
    };
    let id = match spawn_persistent(&request) {
        Ok(id) => id,
        Err(error) => {
            refused_as("spawn-persistent", Err::<(), _>(error), "limit-unenforceable:")?;
            return Ok("refused".into());
        }
    };
    // If the tree is restrained, its processes fail one by one; if it is ended, all of it ends.
    let exit = until("an end", || {
        let ended = wait(&id, 100).ok();
        check!(
            !holds("test $(cat had 2>/dev/null | wc -l) -ge 8")?,
            "eight times 40 MB were had"
        );
        Ok(ended)
    });
    let seen = exit?;
    check!(holds("true")?, "the host is not well");
    Ok(format!("{seen:?}"))
}
