//! The lines on standard output: one JSON object for each call, and nothing else.
//!
//! A line repeats how its caller knows the call: by the action, and for a call that a line asked for by its number and id.
//!
//! A capsule's `data` is its own text. If it is JSON, it is embedded unchanged but on one line. (A parse into a value tree would
//! change numbers and the order of keys.) Control characters are written as JSON escapes, which mean the same to a program
//! that parses the line.

use std::io::{self, Write as _};
use std::time::Duration;

use capsule_host::printable::printable_json;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::calls::Id;

/// Actions of a result that count as a failed call.
const REFUSALS: [&str; 2] = ["deny", "abort"];

/// The result of one call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The capsule answered.
    Result {
        action: String,
        data: Option<String>,
        took: Duration,
    },
    /// The call failed; `message` says what to do next.
    Error { kind: &'static str, message: String },
    /// The line asks for no call; `column` is the byte of the fault, from 1 on.
    BadLine { column: Option<usize>, message: String },
}

/// How the caller knows a call.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Heading {
    /// The number of the line that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Id>,
    /// None where the line names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
}

impl Outcome {
    /// Whether the call counts as failed for the exit code.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::Result { action, .. } => is_refusal(action),
            Self::Error { .. } | Self::BadLine { .. } => true,
        }
    }
}

/// Whether this action of a result says that the call failed.
pub(crate) fn is_refusal(action: &str) -> bool {
    REFUSALS.contains(&action)
}

/// The line for one call, with its newline.
pub(crate) fn line(heading: &Heading, outcome: &Outcome) -> Result<Vec<u8>, serde_json::Error> {
    let error = |kind, column, message| Body::Error {
        error: ErrorBody { kind, column, message },
    };
    let body = match outcome {
        Outcome::Result { action, data, took } => Body::Result {
            result: ResultBody {
                action,
                data: data.as_deref().map(embed),
            },
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        },
        Outcome::Error { kind, message } => error(kind, None, message),
        Outcome::BadLine { column, message } => error("bad-line", *column, message),
    };
    let mut line = printable_json(serde_json::to_string(&Line { heading, body })?);
    line.push('\n');
    Ok(line.into_bytes())
}

/// Writes a line and flushes it. Blocks while the reader does not read.
pub(crate) fn write(line: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line)?;
    stdout.flush()
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    heading: &'a Heading,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Result { result: ResultBody<'a>, ms: u64 },
    Error { error: ErrorBody<'a> },
}

#[derive(Serialize)]
struct ResultBody<'a> {
    action: &'a str,
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Text(&'a str),
    Json(&'a RawValue),
    JsonOnOneLine(Box<RawValue>),
}

fn embed(data: &str) -> Data<'_> {
    let Ok(json) = serde_json::from_str::<&RawValue>(data) else {
        return Data::Text(data);
    };
    if !json.get().contains(['\n', '\r']) {
        return Data::Json(json);
    }
    // In valid JSON a bare line break only ever stands between tokens, where a space means the same.
    match RawValue::from_string(json.get().replace(['\n', '\r'], " ")) {
        Ok(json) => Data::JsonOnOneLine(json),
        Err(_) => Data::Text(data),
    }
}

#[cfg(test)]
mod tests {
    use capsule_host::printable::is_control;

    use super::*;

    fn go() -> Heading {
        Heading {
            action: Some("go".into()),
            ..Heading::default()
        }
    }

    fn result(data: Option<&str>) -> String {
        let outcome = Outcome::Result {
            action: "continue".into(),
            data: data.map(str::to_owned),
            took: Duration::from_micros(12_900),
        };
        String::from_utf8(line(&go(), &outcome).unwrap()).unwrap()
    }

    #[test]
    fn a_result_in_the_order_of_the_manual() {
        assert_eq!(
            result(Some("{\"b\":1,\"a\":2}")),
            "{\"action\":\"go\",\"result\":{\"action\":\"continue\",\"data\":{\"b\":1,\"a\":2}},\"ms\":12}\n"
        );
        assert_eq!(
            result(None),
            "{\"action\":\"go\",\"result\":{\"action\":\"continue\",\"data\":null},\"ms\":12}\n"
        );
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert!(result(Some("123456789012345678901234567890.10")).contains(":123456789012345678901234567890.10}"));
    }

    #[test]
    fn text_that_is_not_json_becomes_a_string() {
        assert!(result(Some("two\nlines")).contains(r#""data":"two\nlines""#));
        assert!(result(Some("")).contains(r#""data":"""#));
    }

    #[test]
    fn json_over_several_lines_stays_on_one_and_keeps_its_meaning() {
        let data = "\n{\r\n  \"a\": \"x\\ny\",\n \"b\": [1,\n2]\n}\n";
        let line = result(Some(data));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            parsed["result"]["data"],
            serde_json::from_str::<serde_json::Value>(data).unwrap()
        );
    }

    #[test]
    fn u3_what_a_terminal_would_obey_is_escaped_and_keeps_its_meaning() {
        for data in [
            "a\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{2028}é",
            "{\"\u{202e}\":\"\u{2029}\u{7f}\"}",
        ] {
            let line = result(Some(data));
            assert!(!line.trim_end_matches('\n').contains(is_control), "{line:?}");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            let wanted: serde_json::Value = serde_json::from_str(data).unwrap_or_else(|_| data.into());
            assert_eq!(parsed["result"]["data"], wanted);
        }
    }

    #[test]
    fn an_error_line() {
        let outcome = Outcome::Error {
            kind: "trap",
            message: "it \"fell\"".into(),
        };
        assert_eq!(
            line(&go(), &outcome).unwrap(),
            b"{\"action\":\"go\",\"error\":{\"kind\":\"trap\",\"message\":\"it \\\"fell\\\"\"}}\n"
        );
    }

    #[test]
    fn a_line_that_asked_for_the_call_is_named_first() {
        let heading = Heading {
            line: Some(3),
            id: Some(Id::Number(7)),
            ..go()
        };
        let outcome = Outcome::Result {
            action: "continue".into(),
            data: Some("[1.0]".into()),
            took: Duration::ZERO,
        };
        assert_eq!(
            String::from_utf8(line(&heading, &outcome).unwrap()).unwrap(),
            "{\"line\":3,\"id\":7,\"action\":\"go\",\"result\":{\"action\":\"continue\",\"data\":[1.0]},\"ms\":0}\n"
        );
        let heading = Heading {
            line: Some(4),
            ..Heading::default()
        };
        let outcome = Outcome::BadLine {
            column: Some(2),
            message: "no".into(),
        };
        assert!(outcome.is_failure());
        assert_eq!(
            line(&heading, &outcome).unwrap(),
            b"{\"line\":4,\"error\":{\"kind\":\"bad-line\",\"column\":2,\"message\":\"no\"}}\n"
        );
    }

    #[test]
    fn only_refusals_and_errors_fail() {
        let answered = |action: &str| Outcome::Result {
            action: action.into(),
            data: None,
            took: Duration::ZERO,
        };
        assert!(!answered("continue").is_failure());
        assert!(!answered("Deny").is_failure());
        assert!(answered("deny").is_failure() && answered("abort").is_failure());
        assert!(
            Outcome::Error {
                kind: "host",
                message: String::new()
            }
            .is_failure()
        );
    }
}
