//! Published ports, as plain data.

use std::{fmt, net::SocketAddrV4, path::PathBuf};

/// A published port: one that the user's machine reaches.
///
/// ```no_run
/// for published in capsule_sdk::net::published() {
///     println!("port {} is reached at {}", published.port, published.address);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedPort {
    /// The port on which a process of the capsule has to listen. 0: any port, by the process with the label for which the user
    /// published it.
    pub port: u16,
    /// Where the machine reaches it.
    pub address: PublishedAddress,
}

/// Where the user's machine reaches a published port. As text it is the address with its port, or the path.
///
/// ```
/// use capsule_sdk::net::PublishedAddress;
///
/// let address = PublishedAddress::Tcp("127.0.0.1:8080".parse().unwrap());
/// assert_eq!(format!("http://{address}/"), "http://127.0.0.1:8080/");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedAddress {
    /// At a port of a loopback address.
    Tcp(SocketAddrV4),
    /// At a Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl PublishedPort {
    pub(crate) const fn new(port: u16, address: PublishedAddress) -> Self {
        Self { port, address }
    }
}

impl fmt::Display for PublishedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
