//! Concurrent waiters of many instances all get the exit.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["wait_for"], ["wait_for"], ["wait_for"], ["wait_for"], ["wait_for"], ["wait_for"],
          ["wait_for"], ["wait_for"], ["wait_for"], ["wait_for"], ["wait_for"], ["end"]]}]}"#: make, wait_for, end);

fn make() -> Outcome {
    output("mkfifo gate")?;
    start("read x < gate; exit 12")
}

fn wait_for(id: &str) -> Outcome {
    let exit = exit_of(id)?;
    check!(exit == code(12), "{exit:?}");
    Ok(String::new())
}

fn end() -> Outcome {
    output("echo > gate")?;
    Ok("eleven waiters".into())
}
