//! Finds the programs that build capsules, and the folders that they need to run in a confined build.
//!
//! A program is looked for in the capsule's own folder first, because a capsule's tools are usually installed for it alone: by pip
//! into `.venv`, by npm into `node_modules`. Then in PATH, which is the user's choice.
//!
//! A confined build sees the capsule's folder and the system. For a program elsewhere it also sees the folder that the program was
//! installed in, if the checks of `--visible` allow that. The author of a capsule cannot have another folder shown: what the
//! capsule's own folder names is not followed out of it.

use std::path::{Path, PathBuf};

use capsule_host::sandbox::{Toolchain, Visible};

use super::error::BuildError;

/// Finds `program` for the capsule in `folder`.
pub(crate) fn find(folder: &Path, program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(folder.join(program)).filter(|path| is_program(path));
    }
    let own = [".venv/bin", "node_modules/.bin"].map(|path| folder.join(path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&path).filter(|path| path.is_absolute()))
        .map(|path| path.join(program))
        .find(|path| is_program(path))
}

/// Finds the compiler: `zig`, or the one in the Python package `ziglang`, which has no program of that name.
pub(crate) fn find_zig(folder: &Path) -> Option<PathBuf> {
    let packaged = |launcher: &Path| {
        let prefix = launcher.parent()?.parent()?;
        let versions = std::fs::read_dir(prefix.join("lib")).ok()?.flatten();
        versions
            .map(|version| version.path().join("site-packages/ziglang/zig"))
            .find(|path| is_program(path))
    };
    find(folder, "zig").or_else(|| packaged(&find(folder, "python-zig")?))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// What a confined build in `folder` needs to see of `tools`, beside the system and the folder itself.
pub(crate) fn shown(folder: &Path, tools: &[&Path], toolchains: &[Toolchain]) -> Result<Vec<Visible>, BuildError> {
    // Each only where it is installed.
    let mut shown: Vec<Visible> = toolchains
        .iter()
        .filter_map(|toolchain| Visible::toolchain(*toolchain).ok())
        .collect();
    let spelled = tools.iter().map(|tool| (*tool, tool.to_path_buf()));
    let resolved = tools.iter().filter_map(|tool| Some((*tool, tool.canonicalize().ok()?)));
    for (tool, path) in spelled.chain(resolved) {
        let Some(place) = installed_in(&path) else { continue };
        if tool.starts_with(folder) || place.starts_with(folder) || is_of_system(&place) {
            continue;
        }
        let visible = place.display().to_string().parse::<Visible>();
        let visible = visible.map_err(|error| BuildError::NotShown {
            tool: tool.to_owned(),
            error,
        })?;
        // A toolchain of the list may show it already.
        if !shown.iter().any(|other| other.covers(&visible)) {
            shown.push(visible);
        }
    }
    Ok(shown)
}

/// The folder that holds a program and the files that it needs: the outermost `node_modules`, the Python environment whose `bin` it
/// is in, or else the folder that it lies in.
fn installed_in(program: &Path) -> Option<PathBuf> {
    let packages = program.ancestors().filter(|path| path.ends_with("node_modules")).last();
    if let Some(packages) = packages {
        return Some(packages.to_owned());
    }
    let folder = program.parent()?;
    let environment = folder.parent().filter(|prefix| prefix.join("pyvenv.cfg").is_file());
    Some(environment.unwrap_or(folder).to_owned())
}

fn is_of_system(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/opt", "/nix/store"]
        .iter()
        .any(|system| path.starts_with(system))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_capsules_own_tools_come_first() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path();
        assert_eq!(find(folder, "no-such-tool-here"), None);
        let own = folder.join(".venv/bin/sh");
        program(&own);
        assert_eq!(find(folder, "sh"), Some(own));
        let packed = folder.join(".venv/lib/python3.11/site-packages/ziglang/zig");
        program(&packed);
        program(&folder.join(".venv/bin/python-zig"));
        assert_eq!(find_zig(folder), Some(packed));
        // Not a program.
        fs::write(folder.join("plain"), "").unwrap();
        assert_eq!(find(folder, "./plain"), None);
    }

    #[test]
    fn a_program_brings_the_folder_that_it_was_installed_in() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        program(&at("env/bin/tool"));
        assert_eq!(installed_in(&at("env/bin/tool")), Some(at("env/bin")));
        fs::write(at("env/pyvenv.cfg"), "").unwrap();
        assert_eq!(installed_in(&at("env/bin/tool")), Some(at("env")));
        let packages = at("node_modules");
        assert_eq!(
            installed_in(&packages.join("a/node_modules/b/bin/x.js")),
            Some(packages)
        );
    }

    #[test]
    fn what_the_capsules_folder_names_shows_nothing_outside_of_it() {
        let base = tempfile::tempdir().unwrap();
        let (folder, outside) = (base.path().join("capsule"), base.path().join("outside"));
        program(&outside.join("secret"));
        fs::create_dir_all(folder.join(".venv/bin")).unwrap();
        let link = folder.join(".venv/bin/tool");
        std::os::unix::fs::symlink(outside.join("secret"), &link).unwrap();
        assert_eq!(shown(&folder, &[&link], &[]).unwrap(), []);
    }
}
