//! In strict mode a limit that the kernel does not enforce is refused, and an accepted limit is enforced.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"strict-limits": true}}"#: run);

fn run() -> Outcome {
    let none = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: None,
    };
    let mut seen = Vec::new();
    let cases = [
        (
            "memory",
            ResourceLimits {
                max_memory_bytes: Some(32 << 20),
                ..none
            },
            "x=$(head -c 20000000 /dev/zero | tr '\\0' a); y=$x$x$x; z=$y$y; echo had",
        ),
        (
            "cpu",
            ResourceLimits {
                max_cpu_secs: Some(1),
                ..none
            },
            "while :; do sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; done",
        ),
        (
            "files",
            ResourceLimits {
                max_open_files: Some(16),
                ..none
            },
            "test $(ulimit -n) -gt 16 && echo had",
        ),
    ];
    for (name, limits, script) in cases {
        match spawn(&SpawnRequest {
            limits: Some(limits),
            ..sh(script)
        }) {
            Ok(done) => {
                check!(!done.stdout.contains("had"), "{name}: accepted and not held");
                seen.push(format!("{name} held"));
            }
            Err(error) => {
                refused_as(name, Err::<(), _>(error), "limit-unenforceable:")?;
                seen.push(format!("{name} refused"));
            }
        }
    }
    Ok(seen.join(", "))
}
