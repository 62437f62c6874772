//! The result of a call, as a tool's result: as text, which every agent reads, and structured.
//!
//! Structured content is an object in every revision of the protocol, so other data is the member `result` of one. It is left out
//! where it would not say the same as the text: a tree of values has no integers of more than 64 bits.

use capsule_host::runtime::{CallError, CapsuleResult};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

use crate::report::is_refusal;

/// The longest data that is passed on. As a tree of values it takes ten times its size and more, and no agent reads as much.
const DATA_MAX: usize = 4 << 20;

/// What the agent gets. `denials` are told only with a failure.
pub(super) fn tool_result(outcome: Result<CapsuleResult, CallError>, denials: Vec<String>) -> CallToolResult {
    match outcome {
        Ok(CapsuleResult { data: Some(data), .. }) if data.len() > DATA_MAX => {
            let message = format!(
                "too-large: the tool did its work, but its result has {} bytes, and at most {DATA_MAX} are passed on: ask for \
                 less or for a part at a time, or let the capsule write the result to a file in the workspace",
                data.len()
            );
            let content = Map::from_iter([
                ("kind".to_owned(), "too-large".into()),
                ("message".to_owned(), message.as_str().into()),
            ]);
            failure(message, content, denials)
        }
        Ok(CapsuleResult { action, data }) => {
            let (text, content) = content_of(data);
            if is_refusal(&action) {
                failure(message_of(&content).unwrap_or(text), content, denials)
            } else {
                with_text(text, is_exact(&content).then_some(content), false)
            }
        }
        Err(error) => {
            let content = Map::from_iter([
                ("kind".to_owned(), error.kind().into()),
                ("message".to_owned(), error.to_string().into()),
            ]);
            failure(error.to_string(), content, denials)
        }
    }
}

/// A call that ended before it had a result.
pub(super) fn ended(message: &str) -> CallToolResult {
    failure(
        message.to_owned(),
        Map::from_iter([("message".to_owned(), message.into())]),
        Vec::new(),
    )
}

fn content_of(data: Option<String>) -> (String, Map<String, Value>) {
    let Some(text) = data else {
        return ("{}".to_owned(), Map::new());
    };
    let content = match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => object,
        Ok(other) => Map::from_iter([("result".to_owned(), other)]),
        Err(_) => Map::from_iter([("result".to_owned(), json!(text))]),
    };
    (text, content)
}

/// Whether every number in it is as it was written. An integer of more than 64 bits has become the nearest floating-point number.
fn is_exact(content: &Map<String, Value>) -> bool {
    /// From here on a floating-point number may be such an integer.
    const SMALLEST: f64 = 9_223_372_036_854_775_808.0;
    fn value(content: &Value) -> bool {
        match content {
            Value::Number(number) => !number.is_f64() || number.as_f64().is_some_and(|number| number.abs() < SMALLEST),
            Value::Array(values) => values.iter().all(value),
            Value::Object(object) => is_exact(object),
            Value::Null | Value::Bool(_) | Value::String(_) => true,
        }
    }
    content.values().all(value)
}

fn message_of(content: &Map<String, Value>) -> Option<String> {
    content.get("message")?.as_str().map(str::to_owned)
}

fn failure(message: String, mut content: Map<String, Value>, denials: Vec<String>) -> CallToolResult {
    let mut text = message;
    for line in &denials {
        text.push('\n');
        text.push_str(line);
    }
    if !denials.is_empty() {
        content.insert("denied".to_owned(), denials.into());
    }
    with_text(text, Some(content), true)
}

fn with_text(text: String, content: Option<Map<String, Value>>, is_error: bool) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = content.map(Value::Object);
    result.is_error = Some(is_error);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(action: &str, data: Option<&str>, denials: &[&str]) -> Value {
        let outcome = CapsuleResult {
            action: action.into(),
            data: data.map(str::to_owned),
        };
        let denials = denials.iter().map(|line| (*line).to_owned()).collect();
        serde_json::to_value(tool_result(Ok(outcome), denials)).unwrap()
    }

    #[test]
    fn data_is_text_and_an_object() {
        for (data, text, content) in [
            (Some("{\"a\":1}"), "{\"a\":1}", json!({"a": 1})),
            (Some("[1,2]"), "[1,2]", json!({"result": [1, 2]})),
            (Some("plain"), "plain", json!({"result": "plain"})),
            (None, "{}", json!({})),
        ] {
            let result = result("continue", data, &["not told"]);
            assert_eq!(result["content"][0]["text"], text);
            assert_eq!(result["structuredContent"], content);
            assert_eq!(result["isError"], false);
        }
    }

    #[test]
    fn structured_content_never_says_another_number_than_the_text() {
        for (data, is_structured) in [
            ("{\"a\":18446744073709551615}", true),
            ("{\"a\":-9223372036854775808}", true),
            ("{\"a\":[0.5]}", true),
            ("{\"a\":18446744073709551616}", false),
            ("[{\"a\":[-9223372036854775809]}]", false),
            ("12345678901234567890123", false),
        ] {
            let result = result("continue", Some(data), &[]);
            assert_eq!(result["content"][0]["text"], data);
            assert_eq!(result["structuredContent"].is_object(), is_structured, "{result}");
        }
    }

    #[test]
    fn data_that_is_too_long_is_a_failure_that_says_what_to_do() {
        let longest = "x".repeat(DATA_MAX);
        assert_eq!(result("continue", Some(&longest), &[])["isError"], false);
        let refused = result("continue", Some(&(longest + "x")), &[]);
        assert_eq!(refused["isError"], true);
        let text = refused["content"][0]["text"].as_str().unwrap();
        assert!(
            text.starts_with("too-large: ") && text.contains("4194305") && text.len() < 1000,
            "{text}"
        );
    }

    #[test]
    fn a_failure_is_a_result_that_says_what_to_do() {
        let result = result(
            "abort",
            Some("{\"message\":\"no\"}"),
            &["denied: x; --allow x grants it"],
        );
        assert_eq!(result["isError"], true);
        assert_eq!(result["content"][0]["text"], "no\ndenied: x; --allow x grants it");
        assert_eq!(
            result["structuredContent"]["denied"][0],
            "denied: x; --allow x grants it"
        );
    }
}
