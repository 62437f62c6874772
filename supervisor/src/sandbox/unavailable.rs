//! A layer of the confinement that cannot be had: which, why, and what can be done about it.

use std::fmt;

use capsule_init::Layer;
use rustix::io::Errno;

/// A layer of the confinement that this machine, or this user, cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableLayer {
    layer: Layer,
    reason: String,
    remedy: Option<&'static str>,
}

impl UnavailableLayer {
    /// For a call on `subject` that the kernel answered with `errno`.
    pub(crate) fn by_kernel(layer: Layer, subject: &str, errno: Errno) -> Self {
        Self {
            layer,
            reason: format!("{subject}: {errno}"),
            remedy: remedy(layer, errno),
        }
    }

    pub(crate) fn new(layer: Layer, reason: impl Into<String>, remedy: Option<&'static str>) -> Self {
        Self {
            layer,
            reason: reason.into(),
            remedy,
        }
    }

    /// The layer's name.
    #[must_use]
    pub const fn layer(&self) -> &'static str {
        name(self.layer)
    }

    /// What was tried, and the system's answer.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What can be done about it, where that is known.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        self.remedy
    }

    pub(crate) const fn which(&self) -> Layer {
        self.layer
    }
}

/// Layer, reason and remedy in one line.
impl fmt::Display for UnavailableLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer(), self.reason)?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// What a layer is called, in errors and in the status of a host.
pub(crate) const fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Protocol => "init",
        Layer::Process => "process",
        Layer::UserNamespace => "user namespace",
        Layer::MountNamespace => "mount namespace",
        Layer::PidNamespace => "pid namespace",
        Layer::NetworkNamespace => "network namespace",
        Layer::IpcNamespace => "ipc namespace",
        Layer::UtsNamespace => "uts namespace",
        Layer::CgroupNamespace => "cgroup namespace",
        Layer::Mounts => "mounts",
        Layer::Overlay => "overlay",
        Layer::Workspace => "workspace",
        Layer::Identity => "identity",
        Layer::Limits => "limits",
        Layer::Landlock => "landlock",
        Layer::Seccomp => "seccomp",
    }
}

fn remedy(layer: Layer, errno: Errno) -> Option<&'static str> {
    Some(match layer {
        Layer::UserNamespace
        | Layer::MountNamespace
        | Layer::PidNamespace
        | Layer::NetworkNamespace
        | Layer::IpcNamespace
        | Layer::UtsNamespace
        | Layer::CgroupNamespace => match errno {
            Errno::NOSPC => "the system allows no more namespaces: raise the sysctls user.max_*_namespaces",
            Errno::PERM | Errno::ACCESS => {
                "most likely a seccomp profile (of a container) or AppArmor forbids it: allow user namespaces, on Ubuntu \
                 with the sysctl kernel.apparmor_restrict_unprivileged_userns=0 or a profile for this program"
            }
            _ => "the kernel must be built with namespaces",
        },
        Layer::Mounts => match errno {
            Errno::PERM | Errno::ACCESS => {
                "most likely this is a container that covers parts of /proc or forbids mounts: start it with all of /proc \
                 in sight (docker: --security-opt systempaths=unconfined) and a seccomp and AppArmor profile that allows \
                 mount"
            }
            Errno::NOSYS => "the kernel must be 5.12 or later",
            _ => return None,
        },
        Layer::Overlay => match errno {
            Errno::NODEV => "the kernel must be built with overlayfs, or have its module loaded",
            Errno::PERM | Errno::ACCESS => {
                "most likely the kernel is older than 5.11, or a seccomp profile or AppArmor forbids to mount an overlay"
            }
            _ => {
                "most likely something is mounted beneath it, or an overlay cannot show its file system: leave out of it \
                 sockets and FIFOs that commands shall not use"
            }
        },
        Layer::Workspace => {
            "commands of a root host run as an unprivileged user: give it the workspace with chown, or name another user \
             in the policy"
        }
        Layer::Identity => {
            "commands of a root host run as an unprivileged user, which has to exist in the host's own user namespace: \
             map more than one user there (/etc/subuid and newuidmap), or run the host as an ordinary user"
        }
        Layer::Process => match errno {
            Errno::AGAIN => "allow this user more processes (ulimit -u), or this service (TasksMax of systemd)",
            _ => return None,
        },
        Layer::Landlock => "the kernel needs Landlock",
        Layer::Seccomp => "the kernel needs seccomp filters",
        Layer::Protocol | Layer::Limits => return None,
    })
}
