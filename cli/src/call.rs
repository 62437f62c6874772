//! One CALL of the command line: an action and, if given, its JSON payload; or `-`, which stands for the calls that standard input
//! holds.
//!
//! A payload is checked but never rewritten: the capsule receives the given text, byte for byte.

use std::io;
use std::path::PathBuf;

use serde::de::IgnoredAny;
use thiserror::Error;

/// An action of the capsule, and the bytes to hand to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: String,
    /// JSON text, or empty for a call without a payload.
    pub(crate) payload: Vec<u8>,
}

/// What a CALL of the command line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Call(Call),
    /// The calls in the lines of standard input.
    StandardInput,
}

/// Why a CALL cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BadCall {
    #[error("the action is missing: write `action`, `action=<json>` or `action=@file`")]
    NoAction,
    #[error("the payload after `=` is missing: leave out the `=` to call without one")]
    NoPayload,
    #[error("the file after `=@` is missing: write `action=@file`")]
    NoFile,
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("the payload is not JSON: {0}; a text needs its own quotes, as in `action='\"text\"'`")]
    NotJson(serde_json::Error),
    #[error("{} does not hold JSON: {error}", path.display())]
    FileNotJson { path: PathBuf, error: serde_json::Error },
}

/// Reads `-`, or a call as [`parse_call`] does.
pub(crate) fn parse_argument(text: &str) -> Result<Argument, BadCall> {
    match text {
        "-" => Ok(Argument::StandardInput),
        text => parse_call(text).map(Argument::Call),
    }
}

/// Reads `action`, `action=<json>` or `action=@file`. The file is read here, so a missing one is found before any call
/// runs.
fn parse_call(text: &str) -> Result<Call, BadCall> {
    let (action, payload) = match text.split_once('=') {
        Some((action, payload)) => (action, Some(payload)),
        None => (text, None),
    };
    if action.is_empty() {
        return Err(BadCall::NoAction);
    }
    let payload = match payload {
        None => Vec::new(),
        Some("") => return Err(BadCall::NoPayload),
        Some("@") => return Err(BadCall::NoFile),
        Some(payload) => match payload.strip_prefix('@') {
            Some(path) => read_payload(path.into())?,
            None => {
                check_json(payload.as_bytes()).map_err(BadCall::NotJson)?;
                payload.into()
            }
        },
    };
    Ok(Call {
        action: action.to_owned(),
        payload,
    })
}

fn read_payload(path: PathBuf) -> Result<Vec<u8>, BadCall> {
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(BadCall::Unreadable { path, error }),
    };
    match check_json(&bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(BadCall::FileNotJson { path, error }),
    }
}

fn check_json(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<IgnoredAny>(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_equals_there_is_no_payload() {
        assert_eq!(
            parse_call("start").unwrap(),
            Call {
                action: "start".into(),
                payload: vec![]
            }
        );
    }

    #[test]
    fn the_text_is_kept_byte_for_byte() {
        let call = parse_call("get={ \"path\" : \"/a=b\", \"n\": 1.50 }").unwrap();
        assert_eq!(call.action, "get");
        assert_eq!(call.payload, b"{ \"path\" : \"/a=b\", \"n\": 1.50 }");
    }

    #[test]
    fn a_file_is_read_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payload.json");
        std::fs::write(&path, "[1,\n2]\n").unwrap();
        let call = parse_call(&format!("go=@{}", path.display())).unwrap();
        assert_eq!(call.payload, b"[1,\n2]\n");

        std::fs::write(&path, "[1,").unwrap();
        assert!(matches!(
            parse_call(&format!("go=@{}", path.display())),
            Err(BadCall::FileNotJson { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            parse_call(&format!("go=@{}", path.display())),
            Err(BadCall::Unreadable { .. })
        ));
    }

    #[test]
    fn only_a_dash_alone_is_standard_input() {
        assert_eq!(parse_argument("-").unwrap(), Argument::StandardInput);
        for action in ["--", "-x", "a-"] {
            let Argument::Call(call) = parse_argument(action).unwrap() else {
                panic!("{action}");
            };
            assert_eq!(call.action, action);
        }
    }

    #[test]
    fn what_is_not_a_call_is_refused_by_its_reason() {
        assert!(matches!(parse_call(""), Err(BadCall::NoAction)));
        assert!(matches!(parse_call("={}"), Err(BadCall::NoAction)));
        assert!(matches!(parse_call("go="), Err(BadCall::NoPayload)));
        assert!(matches!(parse_call("go=@"), Err(BadCall::NoFile)));
        for payload in ["text", "{", "{} {}", "'a'", "nul"] {
            assert!(
                matches!(parse_call(&format!("go={payload}")), Err(BadCall::NotJson(_))),
                "{payload}"
            );
        }
    }
}
