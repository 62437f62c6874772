//! Nothing is left behind, whichever process dies, and however (B3, X1).

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use capsule_host::sandbox::{Confined, Policy};
use capsule_host::supervisor::{Limits, Owner, Principal, Registry, SpawnRequest};

use crate::harness::{
    AT_ONCE, AllowAll, Host, PATIENCE, Process, code, command, living, marker, nothing_left, soon, workspace, zoo,
};
use crate::who::program;

/// A host in a process of its own, which the test kills.
pub(crate) struct Doomed {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Doomed {
    pub(crate) fn start(marker: &str, workspace: &Path, args: &[&str]) -> Self {
        Self::start_as(program(crate::who::binary("zoo-host")), marker, workspace, args)
    }

    /// With few processes in a tree, so that a storm leaves the machine usable.
    pub(crate) fn start_with_few(marker: &str, workspace: &Path, args: &[&str]) -> Self {
        let mut host = program(crate::who::binary("zoo-host"));
        host.env("ZOO_PIDS", "512");
        Self::start_as(host, marker, workspace, args)
    }

    /// With groups of its own in a control group.
    pub(crate) fn start_in(group: Option<&Path>, marker: &str, workspace: &Path, args: &[&str]) -> Self {
        let mut host = program(crate::who::binary("zoo-host"));
        if let Some(group) = group {
            host.env("ZOO_CGROUP", group);
        }
        Self::start_as(host, marker, workspace, args)
    }

    /// With further variables for the host.
    pub(crate) fn start_as(mut host: std::process::Command, marker: &str, workspace: &Path, args: &[&str]) -> Self {
        let mut child = host
            .arg(marker)
            .arg(workspace)
            .args(["hold", "./zoo"])
            .args(args)
            .arg(marker)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a host");
        let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, said }
    }

    pub(crate) fn says(&mut self, wanted: &str) {
        let said = self.said.next().map(|line| line.expect("a line"));
        assert_eq!(said.as_deref(), Some(wanted));
    }

    fn told(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("it listens");
    }

    /// Kills the host by SIGKILL. Returns its session.
    pub(crate) fn killed(mut self) -> u32 {
        let session = self.child.id();
        self.child.kill().expect("a living host");
        self.child.wait().expect("a dead host");
        session
    }
}

async fn b3_a_host_killed_while_it_spawns_leaves_nothing() {
    let (dir, marker) = (workspace(), marker());
    let mut sessions = Vec::new();
    let mut seed = 0x2545_f491_u32;
    // Some of the trees must start, or the test shows little. A slow machine needs more time and more hosts for that.
    let mut longest = 15_000;
    while sessions.len() < 300 || !dir.path().join("up").exists() {
        assert!(longest < 10_000_000, "no tree came up");
        if sessions.len() >= 300 {
            longest *= 2;
        }
        let mut host = Doomed::start(&marker, dir.path(), &["deaf-tree"]);
        host.says("spawning");
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        let (begun, delay) = (Instant::now(), Duration::from_micros(u64::from(seed % longest)));
        while begun.elapsed() < delay {
            std::thread::yield_now();
        }
        sessions.push(host.killed());
    }
    nothing_left(&marker, &sessions, AT_ONCE).await;
}

/// Blocks every process that opens a file, until it is dropped.
struct Lessee {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Lessee {
    fn of(file: &Path) -> Self {
        let mut child = program(crate::who::binary("zoo"))
            .arg("lease")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a lessee");
        let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, said }
    }

    fn says(&mut self) -> String {
        self.said.next().expect("a line").expect("a line")
    }
}

impl Drop for Lessee {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }
}

/// Opening a program can take long, because the file may be on another machine or leased. Init must not wait for it.
async fn b3_a_host_killed_while_a_program_is_opened_leaves_nothing() {
    let (dir, marker) = (workspace(), marker());
    let mut lessee = Lessee::of(&dir.path().join("zoo"));
    let leased = lessee.says();
    if leased != "leased Ok(0)" {
        crate::who::skip(&format!("a file system with leases ({leased})"));
        return;
    }
    let mut host = Doomed::start(&marker, dir.path(), &["stay"]);
    host.says("spawning");
    assert_eq!(lessee.says(), "wanted");
    let session = host.killed();
    nothing_left(&marker, &[session], AT_ONCE).await;
}

async fn b3_a_host_killed_with_everything_up_leaves_nothing() {
    for _ in 0..10 {
        let (dir, marker) = (workspace(), marker());
        let mut host = Doomed::start(&marker, dir.path(), &["deaf-tree"]);
        host.says("spawning");
        host.says("spawned");
        assert!(
            soon(PATIENCE, || dir.path().join("up").exists()
                && living(&marker, &[]).len() == 3)
            .await
        );
        let session = host.killed();
        nothing_left(&marker, &[session], AT_ONCE).await;
    }
}

async fn b3_a_host_killed_while_it_shuts_down_leaves_nothing() {
    for _ in 0..5 {
        let (dir, marker) = (workspace(), marker());
        let mut host = Doomed::start(&marker, dir.path(), &["deaf-tree"]);
        host.says("spawning");
        host.says("spawned");
        assert!(soon(PATIENCE, || dir.path().join("up").exists()).await);
        host.told("shutdown");
        // The tree ignores TERM, so this takes its grace of a second.
        host.says("shutting down");
        let session = host.killed();
        nothing_left(&marker, &[session], AT_ONCE).await;
    }
}

async fn b3_a_shutdown_leaves_nothing() {
    let (dir, marker) = (workspace(), marker());
    let mut host = Doomed::start(&marker, dir.path(), &["deaf-tree"]);
    host.says("spawning");
    host.says("spawned");
    assert!(soon(PATIENCE, || dir.path().join("up").exists()).await);
    host.told("shutdown");
    host.says("shutting down");
    host.says("down");
    assert_eq!(
        living(&marker, &[]).len(),
        1,
        "the host alone: {:?}",
        living(&marker, &[])
    );
    host.killed();
}

async fn x1_a_daemon_is_dead_when_wait_returns() {
    for _ in 0..10 {
        let (host, marker) = (Host::new(), marker());
        let process = host.start(zoo(&["leave-daemon", &marker])).await;
        assert_eq!(process.exit().await, code(0));
        nothing_left(&marker, &[], Duration::ZERO).await;
        host.run(zoo(&["leave-daemon", &marker])).await.expect("it runs");
        nothing_left(&marker, &[], Duration::ZERO).await;
    }
}

async fn b3_a_dropped_spawn_leaves_nothing() {
    let (host, marker) = (Host::new(), marker());
    {
        let (scope, mut gate) = (host.scope(), AllowAll);
        let spawn = scope.spawn(zoo(&["deaf-tree", &marker]), &host.workspace, &mut gate);
        tokio::select! {
            output = spawn => panic!("it does not end: {output:?}"),
            up = soon(PATIENCE, || host.dir().join("up").exists()) => assert!(up),
        }
    }
    nothing_left(&marker, &[], AT_ONCE).await;
}

async fn echoes(process: &Process) {
    process
        .scope
        .write_stdin(&process.id, b"alive\n".to_vec())
        .await
        .expect("it reads");
    process.prints("alive").await;
}

fn cat() -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..command("/bin/cat", &[])
    }
}

async fn b3_the_end_of_the_thread_that_started_it_is_not_its_end() {
    let host = Host::new();
    let (scope, workspace) = (host.scope(), host.workspace.clone());
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::spawn(move || {
        let id = runtime
            .block_on(scope.spawn_persistent(cat(), &workspace, &mut AllowAll))
            .expect("a process");
        id.expose().to_owned()
    });
    let id = tokio::task::spawn_blocking(|| thread.join())
        .await
        .expect("it waits")
        .expect("a process");
    let process = Process {
        id,
        scope: host.scope(),
    };
    echoes(&process).await;
    process.stop(Duration::ZERO).await;
}

async fn b3_the_retirement_of_a_pool_thread_is_not_its_end() {
    let ended = Arc::new(AtomicUsize::new(0));
    let ending = Arc::clone(&ended);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(Duration::from_millis(1))
        .on_thread_stop(move || {
            ending.fetch_add(1, Ordering::SeqCst);
        })
        .enable_all()
        .build()
        .expect("a runtime");
    let launcher = Arc::new(Confined::new(Policy::new()).expect("a confinement"));
    let registry = Registry::new(runtime.handle().clone(), launcher, Limits::default()).expect("a registry");
    let host = Host::new();
    let scope = registry.scope(Owner {
        principal: Principal::Named("alice".into()),
        capsule: "zoo".into(),
    });
    let id = scope
        .spawn_persistent(cat(), &host.workspace, &mut AllowAll)
        .await
        .expect("a process");
    let id = id.expose().to_owned();
    assert!(
        soon(PATIENCE, || ended.load(Ordering::SeqCst) > 0).await,
        "a thread of the pool has retired"
    );
    let process = Process { id, scope };
    echoes(&process).await;
    process.stop(Duration::ZERO).await;
    drop((process, registry));
    runtime.shutdown_background();
}

crate::who::each_user!(
    b3_a_host_killed_while_it_spawns_leaves_nothing,
    b3_a_host_killed_while_a_program_is_opened_leaves_nothing,
    b3_a_host_killed_with_everything_up_leaves_nothing,
    b3_a_host_killed_while_it_shuts_down_leaves_nothing,
    b3_a_shutdown_leaves_nothing,
    b3_a_dropped_spawn_leaves_nothing,
    x1_a_daemon_is_dead_when_wait_returns,
    b3_the_end_of_the_thread_that_started_it_is_not_its_end,
    b3_the_retirement_of_a_pool_thread_is_not_its_end,
);
