//! The main use: one instance starts a server, a second one reads its output, and a third one stops it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use capsule_host::supervisor::{Owner, Principal};
use serde_json::json;

use capsule_tests::capsules::{DEV_SERVER, Host, call, exists, try_call};

/// The answer to an HTTP client that is not part of the project.
fn fetch(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
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
    let pid = host.registry.scope(owner).list(None)[0].os_pid.unwrap();
    assert!(exists(pid));

    let nothing_yet = call(&capsule, "logs", json!({ "id": started["id"], "wait_ms": 0 })).await;
    assert_eq!(nothing_yet["lines"], json!([]));

    let blocking = tokio::task::spawn_blocking(move || fetch(port, "/hello.txt"));
    let answer = blocking.await.unwrap();
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

    let blocking = tokio::task::spawn_blocking(move || fetch(port, "/other.txt"));
    assert!(blocking.await.unwrap().contains("404"));

    // From that cursor on there is only the new line.
    let since = json!({ "id": started["id"], "cursor": logs["cursor"], "wait_ms": 30_000 });
    let logs = call(&capsule, "logs", since).await;
    assert_eq!(logs["lines"].as_array().unwrap().len(), 1, "{logs}");

    let stopped = call(&capsule, "stop", json!(null)).await;
    assert_eq!(stopped["exit"], json!({ "code": null, "signal": 15 }));
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free again");
    assert!(!exists(pid));
    let (verdict, data) = try_call("ada", &capsule, "status", json!({ "id": started["id"] }))
        .await
        .unwrap();
    assert_eq!(verdict, "abort", "{data}");
    assert!(data["message"].as_str().unwrap().contains("no-such-process"), "{data}");

    host.registry.shutdown().await;
    assert_eq!((host.registry.retained(), host.registry.tasks()), (0, 0));
}
