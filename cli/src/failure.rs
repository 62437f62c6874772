//! Why a command that calls capsules ended before its work was done, and the exit code that this means.

use std::io;

use capsule_host::runtime::{self, LoadError};
use capsule_host::sandbox::{LaunchError, NetworkError, WorkspaceError};
use capsule_host::supervisor::RegistryError;
use rmcp::service::ServerInitializeError;
use thiserror::Error;
use tokio::task::JoinError;

use crate::audit::LogError;
use crate::calls::{SourceError, Stopped};
use crate::capsule_file::BadCapsule;
use crate::cargo::BuildError;
use crate::exit_code::{BAD_USAGE, FAILED};
use crate::grants::BadGrants;
use crate::interrupt::Interrupt;
use crate::languages;
use crate::manifest::BadManifest;
use crate::network::BadNetwork;
use crate::trial::TrialError;
use crate::visible::NotVisible;

/// Why the command ended early.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}; `capsule doctor` reports what this machine lacks, --unconfined runs processes without confinement")]
    Confinement(LaunchError),
    #[error("--workspace: {0}")]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Visible(#[from] NotVisible),
    #[error(transparent)]
    Grants(#[from] BadGrants),
    #[error(transparent)]
    Network(#[from] BadNetwork),
    #[error("--publish: {0}")]
    Publish(NetworkError),
    #[error("--audit: {0}")]
    Audit(#[from] LogError),
    #[error(transparent)]
    Calls(#[from] SourceError),
    #[error(transparent)]
    Capsule(BadCapsule),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Language(#[from] languages::error::BuildError),
    #[error("the component that was built cannot be run: {0}")]
    Built(BadCapsule),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Runtime(#[from] runtime::BuildError),
    #[error("cannot load {id}: {error}")]
    Load { id: String, error: LoadError },
    #[error("{0}")]
    Tools(String),
    #[error("the client does not speak the protocol as it must: {0}")]
    Protocol(Box<ServerInitializeError>),
    #[error("ended by {}", .0.name())]
    Interrupted(Interrupt),
    #[error("cannot write to standard output: {0}; the calls after this one did not run")]
    Output(io::Error),
    #[error("a bug in this program ended it: {0}; please report it")]
    Panic(JoinError),
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Confinement(error) => Self::Confinement(error),
            TrialError::Panic(error) => Self::Panic(error),
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Trial(error) => error.into(),
            Stopped::Interrupted { by, .. } => Self::Interrupted(by),
            Stopped::Source(error) => Self::Calls(error),
            Stopped::Output(error) => Self::Output(error),
            Stopped::Panic(error) => Self::Panic(error),
        }
    }
}

impl Failure {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Workspace(_)
            | Self::Visible(_)
            | Self::Grants(_)
            | Self::Network(_)
            | Self::Audit(_)
            | Self::Calls(SourceError::Open { .. })
            | Self::Capsule(_)
            | Self::Manifest(_)
            | Self::Tools(_) => BAD_USAGE,
            Self::Confinement(_)
            | Self::Publish(_)
            | Self::Signals(_)
            | Self::Build(_)
            | Self::Language(_)
            | Self::Built(_)
            | Self::Registry(_)
            | Self::Runtime(_)
            | Self::Load { .. }
            | Self::Calls(SourceError::Read { .. } | SourceError::Panic(_))
            | Self::Output(_)
            | Self::Protocol(_)
            | Self::Panic(_) => FAILED,
            Self::Interrupted(interrupt) => interrupt.exit_code(),
        }
    }

    /// The message for the user; none if the reader of the output closed it, as `| head` does.
    pub(crate) fn message(&self) -> Option<String> {
        let by_choice = matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        (!by_choice).then(|| self.to_string())
    }
}
