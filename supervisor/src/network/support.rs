//! What this machine can do for private networks, found by a trial: a program that runs commands wants to tell a person about it
//! before a server cannot be reached.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_domain;
use rustix::net::{AddressFamily, accept, bind, connect};

use super::shared::{listening, reached_by};
use crate::os::network::NewNetwork;

/// Below 1024, where only the owner of a network may listen: a user that does not own it cannot pass the trial.
const PORT: u16 = 80;

/// How long a connection by loopback may take.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What this machine can do for private networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSupport {
    /// Whether the kernel bounds what it buffers for a TCP socket, at 256 KiB for each direction. Where it does not, because
    /// `/proc/sys` cannot be written to, commands can hold more memory in sockets than their limits say.
    pub bounded_buffers: bool,
    /// Whether commands can listen on `::1`. Published ports and egress work without it.
    pub ipv6: bool,
}

impl NetworkSupport {
    /// Connects to a listener in this network, in which no process runs. Blocks for less than a millisecond where it works.
    pub(crate) fn of(network: &NewNetwork) -> io::Result<Self> {
        let unbound = || network.namespace.socket().ok_or(io::ErrorKind::NotFound);
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
        let client = unbound()?;
        let has_v6 = socket_domain(&client)? == AddressFamily::INET6;
        let listener = listening(unbound()?, at)?;
        match connect(&client, &reached_by(at, has_v6)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        if poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&PATIENCE))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        accept(&listener)?;
        Ok(Self {
            bounded_buffers: network.is_bounded,
            ipv6: has_v6 && bind(unbound()?, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0)).is_ok(),
        })
    }
}
