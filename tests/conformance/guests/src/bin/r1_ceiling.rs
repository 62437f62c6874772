//! The embedder's ceiling holds for requests above it and for requests without a limit.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"max-open-files-ceiling": 40}}"#: run);

fn run() -> Outcome {
    for asked in [None, Some(1000), Some(u32::MAX), Some(40), Some(20)] {
        let limits = ResourceLimits {
            max_memory_bytes: None,
            max_cpu_secs: None,
            max_pids: None,
            max_open_files: asked,
        };
        let request = SpawnRequest {
            limits: Some(limits),
            ..sh("ulimit -Hn")
        };
        let seen = spawn(&request)?.stdout;
        let expected = asked.unwrap_or(40).min(40);
        check!(seen.trim() == expected.to_string(), "{asked:?} became {seen:?}");
    }
    let unasked = output("ulimit -Hn")?;
    check!(unasked.trim() == "40", "without limits: {unasked:?}");
    Ok("40 at most".into())
}
