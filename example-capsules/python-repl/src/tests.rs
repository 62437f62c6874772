//! The actions as plain functions, over the SDK's mock: no host, no Python, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};
use serde_json::Value;

/// Answers each request but one for `loop`, and counts how many it has answered.
fn python() -> Script {
    let mut count = 0;
    Script::new().on_input(move |line| {
        let request: Value = serde_json::from_slice(line).unwrap();
        if request["params"]["code"] == "loop" {
            return Vec::new();
        }
        count += 1;
        let result = json!({ "value": count.to_string(), "output": "", "error": null });
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
        format!("{answer}\n").into_bytes()
    })
}

fn evaluate(code: &str) -> Result<Evaluated> {
    eval(Eval {
        code: code.to_owned(),
        wait_ms: 500,
    })
}

#[test]
fn one_session_serves_all_calls() {
    let host = Host::new();
    host.command("python3", |_| python());
    for value in ["1", "2"] {
        assert_eq!(evaluate("n").unwrap().value.as_deref(), Some(value));
    }
    assert_eq!(host.runs().len(), 1);
    stop().unwrap();
    assert_eq!(evaluate("n").unwrap().value.as_deref(), Some("1"), "a new session");
}

#[test]
fn code_that_takes_too_long_is_told_of_and_can_be_interrupted() {
    let host = Host::new();
    host.command("python3", |_| {
        let interrupted = Script::new().stdout("{\"id\":\"of the call before\",\"result\":null}\n");
        python().on_signal(Signal::Int, interrupted)
    });
    let error = evaluate("loop").unwrap_err().to_string();
    assert!(
        error.contains("within 500 ms") && error.contains("`interrupt`"),
        "{error}"
    );
    assert_eq!(host.now(), Duration::from_millis(500));
    interrupt().unwrap();
    assert_eq!(host.runs()[0].signals, [Signal::Int]);
    assert_eq!(
        evaluate("n").unwrap().value.as_deref(),
        Some("1"),
        "the late answer is not taken for this one"
    );
}

#[test]
fn python_that_ends_is_told_of_and_started_again() {
    let host = Host::new();
    let mut runs = 0;
    host.command("python3", move |_| {
        runs += 1;
        if runs == 1 {
            Script::new().after(Duration::from_millis(100)).exit(3)
        } else {
            python()
        }
    });
    let error = evaluate("n").unwrap_err().to_string();
    assert!(
        error.contains("exit code 3") || error.contains("exit status: 3"),
        "{error}"
    );
    assert_eq!(evaluate("n").unwrap().value.as_deref(), Some("1"));
}

#[test]
fn without_a_session_there_is_nothing_to_interrupt() {
    let _host = Host::new();
    assert!(interrupt().unwrap_err().to_string().contains("no session"));
}
