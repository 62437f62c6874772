//! The namespaces of a private network, as the spawner enters them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The descriptors of a private network's namespaces. They keep it.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// No two networks of this process have the same.
    pub(super) id: u64,
    /// The user namespace that owns the network, if the host is an ordinary user.
    pub(super) user: Option<OwnedFd>,
    net: OwnedFd,
    /// Its last tree has ended.
    ended: AtomicBool,
}

impl Namespaces {
    pub(super) const fn new(id: u64, user: Option<OwnedFd>, net: OwnedFd) -> Self {
        Self {
            id,
            user,
            net,
            ended: AtomicBool::new(false),
        }
    }

    /// No init may wait in them from now on.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The namespace that a tree's init joins, if the host is root. Otherwise the init has to be made inside.
    pub(super) fn to_join(&self) -> Option<BorrowedFd<'_>> {
        self.user.is_none().then(|| self.net.as_fd())
    }

    /// In the order in which a process enters them.
    pub(super) fn in_order(&self) -> Vec<BorrowedFd<'_>> {
        self.user.iter().chain([&self.net]).map(AsFd::as_fd).collect()
    }
}
