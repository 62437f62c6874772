//! One line as a request for a call: a JSON object with the members that are listed in the help of `--calls`.
//!
//! A member that is unknown is an error, because a misspelt `principal` would otherwise run the call for another one. The text of
//! the payload is kept as it is.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::id::Id;

/// The most bytes of a principal's name.
const LONGEST_PRINCIPAL: usize = 256;

/// The most bytes of a message about a line, which may repeat a part of it.
const LONGEST_MESSAGE: usize = 400;

/// What a line asks for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Option<Id>,
    pub(crate) action: String,
    /// JSON text, or empty for a call without a payload.
    pub(crate) payload: String,
    pub(crate) principal: Option<String>,
    /// Whether the payload's references are filled in.
    pub(crate) refs: bool,
}

/// Why a line cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The byte of the line, from 1 on.
    pub(crate) column: Option<usize>,
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    action: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    principal: Option<String>,
    id: Option<Id>,
    refs: Option<bool>,
}

/// Reads a line. A member that is null counts as left out.
pub(crate) fn parse(line: &[u8]) -> Result<Request, BadLine> {
    let text = std::str::from_utf8(line).map_err(|error| BadLine {
        column: Some(error.valid_up_to() + 1),
        message: "the line is not UTF-8".to_owned(),
    })?;
    // Otherwise an array of the members' values would be read as an object.
    if !text.trim_ascii_start().starts_with('{') {
        let spaces = text.len() - text.trim_ascii_start().len();
        return Err(BadLine {
            column: Some(spaces + 1),
            message: "the line is no JSON object such as {\"action\":\"start\"}".to_owned(),
        });
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| bad(&error))?;
    if let Some(message) = fault(&members) {
        return Err(BadLine { column: None, message });
    }
    Ok(Request {
        id: members.id,
        action: members.action,
        payload: members
            .payload
            .map(|payload| payload.get().to_owned())
            .unwrap_or_default(),
        principal: members.principal,
        refs: members.refs.unwrap_or(true),
    })
}

fn fault(members: &Members<'_>) -> Option<String> {
    if members.action.is_empty() {
        return Some("the action is empty".to_owned());
    }
    let principal = members.principal.as_ref()?;
    if principal.is_empty() || principal.len() > LONGEST_PRINCIPAL {
        return Some(format!("a principal has 1 to {LONGEST_PRINCIPAL} bytes"));
    }
    None
}

/// The error without the place that its text ends with, because a line of a stream has another number.
fn bad(error: &serde_json::Error) -> BadLine {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = text.strip_suffix(&place).unwrap_or(&text);
    let kept = message
        .get(..message.floor_char_boundary(LONGEST_MESSAGE))
        .unwrap_or(message);
    BadLine {
        column: (error.column() > 0).then_some(error.column()),
        message: kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_byte_for_byte_and_only_the_action_is_needed() {
        let line =
            " {\"id\":\"a\", \"action\":\"go\", \"payload\": { \"n\" : 1.50 } ,\"principal\":\"ann\",\"refs\":false}\r";
        let request = parse(line.as_bytes()).unwrap();
        assert_eq!(request.payload, "{ \"n\" : 1.50 }");
        assert_eq!(request.id, Some(Id::Text("a".into())));
        assert_eq!(
            (&*request.action, request.principal.as_deref(), request.refs),
            ("go", Some("ann"), false)
        );

        let request =
            parse(b"{\"action\":\"go\",\"payload\":null,\"principal\":null,\"id\":null,\"refs\":null}").unwrap();
        assert!(request.payload.is_empty() && request.principal.is_none() && request.id.is_none() && request.refs);
    }

    #[test]
    fn a_line_that_cannot_be_used_says_why_and_where() {
        for (line, column, part) in [
            (&b"{\"action\":\"go\""[..], Some(14), "EOF"),
            (b"{\"action\":\"go\"} {}", Some(17), "trailing"),
            (
                b"{\"action\":\"go\",\"principle\":\"ann\"}",
                Some(26),
                "unknown field `principle`",
            ),
            (
                b"{\"action\":\"go\",\"action\":\"go\"}",
                Some(23),
                "duplicate field `action`",
            ),
            (b"{\"payload\":1}", Some(13), "missing field `action`"),
            (b"{\"action\":\"\"}", None, "the action is empty"),
            (
                b"{\"action\":\"go\",\"principal\":\"\"}",
                None,
                "a principal has 1 to 256 bytes",
            ),
            (b"{\"action\":\"go\",\"id\":\"a.b\"}", Some(25), "an id is"),
            (b"{\"action\":\"go\",\"refs\":1}", Some(23), "boolean"),
            (b"{\"action\":\"go\",\"payload\":{a}}", Some(27), "key must be a string"),
            (b"  [\"go\",1,\"ann\",\"a\",true]", Some(3), "no JSON object"),
            (b"go", Some(1), "no JSON object"),
            (b"{\"action\":\"\xff\"}", Some(12), "UTF-8"),
        ] {
            let bad = parse(line).unwrap_err();
            let line = String::from_utf8_lossy(line);
            assert_eq!(bad.column, column, "{line}: {bad:?}");
            assert!(
                bad.message.contains(part) && !bad.message.contains("column"),
                "{line}: {bad:?}"
            );
        }
    }

    #[test]
    fn a_message_does_not_repeat_a_long_line() {
        let line = format!("{{\"{}\":1}}", "é".repeat(1 << 20));
        assert!(parse(line.as_bytes()).unwrap_err().message.len() <= LONGEST_MESSAGE);
    }

    #[test]
    fn a_payload_may_be_nested_deeper_than_any_stack() {
        let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        let request = parse(format!("{{\"action\":\"go\",\"payload\":{deep}}}").as_bytes()).unwrap();
        assert_eq!(request.payload, deep);
    }
}
