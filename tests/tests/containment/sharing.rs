//! What a command has in common with others must not be a place to meet (B9, B10): sockets, FIFOs, what is told of a
//! file's use, locks, and the kernel's own words about everybody.

use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use capsule_host::sandbox::Policy;
use rustix::fs::{FlockOperation, Mode, fcntl_lock, flock, mkfifoat};
use tempfile::TempDir;

use crate::harness::{Host, code, zoo};

const REFUSED: &[i32] = &[libc::ECONNREFUSED];
const NO_OTHER_END: &[i32] = &[libc::ENXIO];

/// A folder of the host's that everybody may do everything with.
fn visible() -> TempDir {
    let dir = TempDir::new().expect("a folder");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("a mode");
    dir
}

fn everybodys(path: &Path) {
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
        everybodys(path);
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
    everybodys(&socket);
    everybodys(&other);
    let (granted, refused) = (format!("unix={}", name(&socket)), format!("unix={}", name(&other)));
    let host = Host::with(Policy::new().visible(dir.path()).visible(&socket));
    host.allowed(&[&granted]).await;
    host.refused(&[(&refused, REFUSED)]).await;
    // What may be written to is shared as a whole, and says so.
    Host::with(Policy::new().writable(dir.path()))
        .allowed(&[&granted, &refused])
        .await;
}

async fn b10_nothing_is_heard_of_the_use_of_a_visible_file() {
    let dir = visible();
    let file = dir.path().join("file");
    std::fs::write(&file, "content").expect("a file");
    let host = Host::with(Policy::new().visible(dir.path()));
    let system = ["/usr/bin", "/usr/bin/env", "/etc/passwd", "/etc/ssl/certs"];
    let mut args = vec!["listen", ".", name(dir.path()), name(&file)];
    args.extend(system);
    let listener = host.start(zoo(&args)).await;
    listener.prints("listening").await;
    // By the host, and by another tree.
    std::fs::write(&file, "changed").expect("a file");
    std::fs::read(&file).expect("a file");
    std::fs::write(dir.path().join("new"), "").expect("a file");
    for path in system {
        drop(File::open(path));
    }
    let read = format!("read={}", name(&file));
    let mut attempts = vec![read.as_str()];
    attempts.push("read=/usr/bin/env");
    attempts.push("read=/etc/passwd");
    attempts.push("list=/usr/bin");
    host.allowed(&attempts).await;
    // Events come in their order: what is heard comes before this.
    std::fs::write(host.dir().join("done"), "").expect("a file");
    assert_eq!(listener.exit().await, code(0));
    let output = listener.output();
    // The workspace is the first that is watched, and the only one of which something may be heard.
    let heard: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("event ") && !line.starts_with("event 1 "))
        .collect();
    assert!(heard.is_empty(), "{heard:?} in {output}");
    assert!(output.contains("event 1 "), "{output}");
    // What is seen of the file is what it is.
    let content = host.printed(crate::harness::command("/bin/cat", &[name(&file)])).await;
    assert_eq!(content, "changed");
}

async fn b10_a_lock_on_a_visible_file_holds_up_no_other() {
    let dir = visible();
    let file = dir.path().join("file");
    std::fs::write(&file, "content").expect("a file");
    everybodys(&file);
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

crate::who::everybody!(
    b9_sockets_and_fifos_of_a_visible_folder_lead_nowhere,
    b9_a_socket_that_a_policy_names_is_a_grant,
    b10_nothing_is_heard_of_the_use_of_a_visible_file,
    b10_a_lock_on_a_visible_file_holds_up_no_other,
);
