//! The children of tests, which are the system's own small programs, and how they end.

use capsule_host::supervisor::{ExitInfo, SpawnRequest};

/// A request for a command with its arguments, and the defaults for everything else.
pub fn command(cmd: &str, args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        cmd: cmd.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..SpawnRequest::default()
    }
}

/// A request for a script of the shell.
pub fn sh(script: &str) -> SpawnRequest {
    command("/bin/sh", &["-c", script])
}

/// A request for a child that writes back what is written to it, while its stdin is open. So the test decides its
/// output byte by byte.
pub fn cat() -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..command("/bin/cat", &[])
    }
}

/// A request for a child that runs until it is ended, and obeys every signal.
pub fn forever() -> SpawnRequest {
    command("/bin/sleep", &["1000"])
}

/// The exit of a program that returned this code.
pub const fn code(code: i32) -> ExitInfo {
    ExitInfo {
        exit_code: Some(code),
        signal: None,
    }
}

/// The exit of a program that a signal ended.
pub const fn signalled(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}
