//! What is left of a private network after its last tree, and what a host without descriptors does. Each case counts what its
//! whole process holds.

use std::fs::{File, Permissions};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{
    Confined, EgressPolicy, LaunchError, NetworkError, Policy, PrivateNetwork, Publish, PublishAt,
};
use capsule_host::supervisor::Handle;
use capsule_tests::holdings::{children_of, descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{ToTest, echoes, first_line, http, printed, python, rules, start, told};
use crate::death::Doomed;
use crate::harness::{
    AT_ONCE, AllowAll, Host, PATIENCE, Process, code, marker, nothing_left, soon, watchdog, workspace,
};

/// A tree that listens on a port, holds a connection to a name, and ends when it is told to.
const BUSY: &str = "import os, socket, sys
listener = socket.create_server(('127.0.0.1', 8080))
outward = socket.create_connection(('one.example', 80), 15)
outward.sendall(b'a')
assert outward.recv(1) == b'a'
print(os.readlink('/proc/self/ns/net'), flush=True)
inward = listener.accept()[0]
print('met', flush=True)
sys.stdin.readline()";

/// Where the namespace is held: by a descriptor of this process, or by its spawner, an init or a tree. Processes of other tests are
/// not looked at, because the kernel gives the number of a namespace that is gone to the next one.
fn held(namespace: &str) -> Vec<String> {
    let mut processes = vec![std::process::id()];
    let mut next = 0;
    while let Some(pid) = processes.get(next) {
        let children = children_of(*pid);
        processes.extend(children);
        next += 1;
    }
    let is_it = |path: &Path| std::fs::read_link(path).is_ok_and(|link| link.as_os_str() == namespace);
    let mut found = Vec::new();
    for process in processes.iter().map(|pid| Path::new("/proc").join(pid.to_string())) {
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let all = descriptors.map(|entry| entry.path()).chain([process.join("ns/net")]);
        found.extend(all.filter(|path| is_it(path)).map(|path| path.display().to_string()));
    }
    found
}

#[derive(Clone, Copy, Debug)]
enum End {
    Exit,
    Stop,
    Shutdown,
    /// Of the handle that holds it, as with the store of a guest that traps.
    Dropped,
}

enum Tree {
    Kept(Process),
    /// With what it printed so far.
    Held(Handle, String),
}

impl Tree {
    /// A line that it prints, by its place.
    async fn line(&mut self, place: usize) -> String {
        let mut output = String::new();
        let printed = soon(PATIENCE, || {
            output = match self {
                Self::Kept(process) => process.output(),
                Self::Held(handle, printed) => {
                    printed.push_str(&handle.read_logs().expect("it is there").stdout);
                    printed.clone()
                }
            };
            output.matches('\n').count() > place
        });
        assert!(printed.await, "{output}");
        output.lines().nth(place).expect("a line").to_owned()
    }
}

/// The sockets that a launcher makes ready for the next tree, whenever it comes to that: of a network, its name server's two, the
/// one that lists sockets and eight more; and the channel to an init.
const READY: usize = 12;

async fn w1_nothing_of_a_network_is_left_after_the_last_tree() {
    let upstream = echoes();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let sockets = || descriptors().iter().filter(|kind| *kind == "socket").count();
    for end in [End::Exit, End::Stop, End::Shutdown, End::Dropped] {
        let network = PrivateNetwork::default()
            .publish("0:8080".parse().expect("a port"))
            .egress(EgressPolicy::new(rules(&["one.example:80", "*.many.example:80"])))
            .connector(Arc::new(ToTest(upstream)));
        let policy = Policy::new().network(network.clone());
        let launcher = Arc::new(Confined::new(policy).expect("a confinement"));
        let host = Host::launching(launcher.clone());
        let scope = host.scope();
        // What the launcher keeps ready for the next tree is no part of this one.
        printed(&host, &host.anonymous(), python("print()")).await;
        assert!(soon(AT_ONCE, || host.registry.tasks() == 0).await, "{end:?}");
        let before = (tasks(), sockets());
        let mut tree = if let End::Dropped = end {
            let mut gate = AllowAll;
            let held = scope.spawn_background(told(python(BUSY)), &host.workspace, &mut gate);
            Tree::Held(watchdog(held).await.expect("a process"), String::new())
        } else {
            Tree::Kept(start(&host, &scope, told(python(BUSY))).await)
        };
        let namespace = tree.line(0).await;
        assert!(!held(&namespace).is_empty(), "{namespace}");
        let opened = launcher.open_network(scope.owner(), &network).expect("a network");
        let PublishAt::Loopback(at) = opened.published().first().expect("a port").at else {
            panic!("{opened:?}");
        };
        drop(opened);
        let mut client = TcpStream::connect(at).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(tree.line(1).await, "met");
        match (end, &tree) {
            (End::Exit, Tree::Kept(process)) => {
                scope
                    .write_stdin(&process.id, b"\n".to_vec())
                    .await
                    .expect("it listens");
                assert_eq!(process.exit().await, code(0));
            }
            (End::Stop, Tree::Kept(process)) => drop(process.stop(Duration::ZERO).await),
            (End::Shutdown, _) => host.registry.shutdown().await,
            (End::Dropped, _) | (_, Tree::Held(..)) => {}
        }
        match tree {
            // What is retained of an exited process has a task.
            Tree::Kept(process) => drop(scope.release(&process.id).await),
            Tree::Held(handle, _) => drop(handle),
        }
        // An end of file or a reset, as the tree's end was.
        let _end = client.read(&mut [0]);
        drop(client);
        let gone = || held(&namespace).is_empty();
        assert!(soon(PATIENCE, gone).await, "{end:?}: {:?}", held(&namespace));
        let less = || tasks() <= before.0 && sockets() <= before.1 + READY;
        assert!(
            soon(PATIENCE, less).await,
            "{end:?}: {:?}, {before:?} before",
            (tasks(), sockets())
        );
        drop(TcpListener::bind(at).expect("the address is free"));
    }
}

/// Nothing keeps the namespace but the processes of the tree, its init and the spawner, and their descriptors and the host's.
async fn b3_a_host_that_is_killed_leaves_no_network() {
    let (dir, marker) = (workspace(), marker());
    let (zoo, told) = (dir.path().join("zoo"), dir.path().join("told"));
    let script = "#!/bin/sh\nreadlink /proc/self/ns/net > telling && mv telling told\nsleep 1000\n";
    std::fs::remove_file(&zoo).expect("it is there");
    std::fs::write(&zoo, script).expect("a script");
    std::fs::set_permissions(&zoo, Permissions::from_mode(0o755)).expect("a mode");
    let mut host = Doomed::start(&marker, dir.path(), &[]);
    host.says("spawning");
    host.says("spawned");
    assert!(soon(PATIENCE, || told.exists()).await);
    let namespace = std::fs::read_to_string(told).expect("a name");
    let namespace = namespace.trim();
    let own = std::fs::read_link("/proc/self/ns/net").expect("a name");
    assert!(
        namespace.starts_with("net:[") && own.as_os_str() != namespace,
        "{namespace}"
    );
    let session = host.killed();
    nothing_left(&marker, &[session], AT_ONCE).await;
}

/// Connections that come in while the host has no descriptor are served, wait until it has some, or are reset. The host lives on, and
/// serves what comes later.
async fn w5_a_host_without_descriptors_serves_connections_once_it_has_some() {
    let server = http([("/word", b"hello\n".to_vec())]);
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80"])))
        .connector(Arc::new(ToTest(server)));
    let host = Host::with(Policy::new().network(network));
    let scope = host.scope();
    let script = "import socket, sys
address = socket.getaddrinfo('one.example', 80, type=socket.SOCK_STREAM)[0][4]
def connects():
    try:
        return socket.create_connection(address, 20)
    except ConnectionResetError:
        return None
def asks(connection):
    try:
        connection.sendall(b'GET /word HTTP/1.1\\r\\n\\r\\n')
        answer = b''
        while data := connection.recv(1000):
            answer += data
        return answer.decode().splitlines()[-1]
    except (ConnectionResetError, BrokenPipeError):
        return 'reset'
print(asks(connects()), flush=True)
sys.stdin.readline()
made = [connects() for _ in range(5)]
print('connected', flush=True)
for connection in made:
    print(asks(connection) if connection else 'reset', flush=True)
sys.stdin.readline()
print(asks(connects()), flush=True)";
    let process = start(&host, &scope, told(python(script))).await;
    assert_eq!(first_line(&process).await, "hello");
    // What is made ready for the next command is there, or it would be missed below.
    assert!(soon(PATIENCE, || inits() == 2).await);
    let open = || descriptors().len();
    let before = open();
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(256),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, few).expect("a lower limit");
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let tell = async || {
        scope
            .write_stdin(&process.id, b"\n".to_vec())
            .await
            .expect("it listens")
    };
    tell().await;
    process.prints("connected").await;
    drop(taken);
    let lines = |count: usize| process.output().lines().count() == count;
    assert!(soon(PATIENCE, || lines(7)).await, "{}", process.output());
    let output = process.output();
    let between = output.lines().skip(2);
    assert!(
        between.clone().all(|line| ["hello", "reset"].contains(&line)),
        "{output}"
    );
    tell().await;
    assert_eq!(process.exit().await, code(0));
    setrlimit(Resource::Nofile, limit).expect("as it was");
    assert_eq!(process.output().lines().last(), Some("hello"));
    // Less the descriptors of the process and of its network, more what is made ready in their place.
    assert!(
        soon(PATIENCE, || open() <= before).await,
        "{before}: {:?}",
        descriptors()
    );
}

/// The inits of this process: the children of its spawner.
fn inits() -> usize {
    let spawners = children_of(std::process::id());
    spawners.into_iter().map(|spawner| children_of(spawner).len()).sum()
}

/// An ordinary user's init waits in a network, and ends with it.
async fn b4_an_init_waits_for_the_next_command_after_the_end_of_a_network() {
    let host = Host::new();
    let scope = host.scope();
    for _ in 0..3 {
        let script = "import os, sys
print(os.readlink('/proc/self/ns/net'), flush=True)
sys.stdin.read()";
        let process = start(&host, &scope, told(python(script))).await;
        let namespace = first_line(&process).await;
        let both = soon(PATIENCE, || inits() == 2).await;
        assert!(both, "{} inits: the tree's and one that waits", inits());
        scope.close_stdin(&process.id).expect("it is there");
        process.exit().await;
        assert!(
            soon(PATIENCE, || held(&namespace).is_empty()).await,
            "{:?}",
            held(&namespace)
        );
        let waits = soon(PATIENCE, || inits() == 1).await;
        assert!(waits, "{} inits wait", inits());
    }
}

async fn w2_a_port_is_published_at_a_socket_of_the_users_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let at = |path: &Path| Publish::new(8080, PublishAt::Unix(path.to_owned())).expect("a path");
    let network = PrivateNetwork::default().publish(at(&path));
    let launcher = Arc::new(Confined::new(Policy::new().network(network.clone())).expect("a confinement"));
    let host = Host::launching(launcher.clone());
    let owner = host.scope().owner().clone();
    // Left by a host that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    let opened = launcher.open_network(&owner, &network).expect("a network");
    let file = std::fs::symlink_metadata(&path).expect("a socket");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    let script = "import socket
listener = socket.create_server(('127.0.0.1', 8080))
print('up', flush=True)
listener.accept()[0].sendall(b'met')";
    let process = start(&host, &host.scope(), python(script)).await;
    process.prints("up").await;
    let mut client = UnixStream::connect(&path).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "met");
    assert_eq!(process.exit().await, code(0));
    drop(opened);
    assert!(soon(AT_ONCE, || !path.exists()).await, "the socket is left");

    // A file of others, a socket on which others listen, and one that others put in the place of the host's.
    let refused = |network: &PrivateNetwork| {
        let opened = launcher.open_network(&owner, network);
        assert!(
            matches!(opened, Err(LaunchError::Network(NetworkError::Publish { .. }))),
            "{opened:?}"
        );
    };
    std::fs::write(&path, "kept").expect("a file");
    refused(&network);
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), "kept");
    std::fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("a socket");
    refused(&network);
    drop(UnixStream::connect(&path).expect("a connection"));
    drop(other);
    let opened = launcher.open_network(&owner, &network).expect("a network");
    std::fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("a socket");
    drop(opened);
    drop(UnixStream::connect(&path).expect("the socket of others is kept"));
}

crate::who::alone!(
    b4_an_init_waits_for_the_next_command_after_the_end_of_a_network,
    w5_a_host_without_descriptors_serves_connections_once_it_has_some,
    w1_nothing_of_a_network_is_left_after_the_last_tree,
);
crate::who::each_user!(
    b3_a_host_that_is_killed_leaves_no_network,
    w2_a_port_is_published_at_a_socket_of_the_users_own,
);
