//! A layer of the confinement that is unavailable: its name, the reason, and the remedy.

use std::fmt;

use capsule_init::Layer;
use rustix::io::Errno;

/// A layer of the confinement that is unavailable on this machine or for this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableLayer {
    layer: Layer,
    reason: String,
    remedy: Option<&'static str>,
}

impl UnavailableLayer {
    /// A layer for which the kernel answered a call on `subject` with `errno`.
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

    /// The operation that failed, and the system's answer.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The remedy, if one is known.
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

/// The name of a layer, in errors and in the status of a host.
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
                "most likely a seccomp profile (of a container) or AppArmor forbids namespaces: allow user namespaces, on \
                 Ubuntu with the sysctl kernel.apparmor_restrict_unprivileged_userns=0 or a profile for this program"
            }
            _ => "the kernel must be built with namespaces",
        },
        Layer::Mounts => match errno {
            Errno::PERM | Errno::ACCESS => {
                "most likely this is a container that covers parts of /proc or forbids mounts: start it with all of /proc \
                 visible (docker: --security-opt systempaths=unconfined) and with seccomp and AppArmor profiles that allow \
                 mount"
            }
            Errno::NOSYS => "the kernel must be 5.12 or later",
            _ => return None,
        },
        Layer::Overlay => match errno {
            Errno::NODEV => "the kernel must be built with overlayfs, or its module must be loaded",
            Errno::PERM | Errno::ACCESS => {
                "most likely the kernel is older than 5.11, or a seccomp profile or AppArmor forbids mounting an overlay"
            }
            _ => {
                "most likely another file system is mounted beneath the folder, or overlayfs does not support its file system: \
                 keep sockets and FIFOs that commands must not use out of the folder"
            }
        },
        Layer::Workspace => {
            "commands of a root host run as an unprivileged user: give it the workspace with chown, or name another user \
             in the policy"
        }
        Layer::Identity => {
            "commands of a root host run as an unprivileged user, which must exist in the host's own user namespace: \
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
