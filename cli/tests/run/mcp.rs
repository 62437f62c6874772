//! `capsule mcp`, as an agent's program talks to it: JSON lines on standard input and output.
//!
//! `tests/mcp/client` drives the same command with the SDK of the protocol.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{GRANTED, Workspace, command, dev_server_file, finish, skip};

/// An agent's program.
struct Client {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    sent: u64,
    /// Answers that came while another one was awaited.
    answers: HashMap<u64, Value>,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut server = piped.spawn().unwrap();
        let mut client = Self {
            input: server.stdin.take(),
            output: BufReader::new(server.stdout.take().unwrap()),
            server,
            sent: 0,
            answers: HashMap::new(),
        };
        let client_info = json!({"name": "test", "version": "0"});
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client_info});
        let answer = client.request("initialize", hello);
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
        assert!(answer["result"]["capabilities"]["tools"].is_object(), "{answer}");
        client.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        client
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn send(&mut self, method: &str, params: Value) -> u64 {
        self.sent += 1;
        let id = self.sent;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "no answer to {id}");
            let answer: Value = serde_json::from_str(&line).expect(&line);
            assert_eq!(answer["jsonrpc"], "2.0", "{line}");
            let before = self.answers.insert(answer["id"].as_u64().expect(&line), answer);
            assert_eq!(before, None, "two answers");
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    fn tools(&mut self) -> Vec<Value> {
        let mut answer = self.request("tools/list", json!({}));
        answer["result"]["tools"]
            .as_array_mut()
            .map(std::mem::take)
            .expect("a list")
    }

    fn send_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The structured content of a call that succeeded. Its text says the same.
    fn content(&mut self, id: u64) -> Value {
        let answer = self.answer(id);
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{answer}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(text).unwrap(),
            result["structuredContent"],
            "{answer}"
        );
        result["structuredContent"].clone()
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.send_call(tool, arguments);
        self.content(id)
    }

    /// The text of a call that failed.
    fn failure(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.send_call(tool, arguments);
        let answer = self.answer(id);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Reads on until there is as much output, and returns it with the last cursor.
    fn read(&mut self, process: &str, cursor: &str, length: usize) -> (String, String) {
        let (mut text, mut cursor) = (String::new(), cursor.to_owned());
        while text.len() < length {
            let read = json!({"process": process, "cursor": cursor, "wait_seconds": 60});
            let chunk = self.call("process_read", read);
            let more = chunk["text"].as_str().unwrap();
            assert!(!more.is_empty(), "{text:?} and then {chunk}");
            text.push_str(more);
            cursor = chunk["cursor"].as_str().unwrap().to_owned();
        }
        (text, cursor)
    }

    /// Closes standard input, and returns the exit code, the answers that still came and the text on standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        drop(self.input.take());
        let mut answers = String::new();
        self.output.read_to_string(&mut answers).unwrap();
        let output = self.server.wait_with_output().unwrap();
        (
            output.status.code(),
            answers,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

const ECHO: &str = "while read -r line; do echo \"got $line\"; done; echo bye >&2; exit 3";

fn start_shell(client: &mut Client, label: &str, script: &str) -> String {
    let start = json!({"command": "sh", "args": ["-c", script], "label": label, "keep_stdin_open": true});
    client.call("process_start", start)["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_keeps_a_process_over_several_calls() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "sh"]));
    let tools = client.tools();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let expected = ["start", "read", "write", "wait", "stop", "signal", "list"].map(|name| format!("process_{name}"));
    assert_eq!(names, expected);
    let description = tools[0]["description"].as_str().unwrap();
    assert!(description.contains("Granted commands: sh."), "{description}");
    assert!(
        description.contains(workspace.path().to_str().unwrap()),
        "{description}"
    );

    let id = start_shell(&mut client, "shell", ECHO);
    client.call("process_write", json!({"process": id, "text": "one\n"}));
    let (text, cursor) = client.read(&id, "", 8);
    assert_eq!(text, "got one\n");
    // By its label, too.
    client.call("process_write", json!({"process": "shell", "text": "two\nthree\n"}));
    let (text, last) = client.read("shell", &cursor, 18);
    assert_eq!(text, "got two\ngot three\n");
    // Nothing is consumed: an earlier cursor gives the same output again.
    assert_eq!(client.read(&id, &cursor, 18), (text, last.clone()));
    let listed = client.call("process_list", json!({}));
    assert_eq!(listed["processes"][0]["label"], "shell", "{listed}");
    assert_eq!(listed["processes"][0]["running"], true, "{listed}");

    let waited = client.call("process_wait", json!({"process": id, "timeout_seconds": 0}));
    assert_eq!(waited, json!({"running": true}));
    client.call("process_write", json!({"process": id, "close": true}));
    let waited = client.call("process_wait", json!({"process": id}));
    assert_eq!(waited, json!({"running": false, "exit_code": 3}));
    let end = client.call("process_read", json!({"process": id, "cursor": last}));
    assert_eq!((&end["text"], &end["end"]), (&json!(""), &json!(true)));
    let stderr = client.call("process_read", json!({"process": id, "stream": "stderr"}));
    assert_eq!(stderr["text"], "bye\n");
    let closed = client.failure("process_write", json!({"process": id, "text": "more"}));
    assert!(closed.contains("closed: "), "{closed}");
    assert_eq!(client.call("process_stop", json!({"process": id}))["exit_code"], 3);
    let gone = client.failure("process_read", json!({"process": id}));
    assert!(
        gone.contains("no-such-process") && gone.contains("process_list"),
        "{gone}"
    );

    let (code, rest, stderr) = client.end();
    assert_eq!((code, rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    workspace.assert_empty();
}

#[test]
fn a_call_that_waits_holds_no_other_up_and_can_be_cancelled() {
    let workspace = Workspace::new();
    let outside = Workspace::new();
    let log = outside.path().join("audit.jsonl");
    let mut mcp = workspace.command("mcp", ["--allow", "sh", "--audit"]);
    let mut client = Client::start(mcp.arg(&log));
    let first = start_shell(&mut client, "first", "read -r line; exit 1");
    let second = start_shell(&mut client, "second", "read -r line; exit 2");
    let wait = |process: &str| json!({"process": process, "timeout_seconds": 300});
    let waits = [&first, &second, &first].map(|process| client.send_call("process_wait", wait(process)));
    let reads = client.send_call("process_read", json!({"process": first, "wait_seconds": 300}));
    // They are read first and need the same, so that they wait long before the last of these is answered.
    for _ in 0..20 {
        let listed = client.call("process_list", json!({}));
        assert_eq!(listed["processes"].as_array().unwrap().len(), 2);
    }
    assert!(client.answers.is_empty(), "{:?}", client.answers);

    let cancelled = json!({"requestId": waits[2], "reason": "no longer needed"});
    client.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}).to_string());
    // Answers come in the order of the events, and not of the requests.
    client.call("process_write", json!({"process": second, "text": "\n"}));
    assert_eq!(client.content(waits[1])["exit_code"], 2);
    assert!(client.answers.is_empty(), "{:?}", client.answers);
    client.call("process_write", json!({"process": first, "text": "\n"}));
    assert_eq!(client.content(waits[0])["exit_code"], 1);
    assert_eq!(client.content(reads)["end"], true);
    let (code, rest, stderr) = client.end();
    // No answer for the call that was cancelled.
    assert_eq!((code, rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    // Its instance ended when it was cancelled, and not when the process did.
    let log = fs::read_to_string(log).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let dropped: Vec<_> = records.filter(|record| record["outcome"] == "dropped").collect();
    assert_eq!(dropped.len(), 1, "{log}");
    assert_eq!(dropped[0]["operation"], "wait", "{log}");
}

#[test]
fn calls_that_wait_leave_places_for_the_others() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "sh"]));
    let id = start_shell(&mut client, "waits", "read -r line; exit 4");
    let wait = json!({"process": id, "timeout_seconds": 300});
    let waits: Vec<_> = (0..70)
        .map(|_| client.send_call("process_wait", wait.clone()))
        .collect();
    let listed = client.call("process_list", json!({}));
    assert_eq!(listed["processes"][0]["running"], true, "{listed}");
    // Those beyond the limit are refused at once.
    let refused = client.failure("process_wait", wait);
    assert!(
        refused.contains("quota: 48 calls") && refused.contains("cancel some"),
        "{refused}"
    );
    let signal = json!({"process": id, "signal": "SIGTERM"});
    client.call("process_signal", signal);
    let mut counts = (0, 0);
    for wait in waits {
        let answer = client.answer(wait);
        if answer["result"]["isError"] == true {
            counts.1 += 1;
        } else {
            assert_eq!(answer["result"]["structuredContent"]["signal"], 15, "{answer}");
            counts.0 += 1;
        }
    }
    assert_eq!(counts, (48, 22));
    // Their places are free again.
    client.call("process_stop", json!({"process": id}));
    client.end();
}

#[test]
fn the_option_that_is_missing_is_named_for_processes_that_are_not_confined() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--unconfined", "--allow", "sh"]));
    let description = client.tools()[0]["description"].as_str().unwrap().to_owned();
    assert!(description.contains("--allow-persistent"), "{description}");
    // The user is told of a part of a flood, and the agent of each.
    for _ in 0..40 {
        let denied = client.failure("process_start", json!({"command": "sh"}));
        assert!(
            denied.contains("--allow-persistent") && !denied.contains("is not granted"),
            "{denied}"
        );
    }
    let denied = client.failure("process_start", json!({"command": "ls"}));
    assert!(denied.contains("--allow ls grants it"), "{denied}");
    client.end();
}

#[test]
fn what_is_denied_is_an_error_of_the_tool_and_names_the_option() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "/bin/echo"]));
    // The user is told of a part of a flood, and the agent of each.
    for _ in 0..40 {
        let denied = client.failure("process_start", json!({"command": "my tool"}));
        assert!(denied.starts_with("capability-denied: "), "{denied}");
        assert!(
            denied.contains("the command \"my tool\" is not granted; --allow 'my tool' grants it"),
            "{denied}"
        );
    }
    let id = client.call("process_start", json!({"command": "/bin/echo"}))["id"].clone();
    client.call("process_wait", json!({"process": id}));
    for (arguments, part) in [
        (
            json!({"cmd": "/bin/echo"}),
            "unknown field `cmd`, expected one of `command`",
        ),
        (json!({}), "missing field `command`"),
        (json!({"command": "/bin/echo", "cwd": "../.."}), "boundary-escape"),
        (json!({"command": "/bin/echo", "env": {"A B": "c"}}), "invalid-input"),
    ] {
        let failure = client.failure("process_start", arguments);
        assert!(failure.contains(part), "{failure}");
    }
    for (arguments, part) in [
        (json!({"process": id, "cursor": "yesterday"}), "not a cursor"),
        (json!({"process": id, "cursor": "zz+"}), "not a cursor"),
        (
            json!({"process": id, "wait_seconds": -1}),
            "`wait_seconds` is a number of seconds",
        ),
        (json!({"process": id, "stream": "stdin"}), "unknown variant `stdin`"),
    ] {
        let failure = client.failure("process_read", arguments);
        assert!(failure.contains(part), "{failure}");
    }
    let failure = client.failure("process_write", json!({"process": id}));
    assert!(failure.contains("give `text`, `base64` or `close`"), "{failure}");
    let failure = client.failure("process_signal", json!({"process": id, "signal": "KILL"}));
    assert!(failure.contains("SIGTERM"), "{failure}");
    let (code, _, stderr) = client.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("--allow 'my tool' grants it"), "{stderr}");
}

#[test]
fn only_faults_of_the_protocol_are_errors_of_the_protocol_and_none_ends_the_server() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "sh"]));
    for (method, params, code) in [
        ("tools/call", json!({"name": "process_eat", "arguments": {}}), -32602),
        ("tools/eat", json!({}), -32601),
        ("resources/list", json!({}), -32601),
    ] {
        let answer = client.request(method, params);
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    client.write("this is no JSON");
    client.write("");
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    let (code, rest, _) = client.end();
    assert_eq!((code, rest.as_str()), (Some(0), ""));
}

#[test]
fn output_that_is_no_text_and_output_that_is_too_much_are_told() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "sh"]));
    // A character is not cut, wherever a read ends.
    let id = start_shell(
        &mut client,
        "text",
        "printf 'aa\\342\\202\\254\\342\\202\\254'; read -r line; printf '\\377'",
    );
    let mut cursor = String::new();
    for part in ["aa", "€", "€"] {
        let read = json!({"process": id, "cursor": cursor, "max_bytes": 4, "wait_seconds": 60});
        let chunk = client.call("process_read", read);
        assert_eq!(chunk["text"], part, "{chunk}");
        assert_eq!(chunk["end"], false, "{chunk}");
        cursor = chunk["cursor"].as_str().unwrap().to_owned();
    }
    client.call("process_write", json!({"process": id, "text": "\n"}));
    client.call("process_wait", json!({"process": id}));
    let chunk = client.call("process_read", json!({"process": id, "cursor": cursor}));
    assert_eq!(
        (&chunk["base64"], &chunk["end"]),
        (&json!("/w=="), &json!(true)),
        "{chunk}"
    );

    // 3,000,000 bytes, of which the newest 960 KiB are kept.
    let id = start_shell(
        &mut client,
        "flood",
        "read -r line; head -c 3000000 /dev/zero | tr '\\0' x",
    );
    let mut cursor = client.call("process_read", json!({"process": id}))["cursor"].clone();
    client.call("process_write", json!({"process": id, "close": true, "text": "\n"}));
    client.call("process_wait", json!({"process": id, "timeout_seconds": 300}));
    let (mut got, mut lost, mut end) = (0, 0, false);
    while !end {
        let read = json!({"process": id, "cursor": cursor, "max_bytes": 1_000_000_000});
        let chunk = client.call("process_read", read);
        let length = chunk["text"].as_str().unwrap().len() as u64;
        assert!(length <= 65536, "{length}");
        got += length;
        lost += chunk["lost_bytes"].as_u64().unwrap();
        end = chunk["end"].as_bool().unwrap();
        cursor = chunk["cursor"].clone();
    }
    assert_eq!((got, got + lost), (960 << 10, 3_000_000));
    client.end();
}

#[test]
fn the_oldest_exited_process_makes_room_for_a_new_one() {
    let workspace = Workspace::new();
    let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "true"]));
    let mut first = None;
    for number in 0..34 {
        let started = client.call(
            "process_start",
            json!({"command": "true", "label": format!("number {number}")}),
        );
        client.call("process_wait", json!({"process": started["id"]}));
        first.get_or_insert(started["id"].clone());
    }
    let listed = client.call("process_list", json!({}));
    let labels: Vec<_> = listed["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["label"])
        .collect();
    assert_eq!((labels.len(), labels[0].as_str()), (32, Some("number 2")));
    client.failure("process_wait", json!({"process": first}));
    // Starts at once choose the same process, and each finds room.
    for _ in 0..4 {
        let starts: Vec<_> = (0..8)
            .map(|_| client.send_call("process_start", json!({"command": "true"})))
            .collect();
        let started: Vec<_> = starts.into_iter().map(|start| client.content(start)).collect();
        for one in started {
            client.call("process_wait", json!({"process": one["id"]}));
        }
    }
    client.end();
}

#[test]
fn the_end_of_input_or_a_signal_leaves_nothing_running() {
    for signal in [None, Some(Signal::TERM)] {
        let workspace = Workspace::new();
        let mut client = Client::start(&mut workspace.command("mcp", ["--allow", "sh"]));
        // A tree that takes no SIGTERM.
        let id = start_shell(
            &mut client,
            "tree",
            "trap '' TERM; sleep 1000 & echo up; sleep 1000; sleep 1000",
        );
        client.read(&id, "", 3);
        let waiting = client.send_call("process_wait", json!({"process": id, "timeout_seconds": 300}));
        // After these, the wait is under way.
        for _ in 0..20 {
            client.call("process_list", json!({}));
        }
        assert!(!workspace.processes().is_empty());
        if let Some(signal) = signal {
            kill_process(Pid::from_child(&client.server), signal).unwrap();
            // The input stays open.
            let mut rest = String::new();
            client.output.read_to_string(&mut rest).unwrap();
            assert_eq!(client.server.wait().unwrap().code(), Some(0), "{signal:?}");
        } else {
            let (code, rest, _) = client.end();
            let answer: Value = serde_json::from_str(rest.trim()).expect(&rest);
            assert_eq!((code, answer["id"].as_u64()), (Some(0), Some(waiting)));
            assert!(answer.to_string().contains("the server ends"), "{answer}");
        }
        workspace.assert_empty();
    }
}

#[test]
fn a_capsules_tools_are_the_actions_that_its_manifest_describes() {
    let folder = Workspace::new();
    let capsule = folder.path().join("web.wasm");
    fs::copy(dev_server_file(), &capsule).unwrap();
    folder.write(
        "web.capsule.toml",
        "allow = [\"python3\"]\n[actions.status]\ndescription = \"Whether the server runs.\"\nread-only = true\n\
         [actions.stop]\ndescription = \"\"\"\nStop the server.\"\"\"\n\
         input = { properties = { hard = { type = \"boolean\" } }, required = [] }\n",
    );
    let workspace = Workspace::new();
    let mut mcp = workspace.command("mcp", GRANTED);
    let mut client = Client::start(mcp.arg("--no-process-tools").arg(&capsule));
    let annotations = |read_only: bool| json!({"readOnlyHint": read_only});
    assert_eq!(
        client.tools(),
        [
            json!({"name": "web_status", "description": "Whether the server runs.", "inputSchema": {"type": "object"},
                   "annotations": annotations(true)}),
            json!({"name": "web_stop", "description": "Stop the server.", "annotations": annotations(false),
                   "inputSchema": {"type": "object", "properties": {"hard": {"type": "boolean"}}, "required": []}}),
        ]
    );
    let failure = client.failure("web_stop", json!({}));
    assert!(failure.contains("no server is running"), "{failure}");
    // An action that is not described is no tool.
    let answer = client.request("tools/call", json!({"name": "web_start"}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let (code, rest, stderr) = client.end();
    assert_eq!((code, rest.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn what_cannot_be_served_is_told_before_anything_runs() {
    let folder = Workspace::new();
    let capsule = folder.path().join("web.wasm");
    fs::copy(dev_server_file(), &capsule).unwrap();
    let capsule = capsule.to_str().unwrap();
    let manifest = |text: &str| folder.write("web.capsule.toml", text);
    for (text, arguments, code, told) in [
        ("", &["--no-process-tools"][..], 2, "required"),
        (
            "",
            &["--publish", "0:8000", capsule],
            2,
            "--publish leads to the processes of one capsule",
        ),
        ("[actions.a]", &[capsule, capsule], 2, "two tools have the name web_a"),
        (
            "[actions.a]\ninput = { type = \"string\" }",
            &[capsule],
            2,
            "describes an object, and not \"string\"",
        ),
        ("[actions.a]\ninput = { since = 2020-01-01 }", &[capsule], 2, "line 2"),
        ("[actions.a]\ninput = \"string\"", &[capsule], 2, "line 2"),
        ("actions = [\"a\"]", &[capsule], 2, "`actions` is a table"),
        ("[actions.a]\ninputs = {}", &[capsule], 0, "did you mean `input`?"),
        ("", &[capsule], 0, "the capsule web has no tools"),
        ("", &["/no/such/capsule"], 2, "/no/such/capsule"),
    ] {
        manifest(text);
        let ended = finish(Workspace::new().command("mcp", arguments).stdin(Stdio::null()));
        assert_eq!(ended.code, Some(code), "{text} {arguments:?} {ended:?}");
        assert!(ended.stderr.contains(told), "no {told:?} in {}", ended.stderr);
        assert!(ended.lines.is_empty(), "{ended:?}");
    }
}

#[test]
fn the_sdk_of_the_protocol_is_served() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/mcp/client");
    let output = command(script).arg(env!("CARGO_BIN_EXE_capsule")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(77) => skip(told.trim()),
        code => assert_eq!(code, Some(0), "{told}"),
    }
}
