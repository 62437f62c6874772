//! egress: a connection of a confined tree to a name, beside the same connections out of the namespaces of other tools.
//!
//! The client runs inside, and the server outside on this machine's loopback. Ours is a host in a process of its own with one tree.
//! Its connector leads the name to the server; all else is as in any host: the name server, the listener on a synthetic address, the
//! rules and the relay. pasta and slirp4netns lead an address of theirs to the loopback; socat runs twice, with a Unix socket
//! between the two.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use capsule_host::sandbox::{
    BoxFuture, ConnectError, Connection, Connector, EgressPolicy, EgressRules, NetworkLimits, Policy, PrivateNetwork,
    Target,
};
use capsule_host::supervisor::{LogStream, SpawnRequest};

use crate::child;
use crate::host::{Host, request};
use crate::network::{self, Asked, Client, Process, Way, as_child, available, command, compare_all, free_port, server};
use crate::report::Report;
use crate::scale::allow_descriptors;

/// The argument that makes the child a part of this row.
pub(crate) const NAME: &str = "egress";

/// The name that the tree reaches.
const SERVER: &str = "server.example";

pub(crate) fn run(report: &mut Report) {
    allow_descriptors(64 * 1024);
    let folder = tempfile::tempdir().unwrap();
    // At every address: pasta and slirp4netns lead another one to it.
    let (_server, at) = server();
    let direct = Asked::start(&mut client(at)).unwrap();
    let mut ways = vec![Way::new("direct", Client::Elsewhere(direct), Vec::new(), Vec::new())];
    match Asked::start(&mut as_child(&[NAME, &at.to_string()])).and_then(Asked::reaches) {
        Some(host) => {
            let relays = vec![host.id()];
            ways.push(Way::new("ours", Client::Elsewhere(host), relays, Vec::new()));
        }
        None => return println!("| egress | ours | skipped: no private network on this machine | – | – | – | – |"),
    }
    let tools = [
        ("pasta", pasta as fn(&Path, SocketAddr) -> Option<Way>),
        ("slirp4netns", slirp4netns),
        ("socat", socat),
    ];
    ways.extend(available(NAME, tools, |way| way(folder.path(), at)));
    compare_all(report, NAME, &mut ways);
}

/// The child: a host with one tree, to which it hands the lines of its stdin, and whose lines it prints.
pub(crate) fn main(server: &str) {
    let server: SocketAddr = server.parse().unwrap();
    let rule = format!("{SERVER}:{}", server.port());
    let rules = EgressRules::new([rule.parse().unwrap()]).unwrap();
    let limits = NetworkLimits {
        dials_per_second: 5000,
        ..NetworkLimits::default()
    };
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules))
        .limits(limits)
        .connector(Arc::new(ToServer(server)));
    // The tree runs this program.
    let program = std::env::current_exe().unwrap();
    let host = Host::under(Policy::new().network(network).visible(program));
    let scope = host.scope(NAME);
    let mut orders = std::io::stdin().lines();
    host.runtime.block_on(async {
        let request = SpawnRequest {
            keep_stdin_open: true,
            ..request(&[network::NAME, "client", &rule])
        };
        let id = host.start(&scope, request).await;
        let handle = scope.attach(&id).unwrap();
        let (ready, mut cursor) = (handle.logs_ready(), None::<String>);
        // Blocking, because nothing else is to be done here; the relay has threads of its own.
        while let Some(Ok(order)) = orders.next() {
            handle.write_stdin(format!("{order}\n").into_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\n") {
                let read = scope.read_since(&id, LogStream::Stdout, cursor.as_deref(), 1 << 10);
                let chunk = read.unwrap();
                assert!(!chunk.drained_eof, "the client has ended");
                if chunk.data.is_empty() {
                    ready.ready().await;
                }
                answer.extend_from_slice(&chunk.data);
                cursor = Some(chunk.next);
            }
            print!("{}", String::from_utf8(answer).unwrap());
        }
    });
}

/// Leads every name to one address.
#[derive(Debug)]
struct ToServer(SocketAddr);

impl Connector for ToServer {
    fn connect<'a>(&'a self, _: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(async {
            let stream = tokio::net::TcpStream::connect(self.0).await;
            let stream = stream.map_err(|error| ConnectError::Unreachable(Some(self.0), error))?;
            Ok(Connection {
                stream: stream.into(),
                address: Some(self.0),
            })
        })
    }
}

fn client(at: SocketAddr) -> std::process::Command {
    as_child(&[network::NAME, "client", &at.to_string()])
}

fn pasta(_: &Path, server: SocketAddr) -> Option<Way> {
    // It leads the address of the default gateway to this machine's loopback.
    let at = SocketAddr::from((gateway()?, server.port()));
    let (program, args) = child::command(&[network::NAME, "client", &at.to_string()]);
    let mut pasta = command("pasta");
    // As root it would become another user, which may not write the mapping of its own user namespace.
    if rustix::process::geteuid().is_root() {
        pasta.args(["--runas", "0"]);
    }
    pasta.args(["--config-net", "-q", "-f", "--", &program]).args(args);
    let asked = Asked::start(&mut pasta)?.reaches()?;
    let relays = vec![asked.id()];
    Some(Way::new("pasta", Client::Elsewhere(asked), relays, Vec::new()))
}

/// The address of the default gateway.
fn gateway() -> Option<Ipv4Addr> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let gateway = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next() == Some("00000000")).then(|| fields.next())?
    })?;
    let address = u32::from_str_radix(gateway, 16).ok()?;
    Some(Ipv4Addr::from(address.to_ne_bytes()))
}

fn slirp4netns(_: &Path, server: SocketAddr) -> Option<Way> {
    let at = SocketAddr::from(([10, 0, 2, 2], server.port()));
    let (program, args) = child::command(&[network::NAME, "client", &at.to_string()]);
    let mut inside = command("unshare");
    inside.args(["-rn", "--", &program]).args(args);
    // It says that it runs, so it is in its namespaces.
    let asked = Asked::start(&mut inside)?;
    let mut slirp = command("slirp4netns");
    slirp
        .args(["--configure", "--mtu=65520", &asked.id().to_string(), "tap0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let slirp = Process::spawn(&mut slirp);
    let relays = vec![slirp.id()];
    let asked = asked.reaches()?;
    Some(Way::new("slirp4netns", Client::Elsewhere(asked), relays, vec![slirp]))
}

fn socat(folder: &Path, server: SocketAddr) -> Option<Way> {
    let (inside, socket) = (free_port(), folder.join("egress"));
    let socket = socket.to_str().unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], inside));
    let (program, args) = child::command(&[network::NAME, "client", &at.to_string()]);
    let mut outside = command("socat");
    outside
        .arg(format!("UNIX-LISTEN:{socket},fork"))
        .arg(format!("TCP:127.0.0.1:{},nodelay", server.port()))
        .stderr(Stdio::null());
    let outside = Process::spawn(&mut outside);
    let script = format!(
        "ip link set lo up && {{ socat TCP-LISTEN:{inside},fork,reuseaddr,nodelay,backlog=128 UNIX-CONNECT:{socket} & exec \"$0\" \"$@\"; }}"
    );
    let mut tree = command("unshare");
    // What it started in the background ends with the namespace.
    tree.args(["-rnpf", "--kill-child", "--", "sh", "-c", &script, &program])
        .args(args);
    let asked = Asked::start(&mut tree)?.reaches()?;
    Some(Way::new(
        "socat × 2",
        Client::Elsewhere(asked),
        Vec::new(),
        vec![outside],
    ))
}
