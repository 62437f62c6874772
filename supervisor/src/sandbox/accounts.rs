//! The accounts of this machine in `/etc/passwd` and `/etc/group`.
//!
//! They are read as files and not through the name service: the answer must be the same for a static program, and must not
//! depend on `HOME`, which holds any value that a parent process wrote there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes; the rest is left out.
const MAX_BYTES: u64 = 1 << 20;

/// The file's lines, as far as they have `fields` fields, without anything that is not of the format (such as the `+` by
/// which older name services are asked to add accounts).
pub(crate) fn lines(path: &str, fields: usize) -> Vec<Vec<u8>> {
    let mut content = Vec::new();
    if let Ok(file) = File::open(path) {
        // The part that could be read is used.
        drop(file.take(MAX_BYTES).read_to_end(&mut content));
    }
    content
        .split(|&byte| byte == b'\n')
        .filter(|line| line.split(|&byte| byte == b':').count() == fields && number(line).is_some())
        .map(<[u8]>::to_vec)
        .collect()
}

/// A field of a line.
pub(crate) fn field(line: &[u8], index: usize) -> Option<&[u8]> {
    line.split(|&byte| byte == b':').nth(index)
}

/// The number of the account, which is the third field of both files.
pub(crate) fn number(line: &[u8]) -> Option<u32> {
    std::str::from_utf8(field(line, 2)?).ok()?.parse().ok()
}

/// The name of an account.
pub(crate) fn name(uid: u32) -> Option<Vec<u8>> {
    let lines = lines("/etc/passwd", 7);
    let line = lines.iter().find(|line| number(line) == Some(uid))?;
    field(line, 0).map(<[u8]>::to_vec)
}

/// The home folder of an account.
pub(crate) fn home(uid: u32) -> Option<PathBuf> {
    let lines = lines("/etc/passwd", 7);
    let line = lines.iter().find(|line| number(line) == Some(uid))?;
    let home = Path::new(OsStr::from_bytes(field(line, 5)?));
    (home.is_absolute() && home.parent().is_some()).then(|| home.to_owned())
}
