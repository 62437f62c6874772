//! Connects to a name on behalf of a tree.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{OwnAddress, own_addresses, refusal};
use super::relay::Stream;
use super::resolver::Resolver;

/// Makes the connections that egress rules allow. The default resolves the name as the system does, refuses the addresses that a
/// tree must not reach, and dials the others one after the other. An embedder whose host reaches others through a proxy brings
/// its own.
///
/// It is called on the thread that runs the tasks of all networks, in a tokio runtime of that thread, so it must not block. Its futures are dropped when their time is over
/// ([`NetworkLimits::dial_time`](super::NetworkLimits::dial_time)), the rule is taken away, or the tree has hung up.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to a name at a port.
    fn connect<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>>;

    /// Whether the name exists. A tree that asks for an allowed name is told so at once, and not by a connection that is reset.
    /// By default every allowed name does.
    ///
    /// # Errors
    /// It cannot be found out now. The tree is told that the look-up failed (`SERVFAIL`), so that it asks again.
    fn exists<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<bool>> {
        let _ = name;
        Box::pin(std::future::ready(Ok(true)))
    }
}

/// The future of a [`Connector`].
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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
#[derive(Debug, Default)]
pub(super) struct SystemConnector(Resolver);

impl Connector for SystemConnector {
    fn connect<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(async move {
            let unresolved = |error| ConnectError::Unreachable(None, error);
            let found = self.0.addresses(target.name).await.map_err(unresolved)?;
            let found = found.into_iter().map(|ip| SocketAddr::new(ip, target.port));
            dial(found, &own_addresses().map_err(unresolved)?, target.private).await
        })
    }

    fn exists<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<bool>> {
        Box::pin(async move { Ok(!self.0.addresses(name).await?.is_empty()) })
    }
}

/// How long one of several addresses is tried. A family of addresses that leads nowhere must not take all the time.
const ADDRESS_TIME: Duration = Duration::from_secs(3);

/// Dials the addresses of a name that may be reached, one after the other. `own` are the host's addresses.
async fn dial(
    found: impl Iterator<Item = SocketAddr>,
    own: &[OwnAddress],
    private: bool,
) -> Result<Connection, ConnectError> {
    let (mut refused, mut failed) = (None, None);
    for address in found {
        if refusal(address.ip(), own).is_some_and(|refused| !(refused.unless_private && private)) {
            refused.get_or_insert(address.ip());
            continue;
        }
        let connected = timeout(ADDRESS_TIME, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|elapsed| Err(elapsed.into())) {
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
        (None, None) => ConnectError::Unreachable(None, io::ErrorKind::NotFound.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    /// A listener at every address of this machine, and its port.
    fn everywhere() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).or_else(|_| TcpListener::bind("0.0.0.0:0"));
        let listener = listener.expect("a listener");
        listener.set_nonblocking(true).expect("a mode");
        let port = listener.local_addr().expect("an address").port();
        (listener, port)
    }

    /// The host's addresses that are not of loopback or link-local interfaces.
    fn of_interfaces(own: &[OwnAddress]) -> Vec<IpAddr> {
        let lifted = |address: &IpAddr| refusal(*address, own).is_some_and(|refused| refused.unless_private);
        own.iter().map(|own| own.address).filter(lifted).collect()
    }

    /// A name whose owner lets it lead to this machine or to its neighbours (DNS rebinding).
    #[tokio::test]
    async fn w3_nothing_is_dialled_at_a_local_private_or_own_address_however_it_is_spelt() {
        let (listener, port) = everywhere();
        let own = own_addresses().expect("addresses");
        let mut spelt: Vec<IpAddr> = [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "169.254.169.254",
            "10.0.0.1",
            "192.168.1.1",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "fd00:ec2::254",
            "fe80::1",
        ]
        .map(|address| address.parse().expect("an address"))
        .into();
        for address in of_interfaces(&own) {
            spelt.push(address);
            if let IpAddr::V4(address) = address {
                spelt.push(address.to_ipv6_mapped().into());
            }
        }
        for ip in spelt {
            let outcome = dial(std::iter::once(SocketAddr::new(ip, port)), &own, false).await;
            assert!(
                matches!(outcome, Err(ConnectError::Refused(refused)) if refused == ip),
                "{ip}: {outcome:?}"
            );
        }
        let reached = listener.accept();
        assert!(reached.is_err(), "{reached:?}");
        // The listener can be reached.
        drop(TcpStream::connect(("127.0.0.1", port)).await.expect("a connection"));
        listener.accept().expect("a connection");
    }

    #[tokio::test]
    async fn w3_a_private_rule_reaches_addresses_of_this_machine_but_none_of_its_loopback() {
        let (_listener, port) = everywhere();
        let own = own_addresses().expect("addresses");
        for ip in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
        ] {
            let ip: IpAddr = ip.parse().expect("an address");
            let outcome = dial(std::iter::once(SocketAddr::new(ip, port)), &own, true).await;
            assert!(matches!(outcome, Err(ConnectError::Refused(_))), "{ip}: {outcome:?}");
        }
        for ip in of_interfaces(&own) {
            let loopback = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
            let at = SocketAddr::new(ip, port);
            // What is refused is passed over for what is not.
            let outcome = dial([loopback, at].into_iter(), &own, true).await;
            assert_eq!(outcome.expect("a connection").address, Some(at));
        }
    }

    #[tokio::test]
    async fn w3_a_name_without_an_address_that_answers_is_unreachable() {
        let none = dial(std::iter::empty(), &[], true).await;
        assert!(matches!(none, Err(ConnectError::Unreachable(None, _))), "{none:?}");
    }
}
