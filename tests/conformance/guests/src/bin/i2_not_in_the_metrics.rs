//! No metric contains a raw id.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"needs": ["alone"], "steps": ["make", {"do": "metrics"}, "look"]}"#: make, look);

fn make() -> Outcome {
    let id = start("exit 0")?;
    exit_of(&id)?;
    status(&id)?;
    Ok(id)
}

fn look(payload: &str) -> Outcome {
    let (id, metrics) = payload.split_once("\n\n").unwrap_or_default();
    check!(!metrics.contains(&id[..16]), "an id stands in the metrics");
    Ok(format!("{} bytes of metrics", metrics.len()))
}
