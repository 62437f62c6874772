//! The spawner, the process that the host starts: it only makes inits.
//!
//! A host has much memory and many descriptors, and both make the start of a program slow. This process has few of both. Its
//! inits are copies of itself, so no program has to be loaded, and they run at once. Signals have their
//! default actions here and are blocked, and every init starts in this state.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use capsule_init::{AHEAD, INSIDE, Identity, InitKind, LEAVE, Layer, NETWORK, NetworkMode, SOCKETS};
use libc::c_int;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{getegid, geteuid};
use rustix::stdio::dup2_stdin;
use rustix::thread::set_name;

use crate::channel::tell;
use crate::failure::{At, failure};
use crate::network::{self, Namespaces};
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
    /// For the command, until it has a stack of its own.
    pub(crate) stack: Result<Stack, Errno>,
    /// Readable when a child has changed its state.
    pub(crate) children: Result<OwnedFd, Errno>,
    /// The counter of processor time, for a tree that is not confined: in a confined tree it would include the work of the
    /// confinement.
    pub(crate) counter: Option<OwnedFd>,
    /// Whether it was made inside of a private network.
    pub(crate) inside: bool,
    /// A root for the tree.
    pub(crate) root: Option<Prepared>,
}

/// An init that is to be made.
struct Order {
    kind: InitKind,
    /// No command waits for it yet.
    ahead: bool,
    channel: OwnedFd,
    /// The private network to make it in.
    network: Option<Namespaces>,
    /// A control group to start in; or, ahead of a command, the file with its expected view.
    with: Option<OwnedFd>,
}

/// Makes inits until the host has ended or no longer needs it, and then returns none. In each init it returns the new init.
pub(crate) fn run() -> Option<NewInit> {
    // No signal may end an init. The end of its channel ends it.
    sys::block_signals(true);
    sys::default_signals();
    // The program was run from a descriptor, so the kernel would name the process by the descriptor's number.
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
            network,
            with,
        } = match order(host) {
            Asked::Init(order) => order,
            Asked::Network(channel, inside) => {
                run_network_helper(host, &channel, inside.as_ref());
                continue;
            }
            Asked::Leave => return None,
            Asked::End => {
                sweep::end_inits();
                return None;
            }
        };
        let (group, expected) = if ahead { (None, with) } else { (with, None) };
        if make(kind, host, channel.as_fd(), network.as_ref(), group.as_ref()) {
            sys::forget_children(false);
            // The channel replaces the spawner's own.
            return dup2_stdin(&channel).is_ok().then(|| NewInit {
                kind,
                host,
                inside: network.is_some(),
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
    /// A private network is to be made, or further sockets in this one.
    Network(OwnedFd, Option<Namespaces>),
    /// The spawner ends, and the inits that it has made stay.
    Leave,
    /// The host has ended.
    End,
}

/// Waits for the next order.
fn order(host: Identity) -> Asked {
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
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
            // The host has ended, or descriptor 0 is no channel because no host started this program.
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
        let Some(channel) = descriptors.next() else { continue };
        let mut namespaces = || {
            let user = if host.uid == 0 { None } else { Some(descriptors.next()?) };
            let net = descriptors.next()?;
            Some(Namespaces { user, net })
        };
        match byte[0] {
            NETWORK => return Asked::Network(channel, None),
            SOCKETS => {
                if let Some(network) = namespaces() {
                    return Asked::Network(channel, Some(network));
                }
            }
            byte => {
                let Some(kind) = InitKind::from_byte(byte & !(AHEAD | INSIDE)) else {
                    continue;
                };
                let network = if byte & INSIDE == 0 { None } else { namespaces() };
                if network.is_some() == (byte & INSIDE != 0) {
                    return Asked::Init(Order {
                        kind,
                        ahead: byte & AHEAD != 0,
                        channel,
                        network,
                        with: descriptors.next(),
                    });
                }
            }
        }
    }
}

/// Starts a helper process that makes a private network, or sockets in the network `inside`. The helper answers on the channel and
/// ends.
fn run_network_helper(host: Identity, channel: &OwnedFd, inside: Option<&Namespaces>) {
    let flags = match (inside, host.uid) {
        (Some(_), _) => 0,
        (None, 0) => libc::CLONE_NEWNET,
        (None, _) => libc::CLONE_NEWUSER | libc::CLONE_NEWNET,
    };
    match sys::clone(flags, None) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let made = match inside {
                Some(namespaces) => namespaces.enter().and_then(|()| network::more()),
                None => network::set_up(host),
            };
            let (report, descriptors) = made.unwrap_or_else(|report| (report, Vec::new()));
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            let _ = tell(channel.as_fd(), &report, &descriptors);
            sys::exit(0)
        }
        Err(errno) => {
            let layer = if host.uid == 0 {
                Layer::NetworkNamespace
            } else {
                Layer::UserNamespace
            };
            let _ = tell(channel.as_fd(), &failure(layer, errno, "clone"), &[]);
        }
    }
}

/// `true` in the init, `false` in the spawner.
fn make(
    kind: InitKind,
    host: Identity,
    channel: BorrowedFd<'_>,
    network: Option<&Namespaces>,
    group: Option<&OwnedFd>,
) -> bool {
    let wanted = |flag: c_int| match (kind, flag) {
        (InitKind::Unconfined, _) => false,
        // Root makes its mounts as root, and gets its user namespace once it is an ordinary user.
        (InitKind::Confined { .. }, libc::CLONE_NEWUSER) => host.uid != 0,
        (InitKind::Confined { network }, libc::CLONE_NEWNET) => network == NetworkMode::None,
        // The root of the view is the group that a process is in, which is the right one only after its start.
        (InitKind::Confined { .. }, libc::CLONE_NEWCGROUP) => group.is_none(),
        (InitKind::Confined { .. }, _) => true,
    };
    let namespaces = NAMESPACES.into_iter().filter(|(flag, _)| wanted(*flag));
    let flags = namespaces.clone().fold(0, |flags, (flag, _)| flags | flag);
    let make = |parent: c_int| {
        match sys::clone(flags | parent, group.map(AsFd::as_fd)) {
            Ok(None) => return true,
            Ok(Some(_)) => {}
            Err(errno) => explain(channel, namespaces.clone(), errno, group.is_some()),
        }
        false
    };
    let Some(network) = network else { return make(0) };
    // The user namespace of the tree must be made by a process inside of the network's own. It becomes this process's child, not
    // that process's, so that this process can find and end it.
    match sys::clone(0, None) {
        Ok(Some(_)) => false,
        Ok(None) => {
            match network.enter() {
                Ok(()) if make(libc::CLONE_PARENT) => return true,
                Ok(()) => {}
                Err(report) => drop(tell(channel, &report, &[])),
            }
            sys::exit(0)
        }
        Err(errno) => {
            let _ = tell(channel, &failure(Layer::Process, errno, "clone"), &[]);
            false
        }
    }
}

/// Reports why the kernel made no init. One call makes all namespaces and has one errno: a process asks for the namespaces one by
/// one to find out which it was.
fn explain(
    channel: BorrowedFd<'_>,
    namespaces: impl IntoIterator<Item = (c_int, Layer)>,
    errno: Errno,
    in_group: bool,
) {
    let call = if in_group {
        "clone into a control group"
    } else {
        "clone"
    };
    let failed = failure(Layer::Process, errno, call);
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
