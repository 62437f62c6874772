//! The policy of a confinement: which files and resources a command may use, as data (contract B1).
//!
//! A policy is an allow-list: a file that it does not name does not exist for the command. The author of a policy names what a
//! program needs, and does not have to know where the secrets of a machine are.

use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capsule_init::{Confinement, Identity, NetworkMode, View};
use rustix::fs::fstat;

use super::etc::HOSTNAME;
use super::trusted::Trusted;
use super::visibility::Visibility;
use super::visible::{Place, Visible};
use super::workspace::Workspace;
use crate::network::{Network, NetworkObserver};

/// The system's programs and libraries. Where one is a symbolic link on the host (`/bin` to `usr/bin`), it is one here.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
];

/// The default range of the kernel's users that are lent to trees: the first number and the count.
///
/// systemd's list of users and groups calls these numbers unused (1879048192 to 2147352575). They are above the numbers that SSSD
/// and FreeIPA make from domain accounts (up to 2000200000), and far above the numbers that `useradd` assigns in `/etc/subuid` (up
/// to 600100000). They are below 2^31, because some programs take a larger number for a negative one.
const USERS: (u32, u32) = (0x7f00_0000, 0x1_0000);

/// The number that a tree sees itself as in a workspace of root's. It cannot be the owner's number, because programs treat root as
/// special. Any other number would do; the number of the first person on most machines has a name.
const INSTEAD_OF_ROOT: u32 = 1000;

const ROOT: Identity = Identity { uid: 0, gid: 0 };

/// What a confined command may see and use.
///
/// By default: the system's programs and libraries and an `/etc` of what programs need, read-only; the workspace; a private `/tmp`
/// of at most 256 MiB; a `/dev`, a `/proc` and a machine name of its own; a private network with nothing published and no egress.
#[derive(Clone, Debug)]
pub struct Policy {
    /// None: the default.
    network: Option<Network>,
    observer: Option<Arc<dyn NetworkObserver>>,
    tmp_bytes: u64,
    identity: Option<Identity>,
    users: (u32, u32),
    extra: Vec<(Place, bool)>,
    variables: Vec<(String, PathBuf)>,
    remedy: &'static str,
    cgroup: Option<PathBuf>,
    trusted: Trusted,
    writable: Option<Vec<PathBuf>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// The default of [`Policy::tmp_bytes`]: 256 MiB. That is enough for the temporary files of compilers and package managers, and
    /// small beside the memory of any machine, even when eight processes have filled theirs.
    pub const TMP_BYTES: u64 = 256 << 20;

    /// See the type.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            network: None,
            observer: None,
            tmp_bytes: Self::TMP_BYTES,
            identity: None,
            users: USERS,
            extra: Vec::new(),
            variables: Vec::new(),
            remedy: "Policy::visible",
            cgroup: None,
            trusted: Trusted::new(),
            writable: None,
        }
    }

    /// The network of trees. By default each owner has a private one with nothing published and no egress: its servers and
    /// clients find each other by loopback, and nothing leads to the host, to other owners or out. An owner's own policy comes
    /// first ([`Gate::network`](crate::Gate::network)).
    ///
    /// ```
    /// use capsule_supervisor::sandbox::{EgressPolicy, EgressRules, Policy, PrivateNetwork};
    ///
    /// let egress = EgressPolicy::new(EgressRules::new(["pypi.org".parse()?, "*.pythonhosted.org:443".parse()?])?);
    /// let network = PrivateNetwork::default().publish("8080:80".parse()?).egress(egress.clone());
    /// let policy = Policy::new().network(network);
    ///
    /// // The rules of running processes change, too. A connection that is no longer allowed is cut.
    /// egress.set(EgressRules::new(["pypi.org".parse()?])?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        self.network = Some(network.into());
        self
    }

    /// Has this hear of every decision about the egress of private networks, for an audit.
    #[must_use]
    pub fn observe_network(mut self, observer: Arc<dyn NetworkObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How much `/tmp` and `/dev/shm` hold together, in bytes. They are memory.
    #[must_use]
    pub const fn tmp_bytes(mut self, bytes: u64) -> Self {
        self.tmp_bytes = bytes;
        self
    }

    /// Makes a file or a directory visible at its own path, read-only. A path that does not exist is left out.
    #[must_use]
    pub fn visible(mut self, path: impl Into<PathBuf>) -> Self {
        self.extra.push((Place::itself(path.into()), false));
        self
    }

    /// The same, and commands may write there, as far as their user may.
    #[must_use]
    pub fn writable(mut self, path: impl Into<PathBuf>) -> Self {
        self.extra.push((Place::itself(path.into()), true));
        self
    }

    /// Makes a folder or a toolchain visible that a person asked for, a toolchain with the variable by which its programs find it
    /// (`RUSTUP_HOME`, `JAVA_HOME`), which commands then have in their environment.
    #[must_use]
    pub fn show(mut self, visible: &Visible) -> Self {
        let places = visible.places.iter().cloned();
        self.extra.extend(places.map(|place| (place, visible.writable)));
        self.variables.extend(visible.variable.clone());
        self
    }

    /// How a person makes something visible, for the message about a program that is not: a flag, such as `--visible`,
    /// behind which the name of a toolchain or a path is put.
    #[must_use]
    pub const fn visible_by(mut self, flag: &'static str) -> Self {
        self.remedy = flag;
        self
    }

    /// The user and group that a host which is root runs commands as; neither may be 0. Without it, each command and its
    /// descendants get a user of their own ([`Policy::users`]). With it, all commands share this user with each other and with
    /// every other process of this user. Such a process can stop them, use up the resources that the kernel counts for a user, and
    /// read their files. A workspace of root's is shown to the commands as their own; they need rights to any other workspace. A
    /// host that is an ordinary user runs commands as itself.
    #[must_use]
    pub const fn identity(mut self, uid: u32, gid: u32) -> Self {
        self.identity = Some(Identity { uid, gid });
        self
    }

    /// The numbers that a host which is root lends to commands: each command and its descendants run as a user, and in a group,
    /// with a number that no other process of the machine has. The range is `first` to `first + count - 1`, and contains neither 0
    /// nor 65534. No other program may use these numbers, and no file may belong to them. If all of them are in use, a command is
    /// refused. The default is the 65536 numbers from 2130706432 on. Hosts agree by locks in `/run/capsule-users`.
    ///
    /// In the workspace, and wherever commands may write, the files of the workspace's owner are shown as theirs, and files that
    /// they make there belong to that owner on the disk. They see themselves as the owner, or as user 1000 in place of root. Where
    /// a file system cannot show files as another's, they run as the workspace's owner instead.
    #[must_use]
    pub const fn users(mut self, first: u32, count: u32) -> Self {
        self.users = (first, count);
        self
    }

    /// Names a control group (version 2) in which the host makes a group for each command and its descendants. The kernel then
    /// limits the memory and the number of all processes in a group together, as far as the group has the controllers for that.
    /// This user must be allowed to write there, and to the nearest group that both it and the host's own are in; and it must hold
    /// no process itself, because its controllers are passed on to the groups in it. The host changes nothing else of it.
    ///
    /// Without it, the host uses the group above its own, if systemd has delegated that group to the host (`Delegate=yes` with
    /// `DelegateSubgroup=`). If it has no group to use, the host enforces memory limits by sampling.
    #[must_use]
    pub fn cgroup(mut self, path: impl Into<PathBuf>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// Keeps commands from changing a file or folder of the workspace, which must exist when a command starts: a file that the
    /// host, or a program of its user, later executes or trusts. The path is absolute, or relative to the workspace; a path outside
    /// of the workspace is left out.
    ///
    /// By default, the files at the top of the workspace that tools execute automatically are protected: `.git`, settings of
    /// shells, editors, build tools, services and agents (the list is in `sandbox/trusted.rs`). Commands can read a protected file.
    /// A write is answered with `EROFS`. The file cannot be renamed or removed, and the same holds for each folder on the way to
    /// it. Those folders are mounts of their own then: a rename into or out of one is `EXDEV`, as between disks.
    #[must_use]
    pub fn protect(mut self, path: impl Into<PathBuf>) -> Self {
        self.trusted.more.insert(path.into());
        self
    }

    /// Makes the workspace read-only but for these files and folders in it, which must exist when a command starts and which no
    /// symbolic link may lead to. Relative to the workspace. If none is given, the whole workspace is read-only.
    #[must_use]
    pub fn writable_only<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.writable = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// Lets commands change a file or folder that is protected by default, for instance `.github`. The path is relative to the
    /// workspace. Files that commands write there may later be executed outside of the confinement.
    #[must_use]
    pub fn unprotect(mut self, path: impl Into<PathBuf>) -> Self {
        self.trusted.except.insert(path.into());
        self
    }

    /// Whether commands may make commits in the git repository that the workspace is. The configuration and the hooks stay
    /// protected, as far as they exist. Even so, a hostile command can then have git execute any program the next time that the
    /// host's user calls git there, through the index or a `commondir` file.
    #[must_use]
    pub const fn commits(mut self, allowed: bool) -> Self {
        self.trusted.commits = allowed;
        self
    }

    pub(crate) fn without_cgroup(mut self) -> Self {
        self.cgroup = None;
        self
    }

    pub(crate) fn named_cgroup(&self) -> Option<&Path> {
        self.cgroup.as_deref()
    }

    pub(crate) const fn named_identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The range without 0, which is root, and without `u32::MAX`, which is no user.
    pub(crate) fn user_range(&self) -> Range<u32> {
        let (first, count) = self.users;
        first.max(1)..first.saturating_add(count)
    }

    /// The confinement that init sets up for a command in `workspace`; `user` is the number that was lent to the command.
    ///
    /// # Errors
    /// The owner of the workspace cannot be read.
    pub(crate) fn confinement(
        &self,
        workspace: &Workspace,
        host_is_root: bool,
        user: Option<u32>,
        max_memory: Option<u64>,
        network: NetworkMode,
    ) -> io::Result<Confinement> {
        let IdMapping {
            identity,
            seen_as,
            workspace_owner,
        } = if host_is_root {
            self.id_mapping(owner(workspace)?, user)
        } else {
            IdMapping::default()
        };
        let workspace = workspace.path();
        let mut view = Vec::new();
        for path in SYSTEM {
            // A link that is bound would be followed, and the same tree mounted twice.
            match std::fs::read_link(path) {
                Ok(target) => view.push(View::Link {
                    at: path.as_bytes().into(),
                    target: bytes(&target),
                }),
                Err(_) => view.push(bind(Path::new(path), false)),
            }
        }
        view.extend(self.extra.iter().map(|(place, writable)| place.view(*writable)));
        Ok(Confinement {
            identity,
            seen_as,
            workspace_owner,
            mapping: false,
            epolls: false,
            network,
            workspace: bytes(workspace),
            protected: self.trusted.beneath(workspace).iter().map(|path| bytes(path)).collect(),
            writable: self
                .writable
                .as_ref()
                .map(|paths| paths.iter().map(|path| bytes(path)).collect()),
            view,
            injections: Vec::new(),
            // Files in `/tmp` count as memory, so more room than the memory limit would be of no use.
            tmp_bytes: max_memory.map_or(self.tmp_bytes, |max| self.tmp_bytes.min(max)),
            hostname: HOSTNAME.into(),
        })
    }

    /// The ids of a command of a host that is root.
    fn id_mapping(&self, owner: Identity, user: Option<u32>) -> IdMapping {
        // Files that a command makes there then belong to the owner on the disk. That is safe, because the filter denies
        // set-user-id bits.
        match (self.identity, user) {
            (None, Some(user)) => IdMapping {
                identity: Some(Identity { uid: user, gid: user }),
                seen_as: Some(Identity {
                    uid: instead_of_root(owner.uid),
                    gid: instead_of_root(owner.gid),
                }),
                workspace_owner: Some(owner),
            },
            (identity, _) => IdMapping {
                identity,
                seen_as: identity,
                workspace_owner: (owner.uid == 0 || owner.gid == 0).then_some(ROOT),
            },
        }
    }

    /// All of it that the result of a trial depends on, as text. Two texts are equal only if these parts are.
    pub(super) fn for_trial(&self) -> String {
        let Self {
            network: _,
            // It only hears of decisions.
            observer: _,
            tmp_bytes,
            identity,
            users,
            extra,
            variables,
            // It only words a message.
            remedy: _,
            cgroup,
            trusted,
            writable,
        } = self;
        // Which ports are published, and what is reached, is decided without the kernel's leave.
        let mode = self.named_network().mode();
        format!(
            "{:?}",
            (
                mode, tmp_bytes, identity, users, extra, variables, cgroup, trusted, writable
            )
        )
    }

    /// The network of trees for which the embedder names no other.
    pub(crate) fn named_network(&self) -> Network {
        self.network.clone().unwrap_or_default()
    }

    pub(crate) const fn network_observer(&self) -> Option<&Arc<dyn NetworkObserver>> {
        self.observer.as_ref()
    }

    /// The visible parts of the system and of the request, and how a user can make more visible.
    pub(crate) fn visibility(&self) -> Visibility<'_> {
        Visibility {
            system: SYSTEM,
            extra: &self.extra,
            remedy: self.remedy,
        }
    }

    pub(crate) fn variables(&self) -> &[(String, PathBuf)] {
        &self.variables
    }
}

/// The ids of a command outside and inside of its user namespace, and the owner that its workspace's files are mapped to. All are
/// `None` for a command of the host's own user.
#[derive(Default)]
struct IdMapping {
    identity: Option<Identity>,
    seen_as: Option<Identity>,
    workspace_owner: Option<Identity>,
}

const fn instead_of_root(number: u32) -> u32 {
    if number == 0 { INSTEAD_OF_ROOT } else { number }
}

/// The owner of the open directory, even if its path leads to another one by now.
fn owner(workspace: &Workspace) -> io::Result<Identity> {
    let found = fstat(workspace.handle())?;
    Ok(Identity {
        uid: found.st_uid,
        gid: found.st_gid,
    })
}

fn bind(path: &Path, writable: bool) -> View {
    View::Bind {
        source: bytes(path),
        at: bytes(path),
        writable,
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENT: u32 = USERS.0;

    #[test]
    fn b8_the_owner_is_that_of_the_directory_that_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workspace");
        std::fs::create_dir(&path).unwrap();
        let workspace = Workspace::open(&path).unwrap();
        let own = owner(&workspace).unwrap();
        // The path now names another directory, or none.
        std::fs::remove_dir(&path).unwrap();
        let confinement = Policy::new()
            .confinement(&workspace, true, Some(LENT), None, NetworkMode::None)
            .unwrap();
        assert_eq!(confinement.workspace_owner, Some(own));
        assert_eq!(confinement.identity, Some(Identity { uid: LENT, gid: LENT }));
        let seen_as = confinement.seen_as.unwrap();
        assert_eq!(seen_as.uid, instead_of_root(own.uid));
        assert_ne!(seen_as.uid, 0);
    }

    #[test]
    fn b8_a_user_that_the_policy_names_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let named = Identity { uid: 7, gid: 8 };
        let policy = Policy::new().identity(7, 8);
        let confinement = policy
            .confinement(&workspace, true, None, None, NetworkMode::None)
            .unwrap();
        assert_eq!((confinement.identity, confinement.seen_as), (Some(named), Some(named)));
    }

    #[test]
    fn b8_an_ordinary_users_commands_are_that_users() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let confinement = Policy::new()
            .confinement(&workspace, false, None, None, NetworkMode::None)
            .unwrap();
        let whom = (confinement.identity, confinement.seen_as, confinement.workspace_owner);
        assert_eq!(whom, (None, None, None));
    }
}
