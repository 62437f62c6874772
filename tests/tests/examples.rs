//! The examples of `host/examples` are run as a reader would, and the README shows the code that is run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs an example in an empty workspace.
fn run(example: &str, arguments: &[&str]) -> Output {
    let program = program(example);
    let workspace = TempDir::new().expect("a workspace");
    #[expect(clippy::disallowed_methods, reason = "a test is no part of the host")]
    Command::new(&program)
        .args(arguments)
        .current_dir(workspace.path())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo build --workspace --examples` makes it",
                program.display()
            )
        })
}

/// Cargo builds the examples with the tests, and sets variables for the paths of programs but not of examples.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a name");
    let profile = test.parent().and_then(Path::parent).expect("tests are in PROFILE/deps");
    profile.join("examples").join(example)
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// One line each: the action, the verdict, the data.
#[track_caller]
fn assert_server_ran(said: &str) {
    let lines: Vec<_> = said.lines().collect();
    let [start, get, stop] = lines[..] else {
        panic!("{said}")
    };
    assert!(start.starts_with("start: continue {\"id\":\""), "{said}");
    assert!(get.starts_with("get: continue {\"status\":200,"), "{said}");
    assert!(stop.starts_with("stop: continue "), "{said}");
}

#[test]
fn runtime() {
    let output = run("runtime", &[env!("CAPSULE_DEV_SERVER"), "start", "get", "stop"]);
    assert_server_ran(&stdout(output));
}

#[test]
fn own_engine() {
    let output = run("own_engine", &[env!("CAPSULE_DEV_SERVER"), "start", "get", "stop"]);
    assert_server_ran(&stdout(output));
}

#[test]
fn supervisor_only() {
    let output = run("supervisor_only", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn other_launcher() {
    // Without arguments `nice` prints its niceness.
    let niceness = |output| -> i32 { stdout(output).lines().next().unwrap().parse().unwrap() };
    let before = niceness(run("supervisor_only", &["nice"]));
    let after = niceness(run("other_launcher", &["nice"]));
    assert_eq!(after, (before + 5).min(19));
}

#[test]
fn the_readme_shows_what_is_run() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../../host/examples/runtime.rs");
    let (_, code) = example.split_once("\n\n").expect("a header and the code");
    assert!(
        readme.contains(&format!("```rust\n{code}```")),
        "the README's code for embedders is another"
    );
}
