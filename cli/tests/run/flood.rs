//! A capsule that logs more than a reader can take delays no signal, no call and no end, and fills no disk.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Process, Workspace};

/// The default capacity of a pipe, in bytes.
const PIPE: u64 = 64 << 10;

/// Logs 16 KB of terminal control sequences repeatedly: for ever if there is a payload, otherwise 4,000 times.
const FLOOD: &str = r#"(component
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle
    (type $result (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result)))))
  (alias export $lifecycle "capsule-result" (type $capsule-result))
  (import "astrid:sys/host@1.0.0" (instance $sys
    (type $level (enum "trace" "debug" "info" "warn" "error"))
    (export "log-level" (type $log-level (eq $level)))
    (export "log" (func (param "level" $log-level) (param "message" string)))))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $log (canon lower (func $sys "log") (memory $mem)))
  (core module $guest
    (import "env" "memory" (memory 1))
    (import "sys" "log" (func $log (param i32 i32 i32)))
    (data (i32.const 1024) "continue\u{202e}")
    (data (i32.const 2048) "flood \0d\1b[2J\u{202e}\nERROR host: forged")
    (func (export "trigger") (param i32 i32 i32 i32) (result i32)
      (local $n i32)
      (memory.fill (i32.const 2100) (i32.const 120) (i32.const 15900))
      (loop $more
        (call $log (i32.const 3) (i32.const 2048) (i32.const 15950))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $more (i32.or (local.get 3) (i32.lt_u (local.get $n) (i32.const 4000)))))
      (i32.store (i32.const 64) (i32.const 1024))
      (i32.store (i32.const 68) (i32.const 8))
      (i32.store (i32.const 72) (i32.const 1))
      (i32.store (i32.const 76) (i32.const 1024))
      (i32.store (i32.const 80) (i32.const 11))
      (i32.const 64)))
  (core instance $guest (instantiate $guest (with "env" (instance $memory))
    (with "sys" (instance (export "log" (func $log))))))
  (alias core export $guest "trigger" (core func $trigger))
  (func $trigger (param "action" string) (param "payload" (list u8)) (result $capsule-result)
    (canon lift (core func $trigger) (memory $mem) (realloc $realloc)))
  (export "astrid-hook-trigger" (func $trigger)))"#;

/// The command `capsule run … flood.wasm CALL`, not started yet. The component lies outside of the workspace.
fn flood(workspace: &Workspace, folder: &Path, call: &str) -> Command {
    let component = folder.join("flood.wasm");
    fs::write(&component, wat::parse_str(FLOOD).unwrap()).unwrap();
    let mut run = workspace.run(["--unconfined", component.to_str().unwrap(), call]);
    run.stdout(Stdio::piped()).stderr(Stdio::piped());
    run
}

/// Waits until the pipe that is its standard error is full.
fn until_full(child: &Child) {
    let start = Instant::now();
    let stderr = child.stderr.as_ref().unwrap();
    // A line that does not fit as a whole may leave room.
    while ioctl_fionread(stderr).unwrap() < PIPE - (16 << 10) {
        assert!(start.elapsed() < Duration::from_secs(60), "it says nothing");
        std::thread::yield_now();
    }
}

fn code_of(mut child: Child) -> Option<i32> {
    Process::new(child.id().cast_signed())
        .expect("it is not waited for yet")
        .wait();
    child.wait().unwrap().code()
}

#[test]
fn u3_a_signal_ends_a_command_whose_standard_error_is_not_read() {
    let (workspace, folder) = (Workspace::new(), tempfile::tempdir().unwrap());
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15)] {
        let child = flood(&workspace, folder.path(), "flood=1").spawn().unwrap();
        until_full(&child);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(code_of(child), Some(128 + number));
    }
}

#[test]
fn u3_calls_and_the_end_wait_for_no_reader_of_standard_error() {
    let (workspace, folder) = (Workspace::new(), tempfile::tempdir().unwrap());
    let child = flood(&workspace, folder.path(), "flood").spawn().unwrap();
    until_full(&child);
    assert_eq!(code_of(child), Some(0));
}

#[test]
fn u3_a_flood_into_a_file_is_bounded_told_of_and_harmless_to_look_at() {
    let (workspace, folder) = (Workspace::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("stderr");
    let start = Instant::now();
    let mut run = flood(&workspace, folder.path(), "flood");
    let output = run.stderr(fs::File::create(&path).unwrap()).output().unwrap();
    let seconds = start.elapsed().as_secs() + 1;
    assert_eq!(output.status.code(), Some(0));

    let log = fs::read(&path).unwrap();
    // Of 64 MB the log contains the burst, the rate, and the report of the loss.
    let most = (1 << 20) + seconds * (64 << 10) + (64 << 10);
    assert!(log.len() as u64 <= most, "{} bytes", log.len());
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("dropped"), "{}", &log[log.len() - 500..]);
    assert!(log.contains(r"flood \r"), "{}", &log[..200]);
    assert!(!log.contains("\nERROR host: forged"));
    let harmless = |text: &str| !text.contains(['\r', '\x1b', '\u{202e}']);
    assert!(harmless(&log));

    // The result contains the same text as JSON, in which no terminal control sequence is left.
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(harmless(&answer), "{answer}");
    let line: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(line["result"]["data"], "continue\u{202e}");
}
