//! Who the tree runs as: somebody with a user namespace of their own and no capability in it.
//!
//! The namespace is what makes the limit on processes count for this tree alone, and it is the only way for an ordinary
//! user to get the others. Exactly one user and one group are mapped, each to itself.

use std::fs;
use std::os::fd::OwnedFd;

use capsule_init::{HEADER, Identity, Layer, Report, decode, encode};
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Gid, Pid, Uid, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::failure::{At, failure};
use crate::sys;

const LAYER: Layer = Layer::Identity;

/// Root becomes `outside`, for good, in a new user namespace where that is called `inside`.
pub(crate) fn become_user(outside: Identity, inside: Identity) -> Result<(), Report> {
    let (uid, gid) = (Uid::from_raw(outside.uid), Gid::from_raw(outside.gid));
    // "Thread" is how the kernel sees it: each has its own identity. This process has one.
    set_thread_groups(&[]).at(LAYER, "setgroups")?;
    set_thread_res_gid(gid, gid, gid).at(LAYER, "setresgid")?;
    set_thread_res_uid(uid, uid, uid).at(LAYER, "setresuid")?;
    sys::unshare(libc::CLONE_NEWUSER).at(Layer::UserNamespace, "unshare")?;
    map(outside, inside)
}

/// Maps one user and one group, this process's own, in the namespace that it has just got.
pub(crate) fn map(outside: Identity, inside: Identity) -> Result<(), Report> {
    // A change of identity has made our own files under /proc root's.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at(LAYER, "dumpable")?;
    for (path, content) in [
        ("/proc/self/uid_map", format!("{} {} 1", inside.uid, outside.uid)),
        // Without this the kernel lets nobody but root map a group.
        ("/proc/self/setgroups", "deny".into()),
        ("/proc/self/gid_map", format!("{} {} 1", inside.gid, outside.gid)),
    ] {
        fs::write(path, content)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .at(Layer::UserNamespace, path)?;
    }
    Ok(())
}

/// A user namespace in the making, in which one stands for another: what turns one owner of files into another in a mount.
///
/// A namespace needs a process that makes it, and this one must stay where it is; so a child does, while this one goes on,
/// and waits until its namespace is taken hold of.
pub(crate) struct Mapping {
    child: Pid,
    told: OwnedFd,
    held: OwnedFd,
}

impl Mapping {
    /// Begins to make `inside` stand for `outside`. The child may map only itself, hence it becomes `outside` first.
    pub(crate) fn begin(inside: Identity, outside: Identity) -> Result<Self, Report> {
        let (told, tells) = pipe_with(PipeFlags::CLOEXEC).at(LAYER, "pipe")?;
        let (waits, held) = pipe_with(PipeFlags::CLOEXEC).at(LAYER, "pipe")?;
        let Some((child, _)) = sys::clone(0, None).at(Layer::Process, "clone")? else {
            drop((told, held));
            // Its own number as /proc has it, which is still the host's.
            let number = become_user(outside, inside).and_then(|()| {
                let link = fs::read_link("/proc/self")
                    .map_err(|_| Errno::NOENT)
                    .at(LAYER, "/proc/self")?;
                Ok(link.to_string_lossy().into_owned())
            });
            if let Ok(frame) = encode::<Result<String, Report>>(&number) {
                let _ = write(&tells, &frame);
            }
            // Whatever was written, or not: nobody must wait for more of it.
            drop(tells);
            let _ = read(&waits, &mut [0_u8; 1]);
            sys::exit(0)
        };
        Ok(Self { child, told, held })
    }

    /// The namespace. The host's `/proc` must still be there.
    pub(crate) fn finish(self) -> Result<OwnedFd, Report> {
        let Self { child, told, held } = self;
        let mut frame = [0_u8; 512];
        let length = read(&told, &mut frame).at(LAYER, "a mapping")?;
        let number = frame
            .get(HEADER..length)
            .and_then(|frame| decode::<Result<String, Report>>(frame).ok());
        let number = number.unwrap_or(Err(failure(LAYER, Errno::PIPE, "a mapping")))?;
        let namespace = open(
            format!("/proc/{number}/ns/user"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        drop(held);
        // Or it would be taken for a child of the tree later.
        let _ = waitpid(Some(child), WaitOptions::empty());
        namespace.at(Layer::UserNamespace, "a mapping")
    }
}

/// Whether the tree can work in its workspace. Asked only of a host that is root: an ordinary user's rights are its own
/// affair, but root's workspace is closed to everybody else unless somebody thought of it.
pub(crate) fn may_write(workspace: &OwnedFd) -> Result<(), Report> {
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    accessat(workspace, ".", access, AtFlags::EACCESS).at(Layer::Workspace, "access")
}

/// Gives up every capability. Pid 1 needs none: it signals processes of its own user.
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
