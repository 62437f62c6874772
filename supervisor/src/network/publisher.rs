//! Published ports: listeners on this machine that lead to ports of a network's trees.

use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use super::relay::{Stream, relay};
use super::shared::{Shared, accepted};
use super::{Publish, PublishAt};

/// A published port, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// The port in the trees' network.
    pub guest: u16,
    /// Where this machine reaches it; the port is never 0.
    pub at: PublishAt,
}

/// Keeps a port published. Dropping it closes the listener at once, so that the address is free when the drop returns.
#[derive(Debug)]
pub(super) struct Publication(Arc<Mutex<Option<Listener>>>);

impl Drop for Publication {
    fn drop(&mut self) {
        *locked(&self.0) = None;
    }
}

/// A listener on this machine. Dropping it removes the file of a Unix socket.
#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Removed with it.
        _file: Removed,
    },
}

/// The file of a socket, which is removed when this is dropped.
#[derive(Debug)]
struct Removed {
    path: PathBuf,
    /// File system and inode.
    file: (u64, u64),
}

impl Removed {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: identity(path)?,
        })
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        // Another process may have put its own file there.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Publishes a port. The address is taken when this returns.
pub(super) fn publish(shared: &Arc<Shared>, publish: &Publish) -> io::Result<(PublishedPort, Publication)> {
    let guest = publish.guest();
    let (listener, at) = match publish.at() {
        PublishAt::Loopback(address) => {
            let (listener, address) = at_address(*address)?;
            (Listener::Tcp(listener), PublishAt::Loopback(address))
        }
        PublishAt::Unix(path) => (at_path(path)?, PublishAt::Unix(path.clone())),
    };
    let listener = Arc::new(Mutex::new(Some(listener)));
    shared.spawn(serve(Arc::clone(shared), Arc::clone(&listener), guest));
    Ok((PublishedPort { guest, at }, Publication(listener)))
}

fn at_address(address: SocketAddrV4) -> io::Result<(TcpListener, SocketAddrV4)> {
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let SocketAddr::V4(address) = listener.local_addr()? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    Ok((TcpListener::from_std(listener)?, address))
}

fn at_path(path: &Path) -> io::Result<Listener> {
    let listener = match StdUnixListener::bind(path) {
        // Left by a host that was killed: nothing listens there any more.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            StdUnixListener::bind(path)
        }
        bound => bound,
    }?;
    let removed = Removed::new(path)?;
    // Only this user may connect. Until now the folder's rights and the mask of this process decided.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(Listener::Unix {
        listener: UnixListener::from_std(listener)?,
        _file: removed,
    })
}

fn is_abandoned(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) && refuses(path)
}

/// Whether nothing listens at a socket. A process that listens and accepts nothing must not make this wait.
fn refuses(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None) else {
        return false;
    };
    SocketAddrUnix::new(path).and_then(|address| connect(&socket, &address)) == Err(Errno::CONNREFUSED)
}

async fn serve(shared: Arc<Shared>, listener: Arc<Mutex<Option<Listener>>>, guest: u16) {
    loop {
        let client = accepted(|context| poll_accept(&listener, context)).await;
        // Where it ends here, the client sees its connection reset.
        let _ended_already = set_socket_linger(&client, Some(Duration::ZERO));
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            continue;
        };
        let task = {
            let shared = Arc::clone(&shared);
            async move {
                let connecting = timeout(shared.limits.dial_time, shared.connect(guest));
                let connected = tokio::select! {
                    biased;
                    () = shared.cut.cancelled() => return,
                    connected = connecting => connected,
                };
                // Nothing of the tree listens there, or not yet.
                let Ok(Ok(inside)) = connected else { return };
                relay(client, inside.into(), &shared.relays, &shared.cut).await;
                drop(permit);
            }
        };
        shared.spawn_to_its_end(task);
    }
}

/// The next connection, while the port is published.
fn poll_accept(listener: &Mutex<Option<Listener>>, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
    match &*locked(listener) {
        Some(Listener::Tcp(listener)) => listener.poll_accept(context).map_ok(|(stream, _)| stream.into()),
        Some(Listener::Unix { listener, .. }) => listener.poll_accept(context).map_ok(|(stream, _)| stream.into()),
        // The task is about to be ended.
        None => Poll::Pending,
    }
}

fn locked(listener: &Mutex<Option<Listener>>) -> MutexGuard<'_, Option<Listener>> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}
