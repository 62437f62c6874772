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
use crate::network::{BoxFuture, Network, NetworkError, OwnerNetwork};
use crate::os::child::Child;
use crate::os::init::Started;
use crate::owner::Owner;

/// Starts commands, in the confinement that the implementation provides.
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Starts a command as the leader of its own session and process group.
    ///
    /// Called on a thread that may block, inside the registry's tokio runtime.
    ///
    /// # Errors
    /// [`LaunchError`] says whether the program or the host was at fault. In either case nothing runs.
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError>;

    /// Prepares the next command, so that its start takes less time. The registry calls this on a thread that may
    /// block, when nothing was launched for a few milliseconds. The default does nothing.
    fn prepare(&self) {}

    /// Whether the launcher starts processes that no instance holds (`spawn-persistent`; contract S10 and B2).
    fn supports_persistent(&self) -> bool;

    /// Whether the launcher can put files into a command's view that the command cannot change (contract J1). By
    /// default it cannot, and a request for such files is refused.
    fn injects(&self) -> bool {
        false
    }

    /// Completes when the rest of what former trees did is told, such as connections that their end has cut.
    /// [`Registry::shutdown`](crate::Registry::shutdown) waits for it. By default there is nothing to tell.
    fn quiesced(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The private network of an owner's trees, while one of them runs. By default there is none.
    fn network(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        let _ = owner;
        None
    }

    /// How the launcher enforces each resource limit (contract R1). By default it enforces none, and a request for a
    /// limit is refused.
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
    /// The label that it has in the registry, if it is persistent.
    pub(crate) label: Option<String>,
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

    /// Its label, if it is a persistent process (contract I5): the request's, or one that is derived from its command.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The program as the request names it: a path, or a name to be looked up.
    #[must_use]
    pub fn cmd(&self) -> &str {
        &self.cmd
    }

    /// Its arguments, without the program's own name.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The variables of the request. The launcher decides which variables of the host it adds to them.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The workspace of the command.
    #[must_use]
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The command's working directory, relative to the workspace. It was beneath the workspace when the request was
    /// checked.
    #[must_use]
    pub fn cwd(&self) -> &str {
        &self.cwd
    }

    /// The resource limits of the command's tree.
    #[must_use]
    pub const fn limits(&self) -> &ResourceLimits {
        &self.limits
    }

    /// The same launch, with another program in place of the command. It is for a launcher that lets another launcher
    /// start the program that runs the command, such as a virtual machine. Workspace, working directory, streams,
    /// limits and injected files stay the same.
    #[must_use]
    pub fn run_by(self, cmd: String, args: Vec<String>, env: Vec<(String, String)>) -> Self {
        Self { cmd, args, env, ..self }
    }
}

/// A running command. Dropping it ends the command's tree.
#[derive(Debug)]
pub struct Launched {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// A resource that the tree shares with the host although the policy asks for a separate one.
    pub(crate) bound: Option<Bound>,
    /// Whether the kernel counts the tree's epoll watches for a user of its own, which is not the user that the tree
    /// runs as.
    pub(crate) is_counted_apart: bool,
    /// Whether the tree runs as the workspace's owner although it should have a user of its own.
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
    /// The program or its interpreter does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The program exists and may not be executed.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// The program may be executed, but the kernel cannot execute it.
    #[error("cannot be executed: {0}")]
    ExecFailed(String),
    /// The working directory no longer exists, or now leads out of the workspace (contract S3).
    #[error("the working directory changed meanwhile")]
    WorkingDirectory {
        /// Whether it leads out of the workspace.
        escape: bool,
    },
    /// A file cannot be injected by this launcher or at this path. The text gives the reason and the remedy (contract
    /// J1).
    #[error("a file cannot be injected: {0}")]
    Injection(String),
    /// Nothing can be started within a resource limit of the request. The text names the limit (contract R1).
    #[error("a limit is too low: {0}")]
    Limit(String),
    /// The confinement could not be made. The text names the layer, the reason and the remedy.
    #[error("the command could not be confined: {0}")]
    Confinement(UnavailableLayer),
    /// The private network of its owner could not be set up: a port that is in use, for example.
    #[error("the network could not be set up: {0}")]
    Network(#[from] NetworkError),
    /// The host has no more of a resource, such as memory or descriptors.
    #[error("the host could not start a process: {0}")]
    Host(#[source] io::Error),
}
