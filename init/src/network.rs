//! A private network: a network namespace with a loopback interface, and sockets in it that the host uses.
//!
//! A helper process makes it, sends the host the descriptors, and ends. Any of the descriptors keeps the namespace, so no process
//! has to stay. The host binds, listens and connects on these sockets itself. It may use any port, because the namespace belongs to
//! it: to root, or to a user namespace that the host's user owns. A command cannot change anything in it, because its own user
//! namespace is another one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use capsule_init::{DNS_SERVER, FIRST_SOCKETS, Identity, Layer, MORE_SOCKETS, Report, SYNTHETIC_PREFIX};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, netlink, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::At;
use crate::{identity, sys};

const LAYER: Layer = Layer::NetworkNamespace;

/// The longest queue of connections to the name server that were not accepted.
const BACKLOG: i32 = 16;

/// The most that the kernel buffers for one TCP socket and direction, in bytes. These buffers are outside of every account of
/// memory: without a bound 100 connections of a command can hold more than a gigabyte. This size costs loopback no throughput.
const BUFFER: u32 = 256 << 10;

/// The namespaces of a private network.
pub(crate) struct Namespaces {
    /// The user namespace that owns the other one, if the host is an ordinary user.
    pub(crate) user: Option<OwnedFd>,
    pub(crate) net: OwnedFd,
}

impl Namespaces {
    /// Moves this process into them.
    pub(crate) fn enter(&self) -> Result<(), Report> {
        if let Some(user) = &self.user {
            move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User)).at(LAYER, "setns (user)")?;
        }
        enter(&self.net)
    }
}

/// Moves this process into a network namespace.
pub(crate) fn enter(net: &OwnedFd) -> Result<(), Report> {
    move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network)).at(LAYER, "setns")
}

/// Sets up the new network that this process is in: the report and the descriptors for the host.
pub(crate) fn set_up(host: Identity) -> Result<(Report, Vec<OwnedFd>), Report> {
    let is_root = host.uid == 0;
    if !is_root {
        // The files in /proc/sys belong to an id that is mapped.
        identity::map_host(host)?;
    }
    let control = socket(AddressFamily::INET, SocketType::DGRAM).at(LAYER, "socket")?;
    sys::bring_up(&control, c"lo").at(LAYER, "loopback")?;
    // Every address of the range is then local, without a route. And a resolver that queries only the address families of its own
    // addresses (AI_ADDRCONFIG) finds an IPv4 address outside of the loopback range.
    sys::add_address(&control, c"lo:1", DNS_SERVER, SYNTHETIC_PREFIX).at(LAYER, "address")?;
    let is_bounded = bound_buffers();
    let mut descriptors = Vec::new();
    for name in ["net", "user"] {
        if name == "net" || !is_root {
            let path = format!("/proc/self/ns/{name}");
            descriptors.push(open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(LAYER, &path)?);
        }
    }
    let server = SocketAddrV4::new(Ipv4Addr::from_bits(DNS_SERVER), 53);
    for kind in [SocketType::DGRAM, SocketType::STREAM] {
        let listener = socket(AddressFamily::INET, kind).at(LAYER, "socket")?;
        bind(&listener, &server).at(LAYER, "bind")?;
        if kind == SocketType::STREAM {
            listen(&listener, BACKLOG).at(LAYER, "listen")?;
        }
        descriptors.push(listener);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let list = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG)).ok();
    let has_list = list.is_some();
    descriptors.extend(list);
    descriptors.extend(sockets(FIRST_SOCKETS)?);
    Ok((Report::Network { is_bounded, has_list }, descriptors))
}

/// More sockets in the network that this process has entered.
pub(crate) fn more() -> Result<(Report, Vec<OwnedFd>), Report> {
    Ok((Report::Sockets, sockets(MORE_SOCKETS)?))
}

/// Unbound sockets, which can connect to both families. Where the kernel has no IPv6, they are of IPv4.
fn sockets(count: usize) -> Result<Vec<OwnedFd>, Report> {
    let one = || {
        socket(AddressFamily::INET6, SocketType::STREAM).or_else(|_| socket(AddressFamily::INET, SocketType::STREAM))
    };
    std::iter::repeat_with(one)
        .take(count)
        .collect::<Result<_, _>>()
        .at(LAYER, "socket")
}

fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Bounds the kernel's buffers for the sockets of this network. Returns whether it could: in some containers these files are
/// read-only.
fn bound_buffers() -> bool {
    ["tcp_rmem", "tcp_wmem"].into_iter().all(|name| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        let Ok(now) = fs::read_to_string(&path) else {
            return false;
        };
        let mut sizes = now
            .split_ascii_whitespace()
            .map(|size| size.parse().unwrap_or(BUFFER).min(BUFFER));
        let (Some(least), Some(first)) = (sizes.next(), sizes.next()) else {
            return false;
        };
        fs::write(path, format!("{least} {first} {BUFFER}")).is_ok()
    })
}
