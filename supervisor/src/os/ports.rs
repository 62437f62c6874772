//! The TCP ports on which the processes of a tree listen.
//!
//! The trees of one owner share a network, and the kernel lists the listeners of a network without their processes. So a port is a
//! tree's if one of the tree's processes has the socket among its open files. The kernel shows these files to root, and to the user
//! who made the tree's user namespace. A program that may be executed and not read is the exception: only root sees its files.
//!
//! Every process is hostile, so the number of processes and files that are looked at is bounded. What is beyond is not found.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, read_dir, read_link};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket_list::{SocketList, Table, Which};
use super::tree::{MOST, descendants, threads};

/// The most open files of a tree that are looked at. Each takes about a microsecond.
const MOST_FILES: usize = 1 << 16;

/// The state of a listener, as `/proc/net/tcp` writes it. The kernel writes the listeners before all other sockets.
const LISTEN: &str = "0A";

/// Ports on which the tree below `init` listens, and which 127.0.0.1 or `::1` reaches; of all ports, or only whether it is this one.
/// `list` is that of the network, if the kernel has one; otherwise the tables of `/proc` are read, which takes milliseconds.
///
/// Blocks, at most for some 100 ms.
///
/// # Errors
/// Init has ended, or `/proc` cannot be read.
pub(crate) fn listening(init: u32, list: Option<&SocketList>, wanted: Option<u16>) -> io::Result<BTreeSet<u16>> {
    let mut sockets = HashMap::new();
    if list.is_none_or(|list| listed(list, wanted, &mut sockets).is_err()) {
        sockets.clear();
        read_tables(init, wanted, &mut sockets)?;
    }
    let mut found = BTreeSet::new();
    let mut files = 0;
    for pid in descendants(init, MOST) {
        if sockets.is_empty() {
            break;
        }
        // The first thread may have ended, and shows no files then.
        let open = threads(pid).find_map(|thread| {
            let mut files = read_dir(thread.join("fd")).ok()?.flatten().peekable();
            files.peek().is_some().then_some(files)
        });
        for file in open.into_iter().flatten() {
            files += 1;
            if files > MOST_FILES {
                return Ok(found);
            }
            let link = read_link(file.path()).ok();
            let socket = link.as_ref().and_then(|link| inode(link.to_str()?));
            found.extend(socket.and_then(|socket| sockets.remove(&socket)));
        }
    }
    Ok(found)
}

/// Whether 127.0.0.1 or `::1` reaches a listener at this address.
fn is_reached(address: IpAddr) -> bool {
    address.is_unspecified() || address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Adds the listeners of a network that the loopback reaches: their inodes and ports.
fn listed(list: &SocketList, wanted: Option<u16>, found: &mut HashMap<u64, u16>) -> io::Result<()> {
    for table in [Table::Tcp, Table::Tcp6] {
        list.each(table, Which::Listeners(wanted), |socket| {
            if is_reached(socket.address) {
                found.insert(socket.inode.into(), socket.port);
            }
        })?;
    }
    Ok(())
}

/// The same from the tables of `/proc`.
fn read_tables(init: u32, wanted: Option<u16>, found: &mut HashMap<u64, u16>) -> io::Result<()> {
    for family in ["tcp", "tcp6"] {
        match File::open(format!("/proc/{init}/net/{family}")) {
            Ok(list) => listeners(BufReader::new(list), wanted, found)?,
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && family == "tcp6" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds the listeners of `/proc/PID/net/tcp` or `tcp6` that the loopback reaches: their inodes and ports.
fn listeners(list: impl BufRead, wanted: Option<u16>, found: &mut HashMap<u64, u16>) -> io::Result<()> {
    for line in list.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state, inode) = (fields.next(), fields.nth(1), fields.nth(5));
        if state != Some(LISTEN) {
            break;
        }
        let socket = local.and_then(address).zip(inode.and_then(|inode| inode.parse().ok()));
        if let Some(((address, port), inode)) = socket
            && is_reached(address)
            && wanted.is_none_or(|wanted| wanted == port)
        {
            found.insert(inode, port);
        }
    }
    Ok(())
}

/// An address and a port in hexadecimal digits. Each four bytes of the address are a number in the machine's byte order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    for (at, digits) in address.as_bytes().chunks(8).enumerate() {
        let number = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        bytes
            .get_mut(at * 4..at * 4 + 4)?
            .copy_from_slice(&number.to_ne_bytes());
    }
    let [a, b, c, d, ..] = bytes;
    let address = match address.len() {
        8 => IpAddr::from([a, b, c, d]),
        32 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some((address, port))
}

/// The inode in the name of an open file that is a socket.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn w2_listeners_are_read_as_the_kernel_writes_them() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0\n\
            \x20  1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0 0 10 0\n\
            \x20  2: 0200007F:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 100 0 0 10 0\n\
            \x20  3: 0100007F:0052 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 14 1 0 100 0 0 10 0\n";
        let read = |wanted| {
            let mut found = HashMap::new();
            listeners(list.as_bytes(), wanted, &mut found).expect("it is read");
            found
        };
        assert_eq!(read(None), HashMap::from([(11, 8080), (12, 80)]));
        assert_eq!(read(Some(80)), HashMap::from([(12, 80)]));
        for (text, expected) in [
            ("00000000000000000000000001000000:1F90", Some(("::1", 8080))),
            ("00000000000000000000000000000000:0050", Some(("::", 80))),
            ("0000000000000000FFFF00000100007F:0050", Some(("127.0.0.1", 80))),
            ("0100007F", None),
            ("01:0050", None),
            ("0100007F0100007F0100007F0100007F0100007F:0050", None),
        ] {
            let expected = expected.map(|(address, port)| (address.parse().expect("an address"), port));
            assert_eq!(address(text), expected, "{text}");
        }
        assert_eq!(inode("socket:[77]"), Some(77));
        assert_eq!(inode("pipe:[77]"), None);
    }
}
