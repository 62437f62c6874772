//! Concurrent stops of the same process all return its exit or `no-such-process`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["end"], ["end"], ["end"], ["end"]]}, "last"]}"#: make, end, last);

fn make() -> Outcome {
    let mut ids = String::new();
    for _ in 0..6 {
        let id = start("trap 'exit 23' TERM; echo up; while :; do sleep 0.01; done")?;
        printed(&id, "up")?;
        ids.push_str(&id);
        ids.push('\n');
    }
    Ok(ids)
}

fn end(ids: &str) -> Outcome {
    let mut seen = String::new();
    for id in lines(ids) {
        match stop(id, Some(30_000)) {
            Ok(exit) => {
                check!(exit == code(23), "{exit:?}");
                seen.push('x');
            }
            Err(ErrorCode::NoSuchProcess) => seen.push('-'),
            Err(other) => return fail(format!("{other:?}")),
        }
    }
    Ok(seen)
}

fn last(seen: &str) -> Outcome {
    for column in 0..6 {
        check!(
            lines(seen)
                .iter()
                .any(|line| line.as_bytes().get(column) == Some(&b'x')),
            "neither got the exit of {column}: {seen:?}"
        );
    }
    Ok(seen.replace('\n', " "))
}
