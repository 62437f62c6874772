//! However the command ends, nothing that it started is left.
//!
//! The example capsule's server serves the workspace. A page that is a named pipe keeps a `get` in flight until the
//! test opens the pipe to write, because the server has nothing to answer before that.

use std::process::Command;

use rustix::process::Signal;

use crate::support::{GRANTED, Running, Workspace, command, dev_server_file, is_free};

const HELD_GET: &str = "get={\"path\":\"/pipe\"}";

/// Starts the server, and returns when a `get` is in flight.
fn in_flight(workspace: &Workspace, run: &mut Command) -> (Running, u16) {
    workspace.pipe("pipe");
    let mut running = Running::start(run);
    let start = running.line();
    let port = start["result"]["data"]["port"]
        .as_u64()
        .unwrap_or_else(|| panic!("{start}"));
    workspace.when_serving();
    (running, u16::try_from(port).unwrap())
}

/// Runs `capsule run … start get status` under `env` with an option about signals, because the test's own parent may
/// ignore some signals.
fn run_with(workspace: &Workspace, signals: &str) -> Command {
    let plain = workspace.run(GRANTED);
    let mut command = command("env");
    command.arg(signals).arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg(dev_server_file()).args(["start", HELD_GET, "status"]);
    command
}

#[test]
fn a_signal_in_the_middle_of_a_call() {
    for (signal, number) in [(Signal::HUP, 1), (Signal::INT, 2), (Signal::TERM, 15)] {
        let workspace = Workspace::new();
        let (running, port) = in_flight(&workspace, &mut run_with(&workspace, "--default-signal"));
        running.signal(signal);
        let ended = running.finish();
        assert_eq!(ended.code, Some(128 + number), "{ended:?}");
        // The audit has the call in flight, and the call after it did not run.
        assert_eq!(ended.lines.len(), 1, "{ended:?}");
        assert_eq!(ended.lines[0]["action"], "get", "{ended:?}");
        assert_eq!(ended.lines[0]["error"]["kind"], "cancelled", "{ended:?}");
        assert!(is_free(port));
        workspace.assert_empty();
    }
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let workspace = Workspace::new();
    let (running, port) = in_flight(&workspace, &mut run_with(&workspace, "--ignore-signal=HUP"));
    running.signal(Signal::HUP);
    drop(workspace.when_read("pipe"));
    let ended = running.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.lines.len(), 2, "{ended:?}");
    assert!(is_free(port));
    workspace.assert_empty();
}

#[test]
fn a_reader_that_goes_away() {
    let workspace = Workspace::new();
    let mut run = workspace.run(GRANTED);
    let (mut running, port) = in_flight(&workspace, run.arg(dev_server_file()).args(["start", HELD_GET, "stop"]));
    running.close_output();
    // Lets the call end, so that its line is written to the closed output.
    drop(workspace.when_read("pipe"));
    let ended = running.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("panic"), "{ended:?}");
    assert!(is_free(port));
    workspace.assert_empty();
}

#[test]
fn a_signal_while_standard_output_is_not_read() {
    let workspace = Workspace::new();
    // The line is much longer than a pipe holds, so that its rest cannot be written.
    workspace.write("page", &"a page of the test\n".repeat(100_000));
    let mut run = workspace.run(GRANTED);
    let mut running = Running::start(
        run.arg(dev_server_file())
            .args(["start", "get={\"path\":\"/page\"}", "stop"]),
    );
    let start = running.line();
    let port = start["result"]["data"]["port"]
        .as_u64()
        .unwrap_or_else(|| panic!("{start}"));
    running.wait_for_output();
    running.signal(Signal::TERM);
    let code = running.wait();
    assert_eq!(code, Some(128 + 15));
    assert!(is_free(u16::try_from(port).unwrap()));
    workspace.assert_empty();
}

#[test]
fn a_full_device_is_reported() {
    let workspace = Workspace::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = workspace
        .run(GRANTED)
        .arg(dev_server_file())
        .args(["start", "status"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot write to standard output"), "{stderr}");
    workspace.assert_empty();
}
