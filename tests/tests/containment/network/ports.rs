//! The ports of a tree: which are its own, and waiting for one.

use std::time::Duration;

use capsule_host::sandbox::{GuestPort, Network, NetworkLimits, Policy, PrivateNetwork};
use capsule_host::supervisor::{PortError, Scope, Signal, SpawnRequest};
use tokio::io::AsyncReadExt;

use super::support::{first_line, python};
use crate::harness::{AllowAll, Host, PATIENCE, watchdog};

/// Listens on a port itself, and has a child listen on another that it does not hold. Prints both. Other sockets of it do not
/// listen, or listen where neither 127.0.0.1 nor ::1 leads.
const TWO_PORTS: &str = "import os, socket, time
own = socket.create_server(('127.0.0.1', 0))
other = socket.create_server(('::', 0), family=socket.AF_INET6)
elsewhere = socket.create_server(('127.0.0.2', 0))
silent = socket.socket()
silent.bind(('127.0.0.1', 0))
outgoing = socket.create_connection(own.getsockname())
ports = [one.getsockname()[1] for one in (own, other)]
if os.fork() == 0:
    own.close()
    other.accept()[0].sendall(b'met')
    time.sleep(600)
other.close()
print(*ports, flush=True)
time.sleep(600)";

/// Listens on all addresses, and prints the port.
const ONE_PORT: &str = "import socket, time
listener = socket.create_server(('', 0))
print(listener.getsockname()[1], flush=True)
time.sleep(600)";

/// Listens on port 8080 once it is told to, and ends when it is told again.
const TOLD: &str = "import socket, sys
sys.stdin.readline()
listener = socket.create_server(('127.0.0.1', 8080))
sys.stdin.readline()";

/// Ends when its stdin does, and listens on nothing.
const SILENT: &str = "import sys
sys.stdin.read()";

fn told(script: &str) -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..python(script)
    }
}

async fn ports(scope: &Scope, id: &str) -> Result<Vec<u16>, PortError> {
    watchdog(scope.ports(id)).await
}

async fn w2_ports_are_those_on_which_the_tree_itself_listens() {
    let host = Host::new();
    let (two, one) = (host.start(python(TWO_PORTS)).await, host.start(python(ONE_PORT)).await);
    let numbers = |line: String| -> Vec<u16> { line.split(' ').map(|port| port.parse().expect("a port")).collect() };
    let (mut of_two, of_one) = (numbers(first_line(&two).await), numbers(first_line(&one).await));
    let in_child = of_two.get(1).copied().expect("two ports");
    of_two.sort_unstable();
    assert_eq!(ports(&two.scope, &two.id).await.as_ref(), Ok(&of_two));
    assert_eq!(ports(&one.scope, &one.id).await.as_ref(), Ok(&of_one));

    let mut met = [0; 3];
    let mut stream = watchdog(two.scope.connect(&two.id, in_child))
        .await
        .expect("a connection");
    watchdog(stream.read_exact(&mut met)).await.expect("an answer");
    assert_eq!(&met, b"met");
    let refused = watchdog(two.scope.connect(&two.id, 1)).await;
    assert_eq!(refused.expect_err("nothing listens there"), PortError::NotListening);

    let stranger = host.scope_of("another principal", "editor");
    assert_eq!(ports(&stranger, &two.id).await, Err(PortError::NoSuchProcess));
    two.scope.signal(&two.id, Signal::Term).await.expect("it runs");
    two.exit().await;
    assert_eq!(ports(&two.scope, &two.id).await, Err(PortError::Exited));
    one.stop(Duration::ZERO).await;
}

async fn a1_a_handle_has_the_ports_of_its_process() {
    let host = Host::new();
    let scope = host.scope();
    let started = watchdog(scope.spawn_background(told(TOLD), &host.workspace, &mut AllowAll)).await;
    let handle = started.expect("a process");
    assert_eq!(watchdog(handle.ports()).await, Ok(vec![]));
    let tell = handle.write_stdin(b"\n".to_vec());
    let (waited, written) = watchdog(async { tokio::join!(handle.wait_for_port(8080, PATIENCE), tell) }).await;
    assert_eq!((waited, written), (Ok(()), Ok(1)));
    assert_eq!(watchdog(handle.ports()).await, Ok(vec![8080]));
    let connected = watchdog(handle.connect(8080)).await;
    assert!(connected.is_ok(), "{connected:?}");
    watchdog(handle.kill()).await.expect("it runs");
    assert_eq!(watchdog(handle.ports()).await, Err(PortError::Exited));
    let waited = watchdog(handle.wait_for_port(8080, PATIENCE)).await;
    assert_eq!(waited, Err(PortError::Exited));
    let refused = watchdog(handle.connect(8080)).await;
    assert_eq!(refused.expect_err("it has ended"), PortError::Exited);
}

/// The host's own connections have places like those that are published, and a request of a guest is one of them.
async fn w5_the_hosts_own_connections_to_a_port_are_bounded() {
    let limits = NetworkLimits {
        connections: 2,
        ..NetworkLimits::default()
    };
    let host = Host::with(Policy::new().network(PrivateNetwork::default().limits(limits)));
    let process = host.start(python(ONE_PORT)).await;
    let port = first_line(&process).await.parse().expect("a port");
    let connect = async || watchdog(process.scope.connect(&process.id, port)).await;
    let held = [connect().await.expect("a place"), connect().await.expect("a place")];
    let refused = connect().await.expect_err("two are the limit");
    assert_eq!((&refused, refused.kind()), (&PortError::LimitReached, "limit-reached"));
    drop(held);
    // A connection that fails takes none for longer.
    for _ in 0..5 {
        let refused = watchdog(process.scope.connect(&process.id, 1)).await;
        assert_eq!(refused.expect_err("nothing listens there"), PortError::NotListening);
    }
    assert!(connect().await.is_ok());
    process.stop(Duration::ZERO).await;
}

async fn w2_trees_without_a_private_network_have_no_ports() {
    for network in [Network::None, Network::Host] {
        let host = Host::with(Policy::new().network(network.clone()));
        let process = host.start(told(SILENT)).await;
        assert_eq!(
            ports(&process.scope, &process.id).await,
            Err(PortError::NoNetwork),
            "{network:?}"
        );
        process.stop(Duration::ZERO).await;
    }
}

async fn w2_wait_for_port_ends_with_the_listener_the_time_or_the_process() {
    let host = Host::new();
    let server = host.start(told(TOLD)).await;
    let wait = |time| server.scope.wait_for_port(&server.id, 8080, time);
    assert_eq!(watchdog(wait(Duration::ZERO)).await, Err(PortError::NotListening));
    assert_eq!(
        watchdog(wait(Duration::from_millis(30))).await,
        Err(PortError::NotListening)
    );
    let tell = || server.scope.write_stdin(&server.id, b"\n".to_vec());
    let (waited, written) = watchdog(async { tokio::join!(wait(PATIENCE), tell()) }).await;
    assert_eq!((waited, written), (Ok(()), Ok(1)));
    let connected = watchdog(server.scope.connect(&server.id, 8080)).await;
    assert!(connected.is_ok(), "{connected:?}");

    // Another tree of the owner is in the same network, and does not listen itself.
    let silent = host.start(told(SILENT)).await;
    let close = async { silent.scope.close_stdin(&silent.id) };
    let wait = silent.scope.wait_for_port(&silent.id, 8080, PATIENCE);
    let (waited, closed) = watchdog(async { tokio::join!(wait, close) }).await;
    assert_eq!((waited, closed), (Err(PortError::Exited), Ok(())));
    server.stop(Duration::ZERO).await;
}

async fn w2_a_process_tells_the_published_ports_of_its_network_while_it_runs() {
    let policy = PrivateNetwork::default().publish("0:8080".parse().expect("a port"));
    let host = Host::with(Policy::new().network(policy));
    let process = host.start(told(SILENT)).await;
    let published = || process.scope.status(&process.id).expect("it is there").published;
    let network = process.scope.network().expect("a network");
    assert_eq!(published(), network.published());
    assert_eq!(
        published().first().map(|one| one.guest.clone()),
        Some(GuestPort::Number(8080))
    );
    drop(network);
    process.scope.close_stdin(&process.id).expect("it is there");
    process.exit().await;
    assert_eq!(published(), []);
    assert!(process.scope.network().is_none(), "the network outlived its last tree");
}

crate::who::each_user!(
    a1_a_handle_has_the_ports_of_its_process,
    w2_ports_are_those_on_which_the_tree_itself_listens,
    w2_trees_without_a_private_network_have_no_ports,
    w5_the_hosts_own_connections_to_a_port_are_bounded,
    w2_wait_for_port_ends_with_the_listener_the_time_or_the_process,
    w2_a_process_tells_the_published_ports_of_its_network_while_it_runs,
);
