//! What the tasks of one private network share.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::counter;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_linger, set_socket_reuseaddr, socket_domain};
use rustix::net::{AddressFamily, bind, listen};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::NetworkLimits;
use super::connector::Connector;
use super::decision::{NetworkDecision, NetworkObserver, NetworkOutcome};
use super::relay::Relays;
use crate::os::network::Namespace;
use crate::owner::Owner;
use crate::rate::Rates;

/// The name of the counter of decisions about egress, by outcome.
pub(crate) const DECISIONS: &str = "capsule_network_decisions_total";

/// The longest queue of connections that were not accepted.
const BACKLOG: i32 = 128;

/// How long a listener waits when the host cannot accept, because it has too many open files.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long the next connection waits when more come than may be dialled.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) owner: Option<Owner>,
    pub(super) limits: NetworkLimits,
    pub(super) namespace: Arc<Namespace>,
    /// A permit for each connection, published and egress together.
    pub(super) connections: Arc<Semaphore>,
    pub(super) relays: Relays,
    pub(super) connector: Arc<dyn Connector>,
    observer: Option<Arc<dyn NetworkObserver>>,
    /// Locked by the connection whose turn it is next.
    dials: Mutex<Rates<()>>,
    /// Cancelled when the network ends.
    pub(super) cut: CancellationToken,
    runtime: Handle,
}

impl Shared {
    /// Needs a tokio runtime, which then runs the tasks of the network.
    pub(super) fn new(
        owner: Option<Owner>,
        limits: NetworkLimits,
        namespace: Arc<Namespace>,
        connector: Arc<dyn Connector>,
        observer: Option<Arc<dyn NetworkObserver>>,
    ) -> Self {
        let dials = limits.dials_per_second;
        Self {
            owner,
            namespace,
            connections: Arc::new(Semaphore::new(limits.connections)),
            relays: Relays::new(limits.idle_time),
            connector,
            observer,
            dials: Mutex::new(Rates::new(dials, dials)),
            cut: CancellationToken::new(),
            runtime: Handle::current(),
            limits,
        }
    }

    /// Runs a task that ends with the network at the latest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        drop(self.runtime.spawn(async move { cut.run_until_cancelled(task).await }));
    }

    /// Runs a task that sees to the end of the network itself.
    pub(super) fn spawn_to_its_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Returns when one more connection may be dialled: to those that wait in their order.
    pub(super) async fn turn_to_dial(&self) {
        let mut dials = self.dials.lock().await;
        while !dials.admit(&(), 1, Instant::now()) {
            sleep(PAUSE).await;
        }
    }

    /// An unbound socket in the network. Waits until more are made, if none is left.
    pub(super) async fn socket(&self) -> io::Result<OwnedFd> {
        if let Some(socket) = self.namespace.socket() {
            return Ok(socket);
        }
        self.make_sockets().await?;
        self.namespace
            .socket()
            .ok_or_else(|| io::Error::other("a private network is used faster than sockets are made"))
    }

    /// Waits until so many sockets are there, or nearly so if others take them.
    pub(super) async fn reserve_sockets(&self, count: usize) -> io::Result<()> {
        if self.namespace.sockets() < count {
            self.make_sockets().await?;
        }
        Ok(())
    }

    async fn make_sockets(&self) -> io::Result<()> {
        let namespace = Arc::clone(&self.namespace);
        let made = self.runtime.spawn_blocking(move || namespace.make_sockets()).await;
        made.map_err(io::Error::other)?
    }

    /// Connects to a port of a tree, by the loopback of either family.
    pub(super) async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let socket = self.socket().await?;
        let has_v6 = socket_domain(&socket)? == AddressFamily::INET6;
        let v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let refused = match connect(socket, reached_by(v4, has_v6)).await {
            Err(error) if has_v6 && error.kind() == io::ErrorKind::ConnectionRefused => error,
            other => return other,
        };
        let v6 = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), port);
        connect(self.socket().await?, v6).await.map_err(|_| refused)
    }

    /// Tells the embedder of a decision, and counts it.
    pub(super) fn tell(&self, decision: &NetworkDecision) {
        counter!(DECISIONS, "outcome" => decision.outcome.as_str()).increment(1);
        if let Some(observer) = &self.observer {
            observer.decided(decision);
        }
    }

    /// A decision that let nothing through.
    pub(super) fn tell_refused(&self, name: &str, port: Option<u16>, outcome: NetworkOutcome) {
        self.tell(&NetworkDecision {
            owner: self.owner.clone(),
            name: name.to_owned(),
            port,
            address: None,
            sent: 0,
            received: 0,
            outcome,
        });
    }
}

/// The address by which a socket of either family reaches one of IPv4.
fn reached_by(address: SocketAddrV4, has_v6: bool) -> SocketAddr {
    if has_v6 {
        SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port())
    } else {
        address.into()
    }
}

async fn connect(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(StdTcpStream::from(socket))
        .connect(address)
        .await
}

/// Listens at an address of the network, with an unbound socket of it.
pub(super) fn listen_at(socket: OwnedFd, address: SocketAddrV4) -> io::Result<TcpListener> {
    let has_v6 = socket_domain(&socket)? == AddressFamily::INET6;
    if has_v6 {
        set_ipv6_v6only(&socket, false)?;
    }
    // Connections of a listener before may still be known to the kernel.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &reached_by(address, has_v6))?;
    listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. When the host has too many open files, it waits until there may be fewer.
pub(super) async fn accepted<T>(mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> T {
    loop {
        match poll_fn(&mut poll_accept).await {
            Ok(accepted) => return accepted,
            // The connection ended before it was accepted; or the host is out of descriptors.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(EXHAUSTED).await,
        }
    }
}

/// Closes a connection so that the other side sees that it was refused, and not that it has ended.
pub(super) fn reset(stream: TcpStream) {
    let _ended_already = set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}
