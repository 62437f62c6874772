//! The end belongs to the host, whatever the tree does, and whatever is done to its init (B5).

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::death::Doomed;
use crate::harness::{
    Host, PATIENCE, limited, living, marker, nothing_left, signalled, soon, watchdog, workspace, zoo,
};
use capsule_host::sandbox::ResourceLimits;

/// How long an end may take that was asked for, with every processor busy.
const SECOND: Duration = Duration::from_secs(1);

/// Enough for every storm, and too little to keep the machine from its other work.
const FEW: ResourceLimits = ResourceLimits {
    max_memory_bytes: None,
    max_cpu_secs: None,
    max_pids: Some(512),
    max_open_files: None,
};

const STORMS: [&str; 3] = ["siblings", "bomb", "comets"];

/// Keeps every processor busy until it is dropped.
struct Busy(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Busy {
    fn new() -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let stop = std::sync::Arc::clone(&stop);
            drop(std::thread::spawn(move || while !stop.load(Relaxed) {}));
        }
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|parent| parent.trim().parse().ok()).expect("a parent")
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, fields)| fields.starts_with(" T"))
}

async fn stopped(pid: u32) {
    signal(pid, Signal::STOP);
    assert!(soon(PATIENCE, || is_stopped(pid)).await, "{pid} goes on");
}

async fn b5_a_storm_ends_within_a_second_of_its_stop() {
    let _busy = Busy::new();
    for storm in STORMS {
        let (host, marker) = (Host::new(), marker());
        let process = host.start(limited(zoo(&[storm, &marker]), FEW)).await;
        process.prints("up").await;
        let begun = Instant::now();
        let exit = process.stop(Duration::ZERO).await;
        let took = begun.elapsed();
        assert_eq!(exit, signalled(libc::SIGKILL), "{storm}");
        assert!(took < SECOND, "{storm}: {took:?}");
        nothing_left(&marker, &[], SECOND).await;
    }
}

async fn b5_a_storm_ends_within_a_second_of_its_hosts_death() {
    let _busy = Busy::new();
    for storm in STORMS {
        let (dir, marker) = (workspace(), marker());
        let mut host = Doomed::start_with_few(&marker, dir.path(), &[storm]);
        host.says("spawning");
        host.says("spawned");
        assert!(soon(PATIENCE, || living(&marker, &[]).len() > 1).await, "{storm}");
        let session = host.killed();
        nothing_left(&marker, &[session], SECOND).await;
    }
}

async fn b5_a_storm_does_not_hide_how_the_command_ended() {
    let host = Host::new();
    let marker = marker();
    let output = host
        .run(limited(zoo(&["leave-storm", &marker]), FEW))
        .await
        .expect("it runs");
    assert_eq!(output.exit.exit_code, Some(3));
    nothing_left(&marker, &[], SECOND).await;
}

async fn b5_a_stopped_init_is_ended_all_the_same() {
    let (host, marker) = (Host::new(), marker());
    let process = host.start(zoo(&["deaf-tree", &marker])).await;
    process.prints("up").await;
    stopped(parent(process.os_pid())).await;
    let begun = Instant::now();
    assert_eq!(process.stop(Duration::ZERO).await, signalled(libc::SIGKILL));
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    nothing_left(&marker, &[], SECOND).await;
}

async fn b5_a_host_shuts_down_beside_stopped_inits() {
    let (host, marker) = (Host::new(), marker());
    for _ in 0..3 {
        let process = host.start(zoo(&["deaf-tree", &marker])).await;
        process.prints("up").await;
        stopped(parent(process.os_pid())).await;
    }
    watchdog(host.registry.shutdown()).await;
    nothing_left(&marker, &[], SECOND).await;
}

async fn b5_a_stopped_init_ends_with_its_host() {
    let (dir, marker) = (workspace(), marker());
    let mut host = Doomed::start(&marker, dir.path(), &["deaf-tree"]);
    host.says("spawning");
    host.says("spawned");
    assert!(soon(PATIENCE, || dir.path().join("up").exists()).await);
    for (pid, _) in living(&marker, &[])
        .into_iter()
        .filter(|(_, what)| what.contains("zoo deaf-tree"))
    {
        let init = parent(pid);
        let name = std::fs::read_to_string(format!("/proc/{init}/comm")).unwrap_or_default();
        if name.trim() == "capsule-init" {
            stopped(init).await;
        }
    }
    let session = host.killed();
    nothing_left(&marker, &[session], SECOND).await;
}

crate::who::everybody!(
    b5_a_storm_ends_within_a_second_of_its_stop,
    b5_a_storm_ends_within_a_second_of_its_hosts_death,
    b5_a_storm_does_not_hide_how_the_command_ended,
    b5_a_stopped_init_is_ended_all_the_same,
    b5_a_host_shuts_down_beside_stopped_inits,
    b5_a_stopped_init_ends_with_its_host,
);
