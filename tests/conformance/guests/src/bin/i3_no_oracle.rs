//! Ids that were never issued, are malformed, belong to others or are gone cannot be told apart by any call, and no
//! such call changes anything.
//!
//! Contract.
//!
//! Bob and another capsule start live processes. Alice tries every call on their ids, on ids of her own that are
//! released, stopped and reaped, and on texts that were never an id. All answers must be those to an id that was never
//! issued. Then the owners check that nothing has changed.

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 16},
    "steps": [{"call": "victim", "as": "bob"}, {"call": "victim", "capsule": "b"}, "table",
              {"call": "untouched", "as": "bob"}, {"call": "untouched", "capsule": "b"}, "last"]}"#:
    victim, table, untouched, last);

/// Adds an id and a cursor of it to the lines so far.
fn victim(others: &str) -> Outcome {
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("echo some output; trap 'echo hit' TERM; read line && echo wrote; exit 0")
    };
    let id = spawn_persistent(&request)?;
    printed(&id, "output")?;
    let cursor = read_since(&id, LogStream::Stdout, &oldest(), 4)?
        .next
        .token
        .unwrap_or_default();
    Ok(format!("{others}{id} {cursor}\n"))
}

fn table(victims: &str) -> Outcome {
    let mut rows: Vec<(&str, String, LogCursor)> = Vec::new();
    let own = start("echo some output; exit 0")?;
    exit_of(&own)?;
    let cursor = read_since(&own, LogStream::Stdout, &oldest(), 4)?.next;
    release_process(&own)?;
    rows.push(("released", own.clone(), cursor.clone()));
    let stopped = start("echo some output; sleep 1000")?;
    printed(&stopped, "output")?;
    let stopped_cursor = read_since(&stopped, LogStream::Stdout, &oldest(), 4)?.next;
    stop(&stopped, Some(0))?;
    rows.push(("stopped", stopped, stopped_cursor));
    let reaped = spawn_persistent(&SpawnRequest {
        max_lifetime_ms: Some(100),
        ..sh("echo some output; sleep 1000")
    })?;
    until("the lifetime's end", || Ok(status(&reaped).is_err().then_some(())))?;
    rows.push(("reaped", reaped, cursor.clone()));
    let retained = spawn_persistent(&SpawnRequest {
        exit_retention_ms: Some(0),
        ..sh("exit 0")
    })?;
    until("the retention's end", || Ok(status(&retained).is_err().then_some(())))?;
    rows.push(("gone after its exit", retained, cursor.clone()));
    for (name, line) in ["another principal's", "another capsule's"]
        .into_iter()
        .zip(victims.lines())
    {
        let (id, token) = line.split_once(' ').unwrap_or_default();
        rows.push((name, id.to_owned(), at(token)));
        rows.push((name, id.to_owned(), cursor.clone()));
        rows.push(("in capitals", id.to_uppercase(), at(token)));
        rows.push(("with a space", format!("{id} "), at(token)));
        rows.push(("cut", id[..51].to_owned(), at(token)));
        rows.push(("longer", format!("{id}a"), at(token)));
    }
    for malformed in [
        "",
        "a",
        "../../etc",
        "\0",
        "1",
        &"x".repeat(100_000),
        "=",
        &"0".repeat(52),
        &"\u{e9}".repeat(26),
    ] {
        rows.push(("malformed", malformed.to_owned(), oldest()));
    }
    let never = format!("{}a", "never7issued".repeat(5).get(..51).unwrap_or_default());
    let expected = every_answer(&never, &at("0badc0de"));
    for (name, id, cursor) in &rows {
        for ((call, got), (_, want)) in every_answer(id, cursor).iter().zip(&expected) {
            check!(
                got == want,
                "{call} of one that is {name} says {got}, of one never issued {want}"
            );
        }
    }
    for (call, want) in &expected {
        // Its size may be checked before the look-up.
        if *call == "write-stdin too much" {
            continue;
        }
        let right = match *call {
            "status-many" => "Ok([])",
            "release-process" => "Ok(())",
            _ => "Err(ErrorCode::NoSuchProcess)",
        };
        check!(want == right, "{call} of one never issued says {want}");
    }
    Ok(victims.to_owned())
}

/// Only the owner's own line is read: the order of the lines is that of the calls.
fn untouched(victims: &str) -> Outcome {
    let mine = list_processes(None)?;
    check!(mine.len() == 1, "{} are listed", mine.len());
    let info = &mine[0];
    check!(victims.contains(&info.id), "another id is listed");
    check!(
        info.phase == ProcessPhase::Running && info.stdin_open && info.bytes_dropped == 0,
        "changed: {info:?}"
    );
    let logs = read_logs(&info.id)?;
    check!(
        logs.stdout == "some output\n",
        "its output was drained or it was signalled: {logs:?}"
    );
    check!(write_stdin(&info.id, b"line\n")? == 5, "stdin is not as it was");
    check!(exit_of(&info.id)? == code(0), "it did not get the line");
    let logs = read_logs(&info.id)?;
    check!(logs.stdout == "wrote\n", "it was signalled: {logs:?}");
    Ok(victims.to_owned())
}

fn last() -> Outcome {
    Ok("all answers alike, and nothing changed".into())
}
