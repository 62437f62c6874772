//! Folders that are refused as a workspace, because a process that can write there controls the host, its user or another
//! program (contract B6).
//!
//! A folder is judged by the device and inode of its open handle and of the folders above it, which are found through `..` from
//! the handle itself. Paths are not reliable: a path can later name another folder, and a link or a bind mount can give a
//! folder another path. `HOME` holds any value that the caller of this program wrote there, so the home folders in
//! `/etc/passwd` count too.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, openat};

use crate::os::directory;

/// Folders that are refused with everything beneath them: the system's files, and the places where its programs communicate.
const WITH_ALL_BENEATH: &[(&str, &str)] = &[
    ("/bin", SYSTEM),
    ("/boot", SYSTEM),
    ("/etc", SYSTEM),
    ("/lib", SYSTEM),
    ("/lib32", SYSTEM),
    ("/lib64", SYSTEM),
    ("/nix", SYSTEM),
    ("/sbin", SYSTEM),
    ("/snap", SYSTEM),
    ("/usr", SYSTEM),
    ("/var/log", SYSTEM),
    ("/dev", RUNTIME),
    ("/proc", RUNTIME),
    ("/run", RUNTIME),
    ("/sys", RUNTIME),
    ("/var/run", RUNTIME),
];

/// Folders that are refused only themselves, because a folder in them can belong to one program alone.
const ITSELF: &[(&str, &str)] = &[
    ("/home", HOME),
    ("/root", HOME),
    ("/opt", SYSTEM),
    ("/var", SYSTEM),
    ("/var/cache", SYSTEM),
    ("/var/lib", SYSTEM),
    ("/var/spool", SYSTEM),
    ("/tmp", SHARED),
    ("/var/tmp", SHARED),
];

/// Folders of a home folder that are refused with everything beneath them: keys, and programs that the home's user runs.
const OF_A_HOME: &[&str] = &[
    ".aws",
    ".bin",
    ".cargo",
    ".config",
    ".docker",
    ".gnupg",
    ".kube",
    ".local/bin",
    ".password-store",
    ".rustup",
    ".ssh",
];

const SYSTEM: &str = "a folder of the system";
const RUNTIME: &str = "a folder through which running programs can be reached";
const SHARED: &str = "a folder that all programs of this machine share";
const HOME: &str = "a home folder";
const OF_HOME: &str = "a folder in which a user keeps keys, or programs to run";
const STATE: &str = "a folder in which the host keeps files that it executes or trusts";

/// How deep the search for sockets goes; the workspace itself is level 1.
const DEPTH: usize = 3;

/// How many directory entries that search examines.
const ENTRIES: usize = 4096;

/// The most that is read of a system file, in bytes.
const FILE: u64 = 4 << 20;

/// A folder, as device and inode.
type Identity = (u64, u64);

/// Returns why the folder, which was at `path` when it was opened, cannot be a workspace; `None` if it can.
pub(crate) fn reason(handle: &OwnedFd, path: &Path, state: &[PathBuf]) -> Option<String> {
    let above = lineage(handle);
    let itself = *above.first()?;
    let beneath = |folder: &Path| identity(folder).is_some_and(|folder| above.contains(&folder));
    let is_or_holds = |folder: &Path| directory::open(folder).is_ok_and(|folder| lineage(&folder).contains(&itself));
    let is = |what: &str| Some(format!("it is {what}"));
    let lies_in = |folder: &Path, what: &str| Some(format!("it lies in {}, {what}", folder.display()));
    let holds = |folder: &Path, what: &str| Some(format!("it is or holds {}, {what}", folder.display()));

    for (folder, what) in ITSELF {
        if identity(Path::new(folder)) == Some(itself) {
            return is(what);
        }
    }
    for (folder, what) in WITH_ALL_BENEATH {
        if is_or_holds(Path::new(folder)) {
            return holds(Path::new(folder), what);
        }
        if beneath(Path::new(folder)) {
            return lies_in(Path::new(folder), what);
        }
    }
    if let Some(folder) = variable("XDG_RUNTIME_DIR")
        && beneath(&folder)
    {
        return lies_in(&folder, RUNTIME);
    }
    for home in homes() {
        if is_or_holds(&home) {
            return holds(&home, HOME);
        }
        // There may be many homes, so first check whether the folder lies in this one at all.
        if beneath(&home)
            && let Some(folder) = OF_A_HOME
                .iter()
                .map(|name| home.join(name))
                .find(|folder| beneath(folder))
        {
            return lies_in(&folder, OF_HOME);
        }
    }
    let homes_of_tools = ["CARGO_HOME", "RUSTUP_HOME"].into_iter().filter_map(variable);
    for folder in homes_of_tools.chain(state.iter().cloned()) {
        if is_or_holds(&folder) {
            return holds(&folder, STATE);
        }
        if beneath(&folder) {
            return lies_in(&folder, STATE);
        }
    }
    let socket = socket(path)?;
    Some(format!("it holds {}, a socket of a running program", socket.display()))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn identity(folder: &Path) -> Option<Identity> {
    let stat = fstat(directory::open(folder).ok()?).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// A folder, itself first, and those above it.
fn lineage(folder: &OwnedFd) -> Vec<Identity> {
    let mut lineage = Vec::new();
    let mut here = folder.try_clone().ok();
    while let Some(folder) = here {
        let Ok(stat) = fstat(&folder) else { break };
        let identity = (stat.st_dev, stat.st_ino);
        // The root is above itself.
        if lineage.last() == Some(&identity) {
            break;
        }
        lineage.push(identity);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = openat(folder.as_fd(), "..", flags, Mode::empty()).ok();
    }
    lineage
}

/// `HOME`, and the home folders of this user, of root and of users who log in.
fn homes() -> Vec<PathBuf> {
    let passwd = read("/etc/passwd");
    let this = rustix::process::geteuid().as_raw();
    variable("HOME").into_iter().chain(homes_in(&passwd, this)).collect()
}

fn homes_in(passwd: &str, this: u32) -> Vec<PathBuf> {
    let home = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, uid, _, _, home, shell] = fields.as_slice() else {
            return None;
        };
        let uid: u32 = uid.parse().ok()?;
        let logs_in =
            (uid == 0 || (1000..65534).contains(&uid)) && !shell.ends_with("/nologin") && !shell.ends_with("/false");
        // A home of `/` is left out: it would refuse every folder, and `/` itself is refused anyway.
        let is_one = home.starts_with('/') && home.len() > 1;
        ((uid == this || logs_in) && is_one).then(|| PathBuf::from(home))
    };
    passwd.lines().filter_map(home).collect()
}

/// A socket in the folder that a program has open. A socket file that a program left behind leads nowhere, and so does one of
/// a confined command, which has a network of its own.
fn socket(folder: &Path) -> Option<PathBuf> {
    let mut bound = None;
    let mut folders = vec![(folder.to_owned(), 1)];
    let mut left = ENTRIES;
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            left = left.checked_sub(1)?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH {
                folders.insert(0, (entry.path(), depth + 1));
            } else if kind.is_socket() {
                let bound: &mut Vec<PathBuf> = bound.get_or_insert_with(|| bound_in(&read("/proc/net/unix")));
                // The path given to `bind` may have been relative.
                if bound.iter().any(|path| path.file_name() == Some(&*entry.file_name())) {
                    return Some(entry.path());
                }
            }
        }
    }
    None
}

/// The paths to which sockets are bound: the text after the seventh column, if there is any.
fn bound_in(unix: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let mut rest = line;
        for _ in 0..7 {
            rest = rest.trim_start().split_once(' ')?.1;
        }
        // An abstract socket, whose name begins with @, has no file.
        (!rest.is_empty() && !rest.starts_with('@')).then(|| PathBuf::from(rest))
    };
    unix.lines().skip(1).filter_map(path).collect()
}

/// The content of a system file; empty if it cannot be read.
fn read(path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        drop(file.take(FILE).read_to_end(&mut text));
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn judged(path: impl AsRef<Path>, state: &[PathBuf]) -> Option<String> {
        let path = path.as_ref().canonicalize().unwrap();
        reason(&directory::open(&path).unwrap(), &path, state)
    }

    #[test]
    fn b6_folders_of_the_system_and_of_running_programs_are_refused() {
        for folder in [
            "/etc",
            "/etc/ssl",
            "/usr",
            "/usr/bin",
            "/bin",
            "/boot",
            "/var",
            "/var/lib",
            "/var/log",
            "/var/run",
            "/run",
            "/dev",
            "/dev/shm",
            "/proc",
            "/proc/self",
            "/sys",
            "/home",
            "/root",
            "/opt",
            "/tmp",
            "/var/tmp",
            "/proc/self/root/etc",
        ] {
            // As far as this user may read the folders.
            if Path::new(folder)
                .canonicalize()
                .is_ok_and(|path| directory::open(&path).is_ok())
            {
                assert!(judged(folder, &[]).is_some(), "{folder}");
            }
        }
        let own = tempfile::tempdir().unwrap();
        assert_eq!(judged(own.path(), &[]), None);
    }

    #[test]
    fn b6_what_the_host_keeps_is_refused_and_what_holds_it() {
        let own = tempfile::tempdir().unwrap();
        let state = own.path().join("a/state");
        let below = state.join("below");
        let beside = own.path().join("b");
        for folder in [&below, &beside] {
            fs::create_dir_all(folder).unwrap();
        }
        for refused in [own.path(), &own.path().join("a"), &state, &below] {
            let reason = judged(refused, std::slice::from_ref(&state)).unwrap_or_default();
            assert!(reason.contains(STATE), "{}: {reason}", refused.display());
        }
        assert_eq!(judged(&beside, &[state]), None);
    }

    #[test]
    fn b6_homes_are_those_of_people_and_of_this_user() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
                      web:x:33:33::/var/www:/usr/sbin/nologin\nme:x:1000:1000:,,,:/home/me:/bin/zsh\n\
                      away:x:1001:1001::/home/away:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/sh\nbroken:x\n";
        let homes = |this| homes_in(passwd, this);
        assert_eq!(homes(1000), ["/root", "/home/me"].map(PathBuf::from));
        assert_eq!(homes(33), ["/root", "/var/www", "/home/me"].map(PathBuf::from));
    }

    #[test]
    fn b6_a_folder_with_another_programs_socket_is_refused() {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().join("tmux-1000");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("default socket");
        let listener = UnixListener::bind(&path).unwrap();
        let reason = judged(own.path(), &[]).unwrap_or_default();
        assert!(reason.contains(path.to_str().unwrap()), "{reason}");
        drop(listener);
        assert_eq!(judged(own.path(), &[]), None, "what is left of it leads nowhere");
    }
}
