//! A private network: who shares it, what leads into it and out of it, and that nothing of it stays.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use capsule_host::sandbox::{
    Confined, ConnectError, Connection, Connector, EgressPolicy, EgressRules, Later, NetworkDecision, NetworkObserver,
    NetworkOutcome, Policy, PrivateNetwork, PublishAt, Target,
};
use capsule_host::supervisor::{Scope, SpawnRequest};

use crate::harness::{AllowAll, Host, PATIENCE, Process, command, watchdog};

/// A server on loopback that prints its port, and answers each connection with a word.
const SERVER: &str = "import socket
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as connection:
        connection.sendall(b'met')";

pub(crate) fn python(script: &str) -> SpawnRequest {
    command("/usr/bin/python3", &["-c", script])
}

fn client(port: u16) -> SpawnRequest {
    python(&format!(
        "import socket
try:
    print(socket.create_connection(('127.0.0.1', {port}), 5).recv(3).decode())
except OSError as error:
    print(error.errno)"
    ))
}

async fn start(host: &Host, scope: &Scope, request: SpawnRequest) -> Process {
    let id = watchdog(scope.spawn_persistent(request, &host.workspace, &mut AllowAll))
        .await
        .expect("a process");
    Process {
        id: id.expose().to_owned(),
        scope: scope.clone(),
    }
}

async fn printed(host: &Host, scope: &Scope, request: SpawnRequest) -> String {
    let output = watchdog(scope.spawn(request, &host.workspace, &mut AllowAll)).await;
    let output = output.expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The first line that a process prints.
pub(crate) async fn first_line(process: &Process) -> String {
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

async fn b1_trees_of_one_owner_share_a_network_and_no_other_tree_does() {
    let host = Host::new();
    let owner = host.scope();
    let server = start(&host, &owner, python(SERVER)).await;
    let port: u16 = first_line(&server).await.parse().expect("a port");
    assert_eq!(printed(&host, &owner, client(port)).await, "met");
    let refused = libc::ECONNREFUSED.to_string();
    for other in [
        host.scope_of("another principal", "capsule"),
        host.scope_of("principal", "another capsule"),
        host.anonymous(),
    ] {
        assert_eq!(printed(&host, &other, client(port)).await, refused);
    }
    server.stop(Duration::ZERO).await;
}

/// Connects every name to one server of the test, on the loopback of the host.
#[derive(Debug)]
struct ToTest(u16);

impl Connector for ToTest {
    fn connect<'a>(&'a self, _: Target<'a>) -> Later<'a, Result<Connection, ConnectError>> {
        Box::pin(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.0)).await;
            let stream = stream.map_err(|error| ConnectError::Unreachable(None, error))?;
            Ok(Connection {
                address: stream.peer_addr().ok(),
                stream: stream.into(),
            })
        })
    }

    fn is_there<'a>(&'a self, name: &'a str) -> Later<'a, io::Result<bool>> {
        Box::pin(std::future::ready(Ok(!name.starts_with("absent."))))
    }
}

/// Keeps every decision.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<NetworkDecision>>);

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
    fn all(&self) -> Vec<(String, Option<u16>, NetworkOutcome)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .iter()
            .map(|one| (one.name.clone(), one.port, one.outcome))
            .collect()
    }
}

/// Answers each connection with what it received, in capitals.
fn shouts() -> u16 {
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

fn rules(texts: &[&str]) -> EgressRules {
    EgressRules::new(texts.iter().map(|text| text.parse().expect("a rule"))).expect("few")
}

/// Sends a word to a name at a port, and prints the answer or the reason of the failure.
fn asks(name: &str, port: u16) -> SpawnRequest {
    python(&format!(
        "import socket
try:
    connection = socket.create_connection(('{name}', {port}), 5)
    connection.sendall(b'hello')
    connection.shutdown(socket.SHUT_WR)
    print(connection.recv(10).decode())
except socket.gaierror as error:
    print('no name', error.errno)
except OSError as error:
    print(error.errno)"
    ))
}

async fn w3_a_tree_reaches_the_names_that_rules_allow_and_no_others() {
    let heard = Arc::new(Heard::default());
    let policy = EgressPolicy::new(rules(&["one.example:80,8443", "*.many.example:443"]));
    let network = PrivateNetwork::default()
        .egress(policy.clone())
        .connector(Arc::new(ToTest(shouts())));
    let host = Host::with(
        Policy::new()
            .network(network)
            .observe_network(Arc::clone(&heard) as Arc<dyn NetworkObserver>),
    );
    let owner = host.scope();
    let refused = libc::ECONNREFUSED.to_string();
    let no_name = format!("no name {}", libc::EAI_NONAME);
    for (name, port, answer) in [
        ("one.example", 80, "HELLO"),
        ("one.example", 8443, "HELLO"),
        ("one.example", 443, &*refused),
        ("a.many.example", 443, "HELLO"),
        ("b.a.many.example", 443, "HELLO"),
        ("absent.many.example", 443, &no_name),
        ("many.example", 443, &no_name),
        ("other.example", 80, &no_name),
        ("198.18.77.7", 80, &refused),
        ("192.0.2.1", 80, &libc::ENETUNREACH.to_string()),
    ] {
        assert_eq!(printed(&host, &owner, asks(name, port)).await, answer, "{name}:{port}");
    }
    let finished = |name: &str, port| (name.to_owned(), Some(port), NetworkOutcome::Finished);
    let all = heard.all();
    for one in [
        finished("one.example", 80),
        finished("one.example", 8443),
        finished("a.many.example", 443),
        ("other.example".into(), None, NetworkOutcome::NotAllowed),
    ] {
        assert!(all.contains(&one), "{one:?}: {all:?}");
    }
    policy.set(EgressRules::default());
    assert_eq!(printed(&host, &owner, asks("one.example", 80)).await, no_name);
}

async fn w2_a_published_port_leads_to_the_tree_that_listens() {
    let network = PrivateNetwork::default().publish("0:8080".parse().expect("a port"));
    let policy = Policy::new().network(network.clone());
    let launcher = Arc::new(Confined::new(policy).expect("a confinement"));
    let host = Host::launching(launcher.clone());
    let owner = host.scope();
    let opened = launcher.open_network(owner.owner(), &network).expect("a network");
    let [published] = opened.published() else {
        panic!("{opened:?}");
    };
    let PublishAt::Loopback(address) = published.at else {
        panic!("{published:?}");
    };
    let meets = move || {
        let mut stream = TcpStream::connect(address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    let refused = meets().expect_err("nothing listens in the tree");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset);
    let server = start(&host, &owner, python(&SERVER.replace(", 0))", ", 8080))"))).await;
    assert_eq!(first_line(&server).await, "8080");
    assert_eq!(
        tokio::task::spawn_blocking(move || meets())
            .await
            .expect("a thread")
            .expect("an answer"),
        "met"
    );
    server.stop(Duration::ZERO).await;
    drop(opened);
    // Free as soon as that is dropped.
    drop(TcpListener::bind(address).expect("the address is free"));
}

crate::who::each_user!(
    b1_trees_of_one_owner_share_a_network_and_no_other_tree_does,
    w2_a_published_port_leads_to_the_tree_that_listens,
    w3_a_tree_reaches_the_names_that_rules_allow_and_no_others,
);
