//! MCP servers, with one that answers as a test says. What needs real processes and several instances at once is a test of the command.

use capsule_sdk::mcp::{Server, ServerConfig};
use capsule_sdk::mock::{Host, Run, Script};
use capsule_sdk::{Process, store};
use serde_json::{Value, json};

use crate::SECOND;

fn config() -> ServerConfig {
    serde_json::from_value(json!({ "id": "s", "command": "server" })).unwrap()
}

fn connect() -> Server {
    Server::connect(config(), 60 * SECOND).unwrap()
}

/// Answers each whole line. A line that is no JSON is `null`.
fn answering(mut answer: impl FnMut(Value) -> Vec<Value> + 'static) -> Script {
    let mut here = Vec::new();
    Script::new().on_input(move |bytes| {
        here.extend_from_slice(bytes);
        let mut said = String::new();
        while let Some(end) = here.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = here.drain(..=end).collect();
            for message in answer(serde_json::from_slice(&line).unwrap_or_default()) {
                said += &format!("{message}\n");
            }
        }
        said.into_bytes()
    })
}

fn result(request: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

fn refused(request: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": -32601, "message": "no such method" } })
}

/// Answers with what it was asked.
fn stateless(request: &Value) -> Vec<Value> {
    match request["method"].as_str() {
        Some("server/discover") => {
            let info = json!({ "io.modelcontextprotocol/serverInfo": { "name": "mock" } });
            vec![result(
                request,
                json!({ "supportedVersions": ["2026-07-28"], "_meta": info }),
            )]
        }
        Some("notifications/cancelled") | None => vec![],
        Some(_) => vec![result(request, request["params"].clone())],
    }
}

fn with_handshake(request: &Value) -> Vec<Value> {
    match request["method"].as_str() {
        Some("server/discover") => vec![refused(request)],
        Some("initialize") => vec![result(
            request,
            json!({ "protocolVersion": "2025-06-18", "serverInfo": { "name": "old" } }),
        )],
        Some("tools/call") => vec![result(request, request["params"].clone())],
        _ => vec![],
    }
}

/// What a process got: the methods, and `answer` for an answer.
fn methods(run: &Run) -> Vec<String> {
    messages(run)
        .iter()
        .map(|message| message["method"].as_str().unwrap_or("answer").to_owned())
        .collect()
}

fn messages(run: &Run) -> Vec<Value> {
    let input = String::from_utf8(run.input.clone()).unwrap();
    input
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect()
}

#[test]
fn a_stateless_server_is_started_once_and_told_its_revision_with_each_request() {
    let host = Host::new();
    host.command("server", |_| answering(|request| stateless(&request)));
    for n in 0..3 {
        let server = connect();
        assert_eq!(
            (server.revision(), &server.info()["name"]),
            ("2026-07-28", &json!("mock"))
        );
        let asked = server.call_tool("t", &json!({ "n": n }), SECOND).unwrap();
        assert_eq!((&asked["name"], &asked["arguments"]["n"]), (&json!("t"), &json!(n)));
        assert_eq!(
            asked["_meta"]["io.modelcontextprotocol/protocolVersion"],
            json!("2026-07-28")
        );
    }
    let runs = host.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(
        methods(&runs[0]),
        ["server/discover", "tools/call", "tools/call", "tools/call"]
    );
}

#[test]
fn a_server_that_refuses_the_question_begins_with_the_handshake() {
    let host = Host::new();
    host.command("server", |_| answering(|request| with_handshake(&request)));
    for _ in 0..2 {
        let server = connect();
        assert_eq!(
            (server.revision(), &server.info()["name"]),
            ("2025-06-18", &json!("old"))
        );
        let asked = server.call_tool("t", &Value::Null, SECOND).unwrap();
        assert_eq!(asked, json!({ "name": "t" }));
    }
    let expected = [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "tools/call",
        "tools/call",
    ];
    assert_eq!(methods(&host.runs()[0]), expected);
}

#[test]
fn a_server_that_does_not_answer_the_question_has_half_of_the_time_for_the_handshake() {
    let host = Host::new();
    host.command("server", |_| {
        answering(|request| match request["method"].as_str() {
            Some("server/discover") => vec![],
            _ => with_handshake(&request),
        })
    });
    assert_eq!(connect().revision(), "2025-06-18");
    assert!(
        host.now() >= 30 * SECOND && host.now() < 31 * SECOND,
        "{:?}",
        host.now()
    );
}

#[test]
fn a_server_that_ends_at_the_question_is_started_once_more_and_not_asked_again() {
    let host = Host::new();
    host.command("server", |_| answering(|request| with_handshake(&request)));
    let mut starts = 0;
    host.command("server", move |_| {
        starts += 1;
        let script = answering(move |request| match request["method"].as_str() {
            // The last release knows nothing but the question.
            Some("initialize") if starts > 3 => vec![refused(&request)],
            Some("server/discover") if starts > 4 => stateless(&request),
            Some("server/discover") => vec![],
            _ => with_handshake(&request),
        });
        if starts == 1 {
            script.after(SECOND / 10).stderr("panicked\n").exit(101)
        } else {
            script
        }
    });
    let server = connect();
    assert_eq!(server.revision(), "2025-06-18");
    let runs = host.runs();
    assert_eq!((runs.len(), methods(&runs[0])), (2, vec!["server/discover".to_owned()]));
    assert_eq!(methods(&runs[1]), ["initialize", "notifications/initialized"]);
    // A later start does not try again.
    server.stop().unwrap();
    connect().stop().unwrap();
    let runs = host.runs();
    assert_eq!((runs.len(), &*methods(&runs[2])[0]), (3, "initialize"));
    // Until the handshake fails.
    let error = Server::connect(config(), SECOND).unwrap_err();
    assert!(error.to_string().contains("no such method"), "{error}");
    assert_eq!(connect().revision(), "2026-07-28");
    assert_eq!(host.runs().len(), 5);
}

#[test]
fn a_server_that_ends_at_once_is_told_with_the_end_of_what_it_said() {
    let host = Host::new();
    host.command("server", |_| {
        let lines: String = (0..100).map(|n| format!("line {n}.\n")).collect();
        Script::new().stderr("x".repeat(1 << 20) + "\n" + &lines).exit(1)
    });
    let error = Server::connect(config(), SECOND).unwrap_err().to_string();
    assert!(
        error.contains("it ended at once; it said: line 80.\nline 81."),
        "{error:.200}"
    );
    assert!(error.ends_with("line 99."), "{error}");
    // With the question and without it.
    assert_eq!(host.runs().len(), 2);
    // Without line ends it has a limit, too.
    host.command("server", |_| Script::new().stderr("x".repeat(1 << 20)).exit(1));
    let error = Server::connect(config(), SECOND).unwrap_err().to_string();
    assert!(error.len() < 20_000, "{}", error.len());
}

#[test]
fn requests_of_the_server_are_answered_once_each_however_many_come_at_once() {
    let host = Host::new();
    host.command("server", |_| {
        answering(|request| {
            let mut said = stateless(&request);
            if request["method"] == "tools/call" {
                // All of them again with each call, as an instance sees them that has waited for long.
                let asked = (0..100).map(|n| {
                    let method = if n % 2 == 0 { "ping" } else { "roots/list" };
                    json!({ "jsonrpc": "2.0", "id": n, "method": method })
                });
                said.splice(0..0, asked);
                said.insert(0, json!({ "id": "x".repeat(300), "method": "ping" }));
                said.insert(0, json!({ "id": { "no": "id" }, "method": "ping" }));
                said.insert(0, json!({ "method": "ping" }));
            }
            said
        })
    });
    for _ in 0..3 {
        connect().call_tool("t", &Value::Null, SECOND).unwrap();
    }
    let run = &host.runs()[0];
    let answers: Vec<_> = messages(run)
        .into_iter()
        .filter(|m| m.get("method").is_none())
        .collect();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    for (n, answer) in answers.iter().enumerate() {
        if n % 2 == 0 {
            assert_eq!(answer["result"], json!({}));
        } else {
            assert_eq!(answer["error"]["code"], json!(-32601));
        }
    }
}

#[test]
fn an_answer_that_comes_late_and_out_of_order_is_no_answer_to_another_call() {
    let host = Host::new();
    host.command("server", |_| {
        let mut held = None;
        answering(move |request| match request["method"].as_str() {
            Some("tools/call") if held.is_none() => {
                held = Some(request);
                vec![]
            }
            Some("tools/call") => {
                let mut said = stateless(&request);
                said.insert(0, result(held.as_ref().unwrap(), json!("late")));
                said
            }
            _ => stateless(&request),
        })
    });
    let server = connect();
    assert!(server.call_tool("one", &Value::Null, SECOND).unwrap_err().is_timeout());
    assert_eq!(
        server.call_tool("two", &Value::Null, SECOND).unwrap()["name"],
        json!("two")
    );
    let sent = messages(&host.runs()[0]);
    assert_eq!(sent[2]["method"], json!("notifications/cancelled"));
    assert_eq!(sent[2]["params"]["requestId"], sent[1]["id"]);
}

#[test]
fn a_crash_fails_the_call_in_flight_and_the_next_use_starts_it_anew() {
    let host = Host::new();
    host.command("server", |_| {
        answering(|request| match request["method"].as_str() {
            Some("tools/call") => vec![],
            _ => stateless(&request),
        })
        .after(5 * SECOND)
        .dies_of(9)
    });
    let server = connect();
    let error = server.call_tool("t", &Value::Null, 60 * SECOND).unwrap_err();
    assert_eq!((error.kind().as_str(), host.now().as_secs()), ("ended", 5));
    assert_eq!(
        server.call_tool("t", &Value::Null, SECOND).unwrap_err().kind().as_str(),
        "ended"
    );
    let again = connect();
    assert_ne!(again.process().id(), server.process().id());
    assert!(server.process().status().unwrap_err().is_gone(), "it was released");
    assert_eq!(again.request("m", json!({ "a": 1 }), SECOND).unwrap()["a"], json!(1));
}

/// The mock has no timers: `forget` does what they do.
#[test]
fn a_server_that_was_ended_when_idle_is_started_anew() {
    let host = Host::new();
    host.command("server", |_| answering(|request| stateless(&request)));
    let server = connect();
    host.forget(server.process().id());
    assert_eq!(
        server.request("m", json!({}), SECOND).unwrap_err().kind().as_str(),
        "ended"
    );
    connect().request("m", json!({}), SECOND).unwrap();
    assert_eq!(host.runs().len(), 2);
}

/// An instance may end between two writes of a long request.
#[test]
fn a_request_that_was_not_finished_is_not_joined_to_the_next_one() {
    let host = Host::new();
    host.command("server", |_| answering(|request| stateless(&request)));
    let server = connect();
    let long = "x".repeat(3 << 20);
    let asked = server.request("m", json!({ "long": long }), SECOND).unwrap();
    assert_eq!(asked["long"].as_str().map(str::len), Some(long.len()));
    assert!(store::list("mcp-write ").unwrap().is_empty());
    // What such an instance leaves.
    let run = &host.runs()[0];
    store::set(
        &format!("mcp-write {}", run.label.as_ref().unwrap()),
        server.process().id().expose(),
    )
    .unwrap();
    let process = Process::attach(server.process().id()).unwrap();
    process.write(b"{\"jsonrpc\":\"2.0\",\"params\":\"xxx").unwrap();
    for n in 0..2 {
        assert_eq!(server.request("m", json!({ "n": n }), SECOND).unwrap()["n"], json!(n));
    }
    assert!(store::list("mcp-write ").unwrap().is_empty());
    let input = String::from_utf8(host.runs()[0].input.clone()).unwrap();
    assert_eq!(input.lines().filter(|line| line.ends_with("\"xxx")).count(), 1);
    assert!(!input.contains("\n\n"), "a line end is only sent behind a fragment");
}

/// The mock does not count reads; what is shown is that the place is kept, and used with no harm.
#[test]
fn a_recent_place_of_the_output_is_kept_once_there_was_much() {
    fn place() -> String {
        let key = &store::list("mcp mcp-s").unwrap()[0];
        let known: Value = store::get_json(key).unwrap().unwrap();
        known[0]["place"].as_str().unwrap().to_owned()
    }

    let host = Host::new();
    host.command("server", |_| answering(|request| stateless(&request)));
    let large = json!({ "large": "x".repeat(100_000) });
    for _ in 0..2 {
        connect().request("m", large.clone(), SECOND).unwrap();
    }
    assert_eq!(place(), "", "little is read again");
    for _ in 0..3 {
        connect().request("m", large.clone(), SECOND).unwrap();
    }
    let first = place();
    assert_ne!(first, "");
    for n in 0..200 {
        assert_eq!(
            connect().request("m", json!({ "n": n }), SECOND).unwrap()["n"],
            json!(n)
        );
    }
    assert_eq!(place(), first, "the store is not changed for little");
    for _ in 0..4 {
        connect().request("m", large.clone(), SECOND).unwrap();
    }
    assert_ne!(place(), first);
}
