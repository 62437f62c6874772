//! Chooses the directory in which control groups for trees are made: one that the embedder names, or one that the host finds
//! (contract R1).
//!
//! The groups within a group that holds processes cannot be limited, unless it is the root of all groups. So a host cannot use
//! its own group, and moves no process to change that. The host therefore looks for a directory *above* its own group that the
//! service manager has delegated to it, and makes groups *beside* its own there. It changes no setting of any other group.

use std::fs;
use std::path::{Path, PathBuf};

use capsule_init::Layer;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::unavailable::UnavailableLayer;
use crate::os::cgroup::{CONTROLLERS, Groups, Unusable};

/// How a host can get a group that it may divide.
const REMEDY: &str = "run the host as a service of systemd with Delegate=yes and DelegateSubgroup=host (systemd 254 or \
                      later), or name a group (Policy::cgroup, --cgroup) that holds no process itself, that this user may \
                      write to, and that lies beside the host's own group in a group that this user may also write to";

/// The control group of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cgroup {
    /// The path at which version 2 is mounted.
    pub mount: PathBuf,
    /// The folder of this process's own group; `None` if it lies outside of the mounted part.
    pub group: Option<PathBuf>,
    /// The controllers that can limit groups in this group, by the kernel's names (`memory`, `pids`, …).
    pub controllers: Vec<String>,
    /// Whether this user may make groups in this group.
    pub writable: bool,
}

impl Cgroup {
    /// Reads the kernel's lists of mounts and of this process's groups.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (root, mount) = mounts.lines().find_map(mount_of_groups)?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let group = path.and_then(|path| {
            Some(
                mount
                    .join(Path::new(path).strip_prefix(root).ok()?)
                    .components()
                    .collect(),
            )
        });
        let group = group.filter(|group: &PathBuf| group.is_dir());
        let controllers = group.as_deref().map(|group| list(group, "cgroup.controllers"));
        Some(Self {
            writable: group
                .as_ref()
                .is_some_and(|group| may_write(group) && may_write(&group.join("cgroup.procs"))),
            controllers: controllers.unwrap_or_default(),
            mount,
            group,
        })
    }
}

/// Prepares the directory that the embedder named, or finds one.
///
/// A directory that the embedder named is used with the controllers that it has, even if it has none and can only end
/// and count processes. A directory that is found must have all controllers.
pub(crate) fn groups(named: Option<&Path>) -> Result<Groups, UnavailableLayer> {
    match named {
        Some(path) => {
            may_be_born_in(path)?;
            Groups::within(path, true).map_err(|error| missing(path, &error))
        }
        None => find(),
    }
}

fn find() -> Result<Groups, UnavailableLayer> {
    let none = |reason: &str| UnavailableLayer::new(Layer::Limits, reason, Some(REMEDY));
    let this = Cgroup::of_this_process().ok_or_else(|| none("no control groups of version 2 are mounted"))?;
    let own = this
        .group
        .as_deref()
        .ok_or_else(|| none("the control group of this process is not in the mounted part"))?;
    let beside = own
        .parent()
        .filter(|parent| parent.starts_with(&this.mount) && is_delegated(parent));
    let (path, delegated) = match beside {
        Some(parent) => (parent, true),
        None => (own, false),
    };
    let lacks = |file| {
        CONTROLLERS
            .iter()
            .any(|name| !list(path, file).iter().any(|it| it == name))
    };
    let refused = |why: &str| Err(none(&format!("{}: {why}", path.display())));
    if lacks("cgroup.controllers") {
        return refused("does not have both of the controllers memory and pids");
    }
    if !delegated && lacks("cgroup.subtree_control") {
        // If the group held no process, the embedder could change this by naming the group.
        return refused("does not delegate its controllers, and holds this process itself");
    }
    may_be_born_in(path)?;
    Groups::within(path, delegated).map_err(|error| missing(path, &error))
}

/// Whether this user may start processes in groups of this directory. For that the kernel requires write access to the
/// closest common ancestor of the new group and the host's group, and would check it only at each start.
fn may_be_born_in(path: &Path) -> Result<(), UnavailableLayer> {
    let Some(this) = Cgroup::of_this_process() else {
        return Ok(());
    };
    let (Some(own), Ok(path)) = (this.group, path.canonicalize()) else {
        return Ok(());
    };
    let Some(common) = path.ancestors().find(|above| own.starts_with(above)) else {
        return Ok(());
    };
    if !common.starts_with(&this.mount) || may_write(&common.join("cgroup.procs")) {
        return Ok(());
    }
    let why = format!(
        "{}: this host cannot start processes in there, because this user may not write to {}, the common ancestor of this group \
         and the host's own",
        path.display(),
        common.display()
    );
    Err(UnavailableLayer::new(Layer::Limits, why, Some(REMEDY)))
}

fn may_write(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

fn missing(path: &Path, error: &Unusable) -> UnavailableLayer {
    let why = match error {
        Unusable::NoGroup(Errno::NOENT) => "is no control group (version 2)".into(),
        Unusable::NoGroup(errno) => format!("cannot be opened: {errno}"),
        Unusable::Closed(errno) => format!("cannot make groups in there: {errno}"),
        Unusable::NoCloneInto(errno) => format!("the host cannot start processes in there (clone3): {errno}"),
        Unusable::Occupied => "holds processes itself, so the groups in there cannot be limited".into(),
    };
    UnavailableLayer::new(Layer::Limits, format!("{}: {why}", path.display()), Some(REMEDY))
}

/// Whether a service manager has delegated the group to its service.
fn is_delegated(group: &Path) -> bool {
    let marked = |name| {
        let mut value = [0_u8; 1];
        rustix::fs::getxattr(group, name, &mut value) == Ok(1) && value == *b"1"
    };
    marked("user.delegate") || marked("trusted.delegate")
}

/// The words in a file of a group.
fn list(group: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(group.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(Into::into).collect()
}

/// From a line of mountinfo: which folder of the cgroup file system is mounted, and where.
fn mount_of_groups(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, file_system) = line.split_once(" - ")?;
    if !file_system.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    // Octal escapes stand for blanks, which are not usual in these paths. A path with an escape counts as absent further on.
    Some((fields.next()?.into(), fields.next()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_the_mount_of_control_groups_is_found_among_others() {
        let line = "35 25 0:30 /a /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(mount_of_groups(line), Some(("/a".into(), "/sys/fs/cgroup".into())));
        let version_1 = "36 25 0:31 / /sys/fs/cgroup/pids rw shared:10 - cgroup cgroup rw,pids";
        assert_eq!(mount_of_groups(version_1), None);
    }

    #[test]
    fn b2_a_named_directory_that_is_no_group_is_refused_with_the_remedy() {
        let refused = groups(Some(Path::new("/proc"))).unwrap_err();
        assert!(refused.reason().contains("/proc: is no control group"), "{refused}");
        assert!(
            refused.remedy().is_some_and(|remedy| remedy.contains("Delegate")),
            "{refused}"
        );
    }
}
