//! A child that reaches a limit, again and again, harms only itself: the next one runs, and no slot is lost.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"needs": ["alone"], "settings": {"processes-per-principal": 2}}"#: run);

fn run() -> Outcome {
    let limits = ResourceLimits {
        max_memory_bytes: Some(24 << 20),
        max_cpu_secs: Some(1),
        max_pids: None,
        max_open_files: Some(16),
    };
    for _ in 0..4 {
        let request = SpawnRequest {
            limits: Some(limits),
            // Without a limit it ends by itself, at some hundreds of megabytes.
            ..sh(
                "x=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do x=$x$x; done; exit 77",
            )
        };
        match spawn(&request) {
            Ok(done) => {
                check!(done.exit != code(77), "it had 128 MiB where 24 are allowed");
                // By the kernel, or by the shell, which was refused memory.
                let ended = done.exit.signal.is_some() || done.exit == code(2);
                check!(ended, "{:?}", done.exit);
            }
            Err(error) => refused_as("spawn", Err::<(), _>(error), "limit-unenforceable:")?,
        }
        let beside = start("exit 0")?;
        check!(exit_of(&beside)? == code(0), "another process was hit");
        release_process(&beside)?;
    }
    Ok("four times".into())
}
