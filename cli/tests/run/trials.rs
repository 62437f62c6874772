//! A trial of the confinement that succeeded is not repeated, and one that is kept wrongly confines nothing less.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::support::{
    Ended, GRANTED, Workspace, command, dev_server_file, finish, skip, within, without_user_namespaces,
};

/// The file, in a cache folder of the test's own.
fn kept(cache: &Path) -> PathBuf {
    cache.join("capsule/confinement-trials")
}

/// A run of the example capsule, or of another one.
fn run(cache: &Path, workspace: &Workspace, capsule: &Path, more: &[&str]) -> Command {
    let mut run = workspace.run(GRANTED);
    run.args(more).arg(capsule);
    run.env("XDG_CACHE_HOME", cache).env("RUST_LOG", "capsule=debug");
    run
}

/// Whether the run made a trial at its start.
#[track_caller]
fn is_tried(ended: &Ended) -> bool {
    let is_tried = ended.stderr.contains("the confinement is tried");
    assert_ne!(
        is_tried,
        ended.stderr.contains("the confinement was tried before"),
        "{ended:?}"
    );
    is_tried
}

#[test]
fn b2_a_trial_that_succeeded_is_not_repeated_until_something_changes() {
    let (cache, workspace) = (TempDir::new().unwrap(), Workspace::new());
    let capsule = dev_server_file();
    let with = |more: &[&str]| {
        let mut run = run(cache.path(), &workspace, &capsule, more);
        run.arg("stop");
        run
    };
    let first = finish(&mut with(&[]));
    if first.stderr.contains("capsule doctor") {
        return skip(&first.stderr);
    }
    assert!(is_tried(&first), "{first:?}");
    assert!(!is_tried(&finish(&mut with(&[]))));

    // Another workspace and another policy.
    let elsewhere = Workspace::new();
    let mut there = run(cache.path(), &elsewhere, &capsule, &[]);
    assert!(is_tried(&finish(there.arg("stop"))));
    assert!(is_tried(&finish(&mut with(&["--network", "none"]))));
    // Other limits of the process.
    let mut limited = command("sh");
    limited.args(["-c", "ulimit -t 100000 && exec \"$@\"", "sh"]);
    assert!(is_tried(&finish(&mut within(limited, &with(&[])))));
    if geteuid().is_root() {
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--"]);
        assert!(is_tried(&finish(&mut within(unshare, &with(&[])))), "a mount namespace");
    }
    // A port is published only after a trial.
    assert!(is_tried(&finish(&mut with(&["--publish", "127.0.0.1:0:8000"]))));

    // All of these are kept beside the first.
    assert!(!is_tried(&finish(&mut with(&[]))));
    assert!(!is_tried(&finish(&mut with(&["--network", "none"]))));
    fs::remove_file(kept(cache.path())).unwrap();
    assert!(is_tried(&finish(&mut with(&[]))));
}

#[test]
fn b2_processes_start_after_a_trial_that_was_left_out() {
    let (cache, workspace) = (TempDir::new().unwrap(), Workspace::new());
    workspace.write("hello.txt", "a page of the test\n");
    let work = || {
        let mut run = run(cache.path(), &workspace, &dev_server_file(), &[]);
        finish(run.args(["start", "get={\"path\":\"/hello.txt\"}", "stop"]))
    };
    let first = work();
    if first.stderr.contains("capsule doctor") {
        return skip(&first.stderr);
    }
    let second = work();
    assert!(is_tried(&first) && !is_tried(&second), "{first:?} {second:?}");
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.lines[1].to_string().contains("a page of the test"), "{second:?}");
    workspace.assert_empty();
}

/// Runs `inner` twice where it cannot confine, and before the second time writes that its trial has succeeded. None where that
/// cannot be arranged.
fn with_a_lie(inner: &Command) -> Option<Command> {
    let twice = "\"$@\" >/dev/null 2>\"$XDG_CACHE_HOME/first\"; \
                 sed -n 's/.*is tried.*\\([0-9a-f]\\{64\\}\\).*/\\1/p' \"$XDG_CACHE_HOME/first\" \
                 >\"$XDG_CACHE_HOME/capsule/confinement-trials\"; exec \"$@\"";
    let mut sh = command("sh");
    sh.args(["-c", twice, "sh"]);
    without_user_namespaces(&within(sh, inner))
}

/// The refusal of a machine that cannot confine, after which nothing has run.
#[track_caller]
fn is_refused(ended: &Ended, workspace: &Workspace) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    for part in [
        "user namespace",
        "No space left on device",
        "max_*_namespaces",
        "capsule doctor",
        "--unconfined",
    ] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    workspace.assert_empty();
}

#[test]
fn b2_a_trial_that_is_kept_wrongly_starts_no_process_and_is_no_longer_kept() {
    let (cache, workspace) = (TempDir::new().unwrap(), Workspace::new());
    let mut run = run(cache.path(), &workspace, &dev_server_file(), &[]);
    run.args(["start", "stop"]);
    let Some(mut run) = with_a_lie(&run) else { return };
    let ended = finish(&mut run);
    assert!(!is_tried(&ended), "{ended:?}");
    is_refused(&ended, &workspace);
    assert!(!kept(cache.path()).exists());
}

#[test]
fn b2_a_trial_that_is_kept_wrongly_builds_no_crate() {
    let (cache, workspace, folder) = (TempDir::new().unwrap(), Workspace::new(), Workspace::new());
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\n[workspace]\n",
    );
    fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/lib.rs", "");
    let mut run = run(cache.path(), &workspace, &folder.path(), &[]);
    run.arg("open");
    let Some(mut run) = with_a_lie(&run) else { return };
    let ended = finish(&mut run);
    assert!(is_tried(&ended), "{ended:?}");
    is_refused(&ended, &workspace);
    assert!(!folder.path().join("target").exists());
    assert!(!kept(cache.path()).exists());
}
