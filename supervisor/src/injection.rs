//! Files that a request injects into the view of its command (contract J1), and their checks.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use super::Limits;
use super::error::{Error, invalid};
use super::variables::{is_name, is_reserved};
use crate::sandbox::{self, FOLDER};

/// The kernel opens no longer path.
const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;
/// Beneath the private `/tmp` every folder on the way to a file costs a mount.
const DEPTH_MAX: usize = 32;

/// Folders that belong to the confinement: no file can be put into them or in their place. `/tmp` belongs to it too, but a request
/// may put files beneath it.
const OWN: [&str; 4] = ["/dev", "/proc", "/sys", FOLDER];

/// Files that a request may not inject, because they decide what code runs instead of what it works on, as
/// [`RESERVED_ENV`](super::RESERVED_ENV) does of variables: what the dynamic linker loads, and what name look-ups load. Names
/// ending in `*` are prefixes.
pub const RESERVED_PATHS: &[&str] = &["/etc/ld.so.*", "/etc/ld-musl-*", "/etc/nsswitch.conf"];

/// A file that the command finds at the path of its [`Placement`], read-only and not executable.
///
/// The file is in memory, outside of the workspace, and does not count as
/// [`ResourceLimits::max_memory_bytes`](super::ResourceLimits). It exists from the start of the command until the last
/// process of its tree has ended. Only a launcher that confines can inject files.
#[derive(Clone)]
pub struct FileInjection {
    content: Vec<u8>,
    placement: Placement,
    hash: OnceLock<[u8; 32]>,
}

/// The path of an injected file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A path that the host chooses. The variable of this name contains it.
    EnvPointer(String),
    /// This absolute path. It must be in a folder of the command's own (`/etc`, `/run`, `/tmp`, or one that does not
    /// exist elsewhere), and not in a visible folder of the host's.
    FixedPath(String),
}

/// The properties of an injected file that the embedder sees. The content is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectionView<'a> {
    /// Its path.
    pub placement: &'a Placement,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub hash: [u8; 32],
}

impl FileInjection {
    /// A file with this content.
    #[must_use]
    pub const fn new(content: Vec<u8>, placement: Placement) -> Self {
        Self {
            content,
            placement,
            hash: OnceLock::new(),
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.content.len()
    }

    /// Whether it has no content.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// The properties that an audit may show. The first call computes the hash: some milliseconds for the largest file.
    #[must_use]
    pub fn view(&self) -> InjectionView<'_> {
        InjectionView {
            placement: &self.placement,
            bytes: u64::try_from(self.content.len()).unwrap_or(u64::MAX),
            hash: *self.hash.get_or_init(|| *blake3::hash(&self.content).as_bytes()),
        }
    }

    /// The name of the variable that contains the path.
    pub(super) fn pointer(&self) -> Option<&str> {
        match &self.placement {
            Placement::EnvPointer(name) => Some(name),
            Placement::FixedPath(_) => None,
        }
    }
}

/// Omits the content.
impl fmt::Debug for FileInjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileInjection")
            .field("placement", &self.placement)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// Checks names and paths, then sizes.
pub(super) fn check(
    files: &[FileInjection],
    env: &[(String, String)],
    workspace: &Path,
    limits: &Limits,
) -> Result<(), Error> {
    let mut names: HashSet<_> = env.iter().map(|(key, _)| key.as_str()).collect();
    let mut paths = HashSet::new();
    for file in files {
        match &file.placement {
            Placement::EnvPointer(name) => {
                if !is_name(name) {
                    return invalid("the name of an env pointer is not a name ([A-Za-z_][A-Za-z0-9_]*)");
                }
                if is_reserved(name) {
                    return invalid(&format!("the env key {name} is reserved"));
                }
                if !names.insert(name) {
                    return invalid(&format!("the env key {name} is given twice"));
                }
            }
            Placement::FixedPath(path) => {
                if let Some(why) = flaw(path, workspace) {
                    return invalid(&format!("a fixed path {why}"));
                }
                if !paths.insert(Path::new(path)) {
                    return invalid("a fixed path is given twice");
                }
            }
        }
    }
    if paths
        .iter()
        .any(|path| path.ancestors().skip(1).any(|above| paths.contains(above)))
    {
        return invalid("a fixed path leads through another");
    }
    let total = files
        .iter()
        .fold(0, |sum: usize, file| sum.saturating_add(file.content.len()));
    if files.len() > limits.injections_max
        || total > limits.injected_bytes_max
        || files.iter().any(|file| file.content.len() > limits.injection_max)
    {
        return Err(Error::TooLarge);
    }
    Ok(())
}

/// The fault of a fixed path, as far as the path alone shows one.
fn flaw(path: &str, workspace: &Path) -> Option<&'static str> {
    let Some(names) = path.strip_prefix('/') else {
        return Some("is not absolute");
    };
    if path.len() > PATH_MAX {
        return Some("is longer than 4095 bytes");
    }
    if path.chars().any(char::is_control) {
        return Some("holds a control character");
    }
    let names: Vec<_> = names.split('/').collect();
    if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return Some("holds an empty name, . or ..");
    }
    if names.iter().any(|name| name.len() > NAME_MAX) {
        return Some("holds a name of more than 255 bytes");
    }
    if names.len() > DEPTH_MAX {
        return Some("is deeper than 32 names");
    }
    let path = Path::new(path);
    if path.starts_with(workspace) || workspace.starts_with(path) {
        return Some("is in the workspace, or would cover it");
    }
    if OWN.iter().any(|own| path.starts_with(own)) || path == Path::new("/tmp") {
        return Some("is in a folder that every command has, or would cover one");
    }
    let reserved = RESERVED_PATHS.iter().any(|reserved| match reserved.strip_suffix('*') {
        Some(prefix) => path.as_os_str().as_encoded_bytes().starts_with(prefix.as_bytes()),
        None => path.starts_with(reserved),
    });
    reserved.then_some("is reserved")
}

/// The files in the launcher's form, and the variables that contain their paths.
pub(super) fn placed(files: Vec<FileInjection>) -> (Vec<sandbox::Injection>, Vec<(String, String)>) {
    let mut pointers = Vec::new();
    let placed = files.into_iter().enumerate().map(|(number, file)| {
        let hash = file.view().hash;
        let at = match file.placement {
            Placement::FixedPath(path) => path,
            Placement::EnvPointer(name) => {
                let at = format!("{FOLDER}/{number}");
                pointers.push((name, at.clone()));
                at
            }
        };
        sandbox::Injection {
            content: file.content,
            hash,
            at,
        }
    });
    let placed = placed.collect();
    (placed, pointers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORKSPACE: &str = "/srv/mine/space";

    fn at(path: &str) -> FileInjection {
        FileInjection::new(b"x".to_vec(), Placement::FixedPath(path.into()))
    }

    fn pointed(name: &str, bytes: usize) -> FileInjection {
        FileInjection::new(vec![0; bytes], Placement::EnvPointer(name.into()))
    }

    fn checked(files: &[FileInjection]) -> Result<(), Error> {
        let env = [("TAKEN".to_owned(), String::new())];
        check(files, &env, Path::new(WORKSPACE), &Limits::default())
    }

    #[test]
    fn j1_bad_places_are_invalid_input() {
        let long = format!("/{}", "x".repeat(256));
        let longer = format!("/{}", "x/".repeat(2048));
        let deep = "/x".repeat(33);
        for path in [
            "",
            "etc/x",
            "./x",
            "/",
            "//etc/x",
            "/etc//x",
            "/etc/x/",
            "/etc/./x",
            "/etc/../x",
            "/..",
            "/etc/x\0",
            "/etc/x\n",
            "/etc/x\u{85}",
            "/srv",
            "/srv/mine",
            WORKSPACE,
            "/srv/mine/space/x",
            "/proc",
            "/proc/self/x",
            "/dev/null",
            "/dev/shm/x",
            "/sys/x",
            "/tmp",
            "/injected",
            "/injected/0",
            "/etc/ld.so.preload",
            "/etc/ld.so.cache",
            "/etc/ld-musl-x86_64.path",
            "/etc/nsswitch.conf",
            &long,
            &longer,
            &deep,
        ] {
            assert!(matches!(checked(&[at(path)]), Err(Error::InvalidInput(_))), "{path:?}");
        }
        for path in [
            "/etc/x",
            "/tmp/x",
            "/tmp/.config/x",
            "/srv/mine/other",
            "/srv/mine/space2",
            "/run/secrets/with space and ü",
            "/etc/..x",
            &"/x".repeat(32),
            &format!("/{}", "x".repeat(255)),
        ] {
            assert_eq!(checked(&[at(path)]), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn j1_bad_names_and_duplicates_are_invalid_input() {
        for name in [
            "",
            "1A",
            "A=B",
            "A B",
            "Ä",
            "A\0",
            "PATH",
            "LD_PRELOAD",
            "BASH_ENV",
            "TAKEN",
        ] {
            assert!(
                matches!(checked(&[pointed(name, 1)]), Err(Error::InvalidInput(_))),
                "{name:?}"
            );
        }
        for files in [
            [pointed("A", 1), pointed("A", 1)],
            [at("/etc/x"), at("/etc/x")],
            [at("/etc/x"), at("/etc/x/y")],
            [at("/etc/x/y/z"), at("/etc/x")],
        ] {
            assert!(matches!(checked(&files), Err(Error::InvalidInput(_))), "{files:?}");
        }
        let good = [at("/etc/x"), at("/etc/xy"), pointed("A", 1), pointed("B", 0)];
        assert_eq!(checked(&good), Ok(()));
    }

    #[test]
    fn j1_sizes_above_the_caps_are_too_large() {
        const MIB: usize = 1 << 20;
        assert_eq!(checked(&[pointed("A", 8 * MIB), pointed("B", 8 * MIB)]), Ok(()));
        assert_eq!(checked(&[pointed("A", 8 * MIB + 1)]), Err(Error::TooLarge));
        let files = [pointed("A", 8 * MIB), pointed("B", 8 * MIB), pointed("C", 1)];
        assert_eq!(checked(&files), Err(Error::TooLarge));
        let many = |count: usize| -> Vec<_> { (0..count).map(|number| pointed(&format!("V{number}"), 0)).collect() };
        assert_eq!(checked(&many(128)), Ok(()));
        assert_eq!(checked(&many(129)), Err(Error::TooLarge));
        // As for every request, a malformed part is reported first.
        let both = [pointed("A", 8 * MIB + 1), at("x")];
        assert!(matches!(checked(&both), Err(Error::InvalidInput(_))));
    }

    #[test]
    fn j1_the_content_is_neither_printed_nor_shown() {
        let file = FileInjection::new(b"hush".to_vec(), Placement::EnvPointer("A".into()));
        for printed in [format!("{file:?}"), format!("{:?}", file.view())] {
            assert!(
                !printed.contains("hush") && !printed.contains(&format!("{:?}", b"hush")),
                "{printed}"
            );
        }
        assert_eq!(file.view().hash, *blake3::hash(b"hush").as_bytes());
        assert_eq!(file.view().bytes, 4);
    }

    proptest! {
        /// Every accepted path has one spelling, and touches neither the workspace nor init's own folders.
        #[test]
        fn j1_an_accepted_place_is_what_it_says(
            names in prop::collection::vec("|\\.|\\.\\.|[a-c]{1,2}|etc|tmp|proc|srv|work|space|injected|\\PC{0,3}", 0..6),
            lead in "/?",
        ) {
            let path = format!("{lead}{}", names.join("/"));
            if checked(&[at(&path)]).is_ok() {
                let parsed = Path::new(&path);
                let again = parsed.iter().skip(1).map(|name| format!("/{}", name.to_string_lossy()));
                prop_assert_eq!(again.collect::<String>(), path.as_str());
                prop_assert!(parsed.is_absolute() && !path.split('/').any(|name| name == ".."));
                prop_assert!(!parsed.starts_with(WORKSPACE) && !Path::new(WORKSPACE).starts_with(parsed));
                prop_assert!(!["/proc", "/dev", "/sys", "/injected"].iter().any(|own| parsed.starts_with(own)));
            }
        }
    }
}
