//! The user that the tree runs as, with a user namespace of its own and no capability in it.
//!
//! Because of the namespace, the limit on processes counts only this tree. For an ordinary user it is also the only way to get
//! the other namespaces. Exactly one user and one group are mapped. An ordinary user's ids are mapped to themselves. The ids that
//! a root host lends to one tree (contract B8) are mapped to the ids that the tree sees.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use capsule_init::{HEADER, Identity, Layer, Report, decode, encode};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Gid, Pid, Uid, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, clear_ambient_capability_set, move_into_link_name_space,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::failure::{At, failure};
use crate::sys;

const LAYER: Layer = Layer::Identity;

/// Root becomes the user with the number `inside` in `namespace`, for good.
///
/// Root itself enters the namespace, and changes its user only within. So another process of that user can never open or trace this
/// process, because that takes the rights of the namespace's owner, who is root.
pub(crate) fn become_user(namespace: &OwnedFd, inside: Identity) -> Result<(), Report> {
    let (uid, gid) = (Uid::from_raw(inside.uid), Gid::from_raw(inside.gid));
    // To the kernel each thread has an identity of its own. This process has one thread.
    set_thread_groups(&[]).at(LAYER, "setgroups")?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User)).at(Layer::UserNamespace, "setns")?;
    set_thread_res_gid(gid, gid, gid).at(LAYER, "setresgid")?;
    set_thread_res_uid(uid, uid, uid).at(LAYER, "setresuid")?;
    // If the sysctl fs.suid_dumpable is 1, a change of identity makes this process traceable again.
    conceal()
}

/// From here on only root's processes may trace this process or open its files under `/proc`. The same holds for its children until
/// they execute a program.
pub(crate) fn conceal() -> Result<(), Report> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(LAYER, "dumpable")
}

/// Maps an ordinary user's own user and group, in the namespace that this process was started in.
pub(crate) fn map_host(host: Identity) -> Result<(), Report> {
    // Otherwise this process's files under /proc would belong to root. Protection from other processes of the same user is left to
    // the host.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at(LAYER, "dumpable")?;
    write_maps("self", &[line(host.uid, host.uid)], &[line(host.gid, host.gid)])
}

fn line(inside: u32, outside: u32) -> String {
    format!("{inside} {outside} 1\n")
}

/// A map of all numbers to themselves, except that two numbers are exchanged.
fn exchange(one: u32, other: u32) -> Vec<String> {
    /// The last number is not a valid id.
    const END: u32 = u32::MAX;
    let (low, high) = (one.min(other), one.max(other));
    if low == high {
        return vec![format!("0 0 {END}\n")];
    }
    let between = |first: u32, end: u32| format!("{first} {first} {}\n", end.saturating_sub(first));
    let lines = [
        between(0, low),
        line(low, high),
        between(low.saturating_add(1), high),
        line(high, low),
        between(high.saturating_add(1), END),
    ];
    lines.into_iter().filter(|line| !line.ends_with(" 0\n")).collect()
}

/// Makes this process act as a user while it remains root's process.
fn act_as(user: Identity) -> Result<(), Report> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let root = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(root.1, gid, root.1).at(LAYER, "setresgid")?;
    set_thread_res_uid(root.0, uid, root.0).at(LAYER, "setresuid")?;
    conceal()
}

fn write_maps(process: &str, uids: &[String], gids: &[String]) -> Result<(), Report> {
    for (file, content) in [
        ("uid_map", uids.concat()),
        // Without this the kernel lets only root map a group.
        ("setgroups", "deny".into()),
        ("gid_map", gids.concat()),
    ] {
        fs::write(format!("/proc/{process}/{file}"), content)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .at(Layer::UserNamespace, file)?;
    }
    Ok(())
}

/// The treatment of users that a mapping does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// They are unmapped. For a namespace of processes.
    Unmapped,
    /// They are mapped to themselves, as far as this process's own namespace has them. For a namespace that maps files.
    AsTheyAre,
}

/// A user namespace that is being made, in which one user and one group stand for others.
///
/// A child makes it, because the maker of a namespace is in it. Meanwhile this process, which is root, maps it from the outside.
/// The child acts as the mapped user, so the kernel counts for that user what is made in the namespace. But it stays root's
/// process, so that user cannot open, trace or signal it.
pub(crate) struct Mapping {
    inside: Identity,
    outside: Identity,
    others: Others,
    child: Pid,
    pidfd: OwnedFd,
    told: OwnedFd,
    held: OwnedFd,
}

impl Mapping {
    /// Begins to make a namespace that maps `inside` to `outside`.
    pub(crate) fn begin(inside: Identity, outside: Identity, others: Others) -> Result<Self, Report> {
        let (told, tells) = pipe_with(PipeFlags::CLOEXEC).at(LAYER, "pipe")?;
        let (waits, held) = pipe_with(PipeFlags::CLOEXEC).at(LAYER, "pipe")?;
        let Some((child, pidfd)) = sys::clone(0, None).at(Layer::Process, "clone")? else {
            drop((told, held));
            let made =
                act_as(outside).and_then(|()| sys::unshare(libc::CLONE_NEWUSER).at(Layer::UserNamespace, "unshare"));
            if let Ok(frame) = encode::<Result<(), Report>>(&made) {
                let _ = write(&tells, &frame);
            }
            // Closed even if the write failed, so that the parent waits no longer.
            drop(tells);
            let _ = read(&waits, &mut [0_u8; 1]);
            sys::exit(0)
        };
        Ok(Self {
            inside,
            outside,
            others,
            child,
            pidfd,
            told,
            held,
        })
    }

    /// The namespace. A `/proc` must be visible that shows this process; it may belong to any pid namespace.
    pub(crate) fn finish(self) -> Result<(OwnedFd, Leaving), Report> {
        let namespace = self.namespace();
        drop(self.held);
        let leaving = Leaving(self.child);
        Ok((namespace?, leaving))
    }

    fn namespace(&self) -> Result<OwnedFd, Report> {
        let Self { inside, outside, .. } = *self;
        let mut frame = [0_u8; 512];
        let length = read(&self.told, &mut frame).at(LAYER, "a mapping")?;
        let made = frame
            .get(HEADER..length)
            .and_then(|frame| decode::<Result<(), Report>>(frame).ok());
        made.unwrap_or(Err(failure(LAYER, Errno::PIPE, "a mapping")))?;
        let process = self.number().ok_or(Errno::SRCH).at(LAYER, "a mapping")?;
        let one = || {
            let (uids, gids) = (line(inside.uid, outside.uid), line(inside.gid, outside.gid));
            write_maps(&process, &[uids], &[gids])
        };
        match self.others {
            Others::Unmapped => one()?,
            // A container may not have every number.
            Others::AsTheyAre => write_maps(
                &process,
                &exchange(inside.uid, outside.uid),
                &exchange(inside.gid, outside.gid),
            )
            .or_else(|_| one())?,
        }
        open(
            format!("/proc/{process}/ns/user"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at(Layer::UserNamespace, "a mapping")
    }

    /// The pid of the child in the `/proc` that is visible here.
    fn number(&self) -> Option<String> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).ok()?;
        let number = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        Some(number.trim().to_owned())
    }
}

/// A child that ends while this process continues. Dropping this waits for its end, because otherwise the supervision of the tree
/// would reap it as a process of the tree.
pub(crate) struct Leaving(Pid);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Fails if the tree cannot write to its workspace. Checked only for a host that is root, whose tree runs as another user. An
/// ordinary user's tree has the same rights in the workspace as the host.
pub(crate) fn may_write(workspace: &OwnedFd) -> Result<(), Report> {
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    accessat(workspace, ".", access, AtFlags::EACCESS).at(Layer::Workspace, "access")
}

/// Gives up every capability. Pid 1 needs none, because it signals processes of its own user.
pub(crate) fn renounce() -> Result<(), Report> {
    let none = CapabilitySet::empty();
    clear_ambient_capability_set().at(LAYER, "ambient capabilities")?;
    sys::clear_bounding_set();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
    .at(LAYER, "capset")
}
