//! Trees cannot meet in what they share with others (B9, B10): sockets, FIFOs, events of a file's use, locks, and the
//! kernel's reports about other processes.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capsule_host::sandbox::{ConfinementSupport, Policy};
use rustix::fs::{FlockOperation, Mode, fcntl_lock, flock, mkfifoat};
use tempfile::TempDir;

use crate::harness::{Host, PATIENCE, code, command, sh, soon, zoo};
use crate::who::{is_root, program};

const REFUSED: &[i32] = &[libc::ECONNREFUSED];
const NO_OTHER_END: &[i32] = &[libc::ENXIO];

/// A folder of the host in which all users have all permissions.
fn visible() -> TempDir {
    let dir = TempDir::new().expect("a folder");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("a mode");
    dir
}

fn readable_and_writable_by_all(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).expect("a mode");
}

fn name(path: &Path) -> &str {
    path.to_str().expect("text")
}

async fn b9_sockets_and_fifos_of_a_visible_folder_lead_nowhere() {
    let dir = visible();
    let (socket, fifo, deep) = (
        dir.path().join("socket"),
        dir.path().join("fifo"),
        dir.path().join("deep"),
    );
    std::fs::create_dir(&deep).expect("a folder");
    let deep = deep.join("socket");
    let _listeners = [&socket, &deep].map(|path| UnixListener::bind(path).expect("a socket"));
    mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o666)).expect("a fifo");
    for path in [&socket, &deep, &fifo] {
        readable_and_writable_by_all(path);
    }
    let flags = libc::O_NONBLOCK;
    let _reader = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&fifo)
        .expect("an end");
    let attempts = [
        format!("unix={}", name(&socket)),
        format!("unix={}", name(&deep)),
        format!("fifo={}", name(&fifo)),
    ];
    let host = Host::with(Policy::new().visible(dir.path()));
    let [socket, deep, fifo] = attempts.each_ref().map(String::as_str);
    host.refused(&[(socket, REFUSED), (deep, REFUSED), (fifo, NO_OTHER_END)])
        .await;
    Host::unconfined().allowed(&[socket, deep, fifo]).await;
}

async fn b9_a_socket_that_a_policy_names_is_a_grant() {
    let dir = visible();
    let (socket, other) = (dir.path().join("socket"), dir.path().join("other"));
    let _listeners = [&socket, &other].map(|path| UnixListener::bind(path).expect("a socket"));
    readable_and_writable_by_all(&socket);
    readable_and_writable_by_all(&other);
    let (granted, refused) = (format!("unix={}", name(&socket)), format!("unix={}", name(&other)));
    let host = Host::with(Policy::new().visible(dir.path()).visible(&socket));
    host.allowed(&[&granted]).await;
    host.refused(&[(&refused, REFUSED)]).await;
    // A writable folder is shared as a whole, as the documentation of its policy says.
    Host::with(Policy::new().writable(dir.path()))
        .allowed(&[&granted, &refused])
        .await;
}

async fn b10_nothing_is_heard_of_the_use_of_a_visible_file() {
    let dir = visible();
    let file = dir.path().join("file");
    std::fs::write(&file, "content").expect("a file");
    let host = Host::with(Policy::new().visible(dir.path()));
    let mut system = vec!["/usr/bin", "/usr/bin/env", "/etc/passwd", "/etc/ssl/certs"];
    if is_root() {
        // An ordinary user cannot make a device.
        system.push("/dev/null");
    }
    let mut args = vec!["listen", ".", name(dir.path()), name(&file)];
    args.extend(&system);
    let listener = host.start(zoo(&args)).await;
    listener.prints("listening").await;
    // Used by the host, and by another tree.
    std::fs::write(&file, "changed").expect("a file");
    std::fs::read(&file).expect("a file");
    std::fs::write(dir.path().join("new"), "").expect("a file");
    for path in &system {
        drop(File::open(path));
    }
    let read = format!("read={}", name(&file));
    let mut attempts = vec![read.as_str()];
    attempts.push("read=/usr/bin/env");
    attempts.push("read=/etc/passwd");
    attempts.push("list=/usr/bin");
    host.allowed(&attempts).await;
    // Events arrive in order, so all earlier ones come before this one.
    std::fs::write(host.dir().join("done"), "").expect("a file");
    assert_eq!(listener.exit().await, code(0));
    let output = listener.output();
    // The workspace is watched first, and it is the only watched folder whose events may arrive.
    let heard: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("event ") && !line.starts_with("event 1 "))
        .collect();
    assert!(heard.is_empty(), "{heard:?} in {output}");
    assert!(output.contains("event 1 "), "{output}");
    // The visible file has the right content.
    let content = host.printed(command("/bin/cat", &[name(&file)])).await;
    assert_eq!(content, "changed");
}

async fn b10_a_lock_on_a_visible_file_holds_up_no_other() {
    let dir = visible();
    let file = dir.path().join("file");
    std::fs::write(&file, "content").expect("a file");
    readable_and_writable_by_all(&file);
    let host = Host::with(Policy::new().visible(dir.path()));
    let ours = OpenOptions::new().read(true).write(true).open(&file).expect("the file");
    let theirs = [
        host.start(zoo(&["hold-locks", name(&file)])).await,
        host.start(zoo(&["hold-locks", name(&file)])).await,
    ];
    for tree in &theirs {
        tree.prints("held").await;
        let output = tree.output();
        assert_eq!(
            output, "flock 0\nposix 0\nofd 0\nheld\n",
            "one tree does not hold up the other"
        );
    }
    flock(ours.as_fd(), FlockOperation::NonBlockingLockExclusive).expect("the host's own lock");
    fcntl_lock(ours.as_fd(), FlockOperation::NonBlockingLockExclusive).expect("the host's own lock");
}

/// Names the folder, in the test's process with the mount namespace.
const BENEATH: &str = "CAPSULE_TEST_BENEATH";

async fn b9_what_is_mounted_beneath_a_visible_folder_is_seen_and_said() {
    let Some(dir) = std::env::var_os(BENEATH).map(PathBuf::from) else {
        in_a_namespace();
        return;
    };
    let (file, inner, single) = (dir.join("file"), dir.join("beneath/inner"), dir.join("single"));
    let policy = Policy::new().visible(&dir);
    let printed = Host::with(policy.clone())
        .printed(command("/bin/cat", &[name(&file), name(&inner), name(&single)]))
        .await;
    assert_eq!(printed, "file inner other ");
    let facts = tokio::task::spawn_blocking(move || ConfinementSupport::probe_for(policy));
    let facts = facts.await.expect("a probe");
    assert!(facts.is_sufficient());
    let missing: Vec<_> = facts.missing().filter(|missing| missing.layer() == "overlay").collect();
    assert!(
        missing.len() == 1 && missing.iter().all(|missing| missing.reason().starts_with(name(&dir))),
        "{missing:?}"
    );
    // A file that no overlay can show is a copy, and cannot be locked.
    let host = Host::with(Policy::new().visible(&single));
    let tree = host.start(zoo(&["hold-locks", name(&single)])).await;
    tree.prints("held").await;
    let ours = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&single)
        .expect("the file");
    flock(ours.as_fd(), FlockOperation::NonBlockingLockExclusive).expect("the host's own lock");
    assert_eq!(host.printed(command("/bin/cat", &[name(&single)])).await, "other ");
    let facts = tokio::task::spawn_blocking(move || ConfinementSupport::probe_for(Policy::new().visible(&single)));
    let facts = facts.await.expect("a probe");
    assert!(facts.missing().all(|missing| missing.layer() != "overlay"), "{facts:?}");
}

/// Runs that test again with a mount namespace of its own.
fn in_a_namespace() {
    let dir = visible();
    std::fs::create_dir(dir.path().join("beneath")).expect("a folder");
    for (file, content) in [("file", "file "), ("single", "single "), ("other", "other ")] {
        std::fs::write(dir.path().join(file), content).expect("a file");
    }
    let script = "mount -t tmpfs none $0/beneath && printf 'inner ' > $0/beneath/inner &&
        mount --bind $0/other $0/single && exec $1 --exact $2 --nocapture";
    let test = std::env::current_exe().expect("this test has a name");
    let case = "sharing::only_as_root::b9_what_is_mounted_beneath_a_visible_folder_is_seen_and_said";
    let output = program("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([dir.path(), &test, Path::new(case)])
        .env(BENEATH, dir.path())
        .output()
        .expect("util-linux");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// The files of `/proc` that show the whole machine.
const MASKED: &[&str] = &[
    "/proc/buddyinfo",
    "/proc/cmdline",
    "/proc/diskstats",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/locks",
    "/proc/mdstat",
    "/proc/modules",
    "/proc/partitions",
    "/proc/sched_debug",
    "/proc/schedstat",
    "/proc/softirqs",
    "/proc/swaps",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/kernel/pty/nr",
    "/proc/timer_stats",
    "/proc/vmstat",
    "/proc/zoneinfo",
];

/// Files that only root may read.
const ROOTS: &[&str] = &[
    "/proc/allocinfo",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/pagetypeinfo",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/tty/driver",
    "/proc/vmallocinfo",
];

const MASKED_FOLDERS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/bus",
    "/proc/driver",
    "/proc/fs",
    "/proc/irq",
    "/proc/pressure",
    "/proc/scsi",
    "/proc/sys/fs/quota",
];

/// The files that programs read in order to run.
const KEPT: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/proc/stat",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
];

async fn b10_what_proc_tells_of_the_machine_is_masked() {
    let host = Host::new();
    let script = format!(
        "for file in {}; do test -e $file && echo $file $(cat $file 2>&1 | wc -c); done
        for folder in {}; do test -e $folder && echo $folder $(ls -A $folder | wc -c); done
        for kept in {}; do echo kept $(grep -c '' $kept); done",
        MASKED.join(" "),
        MASKED_FOLDERS.join(" "),
        KEPT.join(" "),
    );
    let printed = host.printed(sh(&script)).await;
    let told: Vec<_> = printed.lines().filter(|line| !line.ends_with(" 0")).collect();
    let (kept, told): (Vec<_>, Vec<_>) = told.into_iter().partition(|line| line.starts_with("kept "));
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(kept.len(), KEPT.len(), "{printed}");
    for folder in MASKED_FOLDERS.iter().filter(|folder| Path::new(folder).exists()) {
        let name = format!("{folder}/new");
        host.refused(&[(&format!("create={name}"), &[libc::EROFS, libc::EACCES, libc::EPERM])])
            .await;
    }
    for file in ROOTS {
        host.refused(&[(&format!("read={file}"), &[libc::EACCES, libc::EPERM, libc::ENOENT])])
            .await;
    }
}

/// The serial numbers of all unnamed session keyrings that this user may see.
fn keyrings() -> BTreeSet<String> {
    let keys = std::fs::read_to_string("/proc/keys").expect("/proc/keys");
    let keyrings = keys
        .lines()
        .filter(|line| line.contains(" keyring ") && line.contains(" _ses"));
    keyrings
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

async fn b10_each_tree_has_a_session_keyring_of_its_own() {
    let host = Host::new();
    let before = keyrings();
    let tree = host.start(sh("echo here; exec sleep 1000")).await;
    tree.prints("here").await;
    let made: BTreeSet<_> = keyrings().difference(&before).cloned().collect();
    assert!(!made.is_empty(), "no keyring but {before:?}");
    tree.stop(Duration::ZERO).await;
    let gone = || made.iter().any(|keyring| !keyrings().contains(keyring));
    assert!(soon(PATIENCE, gone).await, "one of {made:?} ends with the tree");
    host.refused(&[
        ("keyctl", &[libc::EPERM]),
        ("add-key", &[libc::EPERM]),
        ("request-key", &[libc::EPERM]),
    ])
    .await;
}

crate::who::each_user!(
    b9_sockets_and_fifos_of_a_visible_folder_lead_nowhere,
    b9_a_socket_that_a_policy_names_is_a_grant,
    b10_nothing_is_heard_of_the_use_of_a_visible_file,
    b10_a_lock_on_a_visible_file_holds_up_no_other,
    b10_what_proc_tells_of_the_machine_is_masked,
    b10_each_tree_has_a_session_keyring_of_its_own,
);
crate::who::root!(b9_what_is_mounted_beneath_a_visible_folder_is_seen_and_said);
