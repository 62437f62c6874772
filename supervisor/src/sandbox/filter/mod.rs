//! The system calls that a confined command may make: a seccomp filter, compiled once for a launcher, and a Landlock ruleset.
//!
//! The namespaces decide what a command sees. The filter denies calls that could undo this, calls that reach the most vulnerable
//! parts of the kernel, and calls that use resources of the whole machine. It also denies unknown calls (contract B7).
//!
//! ```text
//! table     the calls and their reasons       rules     conditions on their arguments
//! program   from both to the kernel's form    page      from both to docs/syscalls.md
//! ```

#[cfg(test)]
mod page;
mod program;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;

use capsule_init::Instruction;
use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use program::{Arch, Settings, compile};

/// The filters that a command of one launcher may get, by [`Settings`].
pub(crate) struct Filters(Vec<(Settings, Vec<Instruction>)>);

impl Filters {
    pub(crate) fn new() -> Result<Self, &'static str> {
        let arch = Arch::own().ok_or("there is no table of system calls for this architecture")?;
        let settings = (0..8_u8).map(|bits| Settings {
            network: bits & 1 != 0,
            memory_is_sampled: bits & 2 != 0,
            workspace_is_mapped: bits & 4 != 0,
        });
        Ok(Self(
            settings.map(|settings| (settings, compile(arch, settings))).collect(),
        ))
    }

    /// `network`: the command has one, its owner's private network or the host's. `memory_is_sampled`: every byte that the command uses must belong to a
    /// process of it. `workspace_is_mapped`: files that it makes in the workspace belong to another user on the disk.
    pub(crate) fn of(&self, network: bool, memory_is_sampled: bool, workspace_is_mapped: bool) -> &[Instruction] {
        let wanted = Settings {
            network,
            memory_is_sampled,
            workspace_is_mapped,
        };
        let found = self.0.iter().find(|(settings, _)| *settings == wanted);
        found.map(|(_, filter)| &**filter).unwrap_or_default()
    }
}

/// A ruleset that keeps signals and abstract sockets inside of the tree; none if the kernel has no such scopes. A tree with its own
/// network and pid namespace cannot reach outside processes anyway, so the ruleset is for trees that share the host's network.
pub(crate) fn scopes() -> Option<OwnedFd> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::from_all(ABI::V6))
        .and_then(Ruleset::create)
        .ok()?;
    ruleset.into()
}

/// Whether there is a Landlock at all, with scopes or without.
pub(crate) fn has_landlock() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1));
    ruleset.and_then(Ruleset::create).is_ok()
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filters(…)")
    }
}
