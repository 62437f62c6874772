//! No audit record contains a raw id; the same process has the same hash in each.
//!
//! Interface process@1.1.0: "Audited (op + principal + capsule + id-hash; never the raw id, env, stdin, or log
//! contents)."

use conformance_guest::*;

case!(r#"{"steps": ["make", {"do": "audit"}, "look"]}"#: make, look);

fn make() -> Outcome {
    let id = start("exit 0")?;
    exit_of(&id)?;
    status(&id)?;
    read_logs(&id)?;
    let unknown = status(&"b".repeat(52));
    check!(unknown.is_err(), "an id never issued has a status");
    release_process(&id)?;
    Ok(id)
}

fn look(payload: &str) -> Outcome {
    let (id, records) = payload.split_once("\n\n").unwrap_or_default();
    check!(!records.is_empty(), "there are no records");
    check!(!records.contains(id), "an id stands in the audit");
    // No part that would reveal it either.
    check!(
        !records.contains(&id[..16]),
        "the beginning of an id stands in the audit"
    );
    let mut hashes = Vec::new();
    for record in records.lines() {
        let record: Value = serde_json::from_str(record).map_err(|error| Stop::Failed(error.to_string()))?;
        if record["outcome"] == "ok"
            && ["status", "read-logs", "release-process"].contains(&record["operation"].as_str().unwrap_or_default())
        {
            hashes.push(record["id_hash"].to_string());
        }
    }
    hashes.dedup();
    check!(hashes.len() == 1 && hashes[0] != "null", "hashes of one id: {hashes:?}");
    Ok(format!("{} records, one hash", records.lines().count()))
}
