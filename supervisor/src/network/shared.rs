//! What the tasks of one private network share.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr, set_socket_send_buffer_size,
    socket_domain,
};
use rustix::net::{AddressFamily, bind, listen};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{EnterGuard, Handle};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::Connector;
use super::decision::{NetworkDecision, NetworkObserver, NetworkOutcome};
use super::labelled::LabelledTrees;
use super::relay::{Relays, Stream};
use super::thread::NetworkThread;
use super::usage::OwnerUsage;
use super::{GuestPort, NetworkLimits, descriptors, metrics};
use crate::os::network::Namespace;
use crate::owner::Owner;

/// The longest queue of connections that were not accepted.
pub(super) const BACKLOG: i32 = 128;

/// How long a listener waits when the host cannot accept, because it has too many open files.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long a task waits that looks again for room in a rate.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// The connections of one network for which the kernel chooses the size of the host's buffers.
const UNBOUNDED: usize = 64;

/// The size of the host's buffers for further ones, in bytes.
const BUFFER: usize = 256 << 10;

/// A place for one connection. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

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
    /// What the owner has used of its rates, by networks before this one too.
    pub(super) usage: Arc<OwnerUsage>,
    pub(super) labelled: LabelledTrees,
    /// Held by the task that has sockets made.
    making: Mutex<()>,
    /// Cancelled when the network ends.
    pub(super) cut: CancellationToken,
    runtime: Handle,
    /// Keeps the runtime.
    _thread: Arc<NetworkThread>,
    /// The tasks that see to the end themselves.
    pub(super) detached: TaskTracker,
}

impl Shared {
    /// # Errors
    /// The thread that runs the tasks cannot be started.
    pub(super) fn new(
        owner: Option<Owner>,
        limits: NetworkLimits,
        namespace: Arc<Namespace>,
        connector: Arc<dyn Connector>,
        observer: Option<Arc<dyn NetworkObserver>>,
        usage: Arc<OwnerUsage>,
        thread: Arc<NetworkThread>,
    ) -> io::Result<Self> {
        let limits = NetworkLimits {
            connections: limits.connections.min(descriptors::pairs_of_one()),
            ..limits
        };
        Ok(Self {
            owner,
            namespace,
            connections: Arc::new(Semaphore::new(limits.connections)),
            relays: Relays::new(limits.idle_time),
            connector,
            observer,
            usage,
            labelled: LabelledTrees::default(),
            making: Mutex::default(),
            cut: CancellationToken::new(),
            runtime: thread.runtime()?,
            _thread: thread,
            detached: TaskTracker::new(),
            limits,
        })
    }

    /// Sockets that are made while this is held can be used by the tasks.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Runs a task that ends with the network at the latest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        drop(self.runtime.spawn(async move { cut.run_until_cancelled(task).await }));
    }

    /// Runs a task that sees to the end of the network itself.
    pub(super) fn spawn_detached(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.detached.spawn_on(task, &self.runtime));
    }

    /// Runs a task that has nothing to do with the network, after its end.
    pub(super) fn spawn_after(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// A place for one more connection, if there is one.
    pub(super) fn place(&self) -> Option<Place> {
        let own = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let all = descriptors::pair()?;
        Some(Place { _own: own, _all: all })
    }

    /// Returns when one more connection may be dialled: to those that wait in their order.
    pub(super) async fn turn_to_dial(&self) {
        let mut dials = self.usage.dials.lock().await;
        while !dials.admits(self.limits.dials_per_second, Instant::now()) {
            sleep(PAUSE).await;
        }
    }

    /// Bounds what the kernel holds for the host's side of a connection, when there are many. Its buffers are in the host's own
    /// network, where one socket may have many megabytes.
    pub(super) fn bound_buffers(&self, upstream: &Stream) {
        let open = self
            .limits
            .connections
            .saturating_sub(self.connections.available_permits());
        if open > UNBOUNDED {
            let _unbounded = set_socket_recv_buffer_size(upstream, BUFFER);
            let _unbounded = set_socket_send_buffer_size(upstream, BUFFER);
        }
    }

    /// As [`Self::sockets`], on a thread that may block, before any task runs.
    pub(super) fn sockets_now(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            match self.namespace.socket() {
                Some(socket) => sockets.push(socket),
                None => self.namespace.make_sockets()?,
            }
        }
        Ok(sockets)
    }

    /// An unbound socket in the network. Waits until more are made, if none is left.
    pub(super) async fn socket(&self) -> io::Result<OwnedFd> {
        let sockets = self.sockets(1).await?;
        sockets
            .into_iter()
            .next()
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// So many unbound sockets in the network. One caller at a time has more made, so that no more are made than are wanted.
    pub(super) async fn sockets(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::with_capacity(count);
        let mut making = None;
        loop {
            while sockets.len() < count
                && let Some(socket) = self.namespace.socket()
            {
                sockets.push(socket);
            }
            if sockets.len() >= count {
                return Ok(sockets);
            }
            if making.is_none() {
                // Others may have made some in the meantime.
                making = Some(self.making.lock().await);
                continue;
            }
            let namespace = Arc::clone(&self.namespace);
            let made = self.runtime.spawn_blocking(move || namespace.make_sockets()).await;
            made.map_err(io::Error::other)??;
        }
    }

    /// Connects to a published port of a tree.
    pub(super) async fn connect_published(&self, guest: &GuestPort) -> io::Result<TcpStream> {
        let port = match guest {
            GuestPort::Number(port) => *port,
            GuestPort::Label(label) => self.labelled.port(label, &self.runtime).await?,
        };
        self.connect(port).await
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
        metrics::count(decision);
        let Some(observer) = &self.observer else { return };
        // The task that tells has other work, which a fault of the embedder's must not end.
        if catch_unwind(AssertUnwindSafe(|| observer.decided(decision))).is_err() {
            tracing::error!("the observer of the networks panicked");
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
pub(super) fn reached_by(address: SocketAddrV4, has_v6: bool) -> SocketAddr {
    if has_v6 {
        SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port())
    } else {
        address.into()
    }
}

async fn connect(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpSocket::from_std_stream(StdTcpStream::from(socket))
        .connect(address)
        .await?;
    // Where nothing listens, the kernel may choose the port itself for this side: the socket is then connected to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        reset(stream);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Listens at an address of the network, with an unbound socket of it.
pub(super) fn listen_at(socket: OwnedFd, address: SocketAddrV4) -> io::Result<TcpListener> {
    TcpListener::from_std(listening(socket, address)?.into())
}

/// The same, without a runtime.
pub(super) fn listening(socket: OwnedFd, address: SocketAddrV4) -> io::Result<OwnedFd> {
    let has_v6 = socket_domain(&socket)? == AddressFamily::INET6;
    if has_v6 {
        set_ipv6_v6only(&socket, false)?;
    }
    // Connections of a listener before may still be known to the kernel.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &reached_by(address, has_v6))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
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
