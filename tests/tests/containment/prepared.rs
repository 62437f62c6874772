//! A root that was prepared before its command was known shows what a new root would show (B1).
//!
//! The test runs in a mount namespace of its own, so that it can change the mounts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use capsule_host::sandbox::{Policy, ResourceLimits};
use capsule_host::supervisor::{FileInjection, Placement};

use crate::harness::{Host, command, limited};
use crate::told::spare;
use crate::who::{binary, program};

/// Names the folder, in the process with the mount namespace.
const VISIBLE: &str = "CAPSULE_TEST_VISIBLE";

/// Runs this test again in such a process.
fn in_a_namespace() {
    let dir = tempfile::tempdir().expect("a folder");
    let inner = dir.path().join("folder/inner");
    std::fs::create_dir_all(&inner).expect("a folder");
    std::fs::write(inner.join("file"), "beneath").expect("a file");
    std::fs::write(dir.path().join("single"), "before").expect("a file");
    let case = "prepared::only_as_root::b1_a_prepared_root_is_the_one_that_would_be_made_now";
    let output = program("unshare")
        .arg("--mount")
        .arg(binary("this-test"))
        .args(["--exact", case, "--nocapture"])
        .env(VISIBLE, dir.path())
        .output()
        .expect("util-linux");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

async fn b1_a_prepared_root_is_the_one_that_would_be_made_now() {
    let Some(dir) = std::env::var_os(VISIBLE).map(PathBuf::from) else {
        in_a_namespace();
        return;
    };
    let (folder, single) = (dir.join("folder"), dir.join("single"));
    // A mount here changes nothing at the visible path.
    let inner = folder.join("inner");
    let host = Host::with(Policy::new().visible(&folder).visible(&single));
    let mountinfo = || host.printed(command("/bin/cat", &["/proc/self/mountinfo"]));

    // Before the first command there is no init that could have prepared a root.
    let made_now = mountinfo().await;
    let waiting = spare(&host).await;
    let held = mounts_of_descriptors(waiting);
    let prepared = mountinfo().await;
    let root = prepared.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let number = root.and_then(|line| line.split(' ').next()).expect("a root");
    assert!(held.contains(number), "{number} is none of {held:?}: it was not used");
    assert_eq!(places(&prepared), places(&made_now));

    spare(&host).await;
    mount(&["-t", "tmpfs", "none", text(&inner)]);
    std::fs::write(inner.join("file"), "on top").expect("a file");
    assert_eq!(read(&host, &inner.join("file")).await, "on top");

    unmount(&inner);
    spare(&host).await;
    assert_eq!(read(&host, &inner.join("file")).await, "beneath");

    // Another size of `/tmp`, and a file for this command alone, are not in the prepared root.
    spare(&host).await;
    let limits = ResourceLimits {
        max_memory_bytes: Some(64 << 20),
        ..ResourceLimits::default()
    };
    let size = command("/usr/bin/stat", &["--file-system", "--format", "%b %S", "/tmp"]);
    assert_eq!(host.printed(limited(size, limits)).await, "16384 4096\n");
    spare(&host).await;
    let mut injected = command("/bin/cat", &["/tmp/injected"]);
    let place = Placement::FixedPath("/tmp/injected".into());
    injected.file_injections = vec![FileInjection::new("for this one".into(), place)];
    assert_eq!(host.printed(injected).await, "for this one");
    spare(&host).await;
    let left = host.printed(command("/bin/ls", &["-A", "/tmp"])).await;
    assert!(!left.contains("injected"), "{left}");

    spare(&host).await;
    std::fs::write(dir.join("other"), "after").expect("a file");
    std::fs::rename(dir.join("other"), &single).expect("another file");
    assert_eq!(read(&host, &single).await, "after");
}

async fn read(host: &Host, file: &Path) -> String {
    host.printed(command("/bin/cat", &[text(file)])).await
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The numbers of the mounts of a process.
fn mounts_of_descriptors(pid: u32) -> BTreeSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it waits");
    let told = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    told.filter_map(|told| {
        Some(
            told.lines()
                .find_map(|line| line.strip_prefix("mnt_id:"))?
                .trim()
                .to_owned(),
        )
    })
    .collect()
}

/// The mount points and their options, without the numbers that differ between trees.
fn places(mountinfo: &str) -> BTreeSet<String> {
    let place = |line: &str| {
        let fields: Vec<_> = line.split(' ').skip(3).filter(|field| !field.contains(':')).collect();
        fields.join(" ")
    };
    mountinfo.lines().map(place).collect()
}

fn mount(args: &[&str]) {
    assert!(program("mount").args(args).status().expect("util-linux").success());
}

fn unmount(folder: &Path) {
    assert!(program("umount").arg(folder).status().expect("util-linux").success());
}

crate::who::root!(b1_a_prepared_root_is_the_one_that_would_be_made_now);
