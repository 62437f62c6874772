//! A child that reaches a limit, again and again, harms only itself: the next one runs, and no slot is lost.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 2}}"#: run);

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
            ..sh("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
        };
        match spawn(&request) {
            Ok(done) => check!(done.exit != code(0), "{:?}", done.exit),
            Err(error) => refused_as("spawn", Err::<(), _>(error), "limit-unenforceable:")?,
        }
        let beside = start("exit 0")?;
        check!(exit_of(&beside)? == code(0), "another process was hit");
        release_process(&beside)?;
    }
    Ok("four times".into())
}
