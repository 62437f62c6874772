//! The children of tests, which are the system's own small programs, and how they end.

use capsule_host::supervisor::{ExitInfo, SpawnRequest};

/// A command with its arguments, and nothing else asked for.
pub fn command(cmd: &str, args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        cmd: cmd.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..SpawnRequest::default()
    }
}

/// A script.
pub fn sh(script: &str) -> SpawnRequest {
    command("/bin/sh", &["-c", script])
}

/// Says back what is written to it, as long as its stdin is open: a child whose output the test decides byte by byte.
pub fn cat() -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..command("/bin/cat", &[])
    }
}

/// Runs until it is ended, and obeys every signal.
pub fn forever() -> SpawnRequest {
    command("/bin/sleep", &["1000"])
}

/// The end of a program that exited.
pub const fn code(code: i32) -> ExitInfo {
    ExitInfo {
        exit_code: Some(code),
        signal: None,
    }
}

/// The end of a program that a signal ended.
pub const fn signalled(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}
