//! The spawner, the process that the host starts: it only makes inits.
//!
//! A host has much memory and many descriptors, and both make the start of a program slow. This process has few of both. Its
//! inits are copies of itself, so no program has to be loaded, and they run at once. Signals have their
//! default actions here and are blocked, and every init starts in this state.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use capsule_init::{AHEAD, Identity, InitKind, LEAVE, Layer};
use libc::c_int;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{getegid, geteuid};
use rustix::stdio::dup2_stdin;
use rustix::thread::set_name;

use crate::channel::tell;
use crate::failure::{At, failure};
use crate::prepared::Prepared;
use crate::vfork::Stack;
use crate::{identity, sweep, sys};

/// The namespaces that a tree is started in, each with its layer. The first is the one that gives the right to make the others.
const NAMESPACES: [(c_int, Layer); 6] = [
    (libc::CLONE_NEWUSER, Layer::UserNamespace),
    (libc::CLONE_NEWPID, Layer::PidNamespace),
    (libc::CLONE_NEWNET, Layer::NetworkNamespace),
    (libc::CLONE_NEWIPC, Layer::IpcNamespace),
    (libc::CLONE_NEWUTS, Layer::UtsNamespace),
    (libc::CLONE_NEWCGROUP, Layer::CgroupNamespace),
];

/// An init, before it has its configuration; descriptor 0 is its channel.
pub(crate) struct NewInit {
    pub(crate) kind: InitKind,
    /// Who the host is. In a new user namespace no process has an id until it is mapped.
    pub(crate) host: Identity,
    // The following resources are made here, because no command may be waiting yet.
    /// For the command, while it has none of its own.
    pub(crate) stack: Result<Stack, Errno>,
    /// Readable when a child has changed its state.
    pub(crate) children: Result<OwnedFd, Errno>,
    /// The counter of processor time, for a tree that is not confined: in a confined tree it would include the work of the
    /// confinement.
    pub(crate) counter: Option<OwnedFd>,
    /// A root for the tree.
    pub(crate) root: Option<Prepared>,
}

/// An init that is to be made.
struct Order {
    kind: InitKind,
    /// No command waits for it yet.
    ahead: bool,
    channel: OwnedFd,
    /// A control group to start in; or, ahead of a command, the file with its expected view.
    with: Option<OwnedFd>,
}

/// Makes inits until the host has ended or no longer needs it, and then returns none. In each init it returns the new init.
pub(crate) fn run() -> Option<NewInit> {
    // No signal shall end an init: the end of its channel does.
    sys::block_signals(true);
    sys::default_signals();
    // Run from a descriptor, it would be called by that number.
    let _ = set_name(c"capsule-init");
    sys::forget_children(true);
    // Descriptors that the host left open without close-on-exec must not reach the guest. If they cannot be closed, no command will
    // start.
    let _ = sys::close_from(3, false);
    let host = Identity {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    };
    // Root's inits always become another user, and that user must not be able to open them before they are ready. An ordinary
    // user's inits could not map themselves if they were concealed.
    if host.uid == 0 && identity::conceal().is_err() {
        return None;
    }
    loop {
        let Order {
            kind,
            ahead,
            channel,
            with,
        } = match order() {
            Asked::Init(order) => order,
            Asked::Leave => return None,
            Asked::End => {
                sweep::end_inits();
                return None;
            }
        };
        let (group, expected) = if ahead { (None, with) } else { (with, None) };
        if make(kind, host, channel.as_fd(), group.as_ref()) {
            sys::forget_children(false);
            // In place of the spawner's own.
            return dup2_stdin(&channel).is_ok().then(|| NewInit {
                kind,
                host,
                stack: Stack::new(),
                children: sys::child_signals(),
                counter: match kind {
                    InitKind::Unconfined => sys::cpu_counter().ok(),
                    InitKind::Confined { .. } => None,
                },
                root: match kind {
                    // An ordinary user has no id yet to make files with.
                    InitKind::Confined { .. } if ahead && host.uid == 0 => Prepared::new(expected),
                    InitKind::Unconfined | InitKind::Confined { .. } => None,
                },
            });
        }
    }
}

/// The orders of the host.
enum Asked {
    Init(Order),
    /// The spawner ends, and the inits that it has made stay.
    Leave,
    /// The host has ended.
    End,
}

/// Waits for the next order.
fn order() -> Asked {
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut byte)];
        match recvmsg(
            rustix::stdio::stdin(),
            &mut slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) if received.bytes > 0 => {}
            Err(Errno::INTR) => continue,
            // Also where descriptor 0 is something else: this was not started by a host.
            Ok(_) | Err(_) => return Asked::End,
        }
        if byte == [LEAVE] {
            return Asked::Leave;
        }
        let rights = control.drain().filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                Some(rights)
            } else {
                None
            }
        });
        let mut descriptors = rights.flatten();
        // If a descriptor was lost, no channel exists to report that, but the host sees the end of the channel.
        let (kind, ahead) = (InitKind::from_byte(byte[0] & !AHEAD), byte[0] & AHEAD != 0);
        if let (Some(kind), Some(channel)) = (kind, descriptors.next()) {
            let with = descriptors.next();
            return Asked::Init(Order {
                kind,
                ahead,
                channel,
                with,
            });
        }
    }
}

/// `true` in the init, `false` in the spawner.
fn make(kind: InitKind, host: Identity, channel: BorrowedFd<'_>, group: Option<&OwnedFd>) -> bool {
    let wanted = |flag: c_int| match (kind, flag) {
        (InitKind::Unconfined, _) => false,
        // Root makes its mounts as root, and gets its user namespace once it is an ordinary user.
        (InitKind::Confined { .. }, libc::CLONE_NEWUSER) => host.uid != 0,
        (InitKind::Confined { network }, libc::CLONE_NEWNET) => !network,
        // The root of the view is the group that a process is in, which is the right one only after its start.
        (InitKind::Confined { .. }, libc::CLONE_NEWCGROUP) => group.is_none(),
        (InitKind::Confined { .. }, _) => true,
    };
    let namespaces = NAMESPACES.into_iter().filter(|(flag, _)| wanted(*flag));
    let flags = namespaces.clone().fold(0, |flags, (flag, _)| flags | flag);
    match sys::clone(flags, group.map(AsFd::as_fd)) {
        Ok(None) => return true,
        Ok(Some(_)) => {}
        Err(errno) => {
            let call = if group.is_some() {
                "clone into a control group"
            } else {
                "clone"
            };
            let failed = failure(Layer::Process, errno, call);
            // One call, one errno: a process asks for the namespaces one by one to find out which it was.
            match sys::clone(0, None) {
                Ok(None) => {
                    let refused = namespaces
                        .into_iter()
                        .find_map(|(flag, layer)| sys::unshare(flag).at(layer, "unshare").err());
                    let _ = tell(channel, &refused.unwrap_or(failed), &[]);
                    sys::exit(0)
                }
                Ok(Some(_)) => {}
                Err(_) => {
                    let _ = tell(channel, &failed, &[]);
                }
            }
        }
    }
    false
}
