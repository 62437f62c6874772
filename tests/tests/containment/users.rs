//! A host that is root gives each tree a kernel user of its own (B8): no two trees share what the kernel keeps for a
//! user, no other process has that user at any moment of an init's life, and files keep their owners.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use capsule_host::sandbox::Policy;
use capsule_host::supervisor::Error;

use crate::death::Doomed;
use crate::harness::{Host, PATIENCE, command, marker, nothing_left, sh, workspace, zoo};
use crate::who::{ORDINARY, RANGED, program};

/// A user that no other test runs as.
const PROWLER: u32 = 4242;

/// The users that are lent by default.
const LENT: std::ops::Range<u32> = 2_130_706_432..2_130_771_968;

/// Gives a workspace and its content to another owner.
fn give(dir: &Path, owner: u32) {
    for path in [dir, &dir.join("zoo")] {
        chown(path, Some(owner), Some(owner)).expect("an owner");
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// The four user ids of a process, which must be equal.
fn number(pid: u32, name: &str) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    let numbers: Vec<u32> = line.split_whitespace().flat_map(str::parse).collect();
    let [first, others @ ..] = numbers.as_slice() else {
        panic!("{line}")
    };
    assert!(others.len() == 3 && others.iter().all(|other| other == first), "{line}");
    *first
}

async fn b8_each_tree_has_a_user_of_its_own() {
    for owner in [ORDINARY, 0] {
        let host = Host::new();
        give(host.dir(), owner);
        let markers = [marker(), marker()];
        let mut numbers = Vec::new();
        let mut trees = Vec::new();
        for marker in &markers {
            let tree = host.start(zoo(&["stay", marker])).await;
            tree.prints("up").await;
            let uid = number(tree.os_pid(), "Uid:");
            assert_eq!(uid, number(tree.os_pid(), "Gid:"));
            assert!(LENT.contains(&uid), "{uid}");
            numbers.push(uid);
            trees.push(tree);
        }
        assert_ne!(numbers.first(), numbers.last());
        for tree in &trees {
            tree.stop(Duration::ZERO).await;
        }
    }
}

async fn b8_what_is_counted_for_a_user_is_counted_for_one_tree() {
    let host = Host::new();
    let hoarder = host.start(zoo(&["hoard-inotify"])).await;
    hoarder.prints("hoarded").await;
    assert_eq!(
        host.printed(zoo(&["want-inotify"])).await.trim(),
        "true",
        "{}",
        hoarder.output()
    );
    assert!(
        !hoarder.output().contains("had 4096"),
        "there is a bound: {}",
        hoarder.output()
    );
    // It is not counted for root either.
    let outside = program(host.dir().join("zoo"))
        .arg("want-inotify")
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&outside.stdout).trim(), "true");
    hoarder.stop(Duration::ZERO).await;
}

/// Checks that an attacker that is `user` cannot open any of a hundred inits for commands in a workspace of `owner`.
async fn nothing_to_take(owner: u32, user: u32) {
    let host = Host::new();
    give(host.dir(), owner);
    let mut prowler = program(host.dir().join("zoo"));
    prowler.arg("prowl").uid(user).gid(user).stdout(Stdio::piped());
    let mut prowler = prowler.spawn().expect("an attacker");
    let mut said = BufReader::new(prowler.stdout.take().expect("it is piped"));
    let mut up = String::new();
    said.read_line(&mut up).expect("a line");
    let mut failed = Vec::new();
    for _ in 0..100 {
        failed.extend(host.run(command("/bin/true", &[])).await.err());
    }
    prowler.kill().expect("it runs");
    prowler.wait().expect("it ended");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    let mut got = rest.lines();
    assert_eq!(got.next(), Some("saw one"));
    // There may be many.
    let got: Vec<_> = got.take(10).collect();
    assert!(got.is_empty(), "as {user}: {got:?}, with {failed:?}");
    assert!(failed.is_empty(), "{failed:?}");
}

async fn b8_the_workspaces_owner_gets_hold_of_no_init() {
    nothing_to_take(PROWLER, PROWLER).await;
}

async fn b8_the_overflow_user_gets_hold_of_no_init() {
    nothing_to_take(0, 65534).await;
}

async fn b8_files_keep_their_owners() {
    for owner in [PROWLER, 0] {
        let host = Host::new();
        give(host.dir(), owner);
        let others = host.dir().join("others");
        std::fs::write(&others, "x").expect("a file");
        chown(&others, Some(5000), Some(5000)).expect("an owner");
        let seen = host
            .printed(sh(
                "echo x > file; mkdir folder; ln -s file link; id -u; stat -c %u . file others",
            ))
            .await;
        let own = if owner == 0 { ORDINARY } else { owner };
        let seen: Vec<u32> = seen.lines().flat_map(str::parse).collect();
        assert_eq!(seen, [own, own, own, 65534], "as the tree sees it");
        for name in ["file", "folder", "link"] {
            let made = host.dir().join(name).symlink_metadata().expect("it was made");
            assert_eq!((made.uid(), made.gid()), (owner, owner), "{name}");
        }
        assert_eq!(others.metadata().expect("a file").uid(), 5000);
        host.refused(&[
            ("suid-chmod=./file", &[libc::EPERM]),
            ("suid-creat=./creat", &[libc::EPERM]),
        ])
        .await;
    }
}

async fn b8_what_is_writable_elsewhere_is_the_owners_too() {
    let elsewhere = workspace();
    give(elsewhere.path(), PROWLER);
    let host = Host::with(Policy::new().writable(elsewhere.path()));
    give(host.dir(), PROWLER);
    let place = elsewhere.path().join("made");
    host.printed(sh(&format!("echo x > {}", place.display()))).await;
    assert_eq!(place.metadata().expect("it was made").uid(), PROWLER);
}

/// Whether a command runs. If it does not, all users must be in use.
async fn runs(host: &Host) -> bool {
    match host.run(command("/bin/true", &[])).await {
        Ok(_) => true,
        Err(Error::Host(why)) => {
            assert!(why.contains("is in use") && why.contains("Policy::users"), "{why}");
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}

async fn comes_to_run(host: &Host) {
    let begun = std::time::Instant::now();
    while !runs(host).await {
        assert!(begun.elapsed() < PATIENCE, "its user was never given back");
        crate::harness::breathe().await;
    }
}

async fn b8_a_user_is_given_back_with_the_end_of_its_tree() {
    let host = Host::with(Policy::new().users(2_131_000_000, 1));
    let tree = host.start(zoo(&["stay", &marker()])).await;
    tree.prints("up").await;
    assert_eq!(number(tree.os_pid(), "Uid:"), 2_131_000_000);
    assert!(!runs(&host).await, "there is only one");
    tree.stop(Duration::ZERO).await;
    for _ in 0..3 {
        comes_to_run(&host).await;
    }
}

async fn b8_the_users_of_a_killed_host_are_free_again() {
    let dir = workspace();
    let marker = marker();
    let mut doomed = program(crate::who::binary("zoo-host"));
    doomed.env("ZOO_USERS", "2131000064");
    let mut doomed = Doomed::start_as(doomed, &marker, dir.path(), &["stay"]);
    doomed.says("spawning");
    doomed.says("spawned");
    let host = Host::with(Policy::new().users(2_131_000_064, 64));
    assert!(!runs(&host).await, "they are the other host's");
    let session = doomed.killed();
    nothing_left(&marker, &[session], PATIENCE).await;
    comes_to_run(&host).await;
}

/// The most epoll watches that a user may have, if a test can take them all: each takes some 200 bytes of kernel
/// memory.
pub(crate) fn most_watches() -> Option<usize> {
    let most = std::fs::read_to_string("/proc/sys/fs/epoll/max_user_watches").expect("a limit");
    most.trim().parse().ok().filter(|most| *most < 16_000_000)
}

/// The real user id is the one that counts, so no other user loses watches, and for files the tree's user has not
/// changed.
async fn b8_what_a_tree_of_an_ordinary_user_watches_is_counted_for_it_alone() {
    let Some(most) = most_watches() else {
        crate::who::skip("a limit of watches that can be reached");
        return;
    };
    let host = Host::new();
    let wants = (most * 2).to_string();
    let hoarder = host.start(zoo(&["watches", &wants, "keep"])).await;
    let said = || hoarder.output().lines().any(|line| line.starts_with("took "));
    assert!(crate::harness::soon(3 * PATIENCE, said).await, "{}", hoarder.output());
    assert_eq!(hoarder.output().trim(), format!("took {most}"));
    let outside = program(host.dir().join("zoo")).args(["watches", "8"]).output();
    let outside = outside.expect("it runs").stdout;
    assert_eq!(
        String::from_utf8_lossy(&outside).trim(),
        "took 8",
        "counted for the user"
    );
    let other = host.printed(zoo(&["watches", "8"])).await;
    assert_eq!(other.trim(), "took 8", "counted together");
    host.printed(sh("echo x > made; mkdir folder")).await;
    for name in ["made", "folder"] {
        let made = host.dir().join(name).metadata().expect("it was made");
        assert_eq!((made.uid(), made.gid()), (RANGED, RANGED), "{name}");
    }
    hoarder.stop(Duration::ZERO).await;
}

/// An epoll instance that another process makes is the one that the kernel itself would make, errors included.
async fn b8_an_epoll_instance_that_is_counted_apart_is_one_as_any_other() {
    let host = Host::new();
    let script = r#"
import ctypes, errno, fcntl, os, resource, select, threading
libc = ctypes.CDLL(None, use_errno=True)
def raw(call, argument):
    got = libc.syscall(call, argument)
    return errno.errorcode[ctypes.get_errno()] if got < 0 else got
first = select.epoll()
print(fcntl.fcntl(first.fileno(), fcntl.F_GETFD) == fcntl.FD_CLOEXEC)
print(fcntl.fcntl(raw(ONE, 0), fcntl.F_GETFD) == 0)
print(raw(ONE, 1))
reader, writer = os.pipe()
first.register(reader, select.EPOLLIN)
os.write(writer, b"x")
print(first.poll(5) == [(reader, select.EPOLLIN)])
def many():
    for _ in range(200):
        select.epoll().close()
threads = [threading.Thread(target=many) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
kept = []
try:
    while True:
        kept.append(select.epoll())
except OSError as error:
    print(errno.errorcode[error.errno], len(kept) > 20)
"#;
    let script = script.replace("ONE", &libc::SYS_epoll_create1.to_string());
    let printed = host.printed(command("/usr/bin/python3", &["-c", &script])).await;
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        ["True", "True", "EINVAL", "True", "EMFILE True"]
    );
}

/// A process with the rights of a whole range cannot be opened by any other process, not even of its own user, and it
/// ends with its host.
async fn b8_what_counts_for_others_cannot_be_opened_and_ends_with_its_host() {
    let find = || {
        let every = std::fs::read_dir("/proc").expect("proc").flatten();
        let numbers = every.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let own = std::process::id().to_string();
        let is_one = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1));
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            parent == Some(&own) && line == b"capsule-init\0epolls\0"
        };
        numbers.filter(is_one).collect::<Vec<_>>()
    };
    let host = Host::new();
    let tree = host.start(zoo(&["stay", &marker()])).await;
    tree.prints("up").await;
    let found = find();
    let [process] = found.as_slice() else {
        panic!("{found:?}")
    };
    for file in ["mem", "environ", "fd", "ns/user", "maps"] {
        let opened = std::fs::File::open(format!("/proc/{process}/{file}"));
        let refused = opened.err().map(|error| error.kind());
        assert_eq!(refused, Some(std::io::ErrorKind::PermissionDenied), "{file}");
    }
    tree.stop(Duration::ZERO).await;
    host.registry.shutdown().await;
    drop((tree, host));
    assert!(
        crate::harness::soon(PATIENCE, || find().is_empty()).await,
        "{:?}",
        find()
    );
}

crate::who::ranged!(
    RANGED:
    b8_what_a_tree_of_an_ordinary_user_watches_is_counted_for_it_alone,
    b8_an_epoll_instance_that_is_counted_apart_is_one_as_any_other,
    b8_what_counts_for_others_cannot_be_opened_and_ends_with_its_host,
);
crate::who::root!(
    b8_each_tree_has_a_user_of_its_own,
    b8_what_is_counted_for_a_user_is_counted_for_one_tree,
    b8_the_workspaces_owner_gets_hold_of_no_init,
    b8_the_overflow_user_gets_hold_of_no_init,
    b8_files_keep_their_owners,
    b8_what_is_writable_elsewhere_is_the_owners_too,
    b8_a_user_is_given_back_with_the_end_of_its_tree,
    b8_the_users_of_a_killed_host_are_free_again,
);
