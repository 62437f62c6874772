//! A port that is published for a label: whose it is, as processes come and go.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use capsule_host::sandbox::{GuestPort, PrivateNetwork};
use capsule_host::supervisor::{Scope, SpawnRequest};

use super::carry::Publishing;
use super::support::{first_line, python, start, told};
use crate::harness::Process;

/// Once it is told to, listens on two ports that the kernel chooses, and answers each connection to the lower one with this name. A child
/// of it does so.
fn server(label: &str, name: &str) -> SpawnRequest {
    let script = format!(
        "import os, socket, sys
sys.stdin.readline()
one, other = sorted((socket.create_server(('', 0)) for _ in range(2)), key=lambda it: it.getsockname()[1])
print('up', flush=True)
if os.fork():
    one.close()
    os.wait()
while True:
    with one.accept()[0] as connection:
        connection.sendall(b'{name}')"
    );
    SpawnRequest {
        label: Some(label.into()),
        ..told(python(&script))
    }
}

async fn listens(process: &Process) {
    let told = process.scope.write_stdin(&process.id, b"\n".to_vec()).await;
    told.expect("it is there");
    assert_eq!(first_line(process).await, "up");
}

/// The answer to a connection to the published port; none if it was reset.
async fn answer(publishing: &Publishing) -> Option<String> {
    let mut client = publishing.connect();
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    });
    match read.await.expect("no panic") {
        Ok(answer) => Some(answer),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

async fn w2_the_port_of_a_label_is_that_of_the_owners_process_which_listens() {
    let publish = "0:web".parse().expect("a label");
    let publishing = Publishing::of(PrivateNetwork::default(), publish);
    let host = &publishing.host;
    let begin = async |scope: &Scope, label, name| start(host, scope, server(label, name)).await;
    assert_eq!(answer(&publishing).await, None, "no process");

    // Neither another process of the owner nor the same label of another owner.
    let scope = host.scope();
    let beside = begin(&scope, "web2", "beside").await;
    listens(&beside).await;
    let stranger = begin(&host.scope_of("another principal", "editor"), "web", "stranger").await;
    listens(&stranger).await;
    assert_eq!(answer(&publishing).await, None, "no process of the owner");

    let first = begin(&scope, "web", "first").await;
    assert_eq!(answer(&publishing).await, None, "it does not listen yet");
    let second = begin(&scope, "web", "second").await;
    listens(&second).await;
    assert_eq!(answer(&publishing).await.as_deref(), Some("second"));
    listens(&first).await;
    assert_eq!(answer(&publishing).await.as_deref(), Some("first"), "started before");
    let published = scope.status(&second.id).expect("it is there").published;
    let guests: Vec<_> = published.into_iter().map(|port| port.guest).collect();
    assert_eq!(guests, [GuestPort::Label("web".into())]);

    first.stop(Duration::ZERO).await;
    assert_eq!(answer(&publishing).await.as_deref(), Some("second"));
    second.stop(Duration::ZERO).await;
    assert_eq!(answer(&publishing).await, None, "it has ended");
    for process in [beside, stranger] {
        process.stop(Duration::ZERO).await;
    }
}

crate::who::each_user!(w2_the_port_of_a_label_is_that_of_the_owners_process_which_listens);
