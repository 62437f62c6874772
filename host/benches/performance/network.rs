//! network: a relayed connection beside a direct one over loopback, and beside the relays of other tools.
//!
//! All ways lead to the same server and are asked by the same client, in turns. Ours leads through a process of its own, so that its
//! processor time and memory can be told from those of the client. pasta, slirp4netns and socat each get a network namespace, with
//! the server inside (*published*): socat twice, with a Unix socket between the two, as sandboxes use it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use capsule_supervisor::internals::{Relays, Stream, relay};
use tokio_util::sync::CancellationToken;

use crate::child;
use crate::report::{Report, Target, Unit, median, quantile};
use crate::scale::allow_descriptors;

/// The argument that makes the child a part of this row.
pub(crate) const NAME: &str = "network";

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(700);
const PINGS: usize = 3000;
const IDLE: usize = 1000;
const CHUNK: usize = 256 * 1024;

/// What a client in another process does of the connections of [`SPAN`]: fewer than the host may dial in a second.
const CONNECTIONS: usize = 2000;

/// Orders to a client in another process.
const RUN: &str = "run";
const REACH: &str = "reach";
const STREAMS: &str = "streams";
const EXCHANGES: &str = "exchanges";

const UPLOAD: u8 = b'u';
const DOWNLOAD: u8 = b'd';
const ECHO: u8 = b'e';

/// A way to the server. Dropping it ends its processes.
pub(crate) struct Way {
    name: &'static str,
    client: Client,
    /// The processes that do nothing but relay; none if others start more of them.
    relays: Vec<u32>,
    figures: Figures,
    _processes: Vec<Process>,
}

/// What asks the server.
pub(crate) enum Client {
    /// This process, at this address.
    Here(SocketAddr),
    /// A process that does [`client`].
    Elsewhere(Asked),
}

/// One value a round.
#[derive(Default)]
struct Figures {
    up: Vec<f64>,
    down: Vec<f64>,
    seconds_per_gigabyte: Vec<f64>,
    ping: Vec<f64>,
    slow_ping: Vec<f64>,
    one: Vec<f64>,
    eight: Vec<f64>,
}

pub(crate) fn run(report: &mut Report) {
    allow_descriptors(64 * 1024);
    let folder = tempfile::tempdir().unwrap();
    let (direct, server) = direct();
    let mut ways = vec![direct, ours(server)];
    let tools = [
        ("pasta", pasta as fn(&Path) -> Option<Way>),
        ("slirp4netns", slirp4netns),
        ("socat", socat),
    ];
    ways.extend(available(NAME, tools, |way| way(folder.path())));
    compare_all(report, NAME, &mut ways);
    memory(report, server);
}

/// The ways of those tools that are installed. The others have a line that says so.
pub(crate) fn available<T>(row: &str, tools: [(&str, T); 3], way: impl Fn(T) -> Option<Way>) -> Vec<Way> {
    let ways = tools.into_iter().filter_map(|(tool, made)| {
        let way = installed(tool).then(|| way(made));
        match &way {
            Some(Some(_)) => {}
            Some(None) => println!("| {row} | {tool} | skipped: it did not begin to relay | – | – | – | – |"),
            None => println!("| {row} | {tool} | skipped: not installed | – | – | – | – |"),
        }
        way.flatten()
    });
    ways.collect()
}

/// Measures all ways in turns. The first one is direct, the second one ours.
pub(crate) fn compare_all(report: &mut Report, row: &str, ways: &mut [Way]) {
    for _ in 0..ROUNDS {
        for way in &mut *ways {
            measure(way);
        }
    }
    let (direct, rest) = ways.split_first_mut().unwrap();
    let (ours, others) = rest.split_first_mut().unwrap();
    compare(report, row, ours, direct, [0.55, 1.5]);
    for other in others {
        compare(report, row, ours, other, [1.0, 1.0]);
    }
}

/// The lines of `ours` beside `other`: rates are to be at least `bounds[0]` times those, times at most `bounds[1]` times.
fn compare(report: &mut Report, row: &str, ours: &mut Way, other: &mut Way, [rate, time]: [f64; 2]) {
    let name = other.name;
    let is_direct = name == "direct";
    let mut line = |workload: &str, unit: &str, ours: &mut [f64], other: &mut [f64], target| {
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(other.iter())
            .map(|(ours, other)| ours / other)
            .collect();
        let figure = format!("{:.2} {unit}", median(ours));
        let limit = format!("{:.2} {unit} ({name})", median(other));
        report.line(row, workload, &figure, &limit, median(&mut ratios), Unit::Times, target);
    };
    let (a, b) = (&mut ours.figures, &mut other.figures);
    let at_most = Target::AtMost(time);
    line("one stream up", "GB/s", &mut a.up, &mut b.up, Target::AtLeast(rate));
    line(
        "one stream down",
        "GB/s",
        &mut a.down,
        &mut b.down,
        Target::AtLeast(rate),
    );
    line("ping, p50", "µs", &mut a.ping, &mut b.ping, at_most);
    line(
        "ping, p99",
        "µs",
        &mut a.slow_ping,
        &mut b.slow_ping,
        if is_direct { Target::None } else { at_most },
    );
    let connections = if is_direct { Target::None } else { Target::AtLeast(rate) };
    line("connections, one at a time", "/s", &mut a.one, &mut b.one, connections);
    line(
        "connections, eight at a time",
        "/s",
        &mut a.eight,
        &mut b.eight,
        connections,
    );
    if !b.seconds_per_gigabyte.is_empty() {
        let target = Target::AtMost(time);
        line(
            "processor time of the relay",
            "s/GB",
            &mut a.seconds_per_gigabyte,
            &mut b.seconds_per_gigabyte,
            target,
        );
    } else if is_direct {
        let seconds = median(&mut a.seconds_per_gigabyte);
        let figure = format!("{seconds:.3} s/GB");
        report.line(
            row,
            "processor time of the relay",
            &figure,
            "–",
            seconds,
            Unit::Times,
            Target::None,
        );
    }
}

fn measure(way: &mut Way) {
    let figures = &mut way.figures;
    let before = processor_time(&way.relays);
    let [bytes, up, down] = match &mut way.client {
        Client::Here(at) => streams(*at),
        Client::Elsewhere(asked) => asked.ask(STREAMS),
    };
    if !way.relays.is_empty() {
        let used = processor_time(&way.relays) - before;
        figures.seconds_per_gigabyte.push(used / (bytes / 1e9));
    }
    let [ping, slow_ping, one, eight] = match &mut way.client {
        Client::Here(at) => exchanges(*at, usize::MAX),
        Client::Elsewhere(asked) => asked.ask(EXCHANGES),
    };
    figures.up.push(up);
    figures.down.push(down);
    figures.ping.push(ping);
    figures.slow_ping.push(slow_ping);
    figures.one.push(one);
    figures.eight.push(eight);
}

/// Bytes, and GB/s up and down.
fn streams(at: SocketAddr) -> [f64; 3] {
    let ((sent, up), (received, down)) = (upload(at), download(at));
    [sent + received, up, down]
}

/// The median and the 99th percentile of a ping, and connections a second of one client and of eight.
fn exchanges(at: SocketAddr, most: usize) -> [f64; 4] {
    let mut pings = pings(at);
    let [ping, slow] = [50, 99].map(|percent| quantile(&mut pings, percent));
    [ping, slow, connections(at, 1, most), connections(at, 8, most)]
}

/// Bytes, and GB/s.
fn upload(at: SocketAddr) -> (f64, f64) {
    let (mut stream, chunk) = (ask(at, UPLOAD), vec![b'x'; CHUNK]);
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        stream.write_all(&chunk).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut count = [0; 8];
    stream.read_exact(&mut count).unwrap();
    let bytes = u64::from_le_bytes(count) as f64;
    (bytes, bytes / begun.elapsed().as_secs_f64() / 1e9)
}

fn download(at: SocketAddr) -> (f64, f64) {
    let (mut stream, mut chunk) = (ask(at, DOWNLOAD), vec![0; CHUNK]);
    let begun = Instant::now();
    let mut bytes = 0.0;
    while begun.elapsed() < SPAN {
        bytes += stream.read(&mut chunk).unwrap() as f64;
    }
    (bytes, bytes / begun.elapsed().as_secs_f64() / 1e9)
}

/// Microseconds.
fn pings(at: SocketAddr) -> Vec<f64> {
    let mut stream = ask(at, ECHO);
    let mut ping = || {
        let begun = Instant::now();
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        begun.elapsed().as_secs_f64() * 1e6
    };
    (0..PINGS).map(|_| ping()).collect()
}

/// Connections a second, each with one ping; after `most` it ends early.
fn connections(at: SocketAddr, clients: usize, most: usize) -> f64 {
    let begun = Instant::now();
    let tried = AtomicUsize::new(0);
    let client = || {
        let mut count = 0.0;
        while begun.elapsed() < SPAN && tried.fetch_add(1, Ordering::Relaxed) < most {
            // A tool that loses a connection loses the time of it.
            count += f64::from(answers(at).is_some());
        }
        count
    };
    let count: f64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    count / begun.elapsed().as_secs_f64()
}

fn ask(at: SocketAddr, what: u8) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[what]).unwrap();
    stream
}

fn memory(report: &mut Report, server: SocketAddr) {
    let (process, at) = Process::listening(&mut as_child(&[NAME, "relay", &server.to_string()]));
    let relay = process.id();
    let ask_and_hold = || {
        let mut stream = ask(at, ECHO);
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    };
    let warm: Vec<_> = (0..50).map(|_| ask_and_hold()).collect();
    let before = anonymous(relay);
    let held: Vec<_> = (0..IDLE).map(|_| ask_and_hold()).collect();
    let each = (anonymous(relay) - before) / IDLE as f64;
    let workload = format!("an idle connection, of {IDLE}: memory of the relay");
    report.line(
        "network",
        &workload,
        &format!("{each:.2} KiB"),
        "–",
        each,
        Unit::Kibibytes,
        Target::None,
    );
    drop((warm, held));
}

impl Way {
    pub(crate) fn new(name: &'static str, client: Client, relays: Vec<u32>, processes: Vec<Process>) -> Self {
        Self {
            name,
            client,
            relays,
            figures: Figures::default(),
            _processes: processes,
        }
    }
}

fn direct() -> (Way, SocketAddr) {
    let (process, at) = server();
    (Way::new("direct", Client::Here(at), Vec::new(), vec![process]), at)
}

/// A server of this machine.
pub(crate) fn server() -> (Process, SocketAddr) {
    Process::listening(&mut as_child(&[NAME, "serve", "0"]))
}

fn ours(server: SocketAddr) -> Way {
    let (process, at) = Process::listening(&mut as_child(&[NAME, "relay", &server.to_string()]));
    Way::new("ours", Client::Here(at), vec![process.id()], vec![process])
}

fn pasta(_: &Path) -> Option<Way> {
    let (inside, (program, args)) = (free_port(), child::command(&[NAME, "serve"]));
    let mut command = command("pasta");
    // As root it would become another user, which may not write the mapping of its own user namespace.
    if rustix::process::geteuid().is_root() {
        command.args(["--runas", "0"]);
    }
    command.args(["--config-net", "-q", "-f", "-t", &inside.to_string(), "--", &program]);
    let (process, at) = Process::listening(command.args(args).arg(inside.to_string()));
    reachable(at)?;
    Some(Way::new("pasta", Client::Here(at), vec![process.id()], vec![process]))
}

fn slirp4netns(folder: &Path) -> Option<Way> {
    let (inside, outside) = (free_port(), free_port());
    let (program, args) = child::command(&[NAME, "serve"]);
    let mut command_inside = command("unshare");
    command_inside
        .args(["-rn", "--", &program])
        .args(args)
        .arg(inside.to_string());
    let (server, _) = Process::listening(&mut command_inside);
    let socket = folder.join("slirp4netns");
    let mut slirp = command("slirp4netns");
    slirp.args(["--configure", "--mtu=65520", "--api-socket"]).arg(&socket);
    slirp
        .arg(server.0.id().to_string())
        .arg("tap0")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let slirp = Process(slirp.spawn().unwrap());
    let mut order = String::new();
    let (host, guest) = (r#""host_addr": "127.0.0.1""#, r#""guest_addr": "10.0.2.100""#);
    write!(
        order,
        r#"{{"execute": "add_hostfwd", "arguments": {{"proto": "tcp", {host}, "host_port": {outside}, {guest}, "guest_port": {inside}}}}}"#
    )
    .unwrap();
    let mut api = until(|| std::os::unix::net::UnixStream::connect(&socket).ok())?;
    api.write_all(order.as_bytes()).unwrap();
    api.shutdown(Shutdown::Write).unwrap();
    api.read_to_string(&mut String::new()).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], outside));
    reachable(at)?;
    Some(Way::new(
        "slirp4netns",
        Client::Here(at),
        vec![slirp.id()],
        vec![slirp, server],
    ))
}

fn socat(folder: &Path) -> Option<Way> {
    let (inside, outside, socket) = (free_port(), free_port(), folder.join("socat"));
    let socket = socket.to_str().unwrap();
    let (program, args) = child::command(&[NAME, "serve"]);
    let script = format!(
        "ip link set lo up && {{ socat UNIX-LISTEN:{socket},fork TCP:127.0.0.1:{inside},nodelay & exec \"$0\" \"$@\" {inside}; }}"
    );
    let mut command_inside = command("unshare");
    // What it started in the background ends with the namespace.
    command_inside
        .args(["-rnpf", "--kill-child", "--", "sh", "-c", &script, &program])
        .args(args);
    let (server, _) = Process::listening(&mut command_inside);
    let mut socat = command("socat");
    socat.arg(format!(
        "TCP-LISTEN:{outside},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=128"
    ));
    let socat = Process(
        socat
            .arg(format!("UNIX-CONNECT:{socket}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let at = SocketAddr::from(([127, 0, 0, 1], outside));
    reachable(at)?;
    Some(Way::new("socat × 2", Client::Here(at), Vec::new(), vec![socat, server]))
}

/// What the child does: `serve PORT`, `relay ADDRESS`, or `client NAME:PORT`.
pub(crate) fn main(args: &[String]) {
    match args {
        [work, port] if work == "serve" => {
            let listener = TcpListener::bind(("0.0.0.0", port.parse().unwrap())).unwrap();
            tell(listener.local_addr().unwrap().port());
            for stream in listener.incoming().flatten() {
                // A client that went away is no reason to end.
                thread::spawn(move || serve(stream).ok());
            }
        }
        [work, server] if work == "relay" => relay_all(server.parse().unwrap()),
        [work, name] if work == "client" => client(name),
        other => panic!("no such work: {other:?}"),
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut what, mut chunk) = ([0], vec![0; CHUNK]);
    stream.read_exact(&mut what)?;
    let mut count = 0_u64;
    loop {
        match what {
            [DOWNLOAD] => stream.write_all(&chunk)?,
            [work] => {
                let read = stream.read(&mut chunk)?;
                if read == 0 {
                    return if work == UPLOAD {
                        stream.write_all(&count.to_le_bytes())
                    } else {
                        Ok(())
                    };
                }
                count += read as u64;
                if work == ECHO {
                    stream.write_all(chunk.get(..read).unwrap())?;
                }
            }
        }
    }
}

/// On one thread, as the tasks of a private network.
fn relay_all(server: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell(listener.local_addr().unwrap().port());
        let (relays, cut) = (
            Arc::new(Relays::new(Duration::from_secs(600))),
            CancellationToken::new(),
        );
        while let Ok((outside, _)) = listener.accept().await {
            let (relays, cut) = (Arc::clone(&relays), cut.clone());
            tokio::spawn(async move {
                let inside = tokio::net::TcpStream::connect(server).await.unwrap();
                relay(Stream::from(outside), Stream::from(inside), &relays, &cut).await
            });
        }
    });
}

/// Says the port, and ends with the process that started this one.
fn tell(port: u16) {
    println!("{port}");
    thread::spawn(|| {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
        std::process::exit(0);
    });
}

/// Answers each line of its stdin with a line of figures about the server at this name.
fn client(name: &str) {
    // Once: what is measured is the relay, and not the name server.
    let at = until(|| name.to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)).unwrap();
    for line in std::io::stdin().lines() {
        let figures = match line.unwrap().as_str() {
            RUN => vec![1.0],
            REACH => vec![f64::from(reachable(at).is_some())],
            STREAMS => streams(at).to_vec(),
            EXCHANGES => exchanges(at, CONNECTIONS).to_vec(),
            other => panic!("no such order: {other:?}"),
        };
        let figures: Vec<_> = figures.iter().map(f64::to_string).collect();
        println!("{}", figures.join(" "));
    }
}

/// A process that does [`client`], or that leads to one.
pub(crate) struct Asked {
    process: Process,
    answers: BufReader<ChildStdout>,
}

impl Asked {
    /// One that runs.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process(command.spawn().unwrap());
        let answers = BufReader::new(process.0.stdout.take().unwrap());
        let mut asked = Self { process, answers };
        asked.succeeds(RUN).then_some(asked)
    }

    /// The same one, if it reaches the server.
    pub(crate) fn reaches(mut self) -> Option<Self> {
        self.succeeds(REACH).then_some(self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    fn succeeds(&mut self, order: &str) -> bool {
        self.try_ask(order) == Some([1.0])
    }

    fn ask<const COUNT: usize>(&mut self, order: &str) -> [f64; COUNT] {
        self.try_ask(order).unwrap()
    }

    /// None if the process has ended.
    fn try_ask<const COUNT: usize>(&mut self, order: &str) -> Option<[f64; COUNT]> {
        let mut line = String::new();
        writeln!(self.process.0.stdin.as_mut().unwrap(), "{order}").ok()?;
        self.answers.read_line(&mut line).ok()?;
        let figures: Option<Vec<f64>> = line.split_whitespace().map(|figure| figure.parse().ok()).collect();
        figures?.try_into().ok()
    }
}

pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// One that says its port.
    fn listening(command: &mut Command) -> (Self, SocketAddr) {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Self(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().unwrap();
        (process, SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends at the end of its stdin; one without is killed.
        if self.0.stdin.take().is_none() {
            self.0.kill().unwrap();
        }
        self.0.wait().unwrap();
    }
}

pub(crate) fn as_child(work: &[&str]) -> Command {
    let (program, args) = child::command(work);
    let mut command = command(&program);
    command.args(args);
    command
}

pub(crate) fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    Command::new(program)
}

fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).exists())
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns when the server answers there.
fn reachable(at: SocketAddr) -> Option<()> {
    until(|| answers(at))
}

fn answers(at: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(&[ECHO]).ok()?;
    stream.write_all(b"x").ok()?;
    stream.read_exact(&mut [0]).ok()
}

/// Tries again and again, for a bounded time: nothing is measured meanwhile.
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if let Some(done) = attempt() {
            return Some(done);
        }
        thread::yield_now();
    }
    None
}

/// Seconds that all threads of these processes have run.
fn processor_time(processes: &[u32]) -> f64 {
    let threads = processes
        .iter()
        .flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    threads
        .map(|thread| {
            let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
        })
        .sum()
}

/// Memory of a process that no file stands behind, in KiB.
fn anonymous(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
