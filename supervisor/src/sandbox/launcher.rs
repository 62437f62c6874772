//! The interface between the supervisor and the launcher that starts its children.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use capsule_init::Bound;

use super::Workspace;
use super::injection::Injection;
use super::limits::{Enforcements, ResourceLimits};
use super::unavailable::UnavailableLayer;
use crate::network::{Network, NetworkError, OwnerNetwork};
use crate::os::child::Child;
use crate::os::init::Started;
use crate::owner::Owner;

/// Starts commands, in whatever confinement it stands for.
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Starts a command as the leader of its own session and process group.
    ///
    /// Called on a thread that may block, inside the registry's tokio runtime.
    ///
    /// # Errors
    /// [`LaunchError`] says whether the program or the host was at fault; in either case nothing runs.
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError>;

    /// Called on a thread that may block, once nothing was launched for a few milliseconds: what takes time for the next
    /// command may be done now. By default nothing is.
    fn prepare(&self) {}

    /// Whether a process that no instance holds may be started (`spawn-persistent`; contract S10 and B2).
    fn supports_persistent(&self) -> bool;

    /// Whether it can put files into a command's view that the command cannot change (contract J1). By default it cannot,
    /// so that a request for one is refused.
    fn injects(&self) -> bool {
        false
    }

    /// The private network of an owner's trees, while one of them runs. By default there is none.
    fn network(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        let _ = owner;
        None
    }

    /// How it holds each resource limit (contract R1). By default none, so that a request for one is refused.
    fn enforcements(&self) -> Enforcements {
        Enforcements::default()
    }
}

/// A process to start. The registry makes it from a request that was checked and allowed.
#[derive(Debug)]
pub struct Launch {
    /// Trees of one owner may share a private network. None for a trial.
    pub(crate) owner: Option<Owner>,
    /// Distinguishes callers without a name.
    pub(crate) scope: u64,
    /// Which network it has. None: the launcher's policy decides.
    pub(crate) network: Option<Network>,
    pub(crate) cmd: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workspace: Workspace,
    /// Relative to the workspace.
    pub(crate) cwd: String,
    pub(crate) stdin: bool,
    pub(crate) limits: ResourceLimits,
    pub(crate) injections: Vec<Injection>,
}

impl Launch {
    /// Whose process it will be. None if the launcher only tries out what this machine can do.
    #[must_use]
    pub const fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The network that the embedder wants for this owner's trees ([`Gate::network`](crate::Gate::network)). None: the launcher's
    /// own policy decides.
    #[must_use]
    pub const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The program, as the request has it: a path, or a name to be looked up.
    #[must_use]
    pub fn cmd(&self) -> &str {
        &self.cmd
    }

    /// Its arguments, without the program's own name.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The variables of the request. What a command has of the host's beside them is the launcher's to add.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// Where it works.
    #[must_use]
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Its working directory, relative to the workspace. It was beneath that when the request was checked.
    #[must_use]
    pub fn cwd(&self) -> &str {
        &self.cwd
    }

    /// What its tree may use.
    #[must_use]
    pub const fn limits(&self) -> &ResourceLimits {
        &self.limits
    }

    /// The same, with another program in place of the command: for a launcher that has another one start what runs the
    /// command, a virtual machine for instance. Workspace, working directory, streams, limits and injected files stay.
    #[must_use]
    pub fn run_by(self, cmd: String, args: Vec<String>, env: Vec<(String, String)>) -> Self {
        Self { cmd, args, env, ..self }
    }
}

/// A command that runs. Dropping it ends the command's tree.
#[derive(Debug)]
pub struct Launched {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// A resource that the tree shares with the host against the policy's intention.
    pub(crate) bound: Option<Bound>,
    /// Whether the tree's watches are counted for a user of its own, which it does not run as.
    pub(crate) is_counted_apart: bool,
    /// Whether it runs as its workspace's owner, though it was to have a user of its own.
    pub(crate) as_owner: bool,
    /// Kept as long as the tree.
    pub(crate) network: Option<Arc<OwnerNetwork>>,
}

impl From<Started> for Launched {
    fn from(started: Started) -> Self {
        let Started {
            child,
            stdin,
            stdout,
            stderr,
            bound,
            is_counted_apart,
            as_owner,
        } = started;
        Self {
            child,
            stdin,
            stdout,
            stderr,
            bound,
            is_counted_apart,
            as_owner,
            network: None,
        }
    }
}

/// Why a command did not start (contract S6).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program, or its interpreter, does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The program is there and may not be executed.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// The program may be executed and cannot be.
    #[error("cannot be executed: {0}")]
    ExecFailed(String),
    /// The working directory is not there any more, or leads out of the workspace by now (contract S3).
    #[error("the working directory changed meanwhile")]
    WorkingDirectory {
        /// It leads out.
        escape: bool,
    },
    /// A file cannot be injected, by this launcher or at this place; the text says why, and what can be done (contract J1).
    #[error("a file cannot be injected: {0}")]
    Injection(String),
    /// With so little as a resource limit allows, nothing can be started; the text names the limit (contract R1).
    #[error("a limit is too low: {0}")]
    Limit(String),
    /// The confinement could not be made; names the layer, the reason and the remedy.
    #[error("the command could not be confined: {0}")]
    Confinement(UnavailableLayer),
    /// The private network of its owner could not be set up: a port that is in use, for example.
    #[error("the network could not be set up: {0}")]
    Network(#[from] NetworkError),
    /// The host ran out of something.
    #[error("the host could not start a process: {0}")]
    Host(#[source] io::Error),
}
