//! What a confined command may see and use, as data (contract B1).
//!
//! An allow-list: what is not named here does not exist for the command. Whoever writes a policy says what a program
//! needs, and never has to know where the secrets of a machine are.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use capsule_init::{Confinement, Identity, View};

use super::sight::Sight;
use super::trusted::Trusted;
use super::visible::{Place, Visible};

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

/// What programs look up, and nothing that only root may read: the dynamic linker's cache, names of users, hosts and
/// services, certificates, time zone, alternatives.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// What name resolution needs besides, with the network.
const ETC_NETWORK: &[&str] = &["/etc/resolv.conf"];

/// The user that a root host runs commands as where the workspace does not suggest one: the one that owns nothing.
pub(crate) const NOBODY: Identity = Identity { uid: 65534, gid: 65534 };

const ROOT: Identity = Identity { uid: 0, gid: 0 };

/// What a confined command may see and use.
///
/// Without anything said: the system's programs and libraries and the parts of `/etc` that programs need, read-only; the
/// workspace; a private `/tmp` of at most 256 MiB; a `/dev`, a `/proc` and a machine name of its own; no network.
#[derive(Clone, Debug)]
pub struct Policy {
    network: bool,
    tmp_bytes: u64,
    identity: Option<Identity>,
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
    /// What [`Policy::tmp_bytes`] is where nothing is said: 256 MiB. Enough for what compilers and package managers keep
    /// there for a while, and small beside the memory of any machine, also when eight processes have theirs full.
    pub const TMP_BYTES: u64 = 256 << 20;

    /// See the type.
    #[must_use]
    pub fn new() -> Self {
        Self {
            network: false,
            tmp_bytes: Self::TMP_BYTES,
            identity: None,
            extra: Vec::new(),
            variables: Vec::new(),
            remedy: "Policy::visible",
            cgroup: None,
            trusted: Trusted::default(),
            writable: None,
        }
    }

    /// Shares the host's network. Without it there is only an empty one, without a way to the host or to other commands.
    #[must_use]
    pub const fn network(mut self, shared: bool) -> Self {
        self.network = shared;
        self
    }

    /// How much `/tmp` and `/dev/shm` hold together, in bytes. They are memory.
    #[must_use]
    pub const fn tmp_bytes(mut self, bytes: u64) -> Self {
        self.tmp_bytes = bytes;
        self
    }

    /// Makes a file or a directory visible at its own path, read-only. One that does not exist is left out.
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

    /// Makes visible what a person asked for: a folder, or a toolchain with the variable by which its programs find it
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

    /// Whom a host that is root runs commands as; neither may be 0. Without it that is the owner of the workspace, or
    /// 65534 where that is root, who is then shown to commands as the owner of root's files in the workspace. A host that
    /// is an ordinary user runs them as itself.
    #[must_use]
    pub const fn identity(mut self, uid: u32, gid: u32) -> Self {
        self.identity = Some(Identity { uid, gid });
        self
    }

    /// Names a control group (version 2) for groups to be made in, one for each command and all that it starts: the kernel
    /// then limits their memory and their number together, as far as it has the controllers for that. This user must be
    /// allowed to write there, and to the nearest group that both it and the host's own are in; and it must hold no process
    /// itself, for its controllers are handed on to the groups in there. Nothing else of it is changed.
    ///
    /// Without it, one is looked for: the group above the host's own, where systemd has given it to the host (`Delegate=yes`
    /// with `DelegateSubgroup=`). Where none is found, memory is held by looking at it again and again.
    #[must_use]
    pub fn cgroup(mut self, path: impl Into<PathBuf>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// Keeps commands from changing a file or folder of the workspace, which must exist when a command starts: something
    /// that the host, or a program of its user, later executes or trusts. Absolute, or relative to the workspace; what
    /// lies elsewhere is left out.
    ///
    /// Without anything said that holds for what tools execute without being asked, at the top of the workspace: `.git`,
    /// settings of shells, editors, build tools, services and agents (the list is in `sandbox/trusted.rs`). Commands read
    /// it as ever; writing there is answered with `EROFS`, and it can be neither renamed nor removed, nor can a folder on the
    /// way to it. Those folders are mounts of their own then: a rename into or out of one is `EXDEV`, as between disks.
    #[must_use]
    pub fn protect(mut self, path: impl Into<PathBuf>) -> Self {
        self.trusted.more.insert(path.into());
        self
    }

    /// Makes the workspace read-only but for these files and folders in it, which must exist when a command starts and which
    /// no symbolic link may lead to. Relative to the workspace. None of them: all of it is read-only.
    #[must_use]
    pub fn writable_only<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.writable = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// Lets commands change something that is protected without anything said: `.github`, for instance. Relative to the
    /// workspace. What they write there may later be executed outside.
    #[must_use]
    pub fn unprotect(mut self, path: impl Into<PathBuf>) -> Self {
        self.trusted.except.insert(path.into());
        self
    }

    /// Whether commands may make commits in the git repository that the workspace is. The configuration and the hooks stay
    /// protected, as far as they exist. Even so, a hostile command can then have git execute what it likes the next time
    /// that the host's user calls git there: by way of the index, or a `commondir` file.
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

    /// What init is told for a command in `workspace`.
    pub(crate) fn confinement(&self, workspace: &Path, host_is_root: bool, max_memory: Option<u64>) -> Confinement {
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
        let network = if self.network { ETC_NETWORK } else { &[] };
        view.extend(ETC.iter().chain(network).map(|path| bind(Path::new(path), false)));
        view.extend(self.extra.iter().map(|(place, writable)| place.view(*writable)));
        let owner = owner(workspace);
        Confinement {
            identity: host_is_root.then(|| self.identity.or(owner).unwrap_or(NOBODY)),
            // What a command makes there is then root's on the disk, and no worse: the filter denies set-user-id bits.
            workspace_owner: (host_is_root && owner.is_none()).then_some(ROOT),
            mapping: false,
            network: self.network,
            workspace: bytes(workspace),
            protected: self.trusted.beneath(workspace).iter().map(|path| bytes(path)).collect(),
            writable: self
                .writable
                .as_ref()
                .map(|paths| paths.iter().map(|path| bytes(path)).collect()),
            view,
            injections: Vec::new(),
            // It counts as memory, so there is no use for more of it than there may be memory.
            tmp_bytes: max_memory.map_or(self.tmp_bytes, |max| self.tmp_bytes.min(max)),
            hostname: b"capsule".to_vec(),
        }
    }

    pub(crate) const fn has_network(&self) -> bool {
        self.network
    }

    /// What is visible of the system and by request, and how more of it is made so.
    pub(crate) fn sight(&self) -> Sight<'_> {
        Sight {
            system: SYSTEM,
            extra: &self.extra,
            remedy: self.remedy,
        }
    }

    pub(crate) fn variables(&self) -> &[(String, PathBuf)] {
        &self.variables
    }
}

/// The owner of a directory, unless that is root.
fn owner(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    let owner = Identity {
        uid: metadata.uid(),
        gid: metadata.gid(),
    };
    (owner.uid != 0 && owner.gid != 0).then_some(owner)
}

fn bind(path: &Path, writable: bool) -> View {
    View::Bind {
        source: bytes(path),
        at: bytes(path),
        writable,
        required: false,
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_owned()
}
