//! Why a program that is there for the host is not there for a command (contract S6).
//!
//! What a command asks for by a bare name or a whole path is what it was granted, so the person who granted it may be told
//! where that is. Of a path in the workspace nothing is said: its links are the command's own making, and an answer would
//! tell it of the host's files.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::toolchain::{Surroundings, Toolchain};
use super::visible::Place;

/// What of the host's is visible.
pub(crate) struct Sight<'a> {
    pub(crate) system: &'a [&'static str],
    pub(crate) extra: &'a [(Place, bool)],
    /// How a person makes more of it visible: a flag, or a function of the embedder's.
    pub(crate) remedy: &'static str,
}

impl Sight<'_> {
    fn shows(&self, path: &Path) -> bool {
        let system = self.system.iter().map(Path::new);
        let extra = self.extra.iter().map(|(place, _)| place.at.as_path());
        system.chain(extra).any(|shown| path.starts_with(shown))
    }

    /// Says of the programs that were tried for `cmd` which is not visible, and what would show it; `None` where that is not
    /// the reason.
    pub(crate) fn missing(&self, cmd: &str, programs: &[PathBuf], workspace: &Path) -> Option<String> {
        let writable = self.extra.iter().filter(|(_, writable)| *writable);
        let theirs: Vec<_> = writable
            .map(|(place, _)| place.at.as_path())
            .chain([workspace])
            .collect();
        programs
            .iter()
            .filter(|program| program.is_absolute() && !theirs.iter().any(|theirs| program.starts_with(theirs)))
            .find_map(|program| self.missing_part(cmd, program, workspace))
    }

    fn missing_part(&self, cmd: &str, program: &Path, workspace: &Path) -> Option<String> {
        let resolved = program.canonicalize().ok()?;
        let hidden = |path: &&Path| !self.shows(path) && !path.starts_with(workspace);
        if let Some(hidden) = [program, &resolved].into_iter().find(hidden) {
            let remedy = self.remedy(hidden);
            return Some(format!(
                "{cmd} is {} on this machine, which is not visible to commands: {remedy}",
                hidden.display()
            ));
        }
        let interpreter = interpreter(&resolved)?;
        hidden(&interpreter.as_path()).then(|| {
            format!(
                "{cmd} is run by {}, which is not visible to commands: {}",
                interpreter.display(),
                self.remedy(&interpreter)
            )
        })
    }

    fn remedy(&self, hidden: &Path) -> String {
        let remedy = self.remedy;
        match (Toolchain::of(hidden, &Surroundings::of_host()), hidden.parent()) {
            (Some(toolchain), _) => format!("{remedy} {} shows it", toolchain.name()),
            (None, Some(folder)) => format!("{remedy} {} shows it", folder.display()),
            (None, None) => format!("{remedy} shows it"),
        }
    }
}

/// What the first line of a script names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    if !script.is_file() {
        return None;
    }
    // As long as the kernel reads.
    let mut line = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let path = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    path.is_absolute().then(|| path.to_owned())
}
