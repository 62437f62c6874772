//! An id works after the component was reloaded in place; output, cursors and stdin continue where they were.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"do": "reload"}, "use_it"]}"#: make, use_it);

fn make() -> Outcome {
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("echo before; while read x; do echo got $x; done; exit 6")
    };
    let id = spawn_persistent(&request)?;
    printed(&id, "before")?;
    let cursor = read_since(&id, LogStream::Stdout, &oldest(), u32::MAX)?.next;
    Ok(format!("{id}\n{}", cursor.token.unwrap_or_default()))
}

fn use_it(payload: &str) -> Outcome {
    let (id, token) = payload.split_once('\n').unwrap_or_default();
    check!(status(id)?.phase == ProcessPhase::Running, "it ended with the reload");
    check!(write_stdin(id, b"after\n")? == 6, "the write was cut");
    close_stdin(id)?;
    check!(exit_of(id)? == code(6), "it did not end as it should");
    let (all, lost) = rest(id, LogStream::Stdout, at(token))?;
    check!(
        all == b"got after\n" && lost == 0,
        "from the cursor: {:?}",
        String::from_utf8_lossy(&all)
    );
    Ok("id, cursor and stdin go on".into())
}
