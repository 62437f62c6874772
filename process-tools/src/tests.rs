//! The tools over a host in memory: what no process of this machine does at the wanted moment.

use std::time::Duration;

use capsule_sdk::mock::{Host, Script};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::tools;

type Answer<R> = Result<R, Box<dyn std::error::Error>>;

fn call<T: DeserializeOwned, R: Serialize>(tool: fn(T) -> Answer<R>, arguments: Value) -> Result<Value, String> {
    let arguments = serde_json::from_value(arguments).map_err(|error| error.to_string())?;
    let answer = tool(arguments).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(answer).unwrap())
}

#[test]
fn a_read_waits_for_output_and_for_the_rest_of_a_character() {
    let host = Host::new();
    let euro = "€".as_bytes();
    host.command("slow", |_| {
        let script = Script::new().after(Duration::from_secs(10)).stdout(&euro[..1]);
        script
            .after(Duration::from_secs(10))
            .stdout(&euro[1..])
            .after(Duration::from_secs(10))
            .exit(0)
    });
    let id = call(tools::start, json!({"command": "slow"})).unwrap()["id"].clone();
    let mut cursor = json!("");
    // Nothing, the first byte, the rest.
    for (wait, until, text) in [(5, 5, ""), (300, 10, ""), (300, 20, "€")] {
        let read = json!({"process": id, "cursor": cursor, "wait_seconds": wait});
        let chunk = call(tools::read, read).unwrap();
        assert_eq!(
            (&chunk["text"], &chunk["end"]),
            (&json!(text), &json!(false)),
            "{chunk}"
        );
        assert!(host.now() >= Duration::from_secs(until) && host.now() < Duration::from_secs(until + 1));
        cursor = chunk["cursor"].clone();
    }
    let waited = call(tools::wait, json!({"process": id, "timeout_seconds": 1e9})).unwrap();
    assert_eq!(waited, json!({"running": false, "exit_code": 0}));
    let end = call(tools::read, json!({"process": id, "cursor": cursor})).unwrap();
    assert_eq!(end["end"], true);
}

#[test]
fn the_beginning_of_a_character_at_the_end_of_a_stream_is_returned() {
    let host = Host::new();
    host.command("cut", |_| Script::new().stdout(*b"ab\xe2\x82").exit(0));
    let id = call(tools::start, json!({"command": "cut"})).unwrap()["id"].clone();
    call(tools::wait, json!({"process": id})).unwrap();
    let chunk = call(tools::read, json!({"process": id})).unwrap();
    assert_eq!(
        (&chunk["base64"], &chunk["end"]),
        (&json!("YWLigg=="), &json!(true)),
        "{chunk}"
    );
}

#[test]
fn an_argument_that_is_no_argument_is_an_error_that_names_the_right_ones() {
    let host = Host::new();
    host.command("sh", |_| Script::new());
    let error = call(tools::start, json!({"command": "sh", "argv": []})).unwrap_err();
    assert!(
        error.contains("unknown field `argv`") && error.contains("`args`"),
        "{error}"
    );
    let id = call(tools::start, json!({"command": "sh", "label": "shell"})).unwrap()["id"].clone();
    for (wait, is_right) in [(json!(0.5), true), (json!(-1), false), (json!(1e40), false)] {
        let read = call(tools::read, json!({"process": "shell", "wait_seconds": wait}));
        assert_eq!(read.is_ok(), is_right, "{read:?}");
    }
    let error = call(tools::write, json!({"process": id, "text": "a", "base64": "YQ=="})).unwrap_err();
    assert!(error.contains("not both"), "{error}");
    assert!(call(tools::signal, json!({"process": id, "signal": "SIGINT"})).is_ok());
    assert!(call(tools::signal, json!({"process": id, "signal": "SIGKILL"})).is_err());
    assert_eq!(call(tools::list, json!({})).unwrap()["processes"][0]["label"], "shell");
    let error = call(tools::list, json!({"label": "shell"})).unwrap_err();
    assert!(error.contains("unknown field `label`"), "{error}");
    assert!(call(tools::stop, json!({"process": "shell"})).is_ok());
    let error = call(tools::wait, json!({"process": id})).unwrap_err();
    assert!(error.contains("no-such-process"), "{error}");
}

/// Starts a command, and reads its output with reads of this size: each as text, or none where it is base64.
fn read_all(command: &str, max_bytes: u64) -> Vec<Option<String>> {
    let id = call(tools::start, json!({"command": command})).unwrap()["id"].clone();
    call(tools::wait, json!({"process": id})).unwrap();
    let (mut cursor, mut chunks) = (json!(""), Vec::new());
    loop {
        let read = json!({"process": id, "cursor": cursor, "max_bytes": max_bytes});
        let chunk = call(tools::read, read).unwrap();
        chunks.push(chunk["text"].as_str().map(str::to_owned));
        if chunk["end"] == true {
            return chunks;
        }
        cursor = chunk["cursor"].clone();
    }
}

#[test]
fn a_byte_that_is_no_text_makes_only_its_own_read_base64() {
    let host = Host::new();
    // Reads of 4 bytes end within each of the characters.
    host.command("mixed", |_| {
        Script::new()
            .stdout("\u{20ac}".repeat(4))
            .stdout(*b"\xff")
            .stdout("\u{20ac}".repeat(9))
            .exit(0)
    });
    let chunks = read_all("mixed", 4);
    assert_eq!(chunks.iter().filter(|text| text.is_none()).count(), 1, "{chunks:?}");
    let text: String = chunks.into_iter().flatten().collect();
    assert!(text.chars().all(|character| character == '\u{20ac}'), "{text}");
}

#[test]
fn the_beginning_of_a_character_whose_rest_was_lost_is_lost_and_counted() {
    let host = Host::new();
    host.command("flood", |_| {
        let script = Script::new().stdout(*b"ab\xe2");
        let flood = [&b"\x82\xac"[..], &[b'x'; 2 << 20]].concat();
        script.after(Duration::from_secs(10)).stdout(flood).exit(0)
    });
    let id = call(tools::start, json!({"command": "flood"})).unwrap()["id"].clone();
    let first = call(tools::read, json!({"process": id})).unwrap();
    assert_eq!(first["text"], "ab", "{first}");
    call(tools::wait, json!({"process": id})).unwrap();
    let mut cursor = first["cursor"].clone();
    let (mut got, mut lost) = (2, 0);
    loop {
        let chunk = call(tools::read, json!({"process": id, "cursor": cursor})).unwrap();
        let text = chunk["text"].as_str().unwrap_or_else(|| panic!("{chunk}"));
        assert!(text.bytes().all(|byte| byte == b'x'), "{text}");
        got += text.len() as u64;
        lost += chunk["lost_bytes"].as_u64().unwrap();
        if chunk["end"] == true {
            break;
        }
        cursor = chunk["cursor"].clone();
    }
    assert_eq!(got + lost, 5 + (2 << 20));
}
