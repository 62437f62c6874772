//! A ring that overflows keeps the newest bytes, exactly as many as requested.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    need("seq")?;
    let whole: String = (0..20_000).map(|n| format!("{n:07}\n")).collect();
    for (asked, kept) in [
        (Some(4096), 4096),
        (Some(5000), 5000),
        (Some(0), 4096),
        (Some(1), 4096),
        (Some(100_001), 100_001),
        (None, 160_000),
    ] {
        let script = "seq -f %07.0f 0 19999; seq -f %07.0f 0 19999 >&2";
        let id = spawn_persistent(&SpawnRequest {
            log_ring_bytes: asked,
            ..sh(script)
        })?;
        exit_of(&id)?;
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let (got, lost) = rest(&id, stream, oldest())?;
            check!(
                got.len() == kept && lost == 0,
                "{asked:?} kept {} bytes of {stream:?}, and not {kept}; lost {lost}",
                got.len()
            );
            check!(
                whole.as_bytes().ends_with(&got),
                "{asked:?}: not the newest of {stream:?}"
            );
        }
        release_process(&id)?;
    }
    Ok("six sizes".into())
}
