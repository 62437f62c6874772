//! JSON lines and JSON-RPC, with a server that answers as a test says.

use capsule_sdk::jsonl::{Frame, Reader, Writer};
use capsule_sdk::mock::{Host, Script};
use capsule_sdk::rpc::{self, Client};
use capsule_sdk::{Command, Error, Process};
use serde_json::{Value, json};

use crate::SECOND;

/// Answers each pair of requests in the opposite order, and prints other lines in between.
fn backwards() -> Script {
    let mut held: Vec<Value> = Vec::new();
    Script::new().on_input(move |bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        held.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        let mut said = "a notice\n\n".to_owned();
        if held.len() == 2 {
            for request in held.drain(..).rev() {
                let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": request["params"] });
                said += &format!("{answer}\n");
            }
        }
        said.into_bytes()
    })
}

fn start(script: fn() -> Script) -> (Host, Process) {
    let host = Host::new();
    host.command("server", move |_| script());
    let server = Command::new("server").keep_stdin_open(true).spawn_persistent().unwrap();
    (host, server)
}

#[test]
fn answers_in_another_order_find_their_requests() {
    let (_host, server) = start(backwards);
    let mut client = Client::new(server.stdout(), server.stdin()).unwrap();
    let (one, two) = (client.send("m", &1).unwrap(), client.send("m", &2).unwrap());
    assert_eq!(client.wait(&one, SECOND), Ok(json!(1)));
    assert_eq!(client.wait(&two, SECOND), Ok(json!(2)));
    assert_eq!(client.wait(&two, SECOND), Err(Error::InvalidInput.into()));
    assert_eq!(
        client.take_incoming(),
        [Frame::Text("a notice".into()), Frame::Text("a notice".into())]
    );
}

/// Each instance sees the answers to both.
#[test]
fn two_instances_at_one_process_get_their_own_answers() {
    let (_host, server) = start(backwards);
    let mut one = Client::new(server.stdout(), server.stdin()).unwrap();
    let mut two = Client::new(server.stdout(), server.stdin()).unwrap();
    let first = one.send("m", &json!({ "of": "one" })).unwrap();
    assert!(one.wait(&first, SECOND).unwrap_err().is_timeout());
    assert_eq!(
        two.request("m", &json!({ "of": "two" }), SECOND),
        Ok(json!({ "of": "two" }))
    );
    assert_eq!(one.wait(&first, SECOND), Ok(json!({ "of": "one" })));
}

#[test]
fn an_error_an_end_and_a_request_of_the_server_are_told_apart() {
    let (host, server) = start(|| {
        Script::new()
            .stdout("{\"method\":\"roots\",\"id\":1}\n")
            .on_input(|bytes| {
                let request: Value = serde_json::from_slice(bytes).unwrap();
                let error = json!({ "code": -32601, "message": "no such method", "data": 7 });
                format!("[{}]\n", json!({ "id": request["id"], "error": error })).into_bytes()
            })
            .on_end_of_input(Script::new().exit(0))
    });
    let mut client = Client::new(server.stdout(), server.stdin()).unwrap();
    let refused = rpc::Error::Refused {
        code: -32601,
        message: "no such method".into(),
        data: Some(json!(7)),
    };
    assert_eq!(client.request("m", &(), SECOND), Err(refused));
    assert_eq!(
        client.take_incoming(),
        [Frame::Json(json!({ "method": "roots", "id": 1 }))]
    );
    client.respond(&json!(1), &json!({ "roots": [] })).unwrap();
    let late = client.send("m", &()).unwrap();
    client.wait(&late, SECOND).unwrap_err();
    server.close_stdin().unwrap();
    let input = String::from_utf8(host.runs()[0].input.clone()).unwrap();
    let second: Value = serde_json::from_str(input.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second, json!({ "jsonrpc": "2.0", "id": 1, "result": { "roots": [] } }));
    let mut reader = Reader::new(server.stdout());
    while reader.read(SECOND).unwrap().is_some() {}
    assert!(reader.into_inner().at_end().unwrap());
}

/// What another instance's write could split is refused, and nothing of it is written.
#[test]
fn a_message_above_one_write_needs_a_sole_writer() {
    let (host, server) = start(Script::new);
    let large = "x".repeat(1 << 20);
    assert_eq!(Writer::new(server.stdin()).write(&large), Err(Error::TooLarge));
    assert_eq!(host.runs()[0].input, b"");
    Writer::new(server.stdin()).sole_writer(true).write(&large).unwrap();
    assert_eq!(host.runs()[0].input.len(), large.len() + 3);
}

#[test]
fn a_message_above_the_limit_is_told_and_the_next_one_is_read() {
    let (_host, server) = start(|| Script::new().stdout("{\"a\":\"long one\"}\n{}\n").exit(0));
    let mut reader = Reader::new(server.stdout()).max_length(10);
    assert_eq!(reader.read(SECOND), Err(Error::LineTooLong { limit: 10 }));
    assert_eq!(reader.read(SECOND), Ok(Some(Frame::Json(json!({})))));
    assert_eq!(reader.read(SECOND), Ok(None));
}
