//! Makes epoll instances for the trees of an ordinary user's host, each counted for the kernel user of one tree (contract B8).
//!
//! The kernel counts the watches of an epoll instance for the real user id of the process that made it, and limits them for each
//! user. Nothing else about an instance depends on its maker. So another process makes the instances: one process of the
//! host, in a user namespace to which `newuidmap` has mapped the user's subordinate range. Before it makes an instance, it sets
//! its real user id, and only that id, to the id that was lent to the tree. The tree's own ids, for files and signals, do not
//! change.
//!
//! A filter beside the tree's own filter ([`listen`]) suspends the tree's call for a new instance. The kernel notifies this
//! process, which answers with a descriptor. If this process is gone, the call fails with ENOSYS.
//!
//! These constraints shape it: a request comes from the guest, so everything in it is checked here; each request takes a bounded
//! number of calls; and the guest cannot open this process, although both have the same user.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::Builder;

use libc::c_int;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::{Errno, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{DumpableBehavior, Uid, set_dumpable_behavior};
use rustix::thread::{set_name, set_thread_res_uid};

use crate::asked::{self, Asked};
use crate::{identity, sys};

/// The stack of a thread that serves a tree, in bytes.
const STACK: usize = 64 << 10;

/// One tree.
struct Tree {
    /// The user that was lent to it.
    user: Uid,
    listener: OwnedFd,
}

/// A message from the host.
enum Word {
    Tree(Tree),
    Nothing,
    End,
}

/// Serves until the host has ended.
pub(crate) fn run() {
    sys::block_signals(true);
    sys::default_signals();
    let _ = set_name(c"capsule-epolls");
    if sys::close_from(3, false).is_err() {
        return;
    }
    // Dumpable until the namespace is mapped: newuidmap checks the owner of the process by its files in /proc, and the files of a
    // process that is not dumpable belong to root.
    if set_dumpable_behavior(DumpableBehavior::Dumpable).is_err() || sys::unshare(libc::CLONE_NEWUSER).is_err() {
        return;
    }
    if write(rustix::stdio::stdin(), &[0]).is_err() || !matches!(hear(), Word::Nothing) {
        return;
    }
    if identity::conceal().is_err() {
        return;
    }
    loop {
        match hear() {
            Word::Tree(tree) => {
                // If no thread can be started, the listener is dropped, and the tree's calls are answered with ENOSYS.
                let _refused = Builder::new().stack_size(STACK).spawn(move || serve(&tree));
            }
            Word::Nothing => {}
            Word::End => return,
        }
    }
}

/// Serves one tree until no process has its filter any more.
///
/// Each tree has a thread of its own, because an answer blocks until the calling process has taken it, and the tree controls when
/// that process runs. A thread also has a user id of its own.
fn serve(tree: &Tree) {
    // Only the real user id changes, so that this process keeps the rest of the host's identity.
    if set_thread_res_uid(tree.user, None, None).is_err() {
        return;
    }
    loop {
        let mut fds = [PollFd::new(&tree.listener, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            Err(_) => return,
            Ok(_) if fds.iter().any(|fd| fd.revents().contains(PollFlags::IN)) => answer(tree.listener.as_fd()),
            Ok(_) => return,
        }
    }
}

/// Receives a message from the host. For a tree it is four bytes, which are the user's number, with the listener attached. Other
/// messages are one byte.
fn hear() -> Word {
    let mut bytes = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match recvmsg(
            rustix::stdio::stdin(),
            &mut slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            Err(_) => return Word::End,
            Ok(received) => break received.bytes,
        }
    };
    let rights = control.drain().find_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message {
            rights.next()
        } else {
            None
        }
    });
    match (received, rights) {
        (0, _) => Word::End,
        (4, Some(listener)) => Word::Tree(Tree {
            user: Uid::from_raw(u32::from_le_bytes(bytes)),
            listener,
        }),
        _ => Word::Nothing,
    }
}

fn answer(listener: BorrowedFd<'_>) {
    // The calling process may have been killed meanwhile.
    let Ok(call) = asked::asked(listener) else { return };
    let answered = make(&call).and_then(|(made, flags)| asked::give(listener, &call, made.as_fd(), flags));
    if let Err(errno) = answered {
        asked::refuse(listener, &call, errno);
    }
}

/// Makes the requested instance. Returns it with the flags of its descriptor.
fn make(asked: &Asked) -> Result<(OwnedFd, c_int), Errno> {
    let flags = asked.flags()?;
    Ok((epoll::create(epoll::CreateFlags::CLOEXEC)?, flags))
}

/// After this call, processes that this process starts wait for the epoll server to make their instances. Returns the descriptor
/// for the server.
pub(crate) fn listen() -> Result<OwnedFd, Errno> {
    rustix::thread::set_no_new_privs(true)?;
    asked::listen()
}

/// Whether this process was started to make epoll instances.
pub(crate) fn is_wanted() -> bool {
    std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == capsule_init::EPOLLS)
}
