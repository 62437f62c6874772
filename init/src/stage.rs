//! From the configuration to a running command, in the process that will supervise it.
//!
//! A process cannot enter a new pid namespace itself, only its children can: so the process that the host started makes
//! pid 1 and is gone. Pid 1 is its sibling (`CLONE_PARENT`), hence the host's own child: killing it and waiting for it
//! is free of races, and the kernel ends the whole namespace before that wait returns.

use std::os::fd::{AsFd, OwnedFd};

use capsule_init::{Config, Confinement, Identity, Layer, Report};
use libc::c_int;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getegid, geteuid, getpid, set_child_subreaper, set_dumpable_behavior, umask};
use rustix::system::sethostname;

use crate::channel::{Channel, Descriptors};
use crate::failure::{At, failure};
use crate::guest::Image;
use crate::supervise::{self, Tree};
use crate::{guest, identity, mounts, sys};

/// Each namespace with the layer that it stands for, the one that gives the right to the others first.
const NAMESPACES: [(c_int, Layer); 7] = [
    (libc::CLONE_NEWUSER, Layer::UserNamespace),
    (libc::CLONE_NEWPID, Layer::PidNamespace),
    (libc::CLONE_NEWNS, Layer::MountNamespace),
    (libc::CLONE_NEWNET, Layer::NetworkNamespace),
    (libc::CLONE_NEWIPC, Layer::IpcNamespace),
    (libc::CLONE_NEWUTS, Layer::UtsNamespace),
    (libc::CLONE_NEWCGROUP, Layer::CgroupNamespace),
];

/// Runs the command to its end. Returns at once in the process that only started pid 1.
pub(crate) fn run(channel: &mut Channel, config: Config, descriptors: Descriptors) -> Result<(), Report> {
    let Descriptors {
        stdio,
        mut workspace,
        landlock,
        injected,
        mut group,
    } = descriptors;
    let image = Image::of(&config)?;
    let tree = if let Some(confinement) = &config.confinement {
        // Asked here: in a new user namespace nobody has an id until it is mapped.
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if !enter_namespaces(confinement, uid == 0, group.as_ref())? {
            return Ok(());
        }
        if group.take().is_some() {
            // Not with the others: the root of the view is the group that a process is in, which here is the right one.
            sys::unshare(libc::CLONE_NEWCGROUP).at(Layer::CgroupNamespace, "unshare")?;
        }
        workspace = confine(confinement, Identity { uid, gid }, &workspace, injected)?;
        Tree::Namespace
    } else {
        // Orphans of the tree become children of this process instead of the machine's init.
        set_child_subreaper(Some(getpid())).at(Layer::Process, "subreaper")?;
        Tree::Descendants
    };
    // No process of the tree may trace this one or open what it has under /proc; nor may another of the same user.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Layer::Identity, "dumpable")?;
    guest::enter_directory(&workspace, &config.cwd)?;
    let counter = if config.count_cpu {
        sys::cpu_counter().ok()
    } else {
        None
    };
    // Opened before anything can get in its way.
    let killer = group.as_ref().and_then(|group| sys::group_killer(group).ok());
    let guest = guest::start(&config, &image, &stdio, landlock.as_ref(), group.as_ref())?;
    // What the command has must be its own alone: the host waits for the end of its streams.
    drop((stdio, workspace, landlock, group, image, config));
    supervise::run(channel, tree, guest, counter, killer);
    Ok(())
}

/// `true` in pid 1, `false` in the process that made it.
fn enter_namespaces(confinement: &Confinement, root: bool, group: Option<&OwnedFd>) -> Result<bool, Report> {
    let refused = match confinement.identity {
        // A guest that is root to the kernel is not confined, whatever namespaces it is in.
        None => root,
        Some(identity) => !root || identity.uid == 0 || identity.gid == 0,
    };
    if refused {
        return Err(failure(Layer::Identity, Errno::PERM, "identity"));
    }
    let wanted = |flag: c_int| match flag {
        // Root makes its mounts as root, and gets its user namespace once it is an ordinary user.
        libc::CLONE_NEWUSER => !root,
        libc::CLONE_NEWNET => !confinement.network,
        libc::CLONE_NEWCGROUP => group.is_none(),
        _ => true,
    };
    let namespaces = NAMESPACES.iter().filter(|(flag, _)| wanted(*flag));
    let flags = namespaces.clone().fold(0, |flags, (flag, _)| flags | flag);
    match sys::clone(flags | libc::CLONE_PARENT, group.map(AsFd::as_fd)) {
        Ok(Some(_)) => Ok(false),
        Ok(None) => Ok(true),
        Err(errno) => {
            // One call, one errno: ask for them one by one to find out which it was.
            for &(flag, layer) in namespaces {
                sys::unshare(flag).at(layer, "unshare")?;
            }
            let call = if group.is_some() {
                "clone into a control group"
            } else {
                "clone"
            };
            Err(failure(Layer::Process, errno, call))
        }
    }
}

/// Gives pid 1 its view and its identity; `host` is who the host is. Returns the workspace as seen from there.
fn confine(
    confinement: &Confinement,
    host: Identity,
    workspace: &OwnedFd,
    injected: Option<OwnedFd>,
) -> Result<OwnedFd, Report> {
    if confinement.identity.is_none() {
        // First of all: somebody without an id can make no file.
        identity::map(host, host)?;
    }
    sethostname(&confinement.hostname).at(Layer::UtsNamespace, "sethostname")?;
    // The modes that files and folders are made with are meant, whatever the host's mask; the command has that again.
    let mask = umask(Mode::empty());
    let workspace = mounts::build(confinement, workspace, injected)?;
    umask(mask);
    if let Some(identity) = confinement.identity {
        // After the mounts: the way to the workspace may lead through folders that are root's alone.
        identity::become_user(identity, identity)?;
        identity::may_write(&workspace)?;
    }
    identity::renounce()?;
    Ok(workspace)
}
