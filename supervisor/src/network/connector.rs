//! Connects to a name on behalf of a tree.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use tokio::net::{TcpStream, lookup_host};

use super::address::{own_addresses, refusal};
use super::relay::Stream;

/// Makes the connections that egress rules allow. The default resolves the name as the system does, refuses the addresses that a
/// tree must not reach, and dials the others one after the other. An embedder whose host reaches others through a proxy brings
/// its own.
///
/// It is called on the tasks of a network, so it must not block. Its futures are dropped when their time is over
/// ([`NetworkLimits::dial_time`](super::NetworkLimits::dial_time)), the rule is taken away, or the tree has hung up.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to a name at a port.
    fn connect<'a>(&'a self, target: Target<'a>) -> Later<'a, Result<Connection, ConnectError>>;

    /// Whether the name is there. A tree that asks for an allowed name is told so at once, and not by a connection that is reset.
    /// By default every allowed name is.
    ///
    /// # Errors
    /// It cannot be found out now.
    fn is_there<'a>(&'a self, name: &'a str) -> Later<'a, io::Result<bool>> {
        let _ = name;
        Box::pin(std::future::ready(Ok(true)))
    }
}

/// The future of a [`Connector`].
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a tree wants to reach, and a rule allows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The name, in lower case, without a final dot.
    pub name: &'a str,
    /// The port.
    pub port: u16,
    /// Whether the rule lets private addresses be reached ([`EgressRule::is_private`](super::EgressRule::is_private)).
    pub private: bool,
}

/// A connection to what was wanted.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// Where it leads, for the record.
    pub address: Option<SocketAddr>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Every address of the name is one that must not be reached; the first of them.
    #[error("the address {0} must not be reached")]
    Refused(IpAddr),
    /// The name was not found, or no address could be reached; the one that was tried last, if any.
    #[error("cannot be reached: {1}")]
    Unreachable(Option<SocketAddr>, #[source] io::Error),
}

/// Resolves and dials as the system does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SystemConnector;

impl Connector for SystemConnector {
    fn connect<'a>(&'a self, target: Target<'a>) -> Later<'a, Result<Connection, ConnectError>> {
        Box::pin(connect(target))
    }

    fn is_there<'a>(&'a self, name: &'a str) -> Later<'a, io::Result<bool>> {
        Box::pin(async move { Ok(resolve(name, 0).await?.next().is_some()) })
    }
}

/// The addresses of a name. The C library's resolver tells a name that does not exist from a failure only by its text, so both
/// are errors.
async fn resolve(name: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    // With a final dot, so that no search list of the host makes another name of it.
    lookup_host((format!("{name}."), port)).await
}

async fn connect(target: Target<'_>) -> Result<Connection, ConnectError> {
    let Target { name, port, private } = target;
    let unresolved = |error| ConnectError::Unreachable(None, error);
    let found = resolve(name, port).await.map_err(unresolved)?;
    let own = own_addresses().map_err(unresolved)?;
    let (mut refused, mut failed) = (None, None);
    for address in found {
        if refusal(address.ip(), &own).is_some_and(|refused| !(refused.unless_private && private)) {
            refused.get_or_insert(address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                return Ok(Connection {
                    stream: stream.into(),
                    address: Some(address),
                });
            }
            Err(error) => failed = Some((address, error)),
        }
    }
    Err(match (failed, refused) {
        (Some((address, error)), _) => ConnectError::Unreachable(Some(address), error),
        (None, Some(address)) => ConnectError::Refused(address),
        (None, None) => unresolved(io::ErrorKind::NotFound.into()),
    })
}
