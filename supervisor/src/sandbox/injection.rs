//! Injected files, from the request to init (contract J1).
//!
//! The bytes of the guest's request are copied to a sealed file in memory. So they are never on a disk, they cannot be changed
//! between the hash and their use, and they are freed with the last descriptor, whichever process dies. Init copies them
//! from there into the tree's own file systems, which end with the tree's namespace.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};

use crate::os::memfd;

/// The folder of files for which the guest named no path. A policy has no use for it, and no program searches it.
pub(crate) const FOLDER: &str = "/injected";

/// The reason why nothing can be injected into an unconfined command.
pub(crate) const UNCONFINED: &str = "an unconfined command sees the host's own files, and whatever was put among them \
     could be changed: run the host confined";

/// A file to inject into the command's view.
#[derive(Clone)]
pub(crate) struct Injection {
    pub(crate) content: Vec<u8>,
    /// BLAKE3 of the content.
    pub(crate) hash: [u8; 32],
    /// The path at which the command sees it.
    pub(crate) at: String,
}

impl Injection {
    /// The description of the file for init.
    pub(crate) fn for_init(&self) -> capsule_init::Injection {
        capsule_init::Injection {
            at: self.at.as_bytes().to_owned(),
            bytes: u64::try_from(self.content.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Omits the content.
impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection")
            .field("at", &self.at)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// The content of all files, one after the other. The hash of each file is checked against the written bytes. None without files.
pub(crate) fn snapshot(files: &[Injection]) -> io::Result<Option<File>> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut written = memfd::sealed("capsule-injected", files.iter().map(|file| file.content.as_slice()))?;
    for file in files {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(written.by_ref().take(file.for_init().bytes))?;
        if *hasher.finalize().as_bytes() != file.hash {
            return Err(io::Error::other(
                "the content of an injected file differs from the request",
            ));
        }
    }
    written.rewind()?;
    Ok(Some(written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn file(content: &[u8]) -> Injection {
        Injection {
            content: content.into(),
            hash: *blake3::hash(content).as_bytes(),
            at: "/x".into(),
        }
    }

    #[test]
    fn j1_a_snapshot_is_verified_and_cannot_be_changed() {
        let files = [file(b"one"), file(b""), file(&[7; 100_000])];
        let mut snapshot = snapshot(&files).unwrap().unwrap();
        let mut all = Vec::new();
        snapshot.read_to_end(&mut all).unwrap();
        assert_eq!(all, files.map(|file| file.content).concat());
        assert!(snapshot.write_all_at(b"x", 0).is_err());
        assert!(snapshot.write_all(b"x").is_err());
        assert!(snapshot.set_len(1).is_err());
    }

    #[test]
    fn j1_what_is_not_of_its_hash_is_found_out() {
        let wrong = Injection {
            hash: *blake3::hash(b"other").as_bytes(),
            ..file(b"one")
        };
        assert!(snapshot(&[file(b"good"), wrong]).is_err());
    }

    #[test]
    fn j1_the_content_is_not_printed() {
        assert!(!format!("{:?}", file(b"hush")).contains(&format!("{:?}", b"hush")));
    }
}
