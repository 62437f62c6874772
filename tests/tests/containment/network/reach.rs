//! Who reaches a tree in a private network, and what a tree there reaches.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{
    Confined, EgressPolicy, EgressRules, NetworkObserver, NetworkOutcome, Policy, PrivateNetwork, PublishAt,
};
use capsule_host::supervisor::SpawnRequest;

use super::support::{Heard, SERVER, ToTest, client, first_line, printed, python, rules, shouts, start};
use crate::harness::{AT_ONCE, Host, soon};

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

/// Sends a word to a name at a port, and prints the answer or the reason of the failure.
pub(super) fn asks(name: &str, port: u16) -> SpawnRequest {
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
    let again = format!("no name {}", libc::EAI_AGAIN);
    for (name, port, answer) in [
        ("one.example", 80, "HELLO"),
        ("one.example", 8443, "HELLO"),
        ("one.example", 443, &*refused),
        ("a.many.example", 443, "HELLO"),
        ("b.a.many.example", 443, "HELLO"),
        ("absent.many.example", 443, &no_name),
        ("failing.many.example", 443, &again),
        ("many.example", 443, &no_name),
        ("other.example", 80, &no_name),
        ("198.18.77.7", 80, &refused),
        ("192.0.2.1", 80, &libc::ENETUNREACH.to_string()),
    ] {
        assert_eq!(printed(&host, &owner, asks(name, port)).await, answer, "{name}:{port}");
    }
    let finished = |name: &str, port| (name.to_owned(), Some(port), NetworkOutcome::Finished);
    for one in [
        finished("one.example", 80),
        finished("one.example", 8443),
        finished("a.many.example", 443),
        ("other.example".into(), None, NetworkOutcome::NotAllowed),
    ] {
        // The last byte may be seen before the record is told.
        let is_told = || heard.all().contains(&one);
        assert!(soon(AT_ONCE, is_told).await, "{one:?}: {:?}", heard.all());
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
        tokio::task::spawn_blocking(meets)
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
