//! The supervisor's questions on their way to the embedder's hooks, and what the hooks refused.

use super::denial::Refusal;
use super::hooks::CapsuleHooks;
use capsule_supervisor::sandbox::Network;
use capsule_supervisor::{Ask, Gate, Owner};

/// The supervisor's questions on their way to the hooks. It notes what they refuse.
pub(super) struct Asking<'a> {
    hooks: &'a mut dyn CapsuleHooks,
    refused: &'a mut Option<Refusal>,
    command: String,
}

impl<'a> Asking<'a> {
    pub(super) fn new(hooks: &'a mut dyn CapsuleHooks, refused: &'a mut Option<Refusal>, command: &str) -> Self {
        Self {
            hooks,
            refused,
            command: command.to_owned(),
        }
    }
}

impl Gate for Asking<'_> {
    fn allows(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        let is_persistent = matches!(ask, Ask::Persistent);
        let allows = self.hooks.authorize(owner, ask);
        if !allows {
            // Whether this command or every command is refused, the same grant is missing.
            *self.refused = Some(if is_persistent {
                Refusal::Persistent
            } else {
                Refusal::Command(std::mem::take(&mut self.command))
            });
        }
        allows
    }

    fn network(&mut self, owner: &Owner) -> Option<Network> {
        self.hooks.network(owner)
    }
}
