//! The namespace of a private network, and the sockets in it that the host uses.
//!
//! A process of the spawner makes both and ends. The descriptors keep the namespace, so it is gone when its last process and its last
//! descriptor are.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capsule_init::{NETWORK, Report, SOCKETS};

use super::channel::Attached;
use super::namespaces::Namespaces;
use super::socket_list::SocketList;
use super::spawner::{InitError, Spawner, User};

/// A network namespace that the host has had made, and its trees join.
#[derive(Debug)]
pub(crate) struct Namespace {
    namespaces: Arc<Namespaces>,
    made_by: User,
    spawner: Arc<Spawner>,
    /// None: the kernel was built without.
    list: Option<Arc<SocketList>>,
    /// Unbound TCP sockets.
    sockets: Mutex<Vec<OwnedFd>>,
}

/// A namespace in which no process runs yet, and the sockets of its name server.
#[derive(Debug)]
pub(crate) struct NewNetwork {
    pub(crate) namespace: Arc<Namespace>,
    /// UDP, bound.
    pub(crate) dns_udp: OwnedFd,
    /// TCP, listening.
    pub(crate) dns_tcp: OwnedFd,
    /// Whether the kernel's buffers of its TCP sockets are bounded.
    pub(crate) is_bounded: bool,
}

impl Namespace {
    /// Has a private network made. Blocks until it is.
    pub(crate) fn make(spawner: &Arc<Spawner>) -> Result<NewNetwork, InitError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (report, attached, made_by) = spawner.ask(NETWORK, &[])?;
        let Report::Network { is_bounded, has_list } = report else {
            return Err(InitError::Refused(report));
        };
        let mut descriptors = complete(attached)?.into_iter();
        let mut next = || descriptors.next().ok_or_else(missing);
        let net = next()?;
        let user = if made_by.is_root() { None } else { Some(next()?) };
        let (dns_udp, dns_tcp) = (next()?, next()?);
        let list = if has_list { Some(next()?) } else { None };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self {
            namespaces: Arc::new(Namespaces::new(id, user, net)),
            made_by,
            spawner: Arc::clone(spawner),
            list: list.map(|netlink| Arc::new(SocketList::new(netlink))),
            sockets: Mutex::new(descriptors.collect()),
        };
        Ok(NewNetwork {
            namespace: Arc::new(namespace),
            dns_udp,
            dns_tcp,
            is_bounded,
        })
    }

    pub(super) const fn namespaces(&self) -> &Arc<Namespaces> {
        &self.namespaces
    }

    /// Whether an init is made in it, and not joined to it later: where the host is an ordinary user.
    pub(crate) fn has_inits_inside(&self) -> bool {
        self.namespaces.user.is_some()
    }

    /// No tree is in it from now on. An init that waits in it for a command would keep it, so it is ended.
    pub(crate) fn end(&self) {
        self.namespaces.end();
        // A root host's inits wait outside.
        if self.has_inits_inside() {
            self.spawner.forget(self.namespaces.id);
        }
    }

    /// Whether this process can still use it: a host that has become another user gets another one (contract B8).
    pub(crate) fn is_usable(&self) -> bool {
        self.made_by.is_current()
    }

    /// The list of its sockets, which keeps it.
    pub(super) const fn list(&self) -> Option<&Arc<SocketList>> {
        self.list.as_ref()
    }

    /// An unbound TCP socket in it, non-blocking; none if more have to be made first.
    pub(crate) fn socket(&self) -> Option<OwnedFd> {
        self.locked().pop()
    }

    /// Has more sockets made. Blocks until they are.
    pub(crate) fn make_sockets(&self) -> io::Result<()> {
        let refused = |error| match error {
            InitError::Host(error) => error,
            InitError::Refused(report) => io::Error::other(format!("no socket in a private network: {report:?}")),
        };
        let (report, attached, _) = self
            .spawner
            .ask(SOCKETS, &self.namespaces.in_order())
            .map_err(refused)?;
        if report != Report::Sockets {
            return Err(refused(InitError::Refused(report)));
        }
        let made = complete(attached)?;
        if made.is_empty() {
            return Err(missing());
        }
        self.locked().extend(made);
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end();
    }
}

fn complete(attached: Attached) -> io::Result<Vec<OwnedFd>> {
    if attached.lost {
        return Err(io::Error::other(
            "the host has too many open files for the sockets of a private network",
        ));
    }
    Ok(attached.descriptors)
}

fn missing() -> io::Error {
    io::Error::other("a descriptor of a private network is missing")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use capsule_init::DNS_SERVER;

    use super::*;
    use crate::os::socket_list::{Table, Which};

    #[test]
    fn w2_a_network_comes_with_the_list_of_its_own_sockets() {
        let made = Namespace::make(&Arc::new(Spawner::new(None)));
        let made = match made {
            Ok(made) => made,
            Err(InitError::Refused(report)) => {
                println!("skipped: this machine has no private networks: {report:?}");
                return;
            }
            Err(InitError::Host(error)) => panic!("{error}"),
        };
        let list = made.namespace.list().expect("this kernel lists sockets");
        let mut found = Vec::new();
        let all = list.each(Table::Tcp, Which::Listeners(None), |socket| {
            found.push((socket.address, socket.port));
        });
        assert!(all.expect("a list"), "all of it");
        assert_eq!(found, [(IpAddr::from(Ipv4Addr::from_bits(DNS_SERVER)), 53)]);
    }
}
