//! What the trees of one private network can take of the host, whichever of its doors they storm (W5).

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use capsule_host::sandbox::{
    BoxFuture, ConnectError, Connection, Connector, EgressPolicy, NetworkLimits, NetworkObserver, NetworkOutcome,
    Policy, PrivateNetwork, Target,
};
use tokio::runtime::Handle;

use super::carry::Publishing;
use super::support::{Heard, ToTest, first_line, printed, python, rules, start};
use crate::harness::{AT_ONCE, Host, PATIENCE, soon};

/// Sends one byte to each connection, holds it, and counts.
fn holds() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            counted.fetch_add(1, Ordering::SeqCst);
            drop(std::io::Write::write_all(&mut connection, b"a"));
            held.push(connection);
        }
    });
    (port, count)
}

fn outcomes(heard: &Heard, wanted: NetworkOutcome) -> usize {
    heard.all().iter().filter(|(_, _, outcome)| *outcome == wanted).count()
}

/// Connects so many times to a name, holds the connections, and prints how many carried a byte and how many were reset.
fn connects(count: usize) -> String {
    format!(
        "import socket
made, carried, reset = [], 0, 0
for _ in range({count}):
    try:
        connection = socket.create_connection(('one.example', 80), 15)
        made.append(connection)
        carried += len(connection.recv(1))
    except ConnectionResetError:
        reset += 1
print(carried, reset)"
    )
}

fn bounded(limits: NetworkLimits, heard: &Arc<Heard>, connector: Arc<dyn Connector>) -> Host {
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80", "*.many.example:80"])))
        .connector(connector)
        .limits(limits);
    let observer = Arc::clone(heard) as Arc<dyn NetworkObserver>;
    Host::with(Policy::new().network(network).observe_network(observer))
}

async fn w5_connections_to_names_are_bounded() {
    let (heard, (server, count)) = (Arc::new(Heard::default()), holds());
    let limits = NetworkLimits {
        connections: 8,
        dials_per_second: 5000,
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &heard, Arc::new(ToTest(server)));
    assert_eq!(printed(&host, &host.scope(), python(&connects(50))).await, "8 42");
    assert_eq!(count.load(Ordering::SeqCst), 8);
    assert_eq!(outcomes(&heard, NetworkOutcome::LimitReached), 42);
    // They are free for the next tree.
    let ended = || heard.all().len() == 50;
    assert!(soon(AT_ONCE, ended).await, "{:?}", heard.all());
    assert_eq!(printed(&host, &host.scope(), python(&connects(9))).await, "8 1");
}

/// More than may be dialled wait, and none is lost.
async fn w5_dials_are_bounded() {
    let (heard, (server, count)) = (Arc::new(Heard::default()), holds());
    let limits = NetworkLimits {
        dials_per_second: 5,
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &heard, Arc::new(ToTest(server)));
    let begun = Instant::now();
    assert_eq!(printed(&host, &host.scope(), python(&connects(15))).await, "15 0");
    // Five at once, and ten in two seconds.
    assert!(begun.elapsed() > Duration::from_millis(1900), "{:?}", begun.elapsed());
    assert_eq!(count.load(Ordering::SeqCst), 15);
}

/// Never connects.
#[derive(Debug)]
struct Never;

impl Connector for Never {
    fn connect<'a>(&'a self, _: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(std::future::pending())
    }
}

async fn w5_dials_that_take_too_long_are_given_up() {
    let heard = Arc::new(Heard::default());
    let limits = NetworkLimits {
        connections: 8,
        dials_per_second: 5000,
        dial_time: Duration::from_millis(200),
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &heard, Arc::new(Never));
    let script = "import socket
made, reset = [], 0
for _ in range(20):
    try:
        made.append(socket.create_connection(('one.example', 80), 15))
    except ConnectionResetError:
        reset += 1
for connection in made:
    try:
        connection.recv(1)
    except ConnectionResetError:
        reset += 1
print(reset)";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, "20");
    let all = || heard.all().len() == 20;
    assert!(soon(AT_ONCE, all).await, "{:?}", heard.all());
    let (unreachable, limited) = (
        outcomes(&heard, NetworkOutcome::Unreachable),
        outcomes(&heard, NetworkOutcome::LimitReached),
    );
    assert!(unreachable >= 8 && unreachable + limited == 20, "{:?}", heard.all());
}

async fn w5_connections_to_a_published_port_are_bounded() {
    let limits = NetworkLimits {
        connections: 8,
        ..NetworkLimits::default()
    };
    let publishing = Publishing::new(PrivateNetwork::default().limits(limits));
    let script = "import socket
listener, held = socket.create_server(('127.0.0.1', 8080), backlog=100), []
print('up', flush=True)
while True:
    held.append(listener.accept()[0])
    held[-1].sendall(b'a')";
    let process = start(&publishing.host, &publishing.host.scope(), python(script)).await;
    assert_eq!(first_line(&process).await, "up");
    let mut held = Vec::new();
    let mut attempt = || {
        // A reset that comes before `connect` returns is its result.
        match publishing.try_connect().and_then(|mut client| {
            let read = client.read(&mut [0])?;
            Ok((read, client))
        }) {
            Ok((1, client)) => {
                held.push(client);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            other => panic!("{other:?}"),
        }
    };
    let carried = (0..50).filter(|_| attempt()).count();
    assert_eq!(carried, 8);
    process.stop(Duration::ZERO).await;
}

/// Connections to the name server that send no query, or half of one.
async fn w5_slow_connections_to_the_name_server_are_bounded_and_closed() {
    let limits = NetworkLimits {
        dns_connections: 4,
        dns_idle: Duration::from_millis(300),
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &Arc::new(Heard::default()), Arc::new(ToTest(1)));
    let script = "import socket, time
begun, ended, reset = time.monotonic(), 0, 0
for half in b'', b'\\0', b'\\0\\x40half a query':
    made = []
    for _ in range(10):
        try:
            connection = socket.create_connection(('198.18.0.1', 53), 15)
            connection.sendall(half)
            made.append(connection)
        except OSError:
            reset += 1
    # By datagrams names are found all the while.
    socket.getaddrinfo('one.example', 80)
    for connection in made:
        try:
            ended += connection.recv(1) == b''
        except ConnectionResetError:
            reset += 1
        connection.close()
print(ended + reset, ended <= 12, time.monotonic() - begun < 10)";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, "30 True True");
}

async fn w5_queries_are_bounded() {
    let limits = NetworkLimits {
        queries_per_second: 20,
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &Arc::new(Heard::default()), Arc::new(ToTest(1)));
    let script = "import socket, time
query = b'\\0\\0\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\5other\\7example\\0\\0\\1\\0\\1'
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(('198.18.0.1', 53))
client.setblocking(False)
begun, answers = time.monotonic(), 0
while time.monotonic() - begun < 2:
    for _ in range(50):
        try:
            client.send(query)
        except BlockingIOError:
            pass
    try:
        while client.recv(1000):
            answers += 1
    except BlockingIOError:
        pass
print(answers)";
    let answers: usize = printed(&host, &host.scope(), python(script))
        .await
        .parse()
        .expect("a number");
    assert!((20..=100).contains(&answers), "{answers} answers in two seconds");
}

/// A program that looks up many names at once is not kept waiting until it asks again.
async fn w5_a_burst_of_queries_is_answered_without_a_second_try() {
    let host = bounded(
        NetworkLimits::default(),
        &Arc::new(Heard::default()),
        Arc::new(ToTest(1)),
    );
    let script = "import socket, time
begun = time.monotonic()
for _ in range(200):
    socket.getaddrinfo('one.example', 80)
print(time.monotonic() - begun < 4.5)";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, "True");
}

async fn w5_names_of_wildcards_are_bounded_and_exact_names_are_not_held_up() {
    let limits = NetworkLimits {
        wildcard_names: 3,
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &Arc::new(Heard::default()), Arc::new(ToTest(1)));
    let script = "import socket
for name in [f'n{i}.many.example' for i in range(5)] + ['one.example', 'n0.many.example']:
    try:
        print(socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0].startswith('198.18.'))
    except socket.gaierror as error:
        print(error.errno == socket.EAI_AGAIN and 'again')";
    let expected = "True\nTrue\nTrue\nagain\nagain\nTrue\nTrue";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, expected);
}

/// The network ends with its last process, and the next process is in another one.
async fn w5_an_owner_whose_network_is_made_anew_has_no_fresh_rates() {
    let (heard, (server, _)) = (Arc::new(Heard::default()), holds());
    let limits = NetworkLimits {
        dials_per_second: 5,
        wildcard_names: 3,
        ..NetworkLimits::default()
    };
    let host = bounded(limits, &heard, Arc::new(ToTest(server)));
    let scope = host.scope();
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(printed(&host, &scope, python(&connects(5))).await, "5 0");
        assert!(soon(AT_ONCE, || scope.network().is_none()).await);
    }
    // Five at once, and ten in two seconds.
    assert!(begun.elapsed() > Duration::from_millis(1900), "{:?}", begun.elapsed());
    let looks_up = |names: &[&str]| {
        python(&format!(
            "import socket
for name in {names:?}:
    try:
        socket.getaddrinfo(name + '.many.example', 80)
        print('found')
    except socket.gaierror as error:
        print(error.errno == socket.EAI_AGAIN and 'again')"
        ))
    };
    for (names, answers) in [
        (&["a", "b"][..], "found\nfound"),
        // Those that were told before are known outside already.
        (&["b", "c", "d", "a"], "found\nfound\nagain\nfound"),
        (&["d", "c"], "again\nfound"),
    ] {
        assert_eq!(printed(&host, &scope, looks_up(names)).await, answers);
        assert!(soon(AT_ONCE, || scope.network().is_none()).await);
    }
    // Another owner has its own.
    let other = host.scope_of("another principal", "capsule");
    assert_eq!(printed(&host, &other, looks_up(&["d"])).await, "found");
}

/// A tree that has the port of a name is told apart from one that has used up a limit.
async fn w4_a_name_whose_port_a_tree_has_is_told_as_such() {
    let heard = Arc::new(Heard::default());
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["*.many.example:8443"])))
        .connector(Arc::new(ToTest(1)));
    let observer = Arc::clone(&heard) as Arc<dyn NetworkObserver>;
    let host = Host::with(Policy::new().network(network).observe_network(observer));
    let script = "import socket
listener = socket.create_server(('0.0.0.0', 8443))
try:
    socket.getaddrinfo('a.many.example', 8443)
except socket.gaierror:
    print('fails')";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, "fails");
    assert!(outcomes(&heard, NetworkOutcome::PortInUse) > 0, "{:?}", heard.all());
    assert_eq!(outcomes(&heard, NetworkOutcome::LimitReached), 0, "{:?}", heard.all());
}

/// Both sides close at once, a thousand times, by a published port and by a name.
async fn w5_a_thousand_connections_that_are_closed_at_once_leave_no_task() {
    let closes = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let upstream = closes.local_addr().expect("an address").port();
    std::thread::spawn(move || closes.incoming().for_each(drop));
    let limits = NetworkLimits {
        dials_per_second: 5000,
        ..NetworkLimits::default()
    };
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80"])))
        .connector(Arc::new(ToTest(upstream)))
        .limits(limits);
    let publishing = Publishing::new(network);
    let (host, scope) = (&publishing.host, publishing.host.scope());
    let script = "import socket
listener = socket.create_server(('127.0.0.1', 8080), backlog=100)
print('up', flush=True)
while True:
    listener.accept()[0].close()";
    let process = start(host, &scope, python(script)).await;
    assert_eq!(first_line(&process).await, "up");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let sockets = || established(process.os_pid());
    assert!(soon(AT_ONCE, || sockets() == 0).await, "{} before", sockets());
    let before = tasks();
    let at = publishing.at;
    let clients = (0..4).map(|_| {
        std::thread::spawn(move || {
            for waits in [true, false].repeat(125) {
                let mut client = TcpStream::connect(at).expect("a connection");
                if waits {
                    let _end = client.read(&mut [0]);
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let outward = "import socket
address = socket.getaddrinfo('one.example', 80, type=socket.SOCK_STREAM)[0][4]
for waits in [True, False] * 500:
    try:
        connection = socket.create_connection(address, 15)
        # A burst of more than a listener holds would wait for the kernel to send again.
        waits and connection.recv(1)
        connection.close()
    except ConnectionResetError:
        pass
print('done')";
    assert_eq!(printed(host, &scope, python(outward)).await, "done");
    assert!(soon(PATIENCE, || clients.iter().all(std::thread::JoinHandle::is_finished)).await);
    assert!(
        soon(PATIENCE, || tasks() <= before).await,
        "{} tasks, {before} before",
        tasks()
    );
    assert!(soon(PATIENCE, || sockets() == 0).await, "{} connections", sockets());
    process.stop(Duration::ZERO).await;
}

/// The connections in a process's network that neither side has ended.
fn established(pid: u32) -> usize {
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    let rows = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    // LISTEN, TIME_WAIT: the kernel's own.
    let ours = |state: &&str| !["0A", "06"].contains(state);
    rows.filter_map(|row| row.split_whitespace().nth(3))
        .filter(ours)
        .count()
}

/// Finds every name, after as long as a distant name server takes.
#[derive(Debug)]
struct Distant;

impl Connector for Distant {
    fn connect<'a>(&'a self, _: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(std::future::ready(Err(ConnectError::Unreachable(
            None,
            ErrorKind::HostUnreachable.into(),
        ))))
    }

    fn exists<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<bool>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(true)
        })
    }
}

/// A query that is lost is asked again only after five seconds.
async fn w5_many_names_at_once_are_looked_up_without_a_second_try() {
    let host = bounded(NetworkLimits::default(), &Arc::default(), Arc::new(Distant));
    let script = "import socket, threading, time
begun = time.monotonic()
found = []
def look(number):
    found.append(socket.gethostbyname('n%d.many.example' % number))
threads = [threading.Thread(target=look, args=(number,)) for number in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(set(found)), time.monotonic() - begun < 4)";
    assert_eq!(printed(&host, &host.scope(), python(script)).await, "40 True");
}

crate::who::each_user!(
    w5_connections_to_names_are_bounded,
    w5_dials_are_bounded,
    w4_a_name_whose_port_a_tree_has_is_told_as_such,
    w5_an_owner_whose_network_is_made_anew_has_no_fresh_rates,
    w5_dials_that_take_too_long_are_given_up,
    w5_connections_to_a_published_port_are_bounded,
    w5_slow_connections_to_the_name_server_are_bounded_and_closed,
    w5_queries_are_bounded,
    w5_a_burst_of_queries_is_answered_without_a_second_try,
    w5_many_names_at_once_are_looked_up_without_a_second_try,
    w5_names_of_wildcards_are_bounded_and_exact_names_are_not_held_up,
    w5_a_thousand_connections_that_are_closed_at_once_leave_no_task,
);
