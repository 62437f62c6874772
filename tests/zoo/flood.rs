//! Floods of the host's part in a private network.

use std::net::{ToSocketAddrs, UdpSocket};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::say;

/// A query for an address, between its number and its name.
const HEAD: &[u8] = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
/// A name that no rule allows, and the question for its IPv4 address.
const QUESTION: &[u8] = b"\x05other\x04test\x00\x00\x01\x00\x01";

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match behaviour {
        "queries" => queries(),
        "connections" => connections(args.first().expect("a name and a port")),
        _ => return false,
    }
    true
}

/// Asks the name server as fast as the kernel takes it, and never ends.
fn queries() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect("198.18.0.1:53").expect("a route");
    socket.set_nonblocking(true).expect("a mode");
    let mut answer = [0; 512];
    say("storming");
    for number in (0..=u16::MAX).cycle() {
        let query = [&number.to_be_bytes()[..], HEAD, QUESTION].concat();
        // The server's queue may be full, and its answer late.
        let _full = socket.send(&query);
        let _none = socket.recv(&mut answer);
    }
}

/// Connects to a name as fast as the kernel does, waits for no connection, and never ends.
fn connections(name: &str) {
    let found = name.to_socket_addrs().expect("a name").next();
    let address = found.expect("an address");
    say("storming");
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        let _in_progress = connect(&socket, &address);
    }
}
