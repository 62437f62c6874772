//! What a hostile tree tries in its private network: to stand in for a name, to change the network, to reach other trees, and to
//! hold memory that no limit counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{Confined, Network, Policy, PrivateNetwork, PublishAt};
use capsule_host::supervisor::{Ask, Gate, Owner};

use super::clients;
use super::support::{SERVER, client, first_line, http, printed, python, start};
use crate::harness::{AllowAll, Host, code, watchdog};

/// Runs attempts, and prints after each name the errno of the failure, or 0.
const ATTEMPTS: &str = "import errno, fcntl, os, socket, struct, sys
def attempt(name, action):
    try:
        action()
        print(name, 0)
    except OSError as error:
        print(name, error.errno)
def tcp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_STREAM)
def bound(address, *options, family=socket.AF_INET):
    def action():
        made = tcp(family)
        for option in options:
            made.setsockopt(*option)
        made.bind(address)
        made.listen()
    return action
REUSE = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
SHARE = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
DEVICE = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')
FREE = (socket.IPPROTO_IP, 15, 1)
";

/// The answer to each attempt of a script.
async fn attempts(host: &Host, script: &str) -> BTreeMap<String, i32> {
    let request = python(&format!("{ATTEMPTS}{script}"));
    let output = watchdog(host.scope().spawn(request, &host.workspace, &mut AllowAll)).await;
    let output = output.expect("it runs");
    assert_eq!(output.exit, code(0), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().filter_map(|line| line.rsplit_once(' '));
    lines
        .map(|(name, errno)| (name.to_owned(), errno.parse().expect("an errno")))
        .collect()
}

/// Every attempt of a script has this answer; there have to be so many of them.
async fn all_are(host: &Host, script: &str, count: usize, errno: i32) {
    let answers = attempts(host, script).await;
    assert_eq!(answers.len(), count, "{answers:?}");
    let others: Vec<_> = answers.iter().filter(|(_, answer)| **answer != errno).collect();
    assert!(others.is_empty(), "not {errno}: {others:?}");
}

/// A tree that listened at the address of a name would get what other trees of its owner send to that name.
async fn w3_no_tree_listens_at_the_address_of_an_exact_name() {
    let host = clients::host(&["one.example:8443"], http([("/word", b"hello\n".to_vec())]));
    let script = "
v4, v6 = ('198.18.0.2', 8443), ('::ffff:198.18.0.2', 8443)
attempt('plain', bound(v4))
attempt('reuse', bound(v4, REUSE))
attempt('share', bound(v4, SHARE))
attempt('both', bound(v4, REUSE, SHARE))
attempt('device', bound(v4, SHARE, DEVICE))
attempt('free', bound(v4, FREE, SHARE))
attempt('mapped', bound(v6, REUSE, SHARE, family=socket.AF_INET6))
attempt('any', bound(('0.0.0.0', 8443), REUSE, SHARE))
attempt('any of both families', bound(('::', 8443), (41, 26, 0), REUSE, SHARE, family=socket.AF_INET6))
def later():
    # In the kernel's own order: an address, then options that might let it be shared.
    made = tcp()
    made.setsockopt(*REUSE)
    made.bind(v4)
    made.setsockopt(*SHARE)
    made.listen()
attempt('later', later)
";
    all_are(&host, script, 10, libc::EADDRINUSE).await;
    let get =
        python("import urllib.request as u; print(u.urlopen('http://one.example:8443/word').read().decode().strip())");
    assert_eq!(printed(&host, &host.scope(), get).await, "hello");
}

/// The name of a wildcard has an address once a tree asks for it. A tree that listens there before fails the name, and gets
/// nothing.
async fn w3_no_tree_gets_what_is_sent_to_a_wildcards_name() {
    for listener in ["('198.18.0.2', 8443)", "('0.0.0.0', 8443)"] {
        let host = clients::host(&["*.many.example:8443"], http([("/word", b"hello\n".to_vec())]));
        let script = format!(
            "import socket, urllib.request
taken = socket.create_server({listener})
taken.setblocking(False)
try:
    connection = socket.create_connection(('a.many.example', 8443), 10)
    print('connected')
except socket.gaierror:
    print('failed')
try:
    taken.accept()
    print('accepted')
except BlockingIOError:
    print('nothing')
taken.close()
print(urllib.request.urlopen('http://a.many.example:8443/word').read().decode().strip())"
        );
        assert_eq!(
            printed(&host, &host.scope(), python(&script)).await,
            "failed\nnothing\nhello",
            "{listener}"
        );
    }
}

async fn b1_a_tree_cannot_change_its_network() {
    let host = clients::host(&["one.example:80"], 1);
    let script = "
SIOCSIFFLAGS, SIOCGIFFLAGS, SIOCSIFADDR, SIOCSIFMTU = 0x8914, 0x8913, 0x8916, 0x8922
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name = struct.pack('16s', b'lo')
attempt('lo down', lambda: fcntl.ioctl(control, SIOCSIFFLAGS, name + struct.pack('h22x', 0)))
attempt('address', lambda: fcntl.ioctl(control, SIOCSIFADDR, name + struct.pack('=HH4s16x', 2, 0, bytes([10, 0, 0, 1]))))
attempt('mtu', lambda: fcntl.ioctl(control, SIOCSIFMTU, name + struct.pack('i20x', 100)))
def netlink(kind, flags, body):
    def action():
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        made.bind((0, 0))
        made.send(struct.pack('=IHHII', 16 + len(body), kind, flags | 5, 1, 0) + body)
        answer = made.recv(4096)
        code = struct.unpack_from('=i', answer, 16)[0]
        if code:
            raise OSError(-code, 'netlink')
    return action
NEW = 0x400 | 0x200
lo = struct.pack('=BxHiII', 0, 0, 1, 0, 1)
attempt('link', netlink(16, 0, lo))
attempt('link away', netlink(17, 0, lo))
local = struct.pack('=BBBBI', 2, 15, 0, 0, 1) + struct.pack('=HH4s', 8, 2, bytes([198, 18, 0, 1]))
attempt('address away', netlink(21, 0, local))
attempt('second address', netlink(20, NEW, struct.pack('=BBBBI', 2, 8, 0, 0, 1) + struct.pack('=HH4s', 8, 2, bytes([10, 0, 0, 1]))))
attempt('route', netlink(24, NEW, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 4, 253, 1, 0) + struct.pack('=HHi', 8, 4, 1)))
attempt('rule', netlink(32, NEW, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 4, 253, 1, 0)))
attempt('neighbour', netlink(28, NEW, struct.pack('=BxxxiHBB', 2, 1, 2, 0, 1) + struct.pack('=HH4s', 8, 1, bytes([10, 0, 0, 1]))))
attempt('device', netlink(16, NEW, struct.pack('=BxHiII', 0, 0, 0, 0, 0) + struct.pack('=HH6s2x', 10, 3, b'dummy0')))
attempt('transparent', lambda: tcp().setsockopt(socket.IPPROTO_IP, 19, 1))
attempt('mark', lambda: tcp().setsockopt(socket.SOL_SOCKET, 36, 1))
attempt('repair', lambda: tcp().setsockopt(socket.IPPROTO_TCP, 19, 1))
attempt('priority', lambda: tcp().setsockopt(socket.SOL_SOCKET, 12, 7))
";
    all_are(&host, script, 15, libc::EPERM).await;
    let low = "
for port in 1, 53, 80, 443, 1023:
    for address in '127.0.0.1', '198.18.0.1', '198.18.0.2', '0.0.0.0':
        attempt(f'{address}:{port}', bound((address, port)))
";
    all_are(&host, low, 20, libc::EACCES).await;
    let settings = "
for name in 'ip_forward', 'ip_unprivileged_port_start', 'ip_nonlocal_bind', 'tcp_rmem', 'tcp_wmem', 'conf/lo/route_localnet':
    attempt(name, lambda: open(f'/proc/sys/net/ipv4/{name}', 'w').write('0'))
";
    let answers = attempts(&host, settings).await;
    let refused = |errno: &i32| [libc::EACCES, libc::EROFS, libc::ENOENT, libc::EPERM].contains(errno);
    assert!(answers.len() == 6 && answers.values().all(refused), "{answers:?}");
}

/// Gives every tree this network.
struct Wants(PrivateNetwork);

impl Gate for Wants {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }

    fn network(&mut self, _: &Owner) -> Option<Network> {
        Some(self.0.clone().into())
    }
}

/// By the port itself, and by where it is published on the host.
async fn b1_the_trees_of_another_owner_or_policy_reach_no_published_port() {
    let network = PrivateNetwork::default().publish("0:8080".parse().expect("a port"));
    let launcher = Arc::new(Confined::new(Policy::new().network(network.clone())).expect("a confinement"));
    let host = Host::launching(launcher.clone());
    let owner = host.scope();
    let opened = launcher.open_network(owner.owner(), &network).expect("a network");
    let PublishAt::Loopback(published) = opened.published().first().expect("a port").at else {
        panic!("{opened:?}");
    };
    let server = start(&host, &owner, python(&SERVER.replace(", 0))", ", 8080))"))).await;
    assert_eq!(first_line(&server).await, "8080");
    assert_eq!(printed(&host, &owner, client(8080)).await, "met");
    let refused = libc::ECONNREFUSED.to_string();
    // The host's loopback is not the trees', the owner's own included.
    assert_eq!(printed(&host, &owner, client(published.port())).await, refused);
    for other in [
        host.scope_of("bob", "editor"),
        host.scope_of("alice", "another capsule"),
        host.anonymous(),
    ] {
        for port in [8080, published.port()] {
            assert_eq!(
                printed(&host, &other, client(port)).await,
                refused,
                "{:?} {port}",
                other.owner()
            );
        }
    }
    // The same owner, by another policy.
    for port in [8080, published.port()] {
        let mut gate = Wants(PrivateNetwork::default());
        let output = watchdog(owner.spawn(client(port), &host.workspace, &mut gate))
            .await
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), refused, "{port}");
    }
    server.stop(Duration::ZERO).await;
}

/// What a tree holds in the buffers of sockets is the kernel's memory, which no sampled limit counts.
async fn w5_the_buffers_of_a_hundred_sockets_are_bounded() {
    let script = "
SIZE = 64 << 20
def fill(pair):
    for end in pair:
        for option in socket.SO_SNDBUF, socket.SO_RCVBUF, 32, 33:
            end.setsockopt(socket.SOL_SOCKET, option, SIZE)
        end.setblocking(False)
    held = 0
    for end in pair:
        block = bytes(1 << 20)
        try:
            while True:
                held += end.send(block)
        except BlockingIOError:
            pass
    return held
def connected():
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]
listener = socket.create_server(('127.0.0.1', 0))
# The size that a listener is given is that of what it accepts.
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIZE)
for make in connected, socket.socketpair:
    pairs = [make() for _ in range(100)]
    print(make.__name__, sum(map(fill, pairs)) >> 20)
    for one, other in pairs:
        one.close(), other.close()
";
    let held = attempts(&clients::host(&[], 1), script).await;
    let mib = |name| held.get(name).copied().expect("a number");
    // 100 pairs, two directions, twice 256 KiB each; and twice the default of 208 KiB.
    let (tcp, unix) = (mib("connected"), mib("socketpair"));
    assert!(tcp > 0 && tcp <= 120, "{tcp} MiB in TCP sockets");
    assert!(unix > 0 && unix <= 84, "{unix} MiB in Unix sockets");
    crate::who::remark(&format!("{tcp} MiB in 100 pairs of TCP, {unix} MiB in 100 of AF_UNIX"));
}

crate::who::each_user!(
    w3_no_tree_listens_at_the_address_of_an_exact_name,
    w3_no_tree_gets_what_is_sent_to_a_wildcards_name,
    b1_a_tree_cannot_change_its_network,
    b1_the_trees_of_another_owner_or_policy_reach_no_published_port,
    w5_the_buffers_of_a_hundred_sockets_are_bounded,
);
