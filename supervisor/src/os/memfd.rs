//! Sealed files in memory, which cannot be changed any more: the program of init, and injected files.

use std::fs::File;
use std::io::{self, Seek, Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Puts `parts` into such a file, one after the other. The file exists until its last descriptor is closed, and is read from its
/// beginning.
pub(crate) fn sealed<'a>(name: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> io::Result<File> {
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memfd);
    for part in parts {
        file.write_all(part)?;
    }
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    file.rewind()?;
    Ok(file)
}
