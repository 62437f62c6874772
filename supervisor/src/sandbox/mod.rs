//! Confines children and launches them.
//!
//! All confinement is behind one interface, [`Launcher`]. [`Confined`] is the default. [`Unconfined`] is the launcher for hosts
//! that explicitly run their children without confinement.

mod accounts;
mod cgroup;
mod confined;
mod environment;
mod etc;
mod filter;
mod fingerprint;
mod injection;
mod launcher;
mod limits;
mod networks;
mod policy;
mod prestart;
mod probe;
mod program;
mod refused;
mod start;
mod subordinate;
mod toolchain;
mod trusted;
mod unavailable;
mod unconfined;
mod visibility;
mod visible;
mod workspace;

pub use crate::network::{
    BoxFuture, ConnectError, Connection, Connector, EgressError, EgressPolicy, EgressRule, EgressRules, GuestPort,
    Network, NetworkDecision, NetworkError, NetworkLimits, NetworkObserver, NetworkOutcome, NetworkSupport,
    OwnerNetwork, PortStream, PrivateNetwork, Publish, PublishAt, PublishError, PublishedPort, Stream, Target,
};
pub use cgroup::Cgroup;
pub use confined::Confined;
pub(crate) use injection::{FOLDER, Injection, UNCONFINED};
pub use launcher::{Launch, LaunchError, Launched, Launcher};
pub use limits::{Enforcement, Enforcements, ResourceLimits};
pub use policy::Policy;
pub use prestart::Prestart;
pub use probe::{ConfinementSupport, Layer, RunsAs, State};
pub use toolchain::Toolchain;
pub use trusted::executed_unasked;
pub use unavailable::UnavailableLayer;
pub use unconfined::Unconfined;
pub use visible::{Visible, VisibleError};
pub(crate) use workspace::CwdError;
pub use workspace::{Workspace, WorkspaceError};
