//! There is exactly one `exited` for a process, also when the watch comes after the exit, and however often it is
//! watched.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 40, "retained-per-owner": 200}}"#: run);

fn run() -> Outcome {
    let mut events = Events::subscribe()?;
    let mut ids = Vec::new();
    for n in 0..40 {
        let id = spawn_persistent(&SpawnRequest {
            log_ring_bytes: Some(4096),
            ..sh("exit 0")
        })?;
        if n % 2 == 0 {
            exit_of(&id)?;
        }
        watch(&id, Some("same"))?;
        if n % 3 == 0 {
            watch(&id, Some("same"))?;
        }
        if n % 4 == 0 {
            exit_of(&id)?;
            watch(&id, Some("again"))?;
        }
        ids.push(id);
    }
    for id in &ids {
        exit_of(id)?;
    }
    events.until("exited", 40)?;
    let all = events.settled()?;
    for id in &ids {
        let of = all
            .iter()
            .filter(|event| event.kind == "exited" && event.payload["id"] == id.as_str())
            .count();
        check!(of == 1, "{of} events for one exit");
    }
    Ok("40 processes, 40 events".into())
}
