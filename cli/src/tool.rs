//! Calls the user's own compiler and its tools as the user would: unconfined, in the folder whose toolchain and configuration
//! apply.
//!
//! Variables that an outer cargo or rustup left in the environment are not passed on, because they describe the program that runs
//! here and not the capsule.
//!
//! Every program started here leads a process group of its own, which ends as a whole when the future is dropped (that
//! is, when the command is interrupted): cargo alone would leave its compilers running.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::cargo::{BuildError, TARGET};

/// Has rustup, started in `from`, add the target for the crate in `folder`.
pub(crate) async fn rustup_adds(from: &Path, which: &[&str], folder: &Path) -> Result<(), BuildError> {
    let mut rustup = tool("rustup", from);
    rustup.args(["target", "add", TARGET]).args(which).stdout(Stdio::null());
    let mut rustup = match Group::start("rustup", rustup) {
        Ok(rustup) => rustup,
        Err(BuildError::NoProgram { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BuildError::NoTarget {
                folder: folder.to_owned(),
            });
        }
        Err(error) => return Err(error),
    };
    let status = rustup.child.wait().await.map_err(|error| BuildError::Read {
        program: "rustup",
        error,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::AddTarget { status })
    }
}

/// `program`, to be run in `folder` with an environment that does not mention this program.
pub(crate) fn tool(program: &str, folder: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the compiler is the user's own tool and no capsule's process: it has no place in the supervisor"
    )]
    let command = std::process::Command::new(program);
    let mut command = Command::from(command);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);

    let below_rustup = std::env::var_os("RUST_RECURSION_COUNT").is_some();
    for (name, value) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if is_left_over(text, below_rustup) {
            command.env_remove(&name);
        } else if matches!(text, "CARGO_TARGET_DIR" | "CARGO_BUILD_TARGET_DIR") {
            // A relative path is relative to the user's working directory.
            if let Ok(path) = std::path::absolute(value) {
                command.env(&name, path);
            }
        }
    }
    command
}

/// Whether a variable describes the program that runs here, so that it must not reach the capsule's build.
pub(crate) fn is_left_over(name: &str, below_rustup: bool) -> bool {
    // Set by `cargo run` and `cargo test` for the program that they start.
    let by_cargo = matches!(
        name,
        "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "CARGO_TARGET_TMPDIR" | "OUT_DIR"
    ) || [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix));
    // Flags for this machine's programs, such as a linker, a processor or coverage. They break a build for another target.
    let for_this_machine = matches!(name, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS");
    // Rustup sets it to tell the programs that it starts which toolchain it chose for their folder. If rustup did not start this
    // program, the user set the variable on purpose.
    let by_rustup = below_rustup && matches!(name, "RUSTUP_TOOLCHAIN" | "RUSTUP_TOOLCHAIN_SOURCE");
    by_cargo || for_this_machine || by_rustup
}

/// A running program that leads its own process group. A drop kills the whole group, unless the program was waited for.
pub(crate) struct Group {
    pub(crate) child: Child,
}

impl Group {
    pub(crate) fn start(program: &'static str, command: Command) -> Result<Self, BuildError> {
        Self::lead(command).map_err(|error| BuildError::NoProgram { program, error })
    }

    pub(crate) fn lead(mut command: Command) -> io::Result<Self> {
        Ok(Self {
            child: command.spawn()?,
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is `None` once the leader was reaped, so the number cannot have become another process's.
        let leader = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(leader) = leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

pub(crate) async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_of_this_program_is_left_behind() {
        for name in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_BIN_EXE_capsule",
            "RUSTFLAGS",
            "OUT_DIR",
        ] {
            assert!(is_left_over(name, false), "{name}");
        }
        for name in [
            "PATH",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
        ] {
            assert!(!is_left_over(name, true), "{name}");
        }
    }

    #[test]
    fn a_toolchain_is_the_users_word_unless_rustup_put_it_there() {
        assert!(is_left_over("RUSTUP_TOOLCHAIN", true));
        assert!(!is_left_over("RUSTUP_TOOLCHAIN", false));
    }
}
