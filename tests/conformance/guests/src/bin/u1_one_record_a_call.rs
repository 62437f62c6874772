//! Every call, refused or not, leaves one record with time, operation, principal, capsule and outcome.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"do": "audit"}, "look"]}"#: make, look);

fn make() -> Outcome {
    spawn(&sh("true"))?;
    refused("not granted", spawn(&command("cat", &[])), &ErrorCode::CapabilityDenied)?;
    let id = start("exit 0")?;
    exit_of(&id)?;
    status(&id)?;
    status_many(std::slice::from_ref(&id))?;
    list_processes(None)?;
    read_logs(&id)?;
    read_since(&id, LogStream::Stdout, &oldest(), 1)?;
    refused("no stdin", write_stdin(&id, b"x"), &ErrorCode::Closed)?;
    close_stdin(&id)?;
    signal(&id, ProcessSignal::Term)?;
    release_process(&id)?;
    refused("unknown", stop(&id, None), &ErrorCode::NoSuchProcess)?;
    Ok(String::new())
}

fn look(payload: &str) -> Outcome {
    let (_, records) = payload.split_once("\n\n").unwrap_or_default();
    let mut seen = Vec::new();
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).map_err(|error| Stop::Failed(error.to_string()))?;
        check!(
            record["time_ms"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000),
            "its time: {line}"
        );
        check!(
            record["principal"].as_str().is_some_and(|name| name.contains("alice")),
            "its principal: {line}"
        );
        check!(
            record["capsule"]
                .as_str()
                .is_some_and(|name| name.contains("u1_one_record")),
            "its capsule: {line}"
        );
        seen.push(format!(
            "{} {}",
            record["operation"].as_str().unwrap_or("?"),
            record["outcome"].as_str().unwrap_or("?")
        ));
    }
    let expected = [
        "spawn ok",
        "spawn capability-denied",
        "spawn-persistent ok",
        "wait ok",
        "status ok",
        "status-many ok",
        "list-processes ok",
        "read-logs ok",
        "read-since ok",
        "write-stdin closed",
        "close-stdin ok",
        "signal ok",
        "release-process ok",
        "stop no-such-process",
    ];
    check!(seen == expected, "{seen:?}");
    Ok(format!("{} records", seen.len()))
}
