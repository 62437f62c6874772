//! What the tests of private networks share: what a tree's names lead to, what is heard of it, and commands that use it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};

use capsule_host::sandbox::{
    BoxFuture, ConnectError, Connection, Connector, EgressRules, NetworkDecision, NetworkObserver, NetworkOutcome,
    Target,
};
use capsule_host::supervisor::{Scope, SpawnRequest};

use crate::harness::{AllowAll, Host, PATIENCE, Process, code, command, watchdog};

/// A server on loopback that prints its port, and answers each connection with a word.
pub(super) const SERVER: &str = "import socket
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as connection:
        connection.sendall(b'met')";

pub(super) fn python(script: &str) -> SpawnRequest {
    command("/usr/bin/python3", &["-c", script])
}

pub(super) fn client(port: u16) -> SpawnRequest {
    python(&format!(
        "import socket
try:
    print(socket.create_connection(('127.0.0.1', {port}), 5).recv(3).decode())
except OSError as error:
    print(error.errno)"
    ))
}

pub(super) async fn start(host: &Host, scope: &Scope, request: SpawnRequest) -> Process {
    let id = watchdog(scope.spawn_persistent(request, &host.workspace, &mut AllowAll))
        .await
        .expect("a process");
    Process {
        id: id.expose().to_owned(),
        scope: scope.clone(),
    }
}

pub(super) async fn printed(host: &Host, scope: &Scope, request: SpawnRequest) -> String {
    let output = watchdog(scope.spawn(request, &host.workspace, &mut AllowAll)).await;
    let output = output.expect("it runs");
    assert_eq!(output.exit, code(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The first line that a process prints.
pub(super) async fn first_line(process: &Process) -> String {
    let line = async {
        loop {
            let output = process.output();
            if let Some((line, _)) = output.split_once('\n') {
                return line.to_owned();
            }
            crate::harness::breathe().await;
        }
    };
    tokio::time::timeout(PATIENCE, line).await.expect("a line")
}

/// Connects every name to one server of the test, on the loopback of the host.
#[derive(Debug)]
pub(super) struct ToTest(pub(super) u16);

impl Connector for ToTest {
    fn connect<'a>(&'a self, _: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.0)).await;
            let stream = stream.map_err(|error| ConnectError::Unreachable(None, error))?;
            Ok(Connection {
                address: stream.peer_addr().ok(),
                stream: stream.into(),
            })
        })
    }

    fn exists<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<bool>> {
        Box::pin(std::future::ready(if name.starts_with("failing.") {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(!name.starts_with("absent."))
        }))
    }
}

/// Keeps every decision.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Vec<NetworkDecision>>);

impl NetworkObserver for Heard {
    fn decided(&self, decision: &NetworkDecision) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(decision.clone());
    }
}

impl Heard {
    /// Name, port and outcome of every decision so far.
    pub(super) fn all(&self) -> Vec<(String, Option<u16>, NetworkOutcome)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .iter()
            .map(|one| (one.name.clone(), one.port, one.outcome))
            .collect()
    }
}

/// Answers each connection with what it received, in capitals.
pub(super) fn shouts() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut received = String::new();
            let _reset = connection.read_to_string(&mut received);
            let _reset = connection.write_all(received.to_uppercase().as_bytes());
        }
    });
    port
}

pub(super) fn rules(texts: &[&str]) -> EgressRules {
    EgressRules::new(texts.iter().map(|text| text.parse().expect("a rule"))).expect("few")
}

/// A web server for these files, which are named by their paths. What follows a question mark is ignored.
pub(super) fn http<const N: usize>(files: [(&str, Vec<u8>); N]) -> u16 {
    serves(files.map(|(path, content)| (path.to_owned(), content)).into())
}

/// The same, of any number.
pub(super) fn serves(files: BTreeMap<String, Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // This process may have no descriptor left for it.
            let Ok(connection) = connection else { continue };
            let files = files.clone();
            std::thread::spawn(move || drop(respond(&connection, &files)));
        }
    });
    port
}

/// Answers one request.
fn respond(mut connection: &TcpStream, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let (status, content) = match files.get(path) {
        Some(content) => ("200 OK", content.as_slice()),
        None => ("404 Not Found", &b"absent"[..]),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    connection.write_all(&[head.as_bytes(), content].concat())
}

/// Sends back what it receives.
pub(super) fn echoes() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { return };
            std::thread::spawn(move || drop(io::copy(&mut &connection, &mut &connection)));
        }
    });
    port
}

/// A command that the test tells to go on, by its stdin.
pub(super) fn told(request: SpawnRequest) -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..request
    }
}
