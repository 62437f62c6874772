//! The main use: one instance starts a server, a second one reads its output, and a third one stops it.

use capsule_host::supervisor::{Owner, Principal, Scope};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use capsule_tests::capsules::{DEV_SERVER, Host, call, exists, try_call};
use capsule_tests::watchdog;

/// The answer to a plain HTTP client of the host, by a socket in the server's network.
async fn fetch(scope: &Scope, id: &str, port: u16, path: &str) -> String {
    let mut stream = scope.connect(id, port).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    watchdog(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_one_instance_starts_a_server_a_second_reads_its_log_a_third_stops_it() {
    let host = Host::new();
    std::fs::write(host.workspace.path().join("hello.txt"), "real bytes\n").unwrap();
    let capsule = host.load_file("dev-server", DEV_SERVER).await;

    let started = call(&capsule, "start", json!({ "port": 0 })).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    let owner = Owner {
        principal: Principal::Named("ada".into()),
        capsule: "dev-server".into(),
    };
    let scope = host.registry.scope(owner);
    let pid = scope.list(None)[0].os_pid.unwrap();
    let id = started["id"].as_str().unwrap();
    assert!(exists(pid));

    let nothing_yet = call(&capsule, "logs", json!({ "id": started["id"], "wait_ms": 0 })).await;
    assert_eq!(nothing_yet["lines"], json!([]));

    let answer = fetch(&scope, id, port, "/hello.txt").await;
    assert!(
        answer.contains("200 OK") && answer.ends_with("real bytes\n"),
        "{answer}"
    );

    let since = json!({ "id": started["id"], "cursor": nothing_yet["cursor"], "wait_ms": 30_000 });
    let logs = call(&capsule, "logs", since).await;
    let lines: Vec<_> = logs["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("\"GET /hello.txt HTTP/1.0\" 200"), "{lines:?}");
    assert_eq!(logs["bytes_dropped"], 0);

    assert!(fetch(&scope, id, port, "/other.txt").await.contains("404"));

    // From that cursor on there is only what is new: a server may tell a failure in lines of its own.
    let since = json!({ "id": started["id"], "cursor": logs["cursor"], "wait_ms": 30_000 });
    let logs = call(&capsule, "logs", since).await;
    let text = logs["lines"].to_string();
    assert!(text.contains("404") && !text.contains("hello.txt"), "{logs}");

    let stopped = call(&capsule, "stop", json!(null)).await;
    assert_eq!(stopped["exit"], json!({ "code": null, "signal": 15 }));
    assert!(scope.network().is_none(), "the network outlived its last process");
    assert!(!exists(pid));
    let (verdict, data) = try_call("ada", &capsule, "status", json!({ "id": started["id"] }))
        .await
        .unwrap();
    assert_eq!(verdict, "abort", "{data}");
    assert!(data["message"].as_str().unwrap().contains("no-such-process"), "{data}");

    host.registry.shutdown().await;
    assert_eq!((host.registry.retained(), host.registry.tasks()), (0, 0));
}
