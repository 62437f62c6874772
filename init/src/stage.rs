//! The steps from the configuration to a running command, in the process that will supervise it.

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;

use capsule_init::{Config, Confinement, Identity, InitKind, Layer, NetworkMode, Report};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{getpid, set_child_subreaper, umask};
use rustix::system::sethostname;

use crate::channel::{Channel, Descriptors};
use crate::failure::{At, failure};
use crate::guest::Image;
use crate::identity::{Leaving, Mapping, Others};
use crate::prepared::Prepared;
use crate::root::{Built, Shown};
use crate::spawner::NewInit;
use crate::supervise::{self, Attached, Tree};
use crate::{ceilings, epolls, guest, identity, network, root, sys};

/// Runs the command to its end.
pub(crate) fn run(
    channel: &Channel,
    new_init: NewInit,
    config: Config,
    descriptors: Descriptors,
) -> Result<(), Report> {
    let NewInit {
        kind,
        host,
        root,
        inside,
        ..
    } = new_init;
    let stack = new_init.stack.at(Layer::Process, "mmap")?;
    let children = new_init.children.at(Layer::Process, "signalfd")?;
    let Descriptors {
        stdio,
        mut workspace,
        landlock,
        network: joined,
        injected,
        mut mapping,
        group,
    } = descriptors;
    let (mut made, mut bound, mut shown, mut leaving, mut unused) = (None, None, Shown::AsWanted, None, None);
    let image = Image::of(&config, &stdio, landlock.as_ref())?;
    let tree = match (&config.confinement, kind) {
        (Some(confinement), InitKind::Confined { network }) if confinement.network == network => {
            if config.group {
                sys::unshare(libc::CLONE_NEWCGROUP).at(Layer::CgroupNamespace, "unshare")?;
            }
            match (network, &joined, inside) {
                (NetworkMode::None | NetworkMode::Host, None, false) | (NetworkMode::Private, None, true) => {}
                (NetworkMode::Private, Some(joined), false) => network::enter(joined)?,
                _ => return Err(failure(Layer::Protocol, Errno::PROTO, "network")),
            }
            let built;
            (built, leaving) = confine(confinement, host, &workspace, injected, mapping.take(), root)?;
            (workspace, made, bound, shown) = (built.workspace, built.mapping, built.bound, built.shown);
            unused = built.prepared;
            Tree::Namespace
        }
        (None, InitKind::Unconfined) => {
            // Orphans of the tree become children of this process instead of the machine's init.
            set_child_subreaper(Some(getpid())).at(Layer::Process, "subreaper")?;
            Tree::Descendants
        }
        _ => return Err(failure(Layer::Protocol, Errno::PROTO, "kind of init")),
    };
    // No process of the tree may trace this process or open its files under /proc, and no other process of the same user may.
    identity::conceal()?;
    guest::enter_directory(&workspace, &config.cwd)?;
    let counter = match new_init.counter.filter(|_| config.count_cpu) {
        // The time that this process has used so far does not belong to the tree.
        Some(counter) => sys::restart(&counter).is_ok().then_some(counter),
        None if config.count_cpu => sys::cpu_counter().ok(),
        None => None,
    };
    // Opened early, so that no later step can prevent it.
    let killer = group.as_ref().and_then(|group| sys::group_killer(group).ok());
    // This process makes no such instance itself. If the kernel cannot report the calls, they are not suspended, and their
    // instances are counted for the host's user.
    let wanted = config
        .confinement
        .as_ref()
        .is_some_and(|confinement| confinement.epolls);
    let epolls = if wanted { epolls::listen().ok() } else { None };
    let guest = guest::start(image, stack, group.as_ref())?;
    // By now the child has most likely ended, so this hardly waits.
    drop(leaving);
    // Dropped while no caller waits, because the kernel takes time to free mounts.
    drop(unused);
    // The command must be the only holder of its streams, because the host waits for their end.
    drop((stdio, workspace, landlock, joined, group));
    let attached = Attached {
        counter,
        mapping: made,
        epolls,
        bound,
        as_owner: shown == Shown::AsTheyAre,
        spent: ManuallyDrop::new(config),
    };
    supervise::run(channel, tree, guest, attached, &children, killer);
    Ok(())
}

const fn is_root(identity: Identity) -> bool {
    identity.uid == 0 || identity.gid == 0
}

/// Gives pid 1 its view and its identity. `host` is the host's identity, and `root` was made in advance.
fn confine(
    confinement: &Confinement,
    host: Identity,
    workspace: &OwnedFd,
    injected: Option<OwnedFd>,
    mapping: Option<OwnedFd>,
    root: Option<Prepared>,
) -> Result<(Built, Option<Leaving>), Report> {
    let refused = match confinement.identity {
        // A guest that is root to the kernel is not confined, whatever namespaces it is in.
        None => host.uid == 0,
        Some(identity) => host.uid != 0 || is_root(identity) || confinement.seen_as.is_none_or(is_root),
    };
    if refused {
        return Err(failure(Layer::Identity, Errno::PERM, "identity"));
    }
    if confinement.identity.is_none() {
        // This comes first, because a process without a mapped id can make no file.
        identity::map_host(host)?;
    }
    let user = confinement.seen_as.zip(confinement.identity);
    let begin = |(inside, outside)| Mapping::begin(inside, outside, Others::Unmapped);
    let namespace = user.map(begin).transpose()?;
    sys::unshare(libc::CLONE_NEWNS).at(Layer::MountNamespace, "unshare")?;
    let users = ceilings::lower_ipc();
    sethostname(&confinement.hostname).at(Layer::UtsNamespace, "sethostname")?;
    // Files and folders get exactly the modes that this program passes. The command gets the host's mask back.
    let mask = umask(Mode::empty());
    let built = root::build(confinement, workspace, injected, mapping, root)?;
    umask(mask);
    // Done while this process is root, which has a large quota of keys. Done after the mounts, because files that are opened on the
    // way hold on to the keyring, and so would a namespace that the host keeps. If a container forbids it, or an ordinary user's
    // quota is used up, the command still cannot use the host's keyring: every call that names a key is filtered.
    let _shared_instead = sys::new_session_keyring();
    let leaving = if let (Some((inside, _)), Some(mut namespace)) = (user, namespace) {
        if let (Shown::AsTheyAre, Some(owner)) = (built.shown, confinement.workspace_owner) {
            namespace.finish()?;
            namespace = begin((inside, owner))?;
        }
        // After the mounts: the way to the workspace may lead through folders that are root's alone.
        let (namespace, leaving) = namespace.finish()?;
        identity::become_user(&namespace, inside)?;
        if confinement.writable.is_none() {
            identity::may_write(&built.workspace)?;
        }
        Some(leaving)
    } else {
        None
    };
    users.lower();
    identity::renounce()?;
    Ok((built, leaving))
}
