//! Concurrent writes of several instances: each call's bytes stay together, in the order of each writer, and none
//! fails.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["a"], ["b"], ["c"], ["d"]]}, "look"]}"#: make, a, b, c, d, look);

const PART: usize = 150_000;
const ROUNDS: usize = 8;

fn make() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("cat > copy")
    })?;
    Ok(id)
}

fn write(id: &str, letter: u8) -> Outcome {
    for round in 0..ROUNDS {
        let mut part = vec![letter; PART];
        // The beginning of a call, and its number among its writer's calls.
        part[0] = b'0' + u8::try_from(round).unwrap_or_default();
        let written = write_stdin(id, &part)?;
        check!(written as usize == PART, "{written} bytes written");
    }
    Ok(id.into())
}

fn a(id: &str) -> Outcome {
    write(id, b'a')
}

fn b(id: &str) -> Outcome {
    write(id, b'b')
}

fn c(id: &str) -> Outcome {
    write(id, b'c')
}

fn d(id: &str) -> Outcome {
    write(id, b'd')
}

fn look(ids: &str) -> Outcome {
    let id = lines(ids)[0];
    close_stdin(id)?;
    check!(exit_of(id)? == code(0), "cat failed");
    let reader = spawn_persistent(&SpawnRequest {
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("cat copy")
    })?;
    let copy = all(&reader)?;
    check!(copy.len() == 4 * ROUNDS * PART, "{} bytes arrived", copy.len());
    let mut next = [b'0'; 4];
    for part in copy.chunks(PART) {
        let letter = part[1];
        check!(
            part[1..].iter().all(|byte| *byte == letter),
            "a call's bytes are not together"
        );
        let writer = usize::from(letter - b'a');
        check!(part[0] == next[writer], "the calls of a writer came in another order");
        next[writer] += 1;
    }
    Ok(format!("{} calls of 150000 bytes", 4 * ROUNDS))
}
