//! The errors of the runtime. Each message tells the reader what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use capsule_supervisor::printable::printable_lines;

/// Why a [`Runtime`](super::Runtime) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A limit is zero.
    #[error("guest time, call time, guest memory, resources and instances must all be more than zero")]
    Zero,
    /// The folder for compiled code cannot be used.
    #[error("{} cannot keep compiled code: {reason}; name a folder that you may write to, or none", dir.display())]
    Cache {
        /// The folder.
        dir: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The engine could not be made, most often because the address space of the process is limited.
    #[error("the engine cannot be made: {0}; try fewer instances, or remove the limit on address space")]
    Engine(String),
    /// The thread that measures the guests' computing time could not be started.
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are a core module.
    #[error(
        "this is a core WebAssembly module, not a component; build it for wasm32-wasip2, or make it one with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// The workspace contains the folder for compiled code, so a process could leave code there that would run as the
    /// host's own.
    #[error(
        "the workspace {} and the folder for compiled code {} overlap; name another workspace, or another folder for \
         compiled code",
        workspace.display(), cache_dir.display()
    )]
    Workspace {
        /// The workspace.
        workspace: PathBuf,
        /// The folder for compiled code.
        cache_dir: PathBuf,
    },
    /// The workspace contains the folder of the store, so a process could change what any capsule keeps there.
    #[error(
        "the workspace {} and the folder of the store {} overlap; name another workspace, or another folder for the store",
        workspace.display(), store_dir.display()
    )]
    WorkspaceAndStore {
        /// The workspace.
        workspace: PathBuf,
        /// The folder of the store.
        store_dir: PathBuf,
    },
    /// The bytes are no valid component, or use a feature that the engine does not have.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// The component imports a function that the runtime does not serve, or with another type.
    #[error("this component needs an import that the host does not serve: {0}")]
    Link(String),
    /// The options name a principal for `run`, and the component has no `run`.
    #[error("this component is declared to run in the background and does not export `run`")]
    NoRun,
    /// As many capsules run in the background as the runtime allows.
    #[error("{0} capsules already run in the background; unload one, or raise the limit")]
    TooManyInBackground(u32),
    /// The interceptors cannot subscribe.
    #[error("its interceptors cannot subscribe: {0}")]
    Messages(#[from] crate::bus::Error),
    /// The capsule was unloaded before it was reloaded.
    #[error("the capsule was unloaded; load it again")]
    Unloaded,
    /// The compilation was cancelled because the program is ending, or failed by a fault of the host.
    #[error("compiling did not finish: {0}")]
    Host(String),
}

/// Why a call gave no result. The capsule can be called again after any of these errors but [`CallError::Cancelled`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The guest trapped, misused a handle, or ended itself.
    #[error("the capsule failed: {message}{}", said(stderr))]
    Trap {
        /// The reason.
        message: String,
        /// The end of what the guest wrote to stderr, at most 2 KiB. It contains the message of a panic.
        stderr: String,
    },
    /// The guest computed for longer than the limit, which is the value.
    #[error("the capsule computed for more than {0:?}; let it do less in a call, or give it more guest time")]
    GuestTime(Duration),
    /// The call took longer than the limit, which is the value. Most of the time passed in waiting.
    #[error("the call took more than {0:?}; let the capsule wait less in a call, or give calls more time")]
    CallTime(Duration),
    /// The guest asked for more memory than the limit, which is the value in bytes, and failed because of the refusal.
    #[error("the capsule needs more than {0} bytes of memory; let it hold less at once, or give it more")]
    GuestMemory(usize),
    /// The capsule was unloaded before or during the call.
    #[error("the capsule was unloaded; load it again to call it")]
    Cancelled,
    /// The component has no entry point for actions.
    #[error("the component has no entry point for actions: {0}; export `astrid-hook-trigger`, as the SDK's macro does")]
    NoEntryPoint(String),
    /// The host could not run the call.
    #[error("the host could not run the call: {0}")]
    Host(String),
}

impl CallError {
    /// The variant as one word, for machines.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "trap",
            Self::GuestTime(_) => "guest-time",
            Self::CallTime(_) => "call-time",
            Self::GuestMemory(_) => "guest-memory",
            Self::Cancelled => "cancelled",
            Self::NoEntryPoint(_) => "no-entry-point",
            Self::Host(_) => "host",
        }
    }
}

/// The guest's text, without characters that a terminal would obey.
fn said(stderr: &str) -> String {
    let stderr = printable_lines(stderr.trim());
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; its last output on standard error: {stderr}")
    }
}

/// An engine's error with its causes. It may contain names from the component.
pub(super) fn describe(error: &wasmtime::Error) -> String {
    printable_lines(&format!("{error:#}"))
}
