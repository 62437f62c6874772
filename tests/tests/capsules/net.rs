//! The private network of a capsule's processes, as a component uses it: `capsule:net` (contract W2).

use std::io::{Read, Write};
use std::net::TcpStream;

use capsule_host::runtime::{Capsule, Grants};
use capsule_host::sandbox::{Network, PrivateNetwork};
use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call, call_as};

/// Answers each request with its method, path, body and one header, and misbehaves at two paths.
const SERVER: &str = "import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self):
        if self.path == '/never':
            time.sleep(600)
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        text = ' '.join([self.command, self.path, body.decode(), self.headers['X-Of-Test'] or '', self.headers['Host']]).encode()
        self.send_response(203)
        self.send_header('Content-Type', 'text/of-test')
        self.send_header('Content-Length', str(1 << 21 if self.path == '/large' else len(text)))
        self.end_headers()
        self.wfile.write(bytes(1 << 21) if self.path == '/large' else text)
    do_GET = do_PUT = answer
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Handler).serve_forever()";

async fn load(host: &Host, name: &str, network: Network) -> Capsule {
    let grants = Grants {
        commands: vec!["python3".into()],
        persistent: true,
        network: Some(network),
        ..Grants::default()
    };
    let component = std::fs::read(TEST_GUEST).unwrap();
    host.load_granted(name, grants, &component).await
}

async fn fetch(capsule: &Capsule, method: &str, port: u16, path: &str, ms: u64) -> Value {
    let request = json!({ "method": method, "port": port, "path": path, "body": "sent", "ms": ms });
    call(capsule, "fetch", request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_capsule_waits_for_its_server_and_asks_it() {
    let host = Host::new();
    let private = PrivateNetwork::default().publish("0:8080".parse().unwrap());
    let capsule = load(&host, "server", private.into()).await;
    assert_eq!(
        fetch(&capsule, "GET", 8080, "/", 60_000).await["err"]["kind"],
        "no-network"
    );
    assert_eq!(call(&capsule, "published", json!({})).await, json!([]));

    let id = call(&capsule, "start", json!({ "cmd": "python3", "args": ["-c", SERVER] })).await["ok"].clone();
    let wait = json!({ "id": id, "port": 8080, "ms": 60_000 });
    assert_eq!(call(&capsule, "wait-for-port", wait).await, json!({ "ok": null }));
    let wait = json!({ "id": id, "port": 8081, "ms": 1 });
    assert_eq!(
        call(&capsule, "wait-for-port", wait).await["err"]["kind"],
        "not-listening"
    );
    assert_eq!(
        call(&capsule, "ports", json!({ "id": id })).await,
        json!({ "ok": [8080] })
    );

    let answer = json!({ "status": 203, "kind": "text/of-test", "body": "PUT /a?b=c sent 1 localhost:8080" });
    assert_eq!(
        fetch(&capsule, "PUT", 8080, "/a?b=c", 60_000).await,
        json!({ "ok": answer })
    );
    for (method, port, path, ms, kind) in [
        ("GET", 8080, "/never", 50, "timeout"),
        ("GET", 8080, "/large", 60_000, "too-large"),
        ("GET", 8081, "/", 60_000, "not-listening"),
        ("GET", 8080, "no-path", 60_000, "invalid-input"),
        // It has no such method, and says so.
        ("NONE", 8080, "/", 60_000, ""),
    ] {
        let fetched = fetch(&capsule, method, port, path, ms).await;
        let found = fetched["err"]["kind"].as_str().unwrap_or_default();
        assert_eq!(found, kind, "{method} {port} {path}: {fetched}");
    }

    let published = call(&capsule, "published", json!({})).await;
    assert_eq!(published[0][0], 8080, "{published}");
    let mut stream = TcpStream::connect(published[0][1].as_str().unwrap()).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        stream.write_all(b"GET /published HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    let answer = answer.await.unwrap().unwrap();
    assert!(answer.ends_with("GET /published   here"), "{answer}");

    // Another principal has a network of its own, and so has another capsule.
    let request = json!({ "method": "GET", "port": 8080, "path": "/", "ms": 60_000 });
    let fetched = call_as("bob", &capsule, "fetch", request).await;
    assert_eq!(fetched["err"]["kind"], "no-network");
    let other = load(&host, "other", Network::None).await;
    assert_eq!(
        fetch(&other, "GET", 8080, "/", 60_000).await["err"]["kind"],
        "no-network"
    );
    let none = call(
        &other,
        "start",
        json!({ "cmd": "python3", "args": ["-c", "import time; time.sleep(600)"] }),
    )
    .await;
    let ports = call(&other, "ports", json!({ "id": none["ok"] })).await;
    assert_eq!(ports["err"]["kind"], "no-network");

    capsule.unload().await;
    host.registry.shutdown().await;
}
