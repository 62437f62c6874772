//! What connections of a private network carry, and what ends them: half-close, back-pressure, changed rules, idle time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use capsule_host::sandbox::{
    Confined, EgressPolicy, NetworkLimits, NetworkObserver, NetworkOutcome, OwnerNetwork, Policy, PrivateNetwork,
    Publish, PublishAt,
};

use super::support::{Heard, ToTest, echoes, first_line, python, rules, start, told};
use crate::harness::{AT_ONCE, Host, PATIENCE, code, soon};

/// A network with one published port, and the host that has it.
pub(super) struct Publishing {
    pub(super) host: Host,
    _opened: Arc<OwnerNetwork>,
    pub(super) at: SocketAddr,
}

impl Publishing {
    /// Publishes port 8080 of the trees of the host's first scope.
    pub(super) fn new(network: PrivateNetwork) -> Self {
        Self::of(network, "0:8080".parse().expect("a port"))
    }

    /// Publishes this.
    pub(super) fn of(network: PrivateNetwork, publish: Publish) -> Self {
        let network = network.publish(publish);
        let launcher = Arc::new(Confined::new(Policy::new().network(network.clone())).expect("a confinement"));
        let host = Host::launching(launcher.clone());
        let opened = launcher
            .open_network(host.scope().owner(), &network)
            .expect("a network");
        let PublishAt::Loopback(at) = opened.published().first().expect("a port").at else {
            panic!("{opened:?}");
        };
        let at = at.into();
        Self {
            host,
            _opened: opened,
            at,
        }
    }

    pub(super) fn connect(&self) -> TcpStream {
        self.try_connect().expect("a connection")
    }

    pub(super) fn try_connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.at)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// More than all buffers between two ends hold.
const LARGE: usize = 64 << 20;
/// The most that they hold.
const BUFFERED: usize = 32 << 20;

/// Sends a pattern until nothing is taken for a while, or all is.
fn send_until_stalled(stream: &mut TcpStream, from: usize) -> usize {
    let patience = Some(Duration::from_millis(300));
    stream.set_write_timeout(patience).expect("a timeout");
    let mut sent = from;
    while sent < LARGE {
        match stream.write(pattern(sent).get(..(LARGE - sent).min(60 << 10)).expect("a part")) {
            Ok(written) => sent += written,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
    sent
}

/// The bytes that begin at this place of an endless sequence.
fn pattern(place: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..=250).collect();
    let begin = place % period.len();
    period.iter().copied().cycle().skip(begin).take(64 << 10).collect()
}

/// The same in Python; prints how far it came when it stalled, and goes on when it is told to.
const SENDS: &str = "import socket, sys
LARGE = 64 << 20
PERIOD = bytes(range(251)) * 600
def send(connection):
    sent, stalled = 0, False
    connection.settimeout(0.3)
    while sent < LARGE:
        begin = sent % 251
        try:
            sent += connection.send(PERIOD[begin:begin + min(LARGE - sent, 60 << 10)])
        except TimeoutError:
            if not stalled:
                print(sent, flush=True)
            stalled = True
            sys.stdin.readline()
            connection.settimeout(20)
    connection.shutdown(socket.SHUT_WR)
def receive(connection):
    received = 0
    while data := connection.recv(1 << 16):
        begin = received % 251
        assert data == PERIOD[begin:begin + len(data)], received
        received += len(data)
    return received
";

async fn w2_a_published_port_has_half_close_and_back_pressure() {
    let publishing = Publishing::new(PrivateNetwork::default());
    let script = "
listener = socket.create_server(('127.0.0.1', 8080))
print('up', flush=True)
connection = listener.accept()[0]
sys.stdin.readline()
connection.sendall(str(receive(connection)).encode())
connection.close()
connection = listener.accept()[0]
send(connection)
print('ended', connection.recv(1), flush=True)";
    let Publishing { host, .. } = &publishing;
    let scope = host.scope();
    let request = told(python(&format!("{SENDS}{script}")));
    let process = start(host, &scope, request).await;
    process.prints("up").await;
    let mut client = publishing.connect();
    let stalled = send_until_stalled(&mut client, 0);
    assert!(
        stalled < BUFFERED,
        "{stalled} bytes were taken that the tree has not read"
    );
    scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    client.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let client = std::thread::spawn(move || {
        let mut sent = stalled;
        while sent < LARGE {
            let block = pattern(sent);
            sent += client
                .write(block.get(..(LARGE - sent).min(60 << 10)).expect("a part"))
                .expect("it is read");
        }
        client.shutdown(Shutdown::Write).expect("a half-close");
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .expect("an answer after the half-close");
        answer
    });
    assert_eq!(joined(client).await, LARGE.to_string());
    // The other way: nothing is read until the tree has stalled.
    let mut client = publishing.connect();
    let stalled: usize = line(&process, 1).await.parse().expect("a number");
    assert!(
        stalled < BUFFERED,
        "{stalled} bytes were taken that the client has not read"
    );
    scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    let received = joined(std::thread::spawn(move || {
        let received = receive(&mut client);
        drop(client);
        received
    }));
    assert_eq!(received.await, LARGE);
    process.prints("ended b''").await;
    assert_eq!(process.exit().await, code(0));
}

async fn w3_egress_has_half_close_and_back_pressure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80"])))
        .connector(Arc::new(ToTest(port)));
    let host = Host::with(Policy::new().network(network));
    let scope = host.scope();
    let script = "
connection = socket.create_connection(('one.example', 80))
send(connection)
print(connection.recv(100).decode(), connection.recv(1), flush=True)
connection = socket.create_connection(('one.example', 80))
print('connected', flush=True)
sys.stdin.readline()
print(receive(connection), flush=True)";
    let process = start(&host, &scope, told(python(&format!("{SENDS}{script}")))).await;
    let (ready, may_read) = mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let (mut one, _) = listener.accept().expect("a connection");
        may_read.recv().expect("the test goes on");
        let received = receive(&mut one);
        // The tree has ended its direction, and gets an answer by the other one.
        one.write_all(received.to_string().as_bytes()).expect("it is read");
        drop(one);
        let (mut two, _) = listener.accept().expect("a connection");
        let stalled = send_until_stalled(&mut two, 0);
        (two, stalled)
    });
    let stalled: usize = first_line(&process).await.parse().expect("a number");
    assert!(
        stalled < BUFFERED,
        "{stalled} bytes were taken that the server has not read"
    );
    ready.send(()).expect("the server waits");
    scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    process.prints(&format!("{LARGE} b''")).await;
    process.prints("connected").await;
    let (mut two, stalled) = joined(server).await;
    assert!(
        stalled < BUFFERED,
        "{stalled} bytes were taken that the tree has not read"
    );
    scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    two.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    two.write_all(pattern(stalled).get(..1000).expect("a part"))
        .expect("it is read");
    drop(two);
    process.prints(&(stalled + 1000).to_string()).await;
    assert_eq!(process.exit().await, code(0));
}

fn receive(stream: &mut TcpStream) -> usize {
    let (mut received, mut block) = (0, vec![0; 60 << 10]);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    loop {
        let length = stream.read(&mut block).expect("it is sent");
        if length == 0 {
            return received;
        }
        assert!(block.get(..length) == pattern(received).get(..length), "at {received}");
        received += length;
    }
}

async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(|| thread.join())
        .await
        .expect("a thread")
        .expect("it did not panic")
}

/// A line that a process prints, by its place.
async fn line(process: &crate::harness::Process, place: usize) -> String {
    let mut found = None;
    let there = soon(PATIENCE, || {
        let output = process.output();
        found = output
            .split_inclusive('\n')
            .nth(place)
            .filter(|line| line.ends_with('\n'))
            .map(|line| line.trim().to_owned());
        found.is_some()
    });
    assert!(there.await, "{}", process.output());
    found.expect("a line")
}

async fn w4_connections_that_are_no_longer_allowed_are_reset_and_others_go_on() {
    let heard = Arc::new(Heard::default());
    let policy = EgressPolicy::new(rules(&[
        "one.example:80",
        "two.example:80",
        "*.many.example:80",
        "three.example:80:private",
    ]));
    let network = PrivateNetwork::default()
        .egress(policy.clone())
        .connector(Arc::new(ToTest(echoes())));
    let observer = Arc::clone(&heard) as Arc<dyn NetworkObserver>;
    let host = Host::with(Policy::new().network(network).observe_network(observer));
    let script = "import socket, sys
names = 'one.example', 'two.example', 'a.many.example', 'three.example'
made = {name: socket.create_connection((name, 80), 20) for name in names}
for connection in made.values():
    connection.sendall(b'a')
    assert connection.recv(1) == b'a'
address = made['one.example'].getpeername()
print('connected', flush=True)
sys.stdin.readline()
for name in 'one.example', 'a.many.example', 'three.example':
    try:
        print(made[name].recv(1))
    except ConnectionResetError:
        print('reset')
made['two.example'].sendall(b'b')
print(made['two.example'].recv(1))
try:
    socket.create_connection(address, 20)
    print('connected again')
except ConnectionRefusedError:
    print('refused')
print('done', flush=True)
sys.stdin.readline()";
    let process = start(&host, &host.scope(), told(python(script))).await;
    process.prints("connected").await;
    // A rule that no longer reaches private addresses ends what may have used it.
    policy.set(rules(&["two.example:80", "three.example:80"]));
    process
        .scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    process.prints("done").await;
    assert_eq!(
        process.output(),
        "connected\nreset\nreset\nreset\nb'b'\nrefused\ndone\n"
    );
    // A tree may see the reset before the record is told.
    assert!(soon(AT_ONCE, || heard.all().len() >= 3).await, "{:?}", heard.all());
    let mut cut: Vec<_> = heard
        .all()
        .into_iter()
        .map(|(name, _, outcome)| (name, outcome))
        .collect();
    cut.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = ["a.many.example", "one.example", "three.example"];
    assert_eq!(cut, expected.map(|name| (name.to_owned(), NetworkOutcome::Cut)));
    // The end of the tree ends its connection, too.
    process
        .scope
        .write_stdin(&process.id, b"\n".to_vec())
        .await
        .expect("it listens");
    assert_eq!(process.exit().await, code(0));
    let two = || heard.all().iter().any(|(name, ..)| name == "two.example");
    assert!(soon(AT_ONCE, two).await, "{:?}", heard.all());
}

async fn w5_a_connection_that_carries_nothing_is_reset_after_the_idle_time() {
    let limits = NetworkLimits {
        idle_time: Duration::from_millis(100),
        ..NetworkLimits::default()
    };
    let publishing = Publishing::new(PrivateNetwork::default().limits(limits));
    let script = "import socket
listener = socket.create_server(('127.0.0.1', 8080))
print('up', flush=True)
connection = listener.accept()[0]
connection.sendall(b'a')
try:
    print(connection.recv(1), flush=True)
except ConnectionResetError:
    print('reset', flush=True)";
    let process = start(&publishing.host, &publishing.host.scope(), python(script)).await;
    process.prints("up").await;
    let ended = joined(std::thread::spawn({
        let mut client = publishing.connect();
        move || {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("the first byte");
            client.read(&mut byte).expect_err("it is idle").kind()
        }
    }));
    assert_eq!(ended.await, ErrorKind::ConnectionReset);
    process.prints("reset").await;
}

crate::who::each_user!(
    w2_a_published_port_has_half_close_and_back_pressure,
    w3_egress_has_half_close_and_back_pressure,
    w4_connections_that_are_no_longer_allowed_are_reset_and_others_go_on,
    w5_a_connection_that_carries_nothing_is_reset_after_the_idle_time,
);
