//! Where control groups for trees can be made: a directory that the embedder names, or one that is found (contract R1).
//!
//! A group that holds processes cannot have its groups limited, unless it is the root of all; so a host cannot use its own
//! group, and moves no process to change that. What is found is therefore a group *beside* the host's, in a directory
//! that its service manager says is the host's to use. Settings of any other group are left as they are.

use std::fs;
use std::path::{Path, PathBuf};

use capsule_init::Layer;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::unavailable::UnavailableLayer;
use crate::os::cgroup::{CONTROLLERS, Groups, Unusable};

/// How to come by a group of one's own.
const REMEDY: &str = "run the host as a service of systemd with Delegate=yes and DelegateSubgroup=host (systemd 254 or \
                      later), or name a group that this user may write to, that holds no process itself and that \
                      lies beside the host's own in one that is this user's too (Policy::cgroup, --cgroup)";

/// The control group of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cgroup {
    /// Where version 2 is mounted.
    pub mount: PathBuf,
    /// The folder of this process's own group; `None` where it lies outside of what is mounted.
    pub group: Option<PathBuf>,
    /// What can be limited for groups in there, as the kernel names it (`memory`, `pids`, …).
    pub controllers: Vec<String>,
    /// Whether this user may make groups in there.
    pub writable: bool,
}

impl Cgroup {
    /// From what the kernel says of its mounts and of this process.
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

/// Makes ready in the directory that was named, or else in one that is found.
///
/// One that was named is used for what it has, were it only that it ends and counts; one that is found must have all.
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
        .ok_or_else(|| none("the control group of this process is not in sight"))?;
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
        return refused("has not both of the controllers memory and pids");
    }
    if !delegated && lacks("cgroup.subtree_control") {
        // Where no process is in the way that is for the embedder to change, by naming it.
        return refused("does not hand its controllers on, and holds this process itself");
    }
    may_be_born_in(path)?;
    Groups::within(path, delegated).map_err(|error| missing(path, &error))
}

/// Whether this user may have processes born in groups in there. The kernel asks for that for a right to write to what the
/// new group and the host's have above them both, and asks only then, which would be at each start.
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
        "{}: no process of this host may be in there, for this user may not write to {}, which the host's own group is in \
         too",
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
        Unusable::NoGroup(Errno::NOENT) => "is no control group of version 2".into(),
        Unusable::NoGroup(errno) => format!("cannot be opened: {errno}"),
        Unusable::Closed(errno) => format!("no groups can be made in there: {errno}"),
        Unusable::NoCloneInto(errno) => format!("the host may not start processes in there (clone3): {errno}"),
        Unusable::Occupied => "holds processes itself, so the groups in there cannot be limited".into(),
    };
    UnavailableLayer::new(Layer::Limits, format!("{}: {why}", path.display()), Some(REMEDY))
}

/// Whether a service manager has marked a group as its service's own to divide.
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
    // Octal escapes stand for blanks, which are not usual in these paths; one that has is taken for absent further on.
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
