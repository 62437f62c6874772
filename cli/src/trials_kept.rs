//! The trials of the confinement that succeeded, kept between runs in one small file of the cache folder.
//!
//! The file only saves time. A command that it speaks of wrongly is refused when it starts, because each start makes every layer of
//! the confinement. So a file that another user could have written, that is no plain file or that does not read as this program
//! writes it holds nothing, and an error of the system is not reported: the trial is made again.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::user_dirs::{cache_dir, is_private};

const NAME: &str = "confinement-trials";

/// The file while it is being written.
const NEW: &str = "confinement-trials.new";

/// How many trials are kept: the last ones. A person works in a few workspaces at a time.
const KEPT: usize = 16;

/// The length of a fingerprint, in hexadecimal digits. Each has a line of its own.
const DIGITS: usize = 64;
const MAX_BYTES: usize = KEPT * (DIGITS + 1);

/// The file.
#[derive(Debug)]
pub(crate) struct TrialsKept {
    folder: PathBuf,
}

impl TrialsKept {
    /// The file in the cache folder; none if there is no such folder.
    pub(crate) fn of_user() -> Option<Self> {
        cache_dir().map(|folder| Self { folder })
    }

    /// Whether a trial with this fingerprint has succeeded.
    pub(crate) fn contain(&self, fingerprint: &str) -> bool {
        self.read().iter().any(|kept| kept == fingerprint)
    }

    /// Adds a trial that succeeded. The oldest one makes room for it.
    pub(crate) fn add(&self, fingerprint: &str) {
        let mut kept = self.read();
        kept.retain(|kept| kept != fingerprint);
        kept.push(fingerprint.to_owned());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
        if let Err(error) = self.write(&kept) {
            tracing::debug!("the trial of the confinement is not kept: {error}");
        }
    }

    /// Removes all of them, after a trial that failed.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_file(self.folder.join(NAME))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("the trials of the confinement stay kept: {error}");
        }
    }

    /// Each of them, the oldest first.
    fn read(&self) -> Vec<String> {
        let text = read(&self.folder.join(NAME)).unwrap_or_default();
        let is_fingerprint =
            |line: &str| line.len() == DIGITS && line.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_ours = text.len() <= MAX_BYTES && text.ends_with('\n') && text.lines().all(is_fingerprint);
        let lines = is_ours.then(|| text.lines().map(str::to_owned));
        lines.into_iter().flatten().collect()
    }

    /// Replaces the file as a whole. Of two commands that write at once, one may write in vain.
    fn write(&self, kept: &[String]) -> io::Result<()> {
        let new = self.folder.join(NEW);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new);
        let written = file.and_then(|mut file| file.write_all((kept.join("\n") + "\n").as_bytes()));
        let replaced = written.and_then(|()| fs::rename(&new, self.folder.join(NAME)));
        if replaced.is_err() {
            // Also what a command that was killed has left.
            drop(fs::remove_file(&new));
        }
        replaced
    }
}

/// The text of a plain file that only this user may write.
fn read(path: &Path) -> io::Result<String> {
    // The open of a pipe must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_private(&metadata) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = String::new();
    // One byte too many shows a file that is too long.
    file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn fingerprint(number: usize) -> String {
        format!("{number:064x}")
    }

    fn kept() -> (tempfile::TempDir, TrialsKept) {
        let folder = tempfile::tempdir().unwrap();
        let kept = TrialsKept {
            folder: folder.path().to_owned(),
        };
        (folder, kept)
    }

    #[test]
    fn b2_the_last_trials_are_kept_until_one_fails() {
        let (folder, kept) = kept();
        assert!(!kept.contain(&fingerprint(0)));
        for number in 0..KEPT {
            kept.add(&fingerprint(number));
        }
        kept.add(&fingerprint(0));
        assert!((0..KEPT).all(|number| kept.contain(&fingerprint(number))));
        kept.add(&fingerprint(KEPT));
        assert!(kept.contain(&fingerprint(0)) && !kept.contain(&fingerprint(1)));
        assert_eq!(folder.path().join(NAME).metadata().unwrap().len(), MAX_BYTES as u64);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);

        kept.remove();
        kept.remove();
        assert!(!kept.contain(&fingerprint(0)));
    }

    #[test]
    fn b2_a_file_that_this_program_would_not_have_written_keeps_nothing() {
        let line = fingerprint(1) + "\n";
        let (folder, kept) = kept();
        let path = folder.path().join(NAME);
        let with = |content: &str| {
            fs::write(&path, content).unwrap();
            kept.contain(&fingerprint(1))
        };
        assert!(with(&line));
        for malformed in [
            line.trim_end().to_owned(),
            line.clone() + "\n",
            line.clone() + "x\n",
            line.clone() + &fingerprint(1).replace('0', "A") + "\n",
            line.repeat(KEPT + 1),
        ] {
            assert!(!with(&malformed), "{malformed:?}");
        }
        fs::write(&path, [line.as_bytes(), &[0xff, b'\n']].concat()).unwrap();
        assert!(!kept.contain(&fingerprint(1)));
        // It is replaced by the next trial.
        kept.add(&fingerprint(1));
        assert!(kept.contain(&fingerprint(1)));
    }

    #[test]
    fn b2_a_file_that_another_user_could_have_written_keeps_nothing() {
        let (folder, kept) = kept();
        let path = folder.path().join(NAME);
        kept.add(&fingerprint(1));
        for mode in [0o620, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(!kept.contain(&fingerprint(1)), "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(kept.contain(&fingerprint(1)));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1), None).unwrap();
            assert!(!kept.contain(&fingerprint(1)));
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }

        let target = folder.path().join("target");
        fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        assert!(!kept.contain(&fingerprint(1)));
        // The link is replaced, and not what it leads to.
        kept.add(&fingerprint(2));
        assert!(kept.contain(&fingerprint(2)));
        assert_eq!(fs::read_to_string(&target).unwrap(), fingerprint(1) + "\n");
    }

    #[test]
    fn b2_a_pipe_in_place_of_the_file_is_not_waited_for() {
        let (folder, kept) = kept();
        let path = folder.path().join(NAME);
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(!kept.contain(&fingerprint(1)));
    }

    #[test]
    fn b2_a_file_that_a_killed_command_left_does_not_stay_in_the_way() {
        let (folder, kept) = kept();
        fs::write(folder.path().join(NEW), "half").unwrap();
        kept.add(&fingerprint(1));
        assert!(!kept.contain(&fingerprint(1)));
        kept.add(&fingerprint(1));
        assert!(kept.contain(&fingerprint(1)));
    }
}
