//! What a capsule loaded by the runtime may do.

use crate::supervisor::{Ask, Owner};
use crate::wit::ProcessHooks;

/// The grants of one capsule. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The commands that it may run, by exact spelling: `python3` does not grant `/usr/bin/python3`, nor the other way
    /// round. With none it may run nothing.
    pub commands: Vec<String>,
    /// Whether its processes may outlive the instance that starts them. Without a command it means nothing.
    pub persistent: bool,
    /// Whether its processes may use the network. An unconfined process always can, whatever is said here.
    pub network: bool,
}

impl Grants {
    /// The names under which `astrid:sys` tells the capsule what it was granted: `process`, then `process:cmd:…` for
    /// each command, `process:persistent`, `process:network`. Nothing without a command, since nothing can be done then.
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        if self.commands.is_empty() {
            return Vec::new();
        }
        let mut names = vec!["process".to_owned()];
        names.extend(self.commands.iter().map(|command| format!("process:cmd:{command}")));
        names.extend(self.persistent.then(|| "process:persistent".to_owned()));
        names.extend(self.network.then(|| "process:network".to_owned()));
        names
    }
}

impl ProcessHooks for Grants {
    fn authorize(&mut self, _owner: &Owner, ask: Ask<'_>) -> bool {
        match ask {
            Ask::Process => !self.commands.is_empty(),
            Ask::Command(command) => self.commands.iter().any(|granted| granted == command.cmd),
            Ask::Persistent => self.persistent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{CommandView, Principal};

    fn allows(grants: &Grants, ask: Ask<'_>) -> bool {
        let owner = Owner {
            principal: Principal::Named("p".into()),
            capsule: "c".into(),
        };
        grants.clone().authorize(&owner, ask)
    }

    fn command(cmd: &str) -> Ask<'_> {
        Ask::Command(CommandView {
            cmd,
            args: &[],
            cwd: None,
            env_keys: Vec::new(),
            injections: Vec::new(),
        })
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = Grants::default();
        assert!(!allows(&none, Ask::Process));
        assert!(!allows(&none, command("python3")));
        assert!(!allows(&none, Ask::Persistent));
        assert!(none.capabilities().is_empty());
    }

    #[test]
    fn a_command_is_granted_by_its_exact_spelling_only() {
        let grants = Grants {
            commands: vec!["python3".into()],
            ..Grants::default()
        };
        assert!(allows(&grants, Ask::Process));
        assert!(allows(&grants, command("python3")));
        for other in ["python", "python3 ", "Python3", "/usr/bin/python3", "./python3", ""] {
            assert!(!allows(&grants, command(other)), "{other:?}");
        }
        assert!(!allows(&grants, Ask::Persistent));
        assert_eq!(grants.capabilities(), ["process", "process:cmd:python3"]);
    }

    #[test]
    fn capabilities_without_a_command_are_none() {
        let grants = Grants {
            persistent: true,
            network: true,
            ..Grants::default()
        };
        assert!(grants.capabilities().is_empty());
        let grants = Grants {
            commands: vec!["a".into()],
            ..grants
        };
        assert_eq!(
            grants.capabilities(),
            ["process", "process:cmd:a", "process:persistent", "process:network"]
        );
    }
}
