//! The numbers of calls and of live and retained processes, bytes drained and dropped, and latencies are exported, and
//! are consistent.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"needs": ["alone"], "steps": ["make", {"do": "metrics"}, "look"]}"#: make, look);

fn make() -> Outcome {
    let rings = SpawnRequest {
        log_ring_bytes: Some(4096),
        ..sh("head -c 10000 /dev/zero")
    };
    let id = spawn_persistent(&rings)?;
    exit_of(&id)?;
    read_logs(&id)?;
    start("sleep 1000")?;
    spawn(&sh("true"))?;
    Ok(String::new())
}

fn look(payload: &str) -> Outcome {
    let (_, figures) = payload.split_once("\n\n").unwrap_or_default();
    let figures: Value = serde_json::from_str(figures).map_err(|error| Stop::Failed(error.to_string()))?;
    for (name, least) in [
        ("spawned", 3),
        ("exited", 2),
        ("live", 1),
        ("retained", 2),
        ("bytes_drained", 4096),
        ("bytes_dropped", 5904),
        ("spawn_latencies", 3),
        ("exit_latencies", 1),
    ] {
        let value = figures[name].as_u64();
        check!(
            value.is_some_and(|value| value >= least),
            "{name} is {value:?}, and at least {least} was done"
        );
    }
    Ok("eight figures".into())
}
