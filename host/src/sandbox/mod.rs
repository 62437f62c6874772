//! What a child may see and use, and how one is launched.
//!
//! [`Launcher`] is the one interface behind which confinement lives; [`Unconfined`] is the launcher for hosts that say
//! explicitly that their children need none.

mod environment;
mod launcher;
mod program;
mod unconfined;
mod workspace;

pub use launcher::{Launch, LaunchError, Launched, Launcher};
pub use unconfined::Unconfined;
pub(crate) use workspace::CwdError;
pub use workspace::{Workspace, WorkspaceError};
