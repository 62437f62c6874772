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

/// File names at the top of a workspace. The groups: version control; shells that enter the folder; editors that open it; build
/// tools that run these files for every task; hooks of version control that lie beside it; services that build pushed commits;
/// version managers; agents; and the declarations of a capsule.
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

/// The files of `.git` that git executes or takes settings from. They are protected from commands that may commit, if they exist.
const OF_GIT: &[&str] = &[
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/info",
    ".git/commondir",
    ".git/modules",
    ".git/worktrees",
];

/// The existing files and folders at the top of a workspace that tools execute or obey automatically, in the order of the list that
/// a [`Policy`](super::Policy) protects. A file that does not exist when a command starts is not protected. So an embedder calls
/// this before and after a command, and tells its user which files the command has made.
#[must_use]
pub fn executed_unasked(workspace: &Workspace) -> Vec<&'static str> {
    let is_there = |name: &&str| workspace.path().join(name).symlink_metadata().is_ok();
    NAMES.iter().copied().filter(is_there).collect()
}

/// The part of the list that a policy protects.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    /// Whether commands may make commits. With that right they can have more files executed.
    pub(crate) commits: bool,
    /// Further paths: absolute, or relative to the workspace.
    pub(crate) more: BTreeSet<PathBuf>,
    /// The files of the list that commands may change; relative to the workspace.
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

    /// The paths that commands in `workspace` may not change, relative to it. They may or may not exist.
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
