//! A spawn's record contains command, arguments, working directory and limits; no record contains a variable's value,
//! stdin, output or a raw id.
//!
//! Contract.

use conformance_guest::*;

// Each of these is a text that nothing else in a record holds.
case!(r#"{"grants": {"commands": ["sh", "/bin/sh"]}, "steps": ["make", {"do": "audit"}, "look"]}"#: make, look);

fn make() -> Outcome {
    output("mkdir folder-seen")?;
    let request = SpawnRequest {
        env: vec![var("NAME_SEEN", "value-unseen")],
        cwd: Some("folder-seen".into()),
        stdin: Some(b"prelude-unseen".to_vec()),
        keep_stdin_open: Some(true),
        limits: Some(ResourceLimits {
            max_memory_bytes: None,
            max_cpu_secs: Some(987_654_321),
            max_pids: None,
            max_open_files: None,
        }),
        ..command("/bin/sh", &["-c", "echo $((40+2))-output; cat > /dev/null", "arg-seen"])
    };
    let id = spawn_persistent(&request)?;
    write_stdin(&id, b"write-unseen")?;
    close_stdin(&id)?;
    exit_of(&id)?;
    read_logs(&id)?;
    Ok(id)
}

fn look(payload: &str) -> Outcome {
    let (id, records) = payload.split_once("\n\n").unwrap_or_default();
    for seen in ["arg-seen", "folder-seen", "987654321", "/bin/sh"] {
        check!(records.contains(seen), "{seen} is not in the audit");
    }
    for unseen in [
        "value-unseen",
        "prelude-unseen",
        "write-unseen",
        "42-output",
        id,
        &id[..16],
    ] {
        check!(!records.contains(unseen), "{unseen} is in the audit");
    }
    Ok("as it should be".into())
}
