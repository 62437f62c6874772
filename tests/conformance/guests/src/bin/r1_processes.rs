//! `max-pids` limits the whole tree, or the spawn is refused as `limit-unenforceable`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let limits = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: Some(10),
        max_open_files: None,
    };
    // Each process is there before the next one is made, and stays. Without a limit there are thirty.
    let script = "mkfifo up; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; \
                  do (echo >> ran; echo > up; exec sleep 1000) & read x < up; done; echo all";
    let request = SpawnRequest {
        limits: Some(limits),
        ..sh(script)
    };
    match spawn(&request) {
        Ok(done) => {
            let ran: u32 = output("cat ran 2>/dev/null | wc -l")?
                .trim()
                .parse()
                .unwrap_or(u32::MAX);
            check!(ran < 10, "{ran} of 30 came to run where 10 may, {done:?}");
            Ok(format!("{ran} of 30 came to run"))
        }
        Err(error) => {
            refused_as("spawn", Err::<(), _>(error), "limit-unenforceable:")?;
            Ok("refused".into())
        }
    }
}
