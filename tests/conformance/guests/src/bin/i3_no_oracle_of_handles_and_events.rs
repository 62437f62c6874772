//! `attach`, `watch` and `unwatch` cannot tell apart ids that were never issued, are malformed, belong to others or are
//! gone; a handle of an id that is gone is `closed` in every method.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"call": "victim", "as": "bob"}, {"call": "victim", "capsule": "b"}, "table",
              {"call": "untouched", "as": "bob"}, {"call": "untouched", "capsule": "b"}, "handles"]}"#:
    victim, table, untouched, handles);

fn victim(others: &str) -> Outcome {
    Ok(format!("{others}{}\n", start("sleep 1000")?))
}

fn table(victims: &str) -> Outcome {
    let released = start("exit 0")?;
    exit_of(&released)?;
    release_process(&released)?;
    let stopped = start("sleep 1000")?;
    stop(&stopped, Some(0))?;
    let mut rows = vec![
        released,
        stopped,
        String::new(),
        "x".repeat(100_000),
        "\0".into(),
        "0".repeat(52),
    ];
    for id in victims.lines() {
        rows.extend([id.to_owned(), id.to_uppercase(), format!("{id} ")]);
    }
    let expected = every_other_answer(&"b".repeat(52));
    for (call, answer) in &expected {
        // Its shape may be checked before the look-up.
        check!(
            *call == "watch badly" || answer.contains("NoSuchProcess"),
            "{call} of one never issued says {answer}"
        );
    }
    for id in &rows {
        for ((call, got), (_, want)) in every_other_answer(id).iter().zip(&expected) {
            check!(got == want, "{call} says {got}, of one never issued {want}");
        }
    }
    Ok(victims.into())
}

fn untouched(victims: &str) -> Outcome {
    let mine = list_processes(None)?;
    check!(
        mine.len() == 1 && mine[0].phase == ProcessPhase::Running,
        "changed: {mine:?}"
    );
    Ok(victims.to_owned())
}

fn handles() -> Outcome {
    for end in ["stop", "release"] {
        let id = start("sleep 1000")?;
        let handle = attach(&id)?;
        if end == "release" {
            handle.kill()?;
            release_process(&id)?;
        } else {
            stop(&id, Some(0))?;
        }
        let answers = [
            ("read-logs", handle.read_logs().map(drop)),
            ("write-stdin", handle.write_stdin(b"x").map(drop)),
            ("write-stdin nothing", handle.write_stdin(b"").map(drop)),
            ("close-stdin", handle.close_stdin()),
            ("signal", handle.signal(ProcessSignal::Term)),
            ("kill", handle.kill().map(drop)),
            ("wait", handle.wait(Some(GIVE_UP)).map(drop)),
            ("wait-with-output", handle.wait_with_output(Some(GIVE_UP)).map(drop)),
            ("os-pid", handle.os_pid().map(drop)),
        ];
        for (method, answer) in answers {
            refused(&format!("{method} after {end}"), answer, &ErrorCode::Closed)?;
        }
        // Ready for ever, because no more events will come.
        handle.subscribe_exit().block()?;
        handle.subscribe_logs().block()?;
    }
    Ok("alike, and closed".into())
}
