//! Explains why a program that exists on the host does not exist for a command (contract S6).
//!
//! A bare name or an absolute path was granted, so the error may tell the user who granted it where the program is. The error says
//! less about a path in the workspace: the command can make links there, and an answer would reveal the host's files. The first
//! line of a script there may be repeated, because the command could write it. The host does not check whether the interpreter
//! exists, and the remedy only repeats the path.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::toolchain::{Surroundings, Toolchain};
use super::visible::Place;
use super::workspace::Workspace;
use crate::os::directory;

/// How many scripts the kernel follows, each the interpreter of the one before.
const SCRIPTS: usize = 5;

/// The folders that each tree has for itself, whatever the host has there.
const OWN: &[&str] = &["/dev", "/etc", "/proc", "/run", "/tmp", "/var"];

/// The parts of the host that are visible.
pub(crate) struct Visibility<'a> {
    pub(crate) system: &'a [&'static str],
    pub(crate) extra: &'a [(Place, bool)],
    /// How a person makes more of it visible: a flag, or a function of the embedder's.
    pub(crate) remedy: &'static str,
}

impl Visibility<'_> {
    fn shows(&self, path: &Path) -> bool {
        let system = self.system.iter().map(Path::new);
        let extra = self.extra.iter().map(|(place, _)| place.at.as_path());
        system.chain(extra).any(|shown| path.starts_with(shown))
    }

    /// A message that names the part of one of `programs` that is not visible, and how to show it. `programs` were tried for `cmd`
    /// in `cwd` of the workspace. `None` if visibility is not the reason that `cmd` was not found.
    pub(crate) fn missing(&self, cmd: &str, programs: &[PathBuf], workspace: &Workspace, cwd: &str) -> Option<String> {
        let writable = self.extra.iter().filter(|(_, writable)| *writable);
        let theirs: Vec<_> = writable
            .map(|(place, _)| place.at.as_path())
            .chain([workspace.path()])
            .collect();
        programs.iter().find_map(|program| {
            if program.is_absolute() {
                let is_theirs = theirs.iter().any(|theirs| program.starts_with(theirs));
                return (!is_theirs).then(|| self.missing_part(cmd, program, workspace.path()))?;
            }
            self.missing_of_script(cmd, &Path::new(cwd).join(program), workspace)
        })
    }

    fn missing_part(&self, cmd: &str, program: &Path, workspace: &Path) -> Option<String> {
        let mut resolved = program.canonicalize().ok()?;
        let hidden = |path: &&Path| !self.shows(path) && !path.starts_with(workspace);
        if let Some(hidden) = [program, &resolved].into_iter().find(hidden) {
            let toolchain = Toolchain::of(hidden, &Surroundings::of_host());
            return Some(format!(
                "{cmd} is {} on this machine, which is not visible to commands: {}",
                hidden.display(),
                self.remedy(hidden, toolchain)
            ));
        }
        for _ in 0..SCRIPTS {
            let interpreter = resolved.is_file().then(|| interpreter(File::open(&resolved).ok()?))??;
            resolved = interpreter.canonicalize().ok().unwrap_or_else(|| interpreter.clone());
            if let Some(hidden) = [interpreter.as_path(), &resolved].into_iter().find(hidden) {
                let toolchain = Toolchain::of(hidden, &Surroundings::of_host());
                return Some(self.missing_interpreter(cmd, hidden, toolchain));
            }
        }
        None
    }

    /// Of a script in the workspace.
    fn missing_of_script(&self, cmd: &str, path: &Path, workspace: &Workspace) -> Option<String> {
        let script = directory::open_file_beneath(workspace.handle().as_fd(), path).ok()?;
        let interpreter = interpreter(script)?;
        let own = OWN.iter().map(Path::new).chain([workspace.path()]);
        let has_own = own.into_iter().any(|own| interpreter.starts_with(own));
        let is_hidden = !has_own && !self.shows(&interpreter);
        is_hidden.then(|| self.missing_interpreter(cmd, &interpreter, Toolchain::by_name(&interpreter)))
    }

    fn missing_interpreter(&self, cmd: &str, hidden: &Path, toolchain: Option<Toolchain>) -> String {
        let remedy = self.remedy(hidden, toolchain);
        let hidden = hidden.display();
        format!("{cmd} is run by {hidden}, which is not visible to commands: {remedy}")
    }

    fn remedy(&self, hidden: &Path, toolchain: Option<Toolchain>) -> String {
        let remedy = self.remedy;
        match (toolchain, hidden.parent()) {
            (Some(toolchain), _) => format!("{remedy} {} shows it", toolchain.name()),
            (None, Some(folder)) => format!("{remedy} {} shows it", folder.display()),
            (None, None) => format!("{remedy} shows it"),
        }
    }
}

/// The path in the first line of a script, if it is a path in plain letters.
fn interpreter(script: File) -> Option<PathBuf> {
    // As long as the kernel reads.
    let mut line = Vec::new();
    script.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let path = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let is_plain = path.as_os_str().as_bytes().iter().all(u8::is_ascii_graphic);
    (path.is_absolute() && is_plain).then(|| path.to_owned())
}
