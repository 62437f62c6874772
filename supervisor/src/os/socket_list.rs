//! The sockets of a private network, as the kernel lists them (`sock_diag(7)`).
//!
//! The tables of `/proc/PID/net` have the same content, but the kernel writes a whole table as text, and goes through a hash table of
//! all networks of the machine for it: some milliseconds, even if nothing listens. Here the kernel is asked for the sockets of one
//! state and port only. The question goes through a netlink socket that was opened within the network and is kept with it.
//!
//! The messages are few and of fixed size, so they are written and read here: the crates that do it bring six others. Only the kernel
//! can send to the socket. A tree decides how many sockets there are, so one question reads a bounded number of them.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The most sockets that one question reads. The kernel takes less than a microsecond for each.
const MOST: usize = 1 << 17;

/// The size of the buffer for answers. The kernel fills it with as many messages as fit.
const BUFFER: usize = 32 << 10;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The sizes of `nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const MESSAGE: usize = 72;
/// Netlink messages begin at multiples of this.
const ALIGNMENT: usize = 4;

/// `TCP_LISTEN`, the state of a listener.
pub(super) const LISTEN: u8 = 10;
/// `TCP_TIME_WAIT`: what the kernel remembers of a connection that has ended. No process has it, and it holds no data.
const TIME_WAIT: u8 = 6;

/// A kind of sockets, as one question asks for it: its address family and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

/// Which sockets of a table are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that listen, on this port if it is given.
    Listeners(Option<u16>),
    /// Those that may hold data.
    Open,
}

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// The number of the open file; 0 if no process has it open.
    pub(super) inode: u32,
    pub(super) listens: bool,
    /// Whether its queues hold data. A listener's queue counts connections.
    pub(super) holds_data: bool,
}

/// The socket through which the kernel is asked.
#[derive(Debug)]
pub(crate) struct SocketList(Mutex<Asking>);

#[derive(Debug)]
struct Asking {
    netlink: OwnedFd,
    /// Of the last question. An answer repeats it.
    sequence: u32,
    /// The last answer was not read to its end. The kernel takes no question before.
    is_unread: bool,
}

impl SocketList {
    /// With a socket of `NETLINK_SOCK_DIAG`.
    pub(super) const fn new(netlink: OwnedFd) -> Self {
        Self(Mutex::new(Asking {
            netlink,
            sequence: 0,
            is_unread: false,
        }))
    }

    /// Calls `each` for each socket. Blocks while others ask, and while the kernel goes through its tables. `false`: there are more
    /// than [`MOST`], and the rest was not read.
    ///
    /// # Errors
    /// The kernel does not list such sockets: it may have been built without.
    pub(super) fn each(&self, table: Table, which: Which, each: impl FnMut(Socket)) -> io::Result<bool> {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.is_unread && !asking.read(&mut |_| {})? {
            return Ok(false);
        }
        asking.sequence = asking.sequence.wrapping_add(1);
        let request = request(table, which, asking.sequence);
        while let Err(errno) = send(&asking.netlink, &request, SendFlags::DONTWAIT) {
            if errno != Errno::INTR {
                return Err(errno.into());
            }
        }
        asking.is_unread = true;
        let mut each = each;
        asking.read(&mut each)
    }
}

impl Asking {
    /// Reads the answer, up to [`MOST`] sockets. Whether that was all of it.
    fn read(&mut self, each: &mut impl FnMut(Socket)) -> io::Result<bool> {
        let mut buffer = vec![0; BUFFER];
        let mut count = 0;
        while count < MOST {
            // The kernel has the first part ready when the question was sent, and each further part when the one before is read.
            let length = match recv(&self.netlink, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            match sockets(buffer.get(..length).unwrap_or_default(), self.sequence, |socket| {
                count += 1;
                each(socket);
            }) {
                Part::More => {}
                Part::Last => {
                    self.is_unread = false;
                    return Ok(true);
                }
                Part::Failed(error) => {
                    self.is_unread = false;
                    return Err(error);
                }
            }
        }
        Ok(false)
    }
}

/// What follows a part of an answer.
#[derive(Debug)]
enum Part {
    More,
    Last,
    Failed(io::Error),
}

/// A question.
fn request(table: Table, which: Which, sequence: u32) -> [u8; HEADER + REQUEST] {
    let (family, protocol) = match table {
        Table::Tcp => (libc::AF_INET, libc::IPPROTO_TCP),
        Table::Tcp6 => (libc::AF_INET6, libc::IPPROTO_TCP),
        Table::Udp => (libc::AF_INET, libc::IPPROTO_UDP),
        Table::Udp6 => (libc::AF_INET6, libc::IPPROTO_UDP),
    };
    let (states, port) = match which {
        Which::Listeners(port) => (1 << LISTEN, port.unwrap_or_default()),
        Which::Open => (!(1_u32 << TIME_WAIT), 0),
    };
    let mut bytes = [0; HEADER + REQUEST];
    let byte = |number: libc::c_int| u8::try_from(number).unwrap_or_default();
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    let fields: [(usize, &[u8]); 8] = [
        (0, &length.to_ne_bytes()),
        (4, &BY_FAMILY.to_ne_bytes()),
        (6, &DUMP.to_ne_bytes()),
        (8, &sequence.to_ne_bytes()),
        (HEADER, &[byte(family)]),
        (HEADER + 1, &[byte(protocol)]),
        (HEADER + 4, &states.to_ne_bytes()),
        // The port on this side, the first field of the socket's identity.
        (HEADER + 8, &port.to_be_bytes()),
    ];
    for (at, field) in fields {
        if let Some(place) = bytes.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
    }
    bytes
}

/// Calls `each` for the sockets in a part of the answer to the question with this number.
fn sockets(mut part: &[u8], sequence: u32, mut each: impl FnMut(Socket)) -> Part {
    while let Some(header) = part.first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(message) = part.get(HEADER..length) else {
            break;
        };
        if u32::from_ne_bytes([s0, s1, s2, s3]) == sequence {
            match u16::from_ne_bytes([k0, k1]) {
                DONE => return outcome(message).map_or(Part::Last, Part::Failed),
                // An error of 0 would confirm the question, which was not asked for.
                ERROR => return Part::Failed(outcome(message).unwrap_or_else(malformed)),
                BY_FAMILY => match message.first_chunk().and_then(socket) {
                    Some(socket) => each(socket),
                    None => return Part::Failed(malformed()),
                },
                _ => {}
            }
        }
        part = part.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    if part.is_empty() {
        Part::More
    } else {
        Part::Failed(malformed())
    }
}

/// The error at the beginning of the last message: a negative number.
fn outcome(message: &[u8]) -> Option<io::Error> {
    let errno = i32::from_ne_bytes(*message.first_chunk()?);
    (errno < 0).then(|| io::Error::from_raw_os_error(errno.saturating_neg()))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets is malformed")
}

/// A socket of an `inet_diag_msg`: family, state, two bytes, then the identity (ports, addresses, interface and cookie), and five
/// numbers: expiry, the two queues, user and inode.
fn socket(message: &[u8; MESSAGE]) -> Option<Socket> {
    let number = |at: usize| {
        let bytes = message.get(at..at + 4)?;
        Some(u32::from_ne_bytes(*bytes.first_chunk()?))
    };
    let [family, state, _, _, p0, p1, _, _, ..] = *message;
    let address = *message.get(8..24)?.first_chunk::<16>()?;
    let address = match i32::from(family) {
        libc::AF_INET => {
            let [a, b, c, d, ..] = address;
            IpAddr::from([a, b, c, d])
        }
        libc::AF_INET6 => Ipv6Addr::from(address).to_canonical(),
        _ => return None,
    };
    let listens = state == LISTEN;
    Some(Socket {
        address,
        port: u16::from_be_bytes([p0, p1]),
        inode: number(68)?,
        listens,
        holds_data: !listens && (number(56)? > 0 || number(60)? > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    use std::os::unix::fs::MetadataExt;

    /// The sockets of this test's own network.
    fn list() -> SocketList {
        let flags = SocketFlags::CLOEXEC;
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol);
        SocketList::new(socket.expect("a netlink socket"))
    }

    fn all(list: &SocketList, table: Table, which: Which) -> Vec<Socket> {
        let mut found = Vec::new();
        let all = list.each(table, which, |socket| found.push(socket));
        assert!(all.expect("a list"), "all of it");
        found
    }

    fn inode(socket: &impl std::os::fd::AsRawFd) -> u32 {
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let file = std::fs::metadata(link).expect("an open file");
        file.ino().try_into().expect("a number of a socket")
    }

    #[test]
    fn w2_the_kernel_lists_listeners_alone_and_by_their_port() {
        let list = list();
        let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let ports = [&one, &other].map(|listener| listener.local_addr().expect("an address").port());
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).expect("a connection");
        let found = all(&list, Table::Tcp, Which::Listeners(None));
        for (listener, port) in [&one, &other].into_iter().zip(ports) {
            let expected = Socket {
                address: Ipv4Addr::LOCALHOST.into(),
                port,
                inode: inode(listener),
                listens: true,
                holds_data: false,
            };
            assert!(found.contains(&expected), "{expected:?} is not among {}", found.len());
        }
        assert!(
            found
                .iter()
                .all(|socket| socket.listens && socket.inode != inode(&client))
        );
        let of_one = all(&list, Table::Tcp, Which::Listeners(Some(ports[0])));
        assert_eq!(
            of_one.iter().map(|socket| socket.inode).collect::<Vec<_>>(),
            [inode(&one)]
        );
    }

    #[test]
    fn w2_a_listener_of_ipv6_has_its_address() {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            println!("skipped: no IPv6");
            return;
        };
        let port = listener.local_addr().expect("an address").port();
        let found = all(&list(), Table::Tcp6, Which::Listeners(Some(port)));
        let found: Vec<_> = found.iter().map(|socket| (socket.address, socket.inode)).collect();
        assert_eq!(found, [(Ipv6Addr::LOCALHOST.into(), inode(&listener))]);
    }

    #[test]
    fn r1_a_socket_whose_queue_holds_data_is_told_apart() {
        let list = list();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let at = listener.local_addr().expect("an address");
        let [mut full, empty] = [(); 2].map(|()| TcpStream::connect(at).expect("a connection"));
        let (reader, _) = listener.accept().expect("a connection");
        full.write_all(b"unread").expect("it is open");
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        udp.send_to(b"unread", udp.local_addr().expect("an address"))
            .expect("it is open");
        let tcp = all(&list, Table::Tcp, Which::Open);
        let udp_found = all(&list, Table::Udp, Which::Open);
        let holds = |found: &[Socket], inode: u32| {
            let socket = found.iter().find(|socket| socket.inode == inode);
            socket
                .unwrap_or_else(|| panic!("{inode} is not in {found:?}"))
                .holds_data
        };
        // The other side may have it by now, which has not accepted the second.
        assert!(holds(&tcp, inode(&reader)) && !holds(&tcp, inode(&empty)) && !holds(&tcp, inode(&listener)));
        assert!(holds(&udp_found, inode(&udp)));
    }

    #[test]
    fn w2_an_answer_of_several_parts_is_read_to_its_end() {
        let list = list();
        let listeners: Vec<_> = (0..600)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener"))
            .collect();
        let found: Vec<_> = all(&list, Table::Tcp, Which::Listeners(None))
            .iter()
            .map(|socket| socket.inode)
            .collect();
        assert!(
            listeners.iter().all(|listener| found.contains(&inode(listener))),
            "{}",
            found.len()
        );
    }

    /// An answer that was not read to its end is read before the next question.
    #[test]
    fn w5_a_question_after_an_unread_answer_gets_its_own_answer() {
        let list = list();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        {
            let mut asking = list.0.lock().expect("no panic");
            let request = request(Table::Tcp, Which::Listeners(None), 1);
            send(&asking.netlink, &request, SendFlags::empty()).expect("sent");
            (asking.sequence, asking.is_unread) = (1, true);
        }
        let found = all(&list, Table::Tcp, Which::Listeners(Some(port)));
        assert_eq!(
            found.iter().map(|socket| socket.inode).collect::<Vec<_>>(),
            [inode(&listener)]
        );
    }

    /// A message as the kernel writes it, with an attribute behind.
    fn message(sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + MESSAGE + 8];
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes[16..22].copy_from_slice(&[2, LISTEN, 0, 0, 0x1f, 0x90]);
        bytes[24..28].copy_from_slice(&[127, 0, 0, 1]);
        bytes[84..88].copy_from_slice(&77_u32.to_ne_bytes());
        bytes
    }

    fn last(sequence: u32, kind: u16, errno: i32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + 4];
        bytes[..4].copy_from_slice(&20_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes[16..].copy_from_slice(&errno.to_ne_bytes());
        bytes
    }

    fn read(part: &[u8]) -> (Part, Vec<(IpAddr, u16, u32)>) {
        let mut found = Vec::new();
        let end = sockets(part, 7, |socket| {
            found.push((socket.address, socket.port, socket.inode));
        });
        (end, found)
    }

    #[test]
    fn w2_the_answer_to_an_earlier_question_is_passed_over() {
        let one = (Ipv4Addr::LOCALHOST.into(), 8080, 77);
        let (end, found) = read(&[message(6), message(7), last(6, DONE, 0)].concat());
        assert!(matches!(end, Part::More) && found == [one], "{found:?}");
        let (end, found) = read(&[message(7), message(7), last(7, DONE, 0), message(7)].concat());
        assert!(matches!(end, Part::Last) && found == [one, one], "{found:?}");
    }

    #[test]
    fn w2_an_error_and_a_malformed_answer_are_told() {
        for kind in [DONE, ERROR] {
            let (end, _) = read(&last(7, kind, -2));
            assert!(
                matches!(&end, Part::Failed(error) if error.raw_os_error() == Some(2)),
                "{end:?}"
            );
        }
        let whole = message(7);
        let mut endless = whole.clone();
        endless[0] = 0;
        for part in [
            &whole[..12],
            &whole[..HEADER + MESSAGE],
            &endless,
            &last(7, BY_FAMILY, 0),
            &last(7, ERROR, 0),
        ] {
            let (end, found) = read(part);
            assert!(
                matches!(&end, Part::Failed(error) if error.kind() == io::ErrorKind::InvalidData),
                "{end:?}"
            );
            assert!(found.is_empty());
        }
    }

    proptest! {
        #[test]
        fn w5_whatever_bytes_come_reading_them_ends(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((0_usize..200, any::<u8>()), 0..6),
            is_noise: bool,
        ) {
            let mut part = if is_noise { noise } else { [message(7), message(7)].concat() };
            for (at, byte) in changes {
                if let Some(changed) = part.get_mut(at) {
                    *changed = byte;
                }
            }
            let (_, found) = read(&part);
            prop_assert!(found.len() <= part.len() / HEADER);
        }
    }
}
