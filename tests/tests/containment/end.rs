//! The host decides when a tree ends, whatever the tree does and whatever happens to its init (B5).

use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::death::Doomed;
use crate::harness::{
    AllowAll, Host, PATIENCE, Process, code, command, limited, living, marker, nothing_left, signalled, soon, watchdog,
    workspace, zoo,
};
use crate::who::{program, skip};
use capsule_host::sandbox::{Confined, Policy, ResourceLimits};
use capsule_host::supervisor::{Error, Limits, Owner, Principal};

/// The longest time for a requested end while every processor is busy.
const SECOND: Duration = Duration::from_secs(1);

/// Enough processes for every storm, and few enough to leave the machine usable.
const FEW: ResourceLimits = ResourceLimits {
    max_memory_bytes: None,
    max_cpu_secs: None,
    max_pids: Some(512),
    max_open_files: None,
};

const STORMS: [&str; 3] = ["siblings", "bomb", "comets"];

/// Keeps every processor busy until it is dropped.
struct Busy(Arc<std::sync::atomic::AtomicBool>);

impl Busy {
    fn new() -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let stop = Arc::clone(&stop);
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

/// The time after which the host gives up a process that the kernel does not end.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// Keeps a tree in the kernel until it is dropped, as a file system does that never answers. It is a process in the
/// tree's namespace whose parent, outside, does not reap it. Pid 1 cannot end before this process is reaped.
struct Hold {
    parent: Child,
    child: u32,
}

impl Hold {
    const TOOL: &str = "/usr/bin/nsenter";

    /// Holds the tree that contains a command.
    async fn of(process: &Process) -> Self {
        let target = process.os_pid().to_string();
        let spaces = ["--user", "--pid", "--preserve-credentials", "--target", &target];
        // A host that is root makes the pid namespace outside of the user namespace.
        let spaces = spaces.iter().skip(usize::from(crate::who::is_root()));
        let parent = program(Self::TOOL)
            .args(spaces)
            .args(["/bin/sleep", "1000"])
            .spawn()
            .expect("nsenter");
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let mut child = None;
        let up = || {
            let found = std::fs::read_to_string(&children).unwrap_or_default();
            child = found.trim().parse().ok();
            child.is_some()
        };
        assert!(soon(PATIENCE, up).await, "nothing came into the namespace");
        stopped(parent.id()).await;
        Self {
            parent,
            child: child.expect("a number"),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It may have been killed already, but it was not reaped.
        signal(self.child, Signal::KILL);
        signal(self.parent.id(), Signal::CONT);
        self.parent.wait().expect("it was started here");
    }
}

/// A host on which a principal may have one process, and such a process, which cannot be ended.
async fn beside_what_cannot_be_ended(marker: &str) -> (Host, Process, Hold) {
    let limits = Limits {
        processes_per_principal: 1,
        ..Limits::default()
    };
    let launcher = Confined::new(Policy::new()).expect("a confinement");
    let host = Host::launching_within(Arc::new(launcher), limits);
    let process = host.start(zoo(&["deaf-tree", marker])).await;
    process.prints("up").await;
    let hold = Hold::of(&process).await;
    // This would report that nothing of the command is left, which is true here but not in general.
    stopped(parent(process.os_pid())).await;
    (host, process, hold)
}

/// No call waits for it any longer, but its place stays taken while it exists.
async fn b5_what_cannot_be_ended_is_given_up_and_keeps_its_slot() {
    if !std::path::Path::new(Hold::TOOL).exists() {
        return skip(Hold::TOOL);
    }
    let marker = marker();
    let (host, process, hold) = beside_what_cannot_be_ended(&marker).await;
    let init = parent(process.os_pid());
    let begun = Instant::now();
    assert_eq!(process.stop(Duration::ZERO).await, signalled(libc::SIGKILL));
    let took = begun.elapsed();
    assert!(GIVEN_UP <= took && took < GIVEN_UP + 2 * SECOND, "{took:?}");
    assert!(is_there(init), "or this shows nothing");
    assert!(matches!(process.scope.status(&process.id), Err(Error::NoSuchProcess)));

    let another = || command("/bin/true", &[]);
    assert_eq!(host.run(another()).await.map(|output| output.exit), Err(Error::Quota));
    let others = host.registry.scope(Owner {
        principal: Principal::Named("bob".into()),
        capsule: "zoo".into(),
    });
    let ran = watchdog(others.spawn(another(), &host.workspace, &mut AllowAll)).await;
    assert_eq!(ran.map(|output| output.exit), Ok(code(0)));

    drop(hold);
    assert!(soon(PATIENCE, || !is_there(init)).await);
    assert!(
        soon(PATIENCE, || host.registry.tasks() == 0).await,
        "it is watched for ever"
    );
    assert_eq!(host.run(another()).await.map(|output| output.exit), Ok(code(0)));
    nothing_left(&marker, &[], SECOND).await;
}

async fn b5_what_cannot_be_ended_holds_up_no_shutdown() {
    if !std::path::Path::new(Hold::TOOL).exists() {
        return skip(Hold::TOOL);
    }
    let marker = marker();
    let (host, process, hold) = beside_what_cannot_be_ended(&marker).await;
    let init = parent(process.os_pid());
    watchdog(host.registry.shutdown()).await;
    assert!(is_there(init), "or this shows nothing");
    drop(hold);
    assert!(soon(PATIENCE, || !is_there(init)).await);
    nothing_left(&marker, &[], SECOND).await;
}

fn is_there(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

crate::who::each_user!(
    b5_a_storm_ends_within_a_second_of_its_stop,
    b5_a_storm_ends_within_a_second_of_its_hosts_death,
    b5_a_storm_does_not_hide_how_the_command_ended,
    b5_a_stopped_init_is_ended_all_the_same,
    b5_a_host_shuts_down_beside_stopped_inits,
    b5_a_stopped_init_ends_with_its_host,
    b5_what_cannot_be_ended_is_given_up_and_keeps_its_slot,
    b5_what_cannot_be_ended_holds_up_no_shutdown,
);
