//! `spawn` captures both streams completely, however they are interleaved.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let script = "(i=0; while [ $i -lt 40 ]; do head -c 50000 /dev/zero | tr '\\0' o; i=$((i+1)); done) & \
                  (i=0; while [ $i -lt 40 ]; do head -c 50000 /dev/zero | tr '\\0' e >&2; i=$((i+1)); done) & wait";
    let done = spawn(&sh(script))?;
    check!(
        done.stdout.len() == 2_000_000 && done.stdout.bytes().all(|byte| byte == b'o'),
        "stdout: {} bytes",
        done.stdout.len()
    );
    check!(
        done.stderr.len() == 2_000_000 && done.stderr.bytes().all(|byte| byte == b'e'),
        "stderr: {} bytes",
        done.stderr.len()
    );
    Ok("2 MB of each".into())
}
