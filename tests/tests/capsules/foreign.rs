//! A capsule written with the published `astrid-sdk`, built for `wasm32-unknown-unknown`, made a component, and run
//! unmodified. No code in it knows this host.

use std::time::{Duration, Instant};

use capsule_host::runtime::{Capsule, Grants, Interceptor, LoadOptions, Topics};
use capsule_host::sandbox::Workspace;
use capsule_host::supervisor::Principal;
use serde_json::{Value, json};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldItem;

use capsule_tests::capsules::{FOREIGN_CORE, Host, exists};

fn component() -> Vec<u8> {
    let module = std::fs::read(FOREIGN_CORE).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

async fn load(host: &Host) -> Capsule {
    let patterns = |all: &[&str]| all.iter().map(|pattern| pattern.parse().unwrap()).collect();
    let options = LoadOptions {
        grants: Grants {
            commands: ["sh", "cat", "wc"].map(String::from).into(),
            persistent: true,
            topics: Topics {
                publish: patterns(&["tool.v1.*"]),
                subscribe: patterns(&["foreign.v1.*", "tool.v1.*"]),
                ..Topics::default()
            },
            ..Grants::default()
        },
        interceptors: vec![Interceptor {
            topic: "astrid.process.v1.exited.woken".parse().unwrap(),
            action: "on-exit".into(),
        }],
        ..LoadOptions::new("foreign", Workspace::open(host.workspace.path()).unwrap())
    };
    host.runtime.load(options, &component()).await.unwrap()
}

/// The result's data. That SDK returns nothing for `null`, and plain text for an error.
async fn ask(capsule: &Capsule, action: &str, payload: Value) -> Result<Value, String> {
    let ada = Principal::Named("ada".into());
    let result = capsule.call(ada, action, payload.to_string().into_bytes()).await;
    let result = result.unwrap_or_else(|error| panic!("{action}: {error:?}"));
    match &*result.action {
        "continue" => Ok(result
            .data
            .map_or(Value::Null, |data| serde_json::from_str(&data).unwrap())),
        "deny" => Err(result.data.unwrap()),
        other => panic!("{action}: {other}: {:?}", result.data),
    }
}

fn shell(script: &str) -> Value {
    json!({ "cmd": "sh", "args": ["-c", script] })
}

fn with(mut spawn: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        spawn[key] = value.clone();
    }
    spawn
}

#[test]
fn it_is_a_real_foreigner() {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&component()).unwrap() else {
        panic!("no component");
    };
    let mut imports: Vec<String> = resolve.worlds[world]
        .imports
        .values()
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => resolve.id_of(*id),
            WorldItem::Function(_) | WorldItem::Type { .. } => None,
        })
        .collect();
    imports.sort();
    // Neither `wasi:*` nor any other of the many packages that the SDK can import.
    assert_eq!(
        imports,
        [
            "astrid:guest/lifecycle@1.0.0",
            "astrid:io/poll@1.0.0",
            "astrid:ipc/host@1.0.0",
            "astrid:process/host@1.1.0",
            "astrid:sys/host@1.0.0",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_runs_commands_to_their_end_and_understands_refusals() {
    let host = Host::new();
    let capsule = load(&host).await;
    let spawn = with(
        shell("cat; echo err >&2; printf '%s' \"$A\"; exit 3"),
        json!({ "stdin": "in ", "env": [["A", "ü"]] }),
    );
    let ran = ask(&capsule, "run", spawn).await;
    let expected = json!({ "code": 3, "signal": null, "stdout": "in ü", "stderr": "err\n" });
    assert_eq!(ran, Ok(expected));
    let ran = ask(&capsule, "run", shell("kill -9 $$")).await.unwrap();
    assert_eq!((&ran["code"], &ran["signal"]), (&json!(null), &json!(9)));

    for (spawn, told) in [
        (json!({ "cmd": "python3" }), "ErrorCode::CapabilityDenied"),
        (json!({ "cmd": "" }), "ErrorCode::InvalidInput"),
        (
            with(shell(":"), json!({ "env": [["PATH", "x"]] })),
            "ErrorCode::InvalidInput",
        ),
        (with(shell(":"), json!({ "cwd": ".." })), "ErrorCode::BoundaryEscape"),
        (with(shell(":"), json!({ "cwd": "gone" })), "ErrorCode::InvalidInput"),
    ] {
        let error = ask(&capsule, "run", spawn.clone()).await.unwrap_err();
        assert_eq!(error, format!("Host function call failed: {told}"), "{spawn}");
    }
    let error = ask(&capsule, "no-such-action", json!(null)).await.unwrap_err();
    assert_eq!(error, "unknown hook action: no-such-action");
    // The limits reach the kernel.
    let ran = ask(&capsule, "run", with(shell("ulimit -n"), json!({ "open_files": 64 }))).await;
    assert_eq!(ran.unwrap()["stdout"], "64\n");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_keeps_a_process_from_call_to_call() {
    let host = Host::new();
    let capsule = load(&host).await;
    let spawn = json!({ "cmd": "cat", "keep_stdin_open": true, "label": "parrot" });
    let id = ask(&capsule, "start", spawn).await.unwrap();
    let at = |more: Value| with(json!({ "id": id, "ms": 30_000 }), more);
    let listed = ask(&capsule, "list", json!(null)).await.unwrap();
    let info = json!({
        "id": id, "label": "parrot", "command": "cat", "has_pid": true, "exit": null, "stdin_open": true,
    });
    assert_eq!(listed, json!([info]));
    assert_eq!(ask(&capsule, "status", at(json!({}))).await, Ok(info.clone()));
    let many = ask(&capsule, "status-many", json!([id, "gone"])).await;
    assert_eq!(many, Ok(json!([info])), "an unknown id is left out");

    let text = "first\nsecond — ü\n";
    assert_eq!(
        ask(&capsule, "write", at(json!({ "text": text }))).await,
        Ok(json!(text.len()))
    );
    assert_eq!(ask(&capsule, "close", at(json!({}))).await, Ok(json!(null)));
    let error = ask(&capsule, "write", at(json!({ "text": "late" }))).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::Closed"), "{error}");
    assert_eq!(ask(&capsule, "wait", at(json!({}))).await, Ok(json!([0, null])));

    // In pieces, by cursors that the test kept as JSON.
    let (mut all, mut cursor) = (Vec::<u8>::new(), json!({ "token": null }));
    let last = loop {
        let chunk = ask(&capsule, "read", json!({ "id": id, "cursor": cursor, "max": 6 })).await;
        let chunk = chunk.unwrap();
        all.extend(serde_json::from_value::<Vec<u8>>(chunk["data"].clone()).unwrap());
        cursor = chunk["next"].clone();
        if chunk["eof"] == true {
            break chunk;
        }
    };
    assert_eq!((&*all, &last["dropped"]), (text.as_bytes(), &json!(0)));
    let forged = json!({ "id": id, "cursor": { "token": "0".repeat(52) }, "max": 6 });
    let error = ask(&capsule, "read", forged).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::NoSuchProcess"), "{error}");
    let wrong_stream = json!({ "id": id, "cursor": cursor, "stderr": true, "max": 6 });
    let error = ask(&capsule, "read", wrong_stream).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::NoSuchProcess"), "{error}");

    // The other way of reading, which removes what it returns.
    let logs = ask(&capsule, "read-logs", at(json!({}))).await;
    assert_eq!(logs, Ok(json!([text, "", false, [0, null]])));
    assert_eq!(ask(&capsule, "release", at(json!({}))).await, Ok(json!(null)));
    let error = ask(&capsule, "status", at(json!({}))).await.unwrap_err();
    assert_eq!(error, "Host function call failed: ErrorCode::NoSuchProcess");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_signals_polls_and_stops() {
    let host = Host::new();
    let capsule = load(&host).await;
    let script = "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let id = ask(&capsule, "start", shell(script)).await.unwrap();
    loop {
        let chunk = ask(&capsule, "read", json!({ "id": id, "max": 100 })).await.unwrap();
        if chunk["text"] == "ready\n" {
            break;
        }
    }
    assert_eq!(ask(&capsule, "signal", json!({ "id": id })).await, Ok(json!(null)));
    let polled = ask(&capsule, "poll", json!({ "id": id })).await;
    assert_eq!(polled, Ok(json!(["ready\ncaught\n", [7, null]])));

    let id = ask(&capsule, "start", shell("exec sleep 1000")).await.unwrap();
    let error = ask(&capsule, "wait", json!({ "id": id, "ms": 1 })).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::WaitTimeout"), "{error}");
    let error = ask(&capsule, "release", json!({ "id": id })).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::InvalidInput"), "{error}");
    let stopped = ask(&capsule, "stop", json!({ "id": id, "ms": 5000 })).await;
    assert_eq!(stopped, Ok(json!([null, 15])));
    let error = ask(&capsule, "stop", json!({ "id": id, "ms": 5000 }))
        .await
        .unwrap_err();
    assert!(error.ends_with("ErrorCode::NoSuchProcess"), "{error}");

    let loud = with(shell("yes | head -c 100000"), json!({ "backpressure": true }));
    let id = ask(&capsule, "start", loud).await.unwrap();
    let (mut length, mut cursor) = (0, json!({ "token": null }));
    loop {
        let ask_for = json!({ "id": id, "cursor": cursor, "max": 5000 });
        let chunk = ask(&capsule, "read", ask_for).await.unwrap();
        length += chunk["text"].as_str().unwrap().len();
        cursor = chunk["next"].clone();
        assert_eq!(chunk["dropped"], 0, "under backpressure nothing is lost");
        if chunk["eof"] == true {
            break;
        }
    }
    assert_eq!(length, 100_000);
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_has_children_for_the_length_of_a_call() {
    let host = Host::unconfined();
    let capsule = load(&host).await;
    let script = "while read -r line; do echo \"got $line\"; done; echo over; exit 4";
    let dialogue = json!({
        "spawn": with(shell(script), json!({ "keep_stdin_open": true })), "says": ["one\n", "two\n"],
    });
    let heard = ask(&capsule, "dialogue", dialogue).await.unwrap();
    assert_eq!(heard["answers"], json!(["got one\n", "got two\n"]));
    let rest = json!({ "code": 4, "signal": null, "stdout": "over\n", "stderr": "" });
    assert_eq!(heard["rest"], rest);
    assert!(heard["pid"].as_u64().unwrap() > 1);

    assert_eq!(ask(&capsule, "background", shell("exit 9")).await, Ok(json!([9, null])));
    let killed = ask(&capsule, "kill", shell("exec sleep 1000")).await.unwrap();
    let expected = json!({ "killed": true, "exit": [null, 9], "stdout": "", "again": false });
    assert_eq!(killed, expected);
    // The guest forgot the handle, and the process ended with the instance.
    let pid = ask(&capsule, "leave", shell("exec sleep 1000")).await.unwrap();
    let pid = u32::try_from(pid.as_u64().unwrap()).unwrap();
    let began = Instant::now();
    while exists(pid) {
        assert!(began.elapsed() < Duration::from_secs(30), "{pid} outlives its instance");
        tokio::task::yield_now().await;
    }
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_injects_files() {
    let host = Host::new();
    let capsule = load(&host).await;
    let script = "cat \"$POLICY\" /etc/foreign/rules; (echo x >> \"$POLICY\") 2>/dev/null || echo read-only";
    let files = json!({ "env_files": [["POLICY", "one\n"]], "files": [["/etc/foreign/rules", "two\n"]] });
    let ran = ask(&capsule, "run", with(shell(script), files)).await.unwrap();
    assert_eq!(ran["stdout"], "one\ntwo\nread-only\n", "{ran}");
    let twice = json!({ "env_files": [["POLICY", "one"], ["POLICY", "two"]] });
    let error = ask(&capsule, "run", with(shell(script), twice)).await.unwrap_err();
    assert!(error.ends_with("ErrorCode::InvalidInput"), "{error}");
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_capsule_hears_of_an_end_and_is_woken_by_one() {
    let host = Host::new();
    let capsule = load(&host).await;
    for suffix in [Value::Null, json!("build.x")] {
        let watched = json!({ "spawn": shell("exit 5"), "suffix": suffix });
        let told = ask(&capsule, "watch", watched).await.unwrap();
        let id = told["id"].as_str().unwrap();
        let suffix = suffix.as_str().unwrap_or(id);
        assert_eq!(told["topics"], json!([format!("astrid.process.v1.exited.{suffix}")]));
        let payload = json!({ "id": id, "exit_code": 5, "signal": null, "reason": "self-exit", "cause": null });
        assert_eq!(told["payloads"], json!([payload]));
    }
    let error = ask(&capsule, "hear-nothing", json!(null)).await.unwrap_err();
    assert!(error.contains("Timeout"), "as that SDK documents: {error}");

    // When this process ends, no instance exists and no call waits.
    let watched = json!({ "spawn": shell("exit 6"), "suffix": "woken" });
    let id = ask(&capsule, "start-watched", watched).await.unwrap();
    let note = host.workspace.path().join("note");
    let began = Instant::now();
    let note: Value = loop {
        if let Ok(text) = std::fs::read_to_string(&note) {
            break serde_json::from_str(&text).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "none was woken");
        tokio::task::yield_now().await;
    };
    assert_eq!((&note["id"], &note["exit_code"]), (&id, &json!(6)));
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_tool_answers_on_its_topic() {
    let host = Host::new();
    let capsule = load(&host).await;
    let request = json!({ "call_id": "7", "tool_name": "count_words", "arguments": { "text": "three small words" } });
    assert_eq!(
        ask(&capsule, "tool_execute_count_words", request).await,
        Ok(json!(null))
    );
    let described = ask(&capsule, "tool_describe", json!(null)).await.unwrap();
    assert_eq!(described["tools"][0]["name"], "count_words");
    host.registry.shutdown().await;
}
