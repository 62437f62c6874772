//! The reason of `exited` distinguishes an end by a limit, and the host continues.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let mut events = Events::subscribe()?;
    let none = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: None,
    };
    let mut seen = Vec::new();
    for (suffix, limits, script, reasons) in [
        (
            "cpu",
            ResourceLimits {
                max_cpu_secs: Some(1),
                ..none
            },
            "while :; do :; done",
            &["limit-cpu"][..],
        ),
        // A process that is refused memory may also end by itself because of that. The read after the sleep keeps the
        // shell from executing the sleep in its own place, which would free its memory.
        (
            "memory",
            ResourceLimits {
                max_memory_bytes: Some(48 << 20),
                ..none
            },
            "for i in 1 2 3 4; do (x=$(head -c 30000000 /dev/zero | tr '\\0' a); sleep 1000; : \"$x\") & done; wait",
            &["limit-memory", "self-exit"],
        ),
    ] {
        let id = match spawn_persistent(&SpawnRequest {
            limits: Some(limits),
            ..sh(script)
        }) {
            Ok(id) => id,
            Err(error) => {
                refused_as(suffix, Err::<(), _>(error), "limit-unenforceable:")?;
                continue;
            }
        };
        watch(&id, Some(suffix))?;
        let count = seen.len() + 1;
        let exited = events.until("exited", count)?;
        let reason = exited[count - 1].payload["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        check!(
            reasons.contains(&reason.as_str()),
            "{suffix}: {}",
            exited[count - 1].payload
        );
        seen.push(format!("{suffix}: {reason}"));
    }
    check!(holds("true")?, "the host is not well");
    Ok(if seen.is_empty() {
        "refused".into()
    } else {
        seen.join(", ")
    })
}
