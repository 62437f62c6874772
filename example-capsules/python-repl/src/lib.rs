//! A Python session whose variables outlive the instances that use it.
//!
//! The state is in the process, and only the host remembers the process: each call finds it by its label. A small program
//! (`repl.py`) reads requests from its standard input and answers on its standard output, because a
//! protocol of whole messages needs no guess at where an answer ends, as the prompts of `python3 -i` would.

use capsule_sdk::rpc::{self, Client};
use capsule_sdk::{Command, ExitStatus, Overflow, Process, Signal};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{error::Error, time::Duration};

#[cfg(test)]
mod tests;

const LABEL: &str = "python-repl";
const REPL: &str = include_str!("repl.py");

capsule_sdk::actions! {
    "eval" => eval,
    "interrupt" => interrupt,
    "stop" => stop,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Eval {
    code: String,
    /// How long to wait for the answer.
    #[serde(default = "ten_seconds")]
    wait_ms: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Evaluated {
    /// What `repr` makes of the value of the last line; none if that is not an expression, or None.
    value: Option<String>,
    /// What the code printed.
    output: String,
    error: Option<String>,
}

/// Evaluates code, in the session that runs already or in a new one.
fn eval(eval: Eval) -> Result<Evaluated> {
    let python = Command::new("python3")
        .args(["-c", REPL])
        .keep_stdin_open(true)
        // An answer may be larger than what the host keeps for a reader: Python then waits until it is read.
        .overflow(Overflow::Backpressure)
        .find_or_spawn(LABEL)?;
    // Answers that an earlier call did not wait for, and what the code wrote past `sys.stdout`.
    let mut answers = python.stdout();
    answers.skip_available()?;
    python.stderr().skip_available()?;

    let mut client = Client::new(&mut answers, python.stdin())?;
    let wait = Duration::from_millis(eval.wait_ms);
    match client.request("eval", &json!({ "code": eval.code }), wait) {
        Ok(answer) => Ok(serde_json::from_value(answer)?),
        Err(error) if error.is_timeout() => Err(format!(
            "no answer within {} ms: the code runs on, and `interrupt` ends it",
            eval.wait_ms
        )
        .into()),
        Err(rpc::Error::Ended) => {
            let exit = python.wait(Duration::from_secs(5))?;
            Err(format!("the code ended Python ({exit}) and with it all variables").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what Ctrl-C does at a terminal: the code that runs gets a `KeyboardInterrupt`, and the variables stay.
fn interrupt() -> Result<()> {
    Ok(session()?.signal(Signal::Int)?)
}

/// Ends the session. The next `eval` begins with no variables.
fn stop() -> Result<ExitStatus> {
    Ok(session()?.stop(None)?)
}

fn session() -> Result<Process> {
    Ok(Process::find(LABEL)?.ok_or("no session: `eval` starts one")?)
}
