//! What the supervisor's tests share: a host with a workspace of its own, and ways to wait for facts.
//!
//! Children are the system's own small programs. Nothing here waits for a time to pass: [`until`] asks again until a
//! fact holds, and gives up after a minute, which no test comes near unless the fact never holds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use capsule_host::sandbox::{Launcher, Unconfined, Workspace};
use capsule_host::supervisor::{
    Ask, Error, ExitInfo, Gate, Limits, LogChunk, LogStream, Owner, Principal, ProcessId, Registry, RunOutput, Scope,
    SpawnRequest,
};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Longer than anything here takes, and shorter than a person's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Allows everything.
pub(crate) struct AllowAll;

impl Gate for AllowAll {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}

/// A registry and a workspace that are this test's alone.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) workspace: Workspace,
    dir: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A host whose limits are the defaults but for what `change` does to them.
    pub(crate) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::made_of(Arc::new(Unconfined::new().allow_persistent()), limits)
    }

    /// A host with a launcher of the test's own.
    pub(crate) fn launching(launcher: Arc<dyn Launcher>) -> Self {
        Self::made_of(launcher, Limits::default())
    }

    fn made_of(launcher: Arc<dyn Launcher>, limits: Limits) -> Self {
        let registry = Registry::new(Handle::current(), launcher, limits).expect("a registry");
        let dir = TempDir::new().expect("a workspace");
        let workspace = Workspace::open(dir.path()).expect("a workspace");
        Self {
            registry,
            workspace,
            dir,
        }
    }

    /// A host that admits as many processes as a test likes.
    pub(crate) fn roomy() -> Self {
        Self::with(|limits| {
            limits.processes_per_principal = 10_000;
            limits.retained_per_owner = 10_000;
            limits.retained_total = 10_000;
            limits.ring_memory_per_principal = usize::MAX / 2;
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The view of the owner that most tests act as.
    pub(crate) fn scope(&self) -> Scope {
        self.scope_of("alice", "editor")
    }

    pub(crate) fn scope_of(&self, principal: &str, capsule: &str) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Named(principal.to_owned()),
            capsule: capsule.to_owned(),
        })
    }

    pub(crate) fn anonymous(&self) -> Scope {
        self.registry.scope(Owner {
            principal: Principal::Anonymous,
            capsule: "editor".to_owned(),
        })
    }

    /// `spawn`, with every grant.
    pub(crate) async fn run(&self, request: SpawnRequest) -> Result<RunOutput, Error> {
        let scope = self.scope();
        watchdog(scope.spawn(request, &self.workspace, &mut AllowAll)).await
    }

    /// `spawn_persistent`, with every grant.
    pub(crate) async fn try_start(&self, request: SpawnRequest) -> Result<ProcessId, Error> {
        self.start_in(&self.scope(), request).await
    }

    pub(crate) async fn start_in(&self, scope: &Scope, request: SpawnRequest) -> Result<ProcessId, Error> {
        watchdog(scope.spawn_persistent(request, &self.workspace, &mut AllowAll)).await
    }

    /// A started process's id.
    pub(crate) async fn start(&self, request: SpawnRequest) -> String {
        let id = self.try_start(request).await.expect("a process");
        id.expose().to_owned()
    }
}

pub(crate) fn command(cmd: &str, args: &[&str]) -> SpawnRequest {
    SpawnRequest {
        cmd: cmd.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..SpawnRequest::default()
    }
}

pub(crate) fn sh(script: &str) -> SpawnRequest {
    command("/bin/sh", &["-c", script])
}

/// Says back what is written to it, as long as its stdin is open: a child whose output the test decides byte by byte.
pub(crate) fn cat() -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..command("/bin/cat", &[])
    }
}

/// Runs until it is ended, and obeys every signal.
pub(crate) fn forever() -> SpawnRequest {
    command("/bin/sleep", &["1000"])
}

/// Fails the test where `future` is stuck.
pub(crate) async fn watchdog<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ended, instead of hanging")
}

/// Returns once `fact` holds. For facts that are not announced, such as those in `/proc`.
pub(crate) async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let asking = async {
        while !fact() {
            breathe().await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, asking).await.is_ok(),
        "never happened: {what}"
    );
}

/// Leaves the processor to others between two looks at a fact.
pub(crate) async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The exit, however long it takes.
pub(crate) async fn exit(scope: &Scope, id: &str) -> ExitInfo {
    watchdog(scope.wait(id, PATIENCE)).await.expect("an exit")
}

pub(crate) const fn code(code: i32) -> ExitInfo {
    ExitInfo {
        exit_code: Some(code),
        signal: None,
    }
}

pub(crate) const fn signalled(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}

/// One chunk of at most `max` bytes.
pub(crate) fn chunk(scope: &Scope, id: &str, stream: LogStream, cursor: Option<&str>, max: u32) -> LogChunk {
    scope
        .read_since(id, stream, cursor, max)
        .expect("a chunk of a process that is there")
}

/// The next chunk that brings bytes or the end, and moves the cursor. Patient for that only: how long a whole stream takes
/// depends on how much it is and on who else wants the processors.
pub(crate) async fn news<F: Future<Output = ()>>(
    scope: &Scope,
    id: &str,
    stream: LogStream,
    cursor: &mut Option<String>,
    max: u32,
    pause: impl Fn() -> F,
) -> LogChunk {
    watchdog(async {
        loop {
            let chunk = chunk(scope, id, stream, cursor.as_deref(), max);
            *cursor = Some(chunk.next.clone());
            if chunk.drained_eof || !chunk.data.is_empty() {
                break chunk;
            }
            pause().await;
        }
    })
    .await
}

/// All of a stream by cursor to its announced end, and what the cursor says went missing.
pub(crate) async fn follow(scope: &Scope, id: &str, stream: LogStream, max: u32) -> (Vec<u8>, u64) {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let chunk = news(scope, id, stream, &mut cursor, max, breathe).await;
        all.extend_from_slice(&chunk.data);
        if chunk.drained_eof {
            return (all, chunk.bytes_dropped);
        }
    }
}

/// Waits until the child has printed `lines` whole lines on stdout, and returns them; drains nothing.
pub(crate) async fn lines(scope: &Scope, id: &str, lines: usize) -> Vec<String> {
    let mut found = Vec::new();
    until("the lines", || {
        let data = chunk(scope, id, LogStream::Stdout, None, u32::MAX).data;
        let text = String::from_utf8_lossy(&data);
        found = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| line.trim_end().to_owned())
            .collect();
        found.len() >= lines
    })
    .await;
    found
}

/// The pid that the child printed as its first line.
pub(crate) async fn printed_pid(scope: &Scope, id: &str) -> u32 {
    lines(scope, id, 1)
        .await
        .first()
        .and_then(|line| line.parse().ok())
        .expect("a pid")
}

/// The state letter of a process in `/proc`; none where it is gone.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether a process of another parent still executes; its new parent may take its time to reap it.
pub(crate) fn runs(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// `len` bytes that repeat late and hold every value: xorshift of a seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Keeps every core busy until dropped.
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    pub(crate) fn cores() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = (0..cores)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the thread only counted");
        }
    }
}
