//! The sender of a message of `ipc`.

use crate::wit::generated::astrid::ipc::host::PrincipalAttribution;

/// On whose behalf a message was sent.
///
/// ```no_run
/// # let builds = capsule_sdk::ipc::subscribe("builds.*")?;
/// use capsule_sdk::ipc::Sender;
///
/// let mine = builds.poll()?.messages.into_iter().filter(|m| m.sender == Sender::Verified("ada".into()));
/// # Ok::<(), capsule_sdk::ipc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The host knows that it was this principal.
    Verified(String),
    /// The sender says that it was this principal; it was not checked.
    Claimed(String),
    /// The host itself.
    System,
}

impl From<PrincipalAttribution> for Sender {
    fn from(principal: PrincipalAttribution) -> Self {
        match principal {
            PrincipalAttribution::Verified(name) => Self::Verified(name),
            PrincipalAttribution::Claimed(name) => Self::Claimed(name),
            PrincipalAttribution::System => Self::System,
        }
    }
}

impl From<Sender> for PrincipalAttribution {
    fn from(sender: Sender) -> Self {
        match sender {
            Sender::Verified(name) => Self::Verified(name),
            Sender::Claimed(name) => Self::Claimed(name),
            Sender::System => Self::System,
        }
    }
}
