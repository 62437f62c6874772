//! All that the result of a trial of the confinement depends on, as one hash, so that a program which is started often need not
//! repeat a trial that succeeded.
//!
//! The hash decides nothing about the confinement of a command: each start makes every layer, and is refused where a layer cannot be
//! made. A fact that is left out here, or that changes later, only moves the refusal from the start of the host to its first command.
//! So a fact that another one implies is left out: a reboot changes what the kernel was built and booted with.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use blake3::Hasher;
use rustix::fs::fstat;

use super::Workspace;

/// The longest file of `/proc` that is read here, in bytes. The files have a tenth of that.
const MAX_BYTES: u64 = 64 << 10;

/// The kernel that runs, and the settings of it that can forbid namespaces while it runs. Absent files are a fact as well: many
/// kernels do not have all of these settings.
const FILES: [&str; 8] = [
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/self/cgroup",
    "/proc/self/limits",
    "/proc/self/attr/current",
];

/// The namespaces of this process.
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// The lines about rights and about filters of system calls in `/proc/self/status`. Its other lines change with each process.
const STATUS: [&str; 11] = [
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
];

/// The facts about this machine, this process and the workspace, and `policy`, each with its name.
pub(super) fn facts(policy: String, workspace: &Workspace) -> io::Result<Vec<(String, String)>> {
    let mut facts = vec![("policy".to_owned(), policy)];
    for path in FILES {
        facts.push((path.to_owned(), content(path)?));
    }
    for name in NAMESPACES {
        let path = format!("/proc/self/ns/{name}");
        let namespace = fs::read_link(&path)?;
        facts.push((path, namespace.to_string_lossy().into_owned()));
    }
    let status = content("/proc/self/status")?;
    let rights = status
        .lines()
        .filter(|line| STATUS.iter().any(|name| line.starts_with(name)));
    facts.push(("status".to_owned(), rights.collect::<Vec<_>>().join("\n")));
    // Init's program is a part of this one, or lies at a path that the policy names.
    facts.push(("program".to_owned(), identity(&fs::metadata("/proc/self/exe")?)));
    facts.push(("root".to_owned(), identity(&fs::metadata("/")?)));
    let folder = fstat(workspace.handle())?;
    // Not its times, which change with every file that a command makes in it.
    let folder = (
        folder.st_dev,
        folder.st_ino,
        folder.st_mode,
        folder.st_uid,
        folder.st_gid,
    );
    facts.push(("workspace".to_owned(), format!("{:?} {folder:?}", workspace.path())));
    Ok(facts)
}

/// The hash of facts, in hexadecimal.
pub(super) fn hash(facts: &[(String, String)]) -> String {
    let mut hasher = Hasher::new();
    for text in facts.iter().flat_map(|(name, value)| [name, value]) {
        // The length first, so that no two lists of texts are the same bytes.
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What a file holds, or the error for which it cannot be read.
fn content(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // The kernel has no such file, or no security module that answers.
        Err(error) if error.raw_os_error().is_some() => Ok(format!("error {error}")),
        Err(error) => Err(error),
    }
}

/// The file and its content: a write changes the time of the last change, which no program can set.
fn identity(metadata: &fs::Metadata) -> String {
    let file = (metadata.dev(), metadata.ino(), metadata.size(), metadata.mode());
    format!("{file:?} {} {}", metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::super::{Confined, Network, Policy};
    use super::*;

    fn of(policy: Policy, workspace: &Workspace) -> String {
        Confined::new(policy).unwrap().fingerprint(workspace).unwrap()
    }

    #[test]
    fn b2_each_fact_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let facts = facts("policy".into(), &workspace).unwrap();
        let before = hash(&facts);
        for at in 0..facts.len() {
            for changed in ["", "another", &format!("{} ", facts[at].1)] {
                let mut other = facts.clone();
                other[at].1 = changed.to_owned();
                assert_eq!(hash(&other) == before, other == facts, "{:?}", facts[at]);
            }
        }
        // Two values whose bytes are the same in a row.
        let pair = |first: &str, second: &str| {
            hash(&[("a".to_owned(), first.to_owned()), ("b".to_owned(), second.to_owned())])
        };
        assert_ne!(pair("1b", "2"), pair("1", "b2"));
    }

    #[test]
    fn b2_every_fact_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let facts = facts("policy".into(), &workspace).unwrap();
        let value = |name: &str| &facts.iter().find(|(fact, _)| fact == name).unwrap().1;
        assert_eq!(value("status").lines().count(), STATUS.len(), "{}", value("status"));
        assert_eq!(value("/proc/sys/kernel/random/boot_id").trim().len(), 36);
        for name in NAMESPACES {
            assert!(value(&format!("/proc/self/ns/{name}")).contains(":["));
        }
    }

    #[test]
    fn b2_a_fingerprint_stays_the_same_until_the_policy_or_the_workspace_changes() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let before = of(Policy::new(), &workspace);
        fs::write(folder.path().join("new"), "").unwrap();
        assert_eq!(of(Policy::new(), &Workspace::open(folder.path()).unwrap()), before);

        let changed = [
            of(Policy::new().network(Network::None), &workspace),
            of(Policy::new().tmp_bytes(1 << 20), &workspace),
            of(Policy::new().visible("/srv"), &workspace),
            of(Policy::new().writable("/srv"), &workspace),
            of(Policy::new().identity(7, 7), &workspace),
            of(Policy::new().users(7, 7), &workspace),
            of(Policy::new().protect("Makefile"), &workspace),
            of(Policy::new().unprotect(".github"), &workspace),
            of(Policy::new().commits(true), &workspace),
            of(Policy::new().writable_only(["new"]), &workspace),
            of(Policy::new(), &Workspace::open(other.path()).unwrap()),
        ];
        for (at, fingerprint) in changed.iter().enumerate() {
            assert_ne!(*fingerprint, before, "{at}");
            assert!(!changed[..at].contains(fingerprint), "{at}");
        }
    }
}
