//! A private network: who shares it, what leads into it and out of it, and that nothing of it stays.

use std::time::Duration;

use capsule_host::supervisor::{Scope, SpawnRequest};

use crate::harness::{AllowAll, Host, PATIENCE, Process, command, watchdog};

/// A server on loopback that prints its port, and answers each connection with a word.
const SERVER: &str = "import socket
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as connection:
        connection.sendall(b'met')";

fn python(script: &str) -> SpawnRequest {
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
async fn first_line(process: &Process) -> String {
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

crate::who::each_user!(b1_trees_of_one_owner_share_a_network_and_no_other_tree_does);
