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
pub(crate) struct Filters {
    plain: Vec<Instruction>,
    sampled: Vec<Instruction>,
    mapped: Vec<Instruction>,
    sampled_and_mapped: Vec<Instruction>,
}

impl Filters {
    pub(crate) fn new(network: bool) -> Result<Self, &'static str> {
        let arch = Arch::own().ok_or("there is no table of system calls for this architecture")?;
        let filter = |memory_is_sampled, workspace_is_mapped| {
            let settings = Settings {
                network,
                memory_is_sampled,
                workspace_is_mapped,
            };
            compile(arch, settings)
        };
        Ok(Self {
            plain: filter(false, false),
            sampled: filter(true, false),
            mapped: filter(false, true),
            sampled_and_mapped: filter(true, true),
        })
    }

    /// `memory_is_sampled`: every byte that the command uses must belong to a process of it. `workspace_is_mapped`: files that it
    /// makes in the workspace belong to another user on the disk.
    pub(crate) fn of(&self, memory_is_sampled: bool, workspace_is_mapped: bool) -> &[Instruction] {
        match (memory_is_sampled, workspace_is_mapped) {
            (false, false) => &self.plain,
            (true, false) => &self.sampled,
            (false, true) => &self.mapped,
            (true, true) => &self.sampled_and_mapped,
        }
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
