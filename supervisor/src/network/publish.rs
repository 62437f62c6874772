//! Published ports: a port of a tree's loopback, and where on this machine it is reached.
//!
//! Only this machine reaches it. An address that other machines reach is refused: a service for them needs a proxy in front, with
//! a name, a certificate and a login.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

/// The most bytes of a label, as processes have it (contract I5).
const LABEL_MAX: usize = 128;

/// The most bytes of a socket's path (`sockaddr_un`, with its end).
const PATH_MAX: usize = 107;

/// A port of a tree, and where on this machine it is reached.
///
/// As text, which is what `capsule run --publish` and a manifest take, it is `[ADDR:]PORT[:GUESTPORT|:LABEL]`:
///
/// * `8080`: port 8080 of the tree is reached at 127.0.0.1:8080. (Docker would take any free port for the host's.)
/// * `8080:80`: port 80 of the tree is reached at 127.0.0.1:8080.
/// * `127.0.0.2:8080:80`: the same at another address of 127.0.0.0/8, the only addresses that are accepted.
/// * `0:80`, or `127.0.0.1::80` as Docker has it: port 80 of the tree is reached at a free port, which the host tells.
/// * `8080:web`: the port on which the process with the label `web` listens, whichever it is, is reached at 127.0.0.1:8080
///   ([`GuestPort::Label`]). In the text a label begins with a letter, and has no colon and no slash.
///
/// ```
/// use capsule_supervisor::sandbox::{GuestPort, Publish, PublishAt};
///
/// let publish: Publish = "8080:80".parse()?;
/// assert_eq!(publish.guest(), &GuestPort::Number(80));
/// assert_eq!(publish.at(), &PublishAt::Loopback("127.0.0.1:8080".parse().unwrap()));
/// assert_eq!(publish.to_string(), "127.0.0.1:8080:80");
/// # Ok::<_, capsule_supervisor::sandbox::PublishError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Publish {
    guest: GuestPort,
    at: PublishAt,
}

/// The port of a tree that is published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GuestPort {
    /// This port, of whichever tree of the network listens on it. Never 0.
    Number(u16),
    /// The port on which a persistent process with this label listens (contract I5), on any address that its loopback reaches; the
    /// lowest one, if there are several. It is looked for at each connection. Of several processes with the label it is the one that was
    /// started first of those that listen. Only processes of the network's owner are looked at.
    Label(String),
}

impl From<u16> for GuestPort {
    fn from(port: u16) -> Self {
        Self::Number(port)
    }
}

/// The number, or the label.
impl fmt::Display for GuestPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Label(label) => label.fmt(f),
        }
    }
}

/// Where on this machine a port is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublishAt {
    /// At this address of 127.0.0.0/8. Port 0 is any that is free.
    Loopback(SocketAddrV4),
    /// At a Unix socket of this absolute path, which the host makes and removes.
    Unix(PathBuf),
}

impl Publish {
    /// Publishes this port of the tree there.
    ///
    /// # Errors
    /// The guest port is 0, the address is not in 127.0.0.0/8, or the path is relative, holds a NUL or is longer than 107 bytes. A label
    /// is empty, longer than 128 bytes, or has a control character, as no process's label is.
    pub fn new(guest: impl Into<GuestPort>, at: PublishAt) -> Result<Self, PublishError> {
        let guest = guest.into();
        match &at {
            PublishAt::Loopback(address) if !address.ip().is_loopback() => {
                return Err(PublishError::Address(address.ip().to_string()));
            }
            PublishAt::Unix(path) => {
                let bytes = path.as_os_str().as_encoded_bytes();
                if !path.is_absolute() || bytes.len() > PATH_MAX || bytes.contains(&0) {
                    return Err(PublishError::Path(path.clone()));
                }
            }
            PublishAt::Loopback(_) => {}
        }
        match &guest {
            GuestPort::Number(0) => return Err(PublishError::GuestPort),
            GuestPort::Label(label)
                if label.is_empty() || label.len() > LABEL_MAX || label.contains(char::is_control) =>
            {
                return Err(PublishError::Label(label.clone()));
            }
            GuestPort::Number(_) | GuestPort::Label(_) => {}
        }
        Ok(Self { guest, at })
    }

    /// Publishes the port of the process with this label there ([`GuestPort::Label`]).
    ///
    /// ```
    /// use capsule_supervisor::sandbox::{Publish, PublishAt};
    ///
    /// let publish = Publish::label("web", PublishAt::Loopback("127.0.0.1:8080".parse()?))?;
    /// assert_eq!(publish, "8080:web".parse()?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Publish::new`].
    pub fn label(label: impl Into<String>, at: PublishAt) -> Result<Self, PublishError> {
        Self::new(GuestPort::Label(label.into()), at)
    }

    /// The port in the tree.
    #[must_use]
    pub const fn guest(&self) -> &GuestPort {
        &self.guest
    }

    /// Where on this machine it is reached.
    #[must_use]
    pub const fn at(&self) -> &PublishAt {
        &self.at
    }
}

impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        // IPv6 addresses have colons, as these texts do.
        if text.contains('[') || text.matches(':').count() > 2 {
            return Err(PublishError::Address(text.into()));
        }
        let text = match text.split_once('/') {
            None | Some((_, "tcp")) => text.trim_end_matches("/tcp"),
            Some((_, protocol)) => return Err(PublishError::Protocol(protocol.into())),
        };
        let parts: Vec<_> = text.split(':').collect();
        let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (address, host, guest) = match *parts.as_slice() {
            [port] => (None, port, port),
            [host, guest] if is_port(host) => (None, host, guest),
            [address, port] => (Some(address), port, port),
            [address, "", guest] => (Some(address), "0", guest),
            [address, host, guest] => (Some(address), host, guest),
            _ => return Err(PublishError::Port(text.into())),
        };
        let address = match address {
            None => Ipv4Addr::LOCALHOST,
            Some(address) => address.parse().map_err(|_| PublishError::Address(address.into()))?,
        };
        let at = PublishAt::Loopback(SocketAddrV4::new(address, port(host)?));
        let is_label = guest.starts_with(|first: char| first.is_ascii_alphabetic()) && guest != host;
        if is_label {
            return Self::label(guest, at);
        }
        Self::new(port(guest)?, at)
    }
}

/// Digits only: the parser of integers takes a sign, too.
fn port(text: &str) -> Result<u16, PublishError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or_else(|| PublishError::Port(text.into()))
}

/// As it is parsed, with nothing left out; a Unix socket by its path and the port. A label may have characters that are not parsed.
impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            PublishAt::Loopback(address) => write!(f, "{address}:{}", self.guest),
            PublishAt::Unix(path) => write!(f, "{path:?}:{}", self.guest),
        }
    }
}

/// As an address with a port, or a path.
impl fmt::Display for PublishAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why a port is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Not an address of 127.0.0.0/8.
    #[error(
        "{0:?} is no address of 127.0.0.0/8; write one of these, or the port alone, because a tree's port is published to this \
         machine only"
    )]
    Address(String),
    /// A port that is none.
    #[error(
        "{0:?} is no port; write [ADDR:]PORT[:GUESTPORT] with numbers up to 65535, or [ADDR:]PORT:LABEL with the label of a process"
    )]
    Port(String),
    /// No port of the tree.
    #[error(
        "the port in the tree is 0; write it behind the host's, such as 0:8080 for port 8080 at any free port of the host"
    )]
    GuestPort,
    /// No label of a process.
    #[error("{0:?} is no label of a process; write one of 1 to {LABEL_MAX} bytes, without control characters")]
    Label(String),
    /// Another protocol than TCP.
    #[error("{0:?} is not published; write the port alone, which is of TCP")]
    Protocol(String),
    /// A path that cannot be a socket's.
    #[error("{0:?} cannot be the path of a socket; write an absolute path of at most {PATH_MAX} bytes")]
    Path(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_a_published_port_is_written_as_docker_users_know_it() {
        for (text, at, guest) in [
            ("8080", "127.0.0.1:8080", 8080),
            ("8080:80", "127.0.0.1:8080", 80),
            ("0:80", "127.0.0.1:0", 80),
            ("127.0.0.1:8080", "127.0.0.1:8080", 8080),
            ("127.0.0.1:8080:80", "127.0.0.1:8080", 80),
            ("127.0.0.1::80", "127.0.0.1:0", 80),
            ("127.0.0.1:0:80", "127.0.0.1:0", 80),
            ("127.255.255.254:65535:1", "127.255.255.254:65535", 1),
            ("8080:80/tcp", "127.0.0.1:8080", 80),
        ] {
            let publish: Publish = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                publish.at(),
                &PublishAt::Loopback(at.parse().expect("an address")),
                "{text}"
            );
            assert_eq!(publish.guest(), &GuestPort::Number(guest), "{text}");
            assert_eq!(publish.to_string().parse(), Ok(publish), "{text}");
        }
    }

    #[test]
    fn w2_the_port_of_a_label_is_written_with_the_label_in_its_place() {
        for (text, at, label) in [
            ("8080:web", "127.0.0.1:8080", "web"),
            ("0:my web-server_2", "127.0.0.1:0", "my web-server_2"),
            ("127.0.0.2:8080:web", "127.0.0.2:8080", "web"),
            ("127.0.0.1::web", "127.0.0.1:0", "web"),
            ("8080:web/tcp", "127.0.0.1:8080", "web"),
        ] {
            let publish: Publish = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let at = PublishAt::Loopback(at.parse().expect("an address"));
            assert_eq!(publish, Publish::label(label, at).expect("a label"), "{text}");
            assert_eq!(publish.to_string().parse(), Ok(publish), "{text}");
        }
        for label in ["", "a\nb", &"x".repeat(129)] {
            let made = Publish::label(label, PublishAt::Loopback("127.0.0.1:0".parse().expect("an address")));
            assert_eq!(made, Err(PublishError::Label(label.into())));
        }
    }

    #[test]
    fn w2_each_fault_of_a_published_port_has_an_error_that_says_what_to_write() {
        for (text, variant, advice) in [
            ("0.0.0.0:8080:80", "Address", "127.0.0.0/8"),
            ("0.0.0.0:8080", "Address", "127.0.0.0/8"),
            ("192.168.0.1:8080:80", "Address", "this machine only"),
            ("126.255.255.255:1:1", "Address", "127.0.0.0/8"),
            ("128.0.0.0:1:1", "Address", "127.0.0.0/8"),
            ("[::1]:8080:80", "Address", "127.0.0.0/8"),
            ("::1:8080:80", "Address", "127.0.0.0/8"),
            ("localhost:8080", "Address", "127.0.0.0/8"),
            (":8080:80", "Address", "the port alone"),
            ("127.1:8080", "Address", "127.0.0.0/8"),
            ("0", "GuestPort", "0:8080"),
            ("8080:0", "GuestPort", "0:8080"),
            ("127.0.0.1:0", "GuestPort", "0:8080"),
            ("", "Port", "[ADDR:]PORT[:GUESTPORT]"),
            ("8080:", "Port", "[ADDR:]PORT[:GUESTPORT]"),
            ("65536", "Port", "65535"),
            ("+80", "Port", "65535"),
            ("8000-8010", "Port", "65535"),
            ("http", "Port", "PORT:LABEL"),
            ("8080:+80", "Port", "65535"),
            ("8080:-web", "Port", "PORT:LABEL"),
            ("127.0.0.1:web", "Port", "PORT:LABEL"),
            ("53/udp", "Protocol", "TCP"),
        ] {
            let error = text.parse::<Publish>().expect_err(text);
            assert!(format!("{error:?}").starts_with(variant), "{text:?}: {error:?}");
            assert!(error.to_string().contains(advice), "{text:?}: {error}");
        }
    }

    #[test]
    fn w2_a_socket_has_an_absolute_path_that_fits() {
        let unix = |path: String| Publish::new(80, PublishAt::Unix(path.into()));
        assert!(unix(format!("/{}", "x".repeat(106))).is_ok());
        for path in [
            format!("/{}", "x".repeat(107)),
            "x".into(),
            String::new(),
            "/a\0b".into(),
        ] {
            assert!(matches!(unix(path.clone()), Err(PublishError::Path(_))), "{path:?}");
        }
    }
}
