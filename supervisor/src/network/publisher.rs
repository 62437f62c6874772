//! Published ports: listeners on this machine that lead to ports of a network's trees.

use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use super::relay::{Stream, relay};
use super::shared::{BACKLOG, Shared, accepted};
use super::{GuestPort, Publish, PublishAt};

/// A published port, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// The port in the trees' network.
    pub guest: GuestPort,
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
        _file: SocketFile,
    },
}

/// The file of a socket, which is removed when this is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    number: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another file may have taken its place.
        if identity(&self.path).is_ok_and(|number| number == self.number) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Publishes a port. The address is taken when this returns.
pub(super) fn publish(shared: &Arc<Shared>, publish: &Publish) -> io::Result<(PublishedPort, Publication)> {
    let guest = publish.guest().clone();
    let (listener, at) = match publish.at() {
        PublishAt::Loopback(address) => {
            let (listener, address) = at_address(*address)?;
            (Listener::Tcp(listener), PublishAt::Loopback(address))
        }
        PublishAt::Unix(path) => (at_path(path)?, PublishAt::Unix(path.clone())),
    };
    let listener = Arc::new(Mutex::new(Some(listener)));
    shared.spawn(serve(Arc::clone(shared), Arc::clone(&listener), guest.clone()));
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
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // The file gets these rights when it is made: only this user may connect, from the first moment on.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        // Left by a host that was killed: nothing listens there any more.
        Err(Errno::ADDRINUSE) if is_abandoned(path) => {
            fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile {
        path: path.to_owned(),
        number: identity(path)?,
    };
    listen(&socket, BACKLOG)?;
    Ok(Listener::Unix {
        listener: UnixListener::from_std(socket.into())?,
        _file: file,
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

async fn serve(shared: Arc<Shared>, listener: Arc<Mutex<Option<Listener>>>, guest: GuestPort) {
    loop {
        let client = accepted(|context| poll_accept(&listener, context)).await;
        // Where it ends here, the client sees its connection reset.
        let _ended_already = set_socket_linger(&client, Some(Duration::ZERO));
        let Some(place) = shared.place() else { continue };
        let task = {
            let (shared, guest) = (Arc::clone(&shared), guest.clone());
            async move {
                let connecting = timeout(shared.limits.dial_time, shared.connect_published(&guest));
                let connected = tokio::select! {
                    biased;
                    () = shared.cut.cancelled() => return,
                    connected = connecting => connected,
                };
                // Nothing of the tree listens there, or not yet.
                let Ok(Ok(inside)) = connected else { return };
                relay(client, inside.into(), &shared.relays, &shared.cut).await;
                drop(place);
            }
        };
        shared.spawn_detached(task);
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
