//! Makes the parts of the view that belong to the tree and not to the host: links, empty folders, and files with content that the
//! host has written for the tree.
//!
//! They lie in the root's own file system, which is small and becomes read-only when it is complete.

use std::path::Path;

use capsule_init::{Layer, Report, View};
use rustix::fs::{Mode, OFlags, mkdir, open, symlink};
use rustix::io::{Errno, write};

use crate::failure::At;
use crate::mount_point::{path, with_parents};

/// Makes these parts, before parts of the host are mounted beside or over them.
pub(crate) fn furnish(view: &[View]) -> Result<(), Report> {
    view.iter().try_for_each(|part| {
        let (at, made) = match part {
            View::Bind { .. } => return Ok(()),
            View::Link { at, target } => {
                let at = path(at);
                (at, with_parents(at, &|| symlink(path(target), at)))
            }
            View::Folder { at } => {
                let at = path(at);
                let made = with_parents(at, &|| mkdir(at, Mode::from_raw_mode(0o755)));
                // The folder may exist already, because another part lies in it.
                (at, if made == Err(Errno::EXIST) { Ok(()) } else { made })
            }
            View::File { at, content } => {
                let at = path(at);
                (at, with_parents(at, &|| file(at, content)))
            }
        };
        made.at(Layer::Mounts, &at.to_string_lossy())
    })
}

fn file(at: &Path, mut content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(at, flags, Mode::from_raw_mode(0o444))?;
    while !content.is_empty() {
        let written = write(&file, content)?;
        content = content.get(written..).ok_or(Errno::IO)?;
    }
    Ok(())
}
