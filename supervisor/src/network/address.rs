//! Which addresses the host does not dial for a tree.
//!
//! A name can lead anywhere: its owner decides, and may decide differently at the next query (DNS rebinding). So every address is
//! looked at when it is dialled. An IPv6 address that holds an IPv4 address is judged by that one, because a translator, a tunnel
//! or the kernel may take it there. The ranges are those of the IANA registries of special-purpose addresses.
//!
//! The host's own addresses, and those of the networks that its interfaces are in, are refused whatever their range: a machine next to
//! the host may trust it, or be reached past a firewall.
//!
//! Some addresses are refused even to a rule that reaches private ones:
//!
//! * Loopback. What listens there relies on being out of every other machine's reach, so it often asks for no password. A rule
//!   that says *private* means a machine in a private network, and the owner of its name must not make that this machine.
//!   The host's other own addresses, and its neighbours', are let through by *private*: what listens there is meant for the network.
//! * Link-local addresses and the metadata services of clouds, which hand out the host's credentials to any client on it.
//! * Addresses that are no host's: unspecified (which is the loopback to `connect`), multicast, broadcast, reserved,
//!   documentation.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What the address is, such as `a private address`.
    pub(crate) what: &'static str,
    /// A rule that reaches private addresses lifts the refusal.
    pub(crate) unless_private: bool,
}

/// A range of IPv4 addresses: its first address, the length of its prefix, and what it is.
type V4 = (Ipv4Addr, u32, Refused);
/// The same of IPv6.
type V6 = (Ipv6Addr, u32, Refused);

const fn always(what: &'static str) -> Refused {
    Refused {
        what,
        unless_private: false,
    }
}

const fn unless_private(what: &'static str) -> Refused {
    Refused {
        what,
        unless_private: true,
    }
}

const LOOPBACK: Refused = always("a loopback address");
const UNSPECIFIED: Refused = always("an unspecified address");
const LINK_LOCAL: Refused = always("a link-local address");
const METADATA: Refused = always("the metadata service of a cloud");
const MULTICAST: Refused = always("a multicast address");
const RESERVED: Refused = always("a reserved address");
const PROTOCOL: Refused = always("an address of a protocol");
const DOCUMENTATION: Refused = always("an address for documentation");
const LOCAL_NAT64: Refused = always("an address of a local translator");
const PRIVATE: Refused = unless_private("a private address");
const SHARED: Refused = unless_private("a shared address");
const BENCHMARK: Refused = unless_private("an address for benchmarks");
const OWN: Refused = unless_private("an address of the host's own");
const ON_LINK: Refused = unless_private("an address of a network that the host is in");

/// The first that holds an address decides.
const RANGES_V4: [V4; 18] = [
    // Alibaba Cloud, Azure. Those of most others are link-local, and Oracle's other one is in 192.0.0.0/24.
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA),
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),
    (Ipv4Addr::new(0, 0, 0, 0), 8, UNSPECIFIED),
    (Ipv4Addr::new(10, 0, 0, 0), 8, PRIVATE),
    (Ipv4Addr::new(100, 64, 0, 0), 10, SHARED),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL),
    (Ipv4Addr::new(172, 16, 0, 0), 12, PRIVATE),
    (Ipv4Addr::new(192, 0, 0, 0), 24, PROTOCOL),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, PROTOCOL),
    (Ipv4Addr::new(192, 168, 0, 0), 16, PRIVATE),
    // Some proxies of developers' machines answer every name with an address of this range, so that it can be allowed.
    (Ipv4Addr::new(198, 18, 0, 0), 15, BENCHMARK),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST),
    (Ipv4Addr::new(255, 255, 255, 255), 32, always("the broadcast address")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
];

const RANGES_V6: [V6; 18] = [
    (Ipv6Addr::UNSPECIFIED, 128, UNSPECIFIED),
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK),
    // Amazon, Google, Oracle, Scaleway.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, METADATA),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, METADATA),
    // Where the IPv4 address is in there differs from network to network (RFC 6052, RFC 8215).
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, LOCAL_NAT64),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, BENCHMARK),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, PROTOCOL),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, PRIVATE),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, PRIVATE),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST),
    // All that is left but 2000::/3, of which alone the addresses of hosts were given out.
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 3, RESERVED),
    (Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 0), 2, RESERVED),
    (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), 1, RESERVED),
];

/// An address of an interface of the host, and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnAddress {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u32,
}

impl OwnAddress {
    /// Why an address is refused that is this one or in its network.
    fn refusal(&self, other: IpAddr) -> Option<Refused> {
        if self.address == other {
            return Some(OWN);
        }
        // A prefix of no bits would be the whole Internet, which is on no link.
        let shared = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u32::from(own) ^ u32::from(other)).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (u128::from(own) ^ u128::from(other)).leading_zeros(),
            _ => return None,
        };
        (self.prefix > 0 && shared >= self.prefix).then_some(ON_LINK)
    }
}

/// Why an address is refused because of where the host is.
fn refusal_here(address: IpAddr, own: &[OwnAddress]) -> Option<Refused> {
    let refusals = own.iter().filter_map(|own| own.refusal(address));
    refusals.min_by_key(|refused| *refused != OWN)
}

/// Why this address is not dialled, if there is a reason. `own` are the host's addresses ([`own_addresses`]).
pub(crate) fn refusal(address: IpAddr, own: &[OwnAddress]) -> Option<Refused> {
    let refused = match address {
        IpAddr::V4(address) => refusal_v4(address, own),
        IpAddr::V6(address) => {
            let held = embedded(address);
            // A translator's or a tunnel's is as good or bad as the worst that it holds.
            let held_refused = held.iter().flatten().filter_map(|held| refusal_v4(*held, own));
            match held_refused.min_by_key(|refused| refused.unless_private) {
                Some(refused) => Some(refused),
                None if held.iter().any(Option::is_some) => None,
                None => range_v6(address),
            }
        }
    };
    // What is refused to every rule stays so, though it is the host's.
    match refused {
        Some(refused) if !refused.unless_private => Some(refused),
        refused => refusal_here(address, own).or(refused),
    }
}

fn refusal_v4(address: Ipv4Addr, own: &[OwnAddress]) -> Option<Refused> {
    let bits = u32::from(address);
    let holds = |(first, length, _): &&V4| (bits ^ u32::from(*first)).leading_zeros() >= *length;
    let range = RANGES_V4.iter().find(holds).map(|(_, _, refused)| *refused);
    match range {
        Some(refused) if !refused.unless_private => Some(refused),
        range => refusal_here(address.into(), own).or(range),
    }
}

fn range_v6(address: Ipv6Addr) -> Option<Refused> {
    let bits = u128::from(address);
    let holds = |(first, length, _): &&V6| (bits ^ u128::from(*first)).leading_zeros() >= *length;
    RANGES_V6.iter().find(holds).map(|(_, _, refused)| *refused)
}

/// The IPv4 addresses that an IPv6 address leads to.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b, c, d, e, f) {
        // Unspecified and loopback look like addresses of the second kind.
        (0, 0, 0, 0, 0, 0) if g == 0 && h <= 1 => [None, None],
        // Mapped, compatible (deprecated), translated (RFC 2765), and NAT64 with the well-known prefix.
        (0, 0, 0, 0, 0, 0xffff | 0) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => [v4(g, h), None],
        // 6to4.
        (0x2002, ..) => [v4(b, c), None],
        // Teredo: the server, and the client, whose bits are inverted.
        (0x2001, 0, ..) => [v4(c, d), v4(!g, !h)],
        _ => [None, None],
    }
}

/// The addresses of all interfaces of the host. It takes some ten microseconds, so that it can be asked before every dial:
/// interfaces come and go.
///
/// # Errors
/// The kernel gives no list; then nothing is to be dialled.
pub(crate) fn own_addresses() -> io::Result<Vec<OwnAddress>> {
    let own = getifaddrs()?.flat_map(|interface| {
        let prefix = interface.netmask.and_then(ip).map(length);
        // The other end of a link of two is as near.
        let ends = [interface.address, interface.destination]
            .into_iter()
            .flatten()
            .filter_map(ip);
        ends.map(move |address| OwnAddress {
            address,
            prefix: prefix.unwrap_or_else(|| whole(address)),
        })
    });
    Ok(own.collect())
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// The length of the prefix that a netmask has.
fn length(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => u32::from(mask).leading_ones(),
        IpAddr::V6(mask) => u128::from(mask).leading_ones(),
    }
}

/// The length of a prefix that only this address has.
const fn whole(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::UdpSocket;

    fn judged(address: &str) -> Option<(&'static str, bool)> {
        let address = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
        refusal(address, &[]).map(|refused| (refused.what, refused.unless_private))
    }

    /// First and last address of each range, what it is, and whether a private rule reaches it.
    #[test]
    fn w3_every_local_private_and_special_range_is_refused_from_its_first_address_to_its_last() {
        for (first, last, what, lifted) in [
            ("0.0.0.0", "0.255.255.255", "unspecified", false),
            ("10.0.0.0", "10.255.255.255", "private", true),
            ("100.64.0.0", "100.127.255.255", "shared", true),
            ("100.100.100.200", "100.100.100.200", "metadata", false),
            ("127.0.0.0", "127.255.255.255", "loopback", false),
            ("168.63.129.16", "168.63.129.16", "metadata", false),
            ("169.254.0.0", "169.254.255.255", "link-local", false),
            ("169.254.169.254", "169.254.169.254", "link-local", false),
            ("172.16.0.0", "172.31.255.255", "private", true),
            ("192.0.0.0", "192.0.0.255", "of a protocol", false),
            ("192.0.2.0", "192.0.2.255", "documentation", false),
            ("192.88.99.0", "192.88.99.255", "of a protocol", false),
            ("192.168.0.0", "192.168.255.255", "private", true),
            ("198.18.0.0", "198.19.255.255", "benchmarks", true),
            ("198.51.100.0", "198.51.100.255", "documentation", false),
            ("203.0.113.0", "203.0.113.255", "documentation", false),
            ("224.0.0.0", "239.255.255.255", "multicast", false),
            ("240.0.0.0", "255.255.255.254", "reserved", false),
            ("255.255.255.255", "255.255.255.255", "broadcast", false),
            ("::", "::", "unspecified", false),
            ("::1", "::1", "loopback", false),
            // Compatible and mapped: by what they hold.
            ("::2", "::0.255.255.255", "unspecified", false),
            ("::10.0.0.0", "::10.255.255.255", "private", true),
            ("::127.0.0.0", "::127.255.255.255", "loopback", false),
            ("::ffff:0.0.0.0", "::ffff:0.255.255.255", "unspecified", false),
            ("::ffff:10.0.0.0", "::ffff:10.255.255.255", "private", true),
            ("::ffff:127.0.0.0", "::ffff:127.255.255.255", "loopback", false),
            ("::ffff:169.254.0.0", "::ffff:169.254.255.255", "link-local", false),
            ("::ffff:0:127.0.0.0", "::ffff:0:127.255.255.255", "loopback", false),
            ("::1:0:0:0", "::fffe:ffff:ffff:ffff", "reserved", false),
            ("64:ff9a::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "reserved", false),
            ("64:ff9b::127.0.0.0", "64:ff9b::127.255.255.255", "loopback", false),
            ("64:ff9b::169.254.0.0", "64:ff9b::169.254.255.255", "link-local", false),
            ("64:ff9b::192.168.0.0", "64:ff9b::192.168.255.255", "private", true),
            (
                "64:ff9b:1::",
                "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
                "local translator",
                false,
            ),
            (
                "64:ff9b:2::",
                "64:ff9b:ffff:ffff:ffff:ffff:ffff:ffff",
                "reserved",
                false,
            ),
            ("100::", "100::ffff:ffff:ffff:ffff", "reserved", false),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarks", true),
            (
                "2001:1::",
                "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
                "of a protocol",
                false,
            ),
            (
                "2001:10::",
                "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
                "of a protocol",
                false,
            ),
            (
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                "documentation",
                false,
            ),
            // 6to4 and Teredo; the latter's client has its bits inverted, and its server is public here.
            (
                "2002:7f00::",
                "2002:7fff:ffff:ffff:ffff:ffff:ffff:ffff",
                "loopback",
                false,
            ),
            (
                "2002:a9fe::",
                "2002:a9fe:ffff:ffff:ffff:ffff:ffff:ffff",
                "link-local",
                false,
            ),
            (
                "2002:c0a8::",
                "2002:c0a8:ffff:ffff:ffff:ffff:ffff:ffff",
                "private",
                true,
            ),
            (
                "2001:0:808:808::80ff:ffff",
                "2001:0:808:808:ffff:ffff:8000:0",
                "loopback",
                false,
            ),
            (
                "2001:0:7f00:1::f7f7:f7f7",
                "2001:0:7fff:ffff:ffff:ffff:f7f7:f7f7",
                "loopback",
                false,
            ),
            ("2001:0:a00:1::80ff:ffff", "2001:0:a00:1::8000:0", "loopback", false),
            (
                "3fff::",
                "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                "documentation",
                false,
            ),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved", false),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private", true),
            ("fd00:ec2::254", "fd00:ec2::254", "metadata", false),
            ("fd20:ce::254", "fd20:ce::254", "metadata", false),
            ("fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe", "metadata", false),
            ("fd00:42::42", "fd00:42::42", "metadata", false),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved", false),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", false),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private", true),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", false),
        ] {
            for address in [first, last] {
                let (judged, unless_private) = judged(address).unwrap_or_else(|| panic!("{address} is dialled"));
                assert!(judged.contains(what), "{address}: {judged}");
                assert_eq!(unless_private, lifted, "{address}: {judged}");
            }
        }
    }

    #[test]
    fn w3_the_neighbours_of_every_range_are_dialled() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.1.255",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "::8.8.8.8",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2000::",
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "2001:0:808:808::f7f7:f7f7",
            "2002:808:808::1",
            "2003::",
            "2606:4700:4700::1111",
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(judged(address), None, "{address}");
        }
    }

    #[test]
    fn w3_the_hosts_own_addresses_are_refused_however_they_are_spelt() {
        let own = ["8.8.4.4", "2606:4700::1", "192.168.1.5", "127.0.0.1", "fe80::1"].map(alone);
        for address in [
            "8.8.4.4",
            "::ffff:8.8.4.4",
            "64:ff9b::8.8.4.4",
            "2002:808:404::",
            "2606:4700::1",
            "192.168.1.5",
        ] {
            assert_eq!(
                refusal(address.parse().expect("an address"), &own),
                Some(OWN),
                "{address}"
            );
        }
        // No rule reaches these, though they are its own.
        assert_eq!(refusal(Ipv4Addr::LOCALHOST.into(), &own), Some(LOOPBACK));
        assert_eq!(refusal("fe80::1".parse().expect("an address"), &own), Some(LINK_LOCAL));
        assert_eq!(refusal("8.8.4.5".parse().expect("an address"), &own), None);
    }

    #[test]
    fn w3_the_hosts_addresses_are_those_that_can_be_bound() {
        let own = own_addresses().expect("the kernel has a list");
        let loopback = OwnAddress {
            address: Ipv4Addr::LOCALHOST.into(),
            prefix: 8,
        };
        assert!(own.contains(&loopback), "{own:?}");
        let unscoped = |address: &IpAddr| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        for address in own.iter().map(|own| own.address).filter(unscoped) {
            UdpSocket::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }

    /// An address of an interface whose network has no other.
    fn alone(text: &str) -> OwnAddress {
        let address = text.parse().expect("an address");
        OwnAddress {
            address,
            prefix: whole(address),
        }
    }

    /// A server in a data centre often has a public address in the middle of its neighbours'.
    #[test]
    fn w3_the_hosts_neighbours_are_refused_unless_a_rule_is_private() {
        let own = [("8.8.4.4", 20), ("2606:4700::1", 64), ("9.9.9.9", 0), ("9.9.9.10", 32)];
        let own = own.map(|(address, prefix)| OwnAddress {
            prefix,
            ..alone(address)
        });
        for (address, expected) in [
            ("8.8.4.4", Some(OWN)),
            ("8.8.0.0", Some(ON_LINK)),
            ("8.8.15.255", Some(ON_LINK)),
            ("::ffff:8.8.4.5", Some(ON_LINK)),
            ("64:ff9b::8.8.4.5", Some(ON_LINK)),
            ("8.7.255.255", None),
            ("8.8.16.0", None),
            ("2606:4700::", Some(ON_LINK)),
            ("2606:4700::ffff:ffff:ffff:ffff", Some(ON_LINK)),
            ("2606:4700:0:1::", None),
            ("9.9.9.9", Some(OWN)),
            ("9.9.9.11", None),
            ("169.254.1.1", Some(LINK_LOCAL)),
        ] {
            assert_eq!(
                refusal(address.parse().expect("an address"), &own),
                expected,
                "{address}"
            );
        }
    }

    proptest! {
        /// The standard library's predicates are another reading of the same registries.
        #[test]
        fn w3_what_the_standard_library_calls_local_is_refused(bits: u32, high: u16) {
            let v4 = Ipv4Addr::from(bits);
            if v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified()
                || v4.is_broadcast() || v4.is_documentation()
            {
                prop_assert!(refusal(v4.into(), &[]).is_some(), "{}", v4);
            }
            prop_assert_eq!(refusal(v4.to_ipv6_mapped().into(), &[]), refusal(v4.into(), &[]));
            let v6 = Ipv6Addr::new(high, 0, 0, 1, 0, 0, 0, 1);
            if v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() {
                prop_assert!(refusal(v6.into(), &[]).is_some(), "{}", v6);
            }
        }
    }
}
