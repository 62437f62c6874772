//! An audit log as a file: opened for one writer, and continued where it ended.
//!
//! - A file is never overwritten, and a file that is not an audit log is not changed at all.
//! - Only the end is checked: the last line must follow the line before it. [`verify`](super::verify) checks the whole file.
//! - A line is written by one call, but a host or a machine that dies in the middle of the call leaves a part of the line. The part
//!   is cut off, and the chain records its length in bytes. After a loss of power a file may have its new length but not
//!   the bytes, which then read as NULs: these are cut off too.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::chain::{Chain, LINE_MAX, Line, may_begin_a_line};

/// The most NULs at the end that are treated as a write that a loss of power cut off, in bytes.
const NULS_MAX: u64 = 64 << 20;
/// The size of the blocks in which the file is searched for them, in bytes.
const BLOCK: u64 = 64 << 10;

/// Why a file cannot be written as an audit log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refuses the operation.
    #[error("the audit log cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// The path names a folder, a pipe or a device.
    #[error("this is not a regular file")]
    NotAFile,
    /// Another writer has the file open.
    #[error("another program writes to it")]
    InUse,
    /// The content of the file does not end as an audit log does.
    #[error("the file does not end like an audit log; move it away, or examine it with `capsule audit verify`")]
    NotALog,
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(getrandom::Error),
}

/// A file that ends where the next line belongs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) chain: Chain,
    /// The number of bytes of an unfinished line, and of NULs after it, that were cut off.
    pub(super) torn: u64,
}

/// Opens or makes the file, readable by its owner alone.
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    // Opened without blocking, in case it is a pipe; the flag has no effect on a regular file.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(OpenError::NotAFile);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let length = file.metadata()?.len();
    let nuls = nuls_at_the_end(&mut file, length)?;
    let (chain, torn) = end_of(&mut file, length - nuls)?;
    let torn = torn + nuls;
    if torn > 0 {
        tracing::warn!(
            bytes = torn,
            "the audit log ends in an incomplete line; the line is cut off"
        );
        file.set_len(length - torn)?;
    }
    Ok(Opened { file, chain, torn })
}

/// The number of NULs at the end of the file. A file of NULs alone is no audit log.
fn nuls_at_the_end(file: &mut File, length: u64) -> Result<u64, OpenError> {
    let mut end = length;
    while end > 0 && length - end <= NULS_MAX {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(length - (start + at as u64 + 1));
        }
        end = start;
    }
    if length == 0 { Ok(0) } else { Err(OpenError::NotALog) }
}

/// The position of the chain in the file, and the number of bytes after its last whole line, which are a part of a line.
fn end_of(file: &mut File, length: u64) -> Result<(Chain, u64), OpenError> {
    // Two whole lines and a part of one fit.
    let reach = length.min(3 * (LINE_MAX as u64 + 1));
    file.seek(SeekFrom::Start(length - reach))?;
    let mut tail = Vec::new();
    file.take(reach).read_to_end(&mut tail)?;

    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, torn) = tail.split_at(whole);
    if !torn.is_empty() && !may_begin_a_line(torn) {
        return Err(OpenError::NotALog);
    }
    let torn = torn.len() as u64;
    if lines.is_empty() {
        return if length == torn {
            Ok((Chain::NEW, torn))
        } else {
            Err(OpenError::NotALog)
        };
    }
    let mut from_last = lines.split(|byte| *byte == b'\n').rev().skip(1);
    let last = from_last.next().and_then(Line::parse).ok_or(OpenError::NotALog)?;
    let before = if last.seq == 0 {
        if lines.len() as u64 + torn != length || from_last.next().is_some() {
            return Err(OpenError::NotALog);
        }
        Chain::NEW
    } else {
        // If the line is longer than this part of the file, its front is missing, and it does not have the form of a
        // line.
        let before = from_last.next().and_then(Line::parse).ok_or(OpenError::NotALog)?;
        Chain {
            next: before.seq.checked_add(1).ok_or(OpenError::NotALog)?,
            head: before.head,
        }
    };
    if last.seq != before.next || !last.follows(before) {
        return Err(OpenError::NotALog);
    }
    let next = last.seq.checked_add(1).ok_or(OpenError::NotALog)?;
    Ok((Chain { next, head: last.head }, torn))
}
