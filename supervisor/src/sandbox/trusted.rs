//! The files that tools of the host's user execute or obey automatically, merely because they lie in a folder (contract B6). This
//! is the only list of them.
//!
//! A confined command sees these files of its workspace read-only, if they exist when it starts. If it could write them, they
//! would later be executed outside of the confinement as the host's user: by `git status`, by an editor that opens the folder, or
//! by a shell that enters it. Files that a user runs by name (`make`, `npm test`, `cargo build`) are ordinary content and not
//! listed, because running them is the user's decision.
//!
//! `.git` is listed as a whole, because its configuration and hooks are not the only danger. A `commondir` file in it leads git to
//! another configuration, and an entry of the index makes `git status` run in a folder that the command made, with the
//! configuration there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Workspace;

/// By name, at the top of a workspace. The groups: version control; shells that enter the folder; editors that open it;
/// build tools whatever the task; hooks of version control that live beside it; services that build what is pushed;
/// version managers; agents; and what declares a capsule.
pub(crate) const NAMES: &[&str] = &[
    GIT,
    ".hg",
    ".jj",
    ".envrc",
    ".direnv",
    ".autoenv",
    ".vscode",
    ".idea",
    ".zed",
    ".fleet",
    ".helix",
    ".devcontainer",
    ".devcontainer.json",
    ".dir-locals.el",
    ".exrc",
    ".nvim.lua",
    ".nvimrc",
    ".vimrc",
    ".gdbinit",
    ".lldbinit",
    ".cargo",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".yarn",
    ".pnpmfile.cjs",
    "bunfig.toml",
    ".bazelrc",
    ".bazeliskrc",
    ".mvn",
    ".husky",
    ".pre-commit-config.yaml",
    "lefthook.yml",
    ".lefthook.yml",
    ".github",
    ".gitlab-ci.yml",
    ".circleci",
    ".woodpecker",
    ".travis.yml",
    ".ci",
    "Jenkinsfile",
    ".tool-versions",
    ".mise",
    ".mise.toml",
    "mise.toml",
    ".claude",
    ".cursor",
    ".codex",
    ".gemini",
    ".windsurf",
    ".continue",
    ".mcp.json",
    "Capsule.toml",
];

const GIT: &str = ".git";

/// Of `.git`, for commands that may commit: what git executes or takes its orders from, as far as it is there.
const OF_GIT: &[&str] = &[
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/info",
    ".git/commondir",
    ".git/modules",
    ".git/worktrees",
];

/// Which of the files and folders at the top of a workspace tools execute, or take as an order, without being asked; in the
/// order of the list that a [`Policy`](super::Policy) protects. One that is not there when a command starts is not protected:
/// so an embedder looks before and after, and tells its user what commands have made.
#[must_use]
pub fn executed_unasked(workspace: &Workspace) -> Vec<&'static str> {
    let is_there = |name: &&str| workspace.path().join(name).symlink_metadata().is_ok();
    NAMES.iter().copied().filter(is_there).collect()
}

/// Which of it a policy protects.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    /// May make commits, by which it can have more than that executed.
    pub(crate) commits: bool,
    /// In addition; absolute, or relative to the workspace.
    pub(crate) more: BTreeSet<PathBuf>,
    /// Of the list, what commands may change; relative to the workspace.
    pub(crate) except: BTreeSet<PathBuf>,
}

impl Trusted {
    pub(crate) const fn new() -> Self {
        Self {
            commits: false,
            more: BTreeSet::new(),
            except: BTreeSet::new(),
        }
    }

    /// What commands in `workspace` may not change, relative to it. Nothing is said of whether it exists.
    pub(crate) fn beneath(&self, workspace: &Path) -> Vec<PathBuf> {
        let of_git = if self.commits { OF_GIT } else { &[] };
        let listed = NAMES
            .iter()
            .filter(|name| !(self.commits && **name == GIT))
            .chain(of_git)
            .map(Path::new)
            .filter(|path| !self.except.contains(*path))
            .map(Path::to_owned);
        // A file in place of the folder says where the folder is.
        let file = (self.commits && workspace.join(GIT).is_file()).then(|| GIT.into());
        let more = self.more.iter().filter_map(|path| {
            let path = if path.is_absolute() {
                path.strip_prefix(workspace).ok()?
            } else {
                path
            };
            (!path.as_os_str().is_empty()).then(|| path.to_owned())
        });
        listed.chain(file).chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b6_what_is_protected_lies_beneath_the_workspace() {
        let trusted = Trusted {
            more: ["/w/a.wasm", "/elsewhere/b.wasm", "/w", "c"]
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            except: [".github".into()].into(),
            ..Trusted::new()
        };
        let paths = trusted.beneath(Path::new("/w"));
        for there in [".git", ".envrc", "a.wasm", "c"] {
            assert!(paths.contains(&there.into()), "{there}: {paths:?}");
        }
        for absent in [".github", "", ".git/config"] {
            assert!(!paths.contains(&absent.into()), "{absent}: {paths:?}");
        }
        assert!(paths.iter().all(|path| path.is_relative()), "{paths:?}");
    }

    #[test]
    fn b6_who_may_commit_may_not_configure() {
        let trusted = Trusted {
            commits: true,
            ..Trusted::new()
        };
        let paths = trusted.beneath(Path::new("/no/such/folder"));
        assert!(!paths.contains(&".git".into()), "{paths:?}");
        for there in [".git/config", ".git/hooks", ".envrc"] {
            assert!(paths.contains(&there.into()), "{there}: {paths:?}");
        }
    }
}
