//! Trees in control groups of version 2: where the groups are made, what they contain, and that they are removed (R1,
//! R2, X6, E2, B2, B3).
//!
//! The groups are made in a group of this test, beneath `CAPSULE_CGROUP` or, without it, where version 2 is mounted. A
//! user who may write there can run the first part. The second part needs the controllers `memory` and `pids`, which a
//! machine that still uses version 1 does not provide. `tests/vm/run` boots a machine that does, and sets
//! `CAPSULE_REQUIRE_CGROUP`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use capsule_host::sandbox::{Confined, Enforcement, LaunchError, Launcher, Policy, ResourceLimits, Unconfined};
use capsule_host::supervisor::{Error, Events, ExitInfo, Limits, ProcessEvent};
use serde_json::Value;

use crate::death::Doomed;
use crate::harness::{
    AT_ONCE, Host, Process, code, command, limited, living, marker, nothing_left, sh, signalled, soon, workspace, zoo,
};
use crate::limits::OVER;
use crate::who::{is_root, program, remark, skip};

const MIB: u64 = 1 << 20;
const MAY: u64 = 64;
const WANT: &str = "640";

/// A control group for hosts. It is removed when it is dropped, and is empty by then.
struct Given(PathBuf);

impl Given {
    /// None if this machine has no place for one, which is reported.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(base) = std::env::var_os("CAPSULE_CGROUP").map(PathBuf::from).or_else(mounted) else {
            lacking("control groups of version 2", is_root());
            return None;
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("capsule-test-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                lacking(&format!("a control group that may be written to ({error})"), is_root());
                None
            }
        }
    }

    /// None also if memory and processes cannot be limited in it.
    fn with_controllers() -> Option<Self> {
        let given = Self::new()?;
        let controllers = given.read("cgroup.controllers");
        let has = |name| controllers.split_ascii_whitespace().any(|it| it == name);
        if has("memory") && has("pids") {
            return Some(given);
        }
        lacking("the controllers memory and pids of version 2", false);
        None
    }

    fn policy(&self) -> Policy {
        Policy::new().cgroup(&self.0)
    }

    fn unconfined(&self) -> Host {
        Host::launching(Arc::new(
            Unconfined::new().allow_persistent().cgroup(&self.0).expect("a group"),
        ))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).expect("a file of the kernel's")
    }

    /// The groups of all hosts' trees.
    fn groups(&self) -> Vec<PathBuf> {
        self.hosts().iter().flat_map(|host| directories(host)).collect()
    }

    #[track_caller]
    fn only_group(&self) -> PathBuf {
        let [group] = <[PathBuf; 1]>::try_from(self.groups()).expect("one tree, one group");
        group
    }

    fn hosts(&self) -> Vec<PathBuf> {
        directories(&self.0)
    }

    #[track_caller]
    fn is_empty(&self) {
        assert_eq!((self.hosts(), self.groups()), (vec![], vec![]));
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        for group in self.groups().iter().chain(&self.hosts()).chain([&self.0]) {
            // A group that is still in use makes its own test fail, which reports it.
            drop(fs::remove_dir(group));
        }
    }
}

/// Without controllers, or as an ordinary user, few machines have what the test needs. So it is required only on a
/// machine that was made for it.
fn lacking(what: &str, is_usual: bool) {
    assert!(
        std::env::var_os("CAPSULE_REQUIRE_CGROUP").is_none(),
        "there have to be {what}"
    );
    if is_usual {
        skip(what);
    } else {
        remark(&format!("skipped, for want of {what}"));
    }
}

fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    mounts.find_map(|fields| match fields.as_slice() {
        [_, path, "cgroup2", ..] => Some(path.into()),
        _ => None,
    })
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn memory(mib: u64) -> ResourceLimits {
    ResourceLimits {
        max_memory_bytes: Some(mib * MIB),
        ..ResourceLimits::default()
    }
}

fn pids(pids: u32) -> ResourceLimits {
    ResourceLimits {
        max_pids: Some(pids),
        ..ResourceLimits::default()
    }
}

fn cpu_of(process: &Process) -> Duration {
    let info = process.scope.status(&process.id).expect("it is there");
    info.cpu.expect("it is counted")
}

/// Both launchers, with groups in the given one.
fn hosts(given: &Given) -> [Host; 2] {
    [Host::with(given.policy()), given.unconfined()]
}

async fn b3_a_group_goes_with_its_tree() {
    let Some(given) = Given::new() else { return };
    for host in hosts(&given) {
        assert_eq!(
            host.run(command("/bin/true", &[])).await.expect("it runs").exit,
            code(0)
        );
        assert_eq!(given.groups(), [] as [PathBuf; 0], "after its end");
        host.run(command("./missing", &[]))
            .await
            .expect_err("there is no such program");
        assert_eq!(given.groups(), [] as [PathBuf; 0], "after a refusal");

        let marker = marker();
        let process = host.start(zoo(&["deaf-tree", &marker])).await;
        process.prints("daemon").await;
        process.prints("up").await;
        let members = fs::read_to_string(given.only_group().join("cgroup.procs")).expect("a group");
        for (pid, what) in living(&marker, &[]) {
            assert!(
                members.lines().any(|member| member == pid.to_string()),
                "{what}: {members}"
            );
        }
        process.stop(Duration::ZERO).await;
        assert_eq!(given.groups(), [] as [PathBuf; 0], "after its stop");
        nothing_left(&marker, &[], Duration::ZERO).await;
        host.registry.shutdown().await;
        drop(host);
    }
    assert!(soon(AT_ONCE, || given.hosts().is_empty()).await, "{:?}", given.hosts());
    given.is_empty();
}

async fn b1_a_tree_sees_nothing_of_its_group() {
    let Some(given) = Given::new() else { return };
    let host = Host::with(given.policy());
    let seen = host.printed(command("/bin/cat", &["/proc/self/cgroup"])).await;
    assert!(seen.lines().any(|line| line == "0::/"), "{seen}");
    let mounts = host.printed(command("/bin/cat", &["/proc/self/mounts"])).await;
    assert!(!mounts.contains("cgroup"), "{mounts}");
}

async fn x6_a_group_counts_processes_that_are_not_waited_for() {
    let Some(given) = Given::new() else { return };
    for host in hosts(&given) {
        let process = host.start(zoo(&["spin-apart", "500"])).await;
        process.exit().await;
        let used = cpu_of(&process);
        assert!(
            used >= Duration::from_millis(500) && used < Duration::from_millis(900),
            "{used:?}"
        );
    }
    let host = Host::with(given.policy());
    let process = host.start(zoo(&["spin", "60000"])).await;
    assert!(
        soon(AT_ONCE, || cpu_of(&process) > Duration::from_millis(100)).await,
        "it is live"
    );
    process.stop(Duration::ZERO).await;
}

async fn r1_cpu_of_unreadable_programs_is_bounded_by_a_group() {
    let Some(given) = Given::new() else { return };
    let host = Host::with(given.policy());
    let limits = ResourceLimits {
        max_cpu_secs: Some(1),
        ..ResourceLimits::default()
    };
    let process = host
        .start(limited(zoo(&["relay-unreadable", "5000", "20"]), limits))
        .await;
    assert_eq!(process.exit().await, signalled(libc::SIGKILL), "{}", process.output());
    assert!(cpu_of(&process) < Duration::from_millis(1600), "{:?}", cpu_of(&process));
}

async fn b3_what_outlives_an_unconfined_init_is_ended_by_its_group() {
    let Some(given) = Given::new() else { return };
    let host = given.unconfined();
    let marker = marker();
    // A daemon in a session of its own. Then the command kills the process that would have ended the daemon.
    let script =
        format!("setsid ./zoo stay {marker} & until [ -e go ]; do :; done; kill -9 $PPID; exec ./zoo stay {marker}");
    let process = host.start(sh(&script)).await;
    process.prints("up").await;
    fs::write(host.dir().join("go"), "").expect("a file");
    assert_eq!(process.exit().await, signalled(libc::SIGKILL));
    nothing_left(&marker, &[], Duration::ZERO).await;
    assert_eq!(given.groups(), [] as [PathBuf; 0]);
}

async fn b3_what_a_killed_host_left_goes_at_the_next_start_and_nothing_else() {
    let Some(given) = Given::new() else { return };
    let (dir, marker) = (workspace(), marker());
    let living_host = Host::with(given.policy());
    let process = living_host.start(zoo(&["stay", &marker])).await;
    process.prints("up").await;
    let kept = given.groups();
    let mut host = Doomed::start_in(Some(&given.0), &marker, dir.path(), &["deaf-tree"]);
    host.says("spawning");
    host.says("spawned");
    assert_eq!(given.groups().len(), 2);
    let session = host.killed();
    assert_eq!(given.hosts().len(), 2, "no host is there to remove it");

    let next = Confined::new(given.policy()).expect("a confinement");
    assert_eq!(given.hosts().len(), 2, "the living one's and the next one's");
    assert_eq!(given.groups(), kept);
    drop(next);
    assert_eq!(given.hosts().len(), 1);
    let tree = || living(&marker, &[session]).len() == 1;
    assert!(soon(AT_ONCE, tree).await, "{:?}", living(&marker, &[session]));
    living_host.run(command("/bin/true", &[])).await.expect("it works on");
    process.stop(Duration::ZERO).await;
}

async fn b2_a_group_that_cannot_be_used_is_refused_with_the_remedy() {
    for path in ["/nowhere", "/proc", "/etc/passwd"] {
        for refused in [
            Confined::new(Policy::new().cgroup(path)).map(drop),
            Unconfined::new().cgroup(path).map(drop),
        ] {
            let Err(LaunchError::Confinement(missing)) = refused else {
                panic!("{refused:?}")
            };
            assert!(
                missing.reason().contains(path) && missing.remedy().is_some(),
                "{missing}"
            );
        }
    }
}

/// Keeps the exit events.
#[derive(Default)]
struct Exits(Mutex<Vec<Value>>);

impl Events for Exits {
    fn publish(&self, event: ProcessEvent) {
        let payload = serde_json::from_str(&event.payload).expect("JSON");
        self.0.lock().expect("no panic under it").push(payload);
    }
}

/// The end of a process, as its exit event reports it.
async fn told(exits: &Exits, process: &Process) -> (ExitInfo, String, String) {
    process.scope.watch(&process.id, Some("x")).expect("it is there");
    let exit = process.exit().await;
    let event = || exits.0.lock().expect("no panic under it").pop();
    let mut last = None;
    assert!(
        soon(AT_ONCE, || {
            last = event();
            last.as_ref().is_some_and(|event| event.get("reason").is_some())
        })
        .await
    );
    let word = |key: &str| {
        last.as_ref()
            .and_then(|event| event[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    (exit, word("reason"), word("cause"))
}

/// A host that accepts only limits that the kernel enforces.
fn strict(launcher: impl Launcher) -> (Host, Arc<Exits>) {
    assert_eq!(launcher.enforcements().memory, Some(Enforcement::Kernel));
    assert_eq!(launcher.enforcements().pids, Some(Enforcement::Kernel));
    let limits = Limits {
        strict_resource_limits: true,
        ..Limits::default()
    };
    let host = Host::launching_within(Arc::new(launcher), limits);
    let exits = Arc::new(Exits::default());
    host.registry.publish_to(Arc::<Exits>::clone(&exits));
    (host, exits)
}

fn strict_hosts(given: &Given) -> [(Host, Arc<Exits>); 2] {
    let confined = Confined::new(given.policy().tmp_bytes(1024 * MIB)).expect("a confinement");
    let unconfined = Unconfined::new().allow_persistent().cgroup(&given.0).expect("a group");
    [strict(confined), strict(unconfined)]
}

async fn r1_e2_memory_is_held_by_the_kernel_wherever_it_is_kept() {
    let Some(given) = Given::with_controllers() else { return };
    for (host, exits) in strict_hosts(&given) {
        for behaviour in [
            "touch", "eight", "memfd", "unmapped", "headless", "pipes", "spliced", "sockets",
        ] {
            let process = host.start(limited(zoo(&[behaviour, WANT]), memory(MAY))).await;
            let (exit, reason, cause) = told(&exits, &process).await;
            let output = process.output();
            let held = output
                .lines()
                .filter_map(|line| line.strip_prefix("held ")?.parse::<u64>().ok());
            assert!(held.max().unwrap_or_default() <= MAY, "{behaviour}: {output}");
            if output.contains("refused") {
                continue;
            }
            assert_eq!(exit, signalled(libc::SIGKILL), "{behaviour}: {output}");
            assert_eq!(
                (reason.as_str(), cause.as_str()),
                ("limit-memory", "the kernel ended the tree at its limit"),
                "{behaviour}"
            );
            let peak = process.scope.status(&process.id).expect("it is there").mem_bytes_peak;
            assert!(peak.is_some_and(|peak| peak <= MAY * MIB), "{behaviour}: {peak:?}");
            process.scope.release(&process.id).await.expect("it has ended");
        }
        assert_eq!(given.groups(), [] as [PathBuf; 0]);
    }
}

async fn r1_memory_in_files_is_held_by_the_kernel() {
    let Some(given) = Given::with_controllers() else { return };
    let (host, _) = strict(Confined::new(given.policy().tmp_bytes(1024 * MIB)).expect("a confinement"));
    for behaviour in ["tmpfs", "shm"] {
        let process = host.start(limited(zoo(&[behaviour, WANT]), memory(MAY))).await;
        let exit = process.exit().await;
        let output = process.output();
        assert!(
            exit == signalled(libc::SIGKILL) || output.contains("refused"),
            "{behaviour}: {output}"
        );
        assert!(!output.contains("all"), "{behaviour}: {output}");
    }
}

async fn r2_a_kill_that_the_limit_had_no_part_in_is_no_limit() {
    let Some(given) = Given::with_controllers() else { return };
    for (host, exits) in strict_hosts(&given) {
        let process = host
            .start(limited(sh("until [ -e go ]; do :; done; kill -9 $$"), memory(MAY)))
            .await;
        fs::write(host.dir().join("go"), "").expect("a file");
        let (exit, reason, _) = told(&exits, &process).await;
        assert_eq!((exit, reason.as_str()), (signalled(libc::SIGKILL), "self-exit"));
    }
}

async fn r1_memory_too_little_for_a_start_is_a_refusal_that_says_so() {
    let Some(given) = Given::with_controllers() else { return };
    let host = Host::with(given.policy());
    // Between the limit at which nothing starts and the limit that suffices, the start can fail at each of its steps.
    let mut started = Vec::new();
    for kib in [4, 16, 48, 64, 96, 128, 160, 192, 256, 1024, 4096] {
        let limits = ResourceLimits {
            max_memory_bytes: Some(kib << 10),
            ..ResourceLimits::default()
        };
        match host.run(limited(command("/bin/true", &[]), limits)).await {
            Err(Error::LimitUnenforceable(why)) => assert!(why.contains("max-memory-bytes: too little"), "{why}"),
            // The start reached the command.
            Ok(output) if output.exit == signalled(libc::SIGKILL) => {}
            Ok(output) if output.exit == code(0) => started.push(kib),
            other => panic!("{kib} KiB: {other:?}"),
        }
        assert_eq!(given.groups(), [] as [PathBuf; 0]);
    }
    assert!(!started.contains(&4) && started.contains(&4096), "{started:?}");
}

async fn r1_e2_memory_too_little_for_an_unconfined_command_is_a_limit() {
    let Some(given) = Given::with_controllers() else { return };
    let [_, (host, exits)] = strict_hosts(&given);
    let limits = ResourceLimits {
        max_memory_bytes: Some(4096),
        ..ResourceLimits::default()
    };
    let process = host.start(limited(command("/bin/true", &[]), limits)).await;
    let (exit, reason, _) = told(&exits, &process).await;
    assert_eq!((exit, reason.as_str()), (signalled(libc::SIGKILL), "limit-memory"));
    assert_eq!(given.groups(), [] as [PathBuf; 0]);
}

async fn r1_processes_of_a_group_are_limited() {
    let Some(given) = Given::with_controllers() else { return };
    for (host, _) in strict_hosts(&given) {
        let forks = host.printed(limited(zoo(&["forks"]), pids(20))).await;
        let threads = host.printed(limited(zoo(&["threads"]), pids(20))).await;
        assert_eq!((forks.trim(), threads.trim()), ("forks 19 11", "threads 19 11"));
    }
}

async fn b3_an_unconfined_bomb_is_over_at_once() {
    let Some(given) = Given::with_controllers() else { return };
    let host = given.unconfined();
    for (behaviour, least) in [("bomb", 20), ("comets", 2)] {
        let marker = marker();
        let process = host.start(limited(zoo(&[behaviour, &marker]), pids(20))).await;
        process.prints("up").await;
        let group = given.only_group();
        // The kernel counts them. A sample would miss the processes that end at once.
        let members = || fs::read_to_string(group.join("pids.current")).expect("a group");
        let mut most = 0;
        assert!(
            soon(AT_ONCE, || {
                most = members().trim().parse::<u32>().expect("a number").max(most);
                most >= least
            })
            .await,
            "{behaviour}: {most}"
        );
        assert!(most <= 20, "{behaviour}: {most}");
        let begun = Instant::now();
        process.stop(Duration::ZERO).await;
        assert!(begun.elapsed() < OVER, "{behaviour}: {:?}", begun.elapsed());
        nothing_left(&marker, &[], Duration::ZERO).await;
        assert_eq!(given.groups(), [] as [PathBuf; 0]);
    }
}

async fn x6_the_peak_is_of_all_together() {
    let Some(given) = Given::with_controllers() else { return };
    let host = Host::with(given.policy());
    let process = host.start(zoo(&["eight", "128"])).await;
    let peak = || process.scope.status(&process.id).expect("it is there").mem_bytes_peak;
    assert!(
        soon(AT_ONCE, || peak().is_some_and(|peak| peak >= 128 * MIB)).await,
        "{:?}",
        peak()
    );
    process.stop(Duration::ZERO).await;
    let output = host.start(command("/bin/true", &[])).await;
    output.exit().await;
    let small = output.scope.status(&output.id).expect("it is there").mem_bytes_peak;
    assert!(small.is_some_and(|peak| peak > 0 && peak < 10 * MIB), "{small:?}");
}

async fn b2_a_group_that_was_delegated_is_found() {
    const MARK: &str = "user.delegate";
    let Some(given) = Given::with_controllers() else { return };
    let base = given.0.parent().expect("it is in one").to_owned();
    let own = fs::read_to_string("/proc/self/cgroup").expect("a file of the kernel's");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    if own.map(|own| mounted().expect("it is").join(own)) != Some(base.join("host")) {
        lacking("to be in a group beside those that are given", false);
        return;
    }
    assert_eq!(enforced(), Some(Enforcement::Sampled), "it was not said to be ours");
    // As a service manager does it.
    rustix::fs::setxattr(&base, MARK, b"1", rustix::fs::XattrFlags::empty()).expect("a mark");
    let found = std::panic::catch_unwind(enforced);
    rustix::fs::removexattr(&base, MARK).expect("it was there");
    assert_eq!(found.expect("a confinement"), Some(Enforcement::Kernel));
}

fn enforced() -> Option<Enforcement> {
    let launcher = Confined::new(Policy::new()).expect("a confinement");
    launcher.enforcements().memory
}

async fn b2_a_host_that_cannot_have_processes_born_in_groups_says_so_at_its_start() {
    let Some(given) = Given::new() else { return };
    let (dir, binary) = (workspace(), crate::who::binary);
    let host = |hidden: bool| {
        let mut host = program(if hidden { binary("zoo") } else { binary("zoo-host") });
        if hidden {
            host.arg("without-clone3").arg(binary("zoo-host"));
        }
        host.arg(marker()).arg(dir.path()).args(["run", "/bin/true"]);
        let output = host.env("ZOO_CGROUP", &given.0).output().expect("a host");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let (succeeded, said) = host(true);
    assert!(!succeeded && said.contains("(clone3)"), "{said}");
    let (succeeded, said) = host(false);
    assert!(succeeded && said.contains("exit Some(0)"), "{said}");
    given.is_empty();
}

async fn b2_a_group_that_no_process_can_get_into_is_refused() {
    let Some(apart) = std::env::var_os("CAPSULE_CGROUP_APART") else {
        lacking(
            "a group of an ordinary user's that lies apart from this test's own",
            false,
        );
        return;
    };
    let refused = Confined::new(Policy::new().cgroup(&apart)).map(drop);
    if is_root() {
        refused.expect("root may be everywhere");
        return;
    }
    let Err(LaunchError::Confinement(missing)) = refused else {
        panic!("{refused:?}")
    };
    assert!(missing.reason().contains("may not write to"), "{missing}");
    assert_eq!(directories(Path::new(&apart)), [] as [PathBuf; 0]);
}

async fn b2_a_group_with_processes_is_refused() {
    let Some(given) = Given::with_controllers() else { return };
    struct Guard(Child);
    impl Drop for Guard {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
    let sleeper = Guard(program("/bin/sleep").arg("1000").spawn().expect("a process"));
    fs::write(given.0.join("cgroup.procs"), sleeper.0.id().to_string()).expect("it moves");
    let refused = Confined::new(given.policy()).map(drop);
    let Err(LaunchError::Confinement(missing)) = refused else {
        panic!("{refused:?}")
    };
    assert!(missing.reason().contains("holds processes itself"), "{missing}");
    drop(sleeper);
    given.is_empty();
}

crate::who::each_user!(
    b3_a_group_goes_with_its_tree,
    b1_a_tree_sees_nothing_of_its_group,
    x6_a_group_counts_processes_that_are_not_waited_for,
    r1_cpu_of_unreadable_programs_is_bounded_by_a_group,
    b3_what_outlives_an_unconfined_init_is_ended_by_its_group,
    b3_what_a_killed_host_left_goes_at_the_next_start_and_nothing_else,
    b2_a_group_that_cannot_be_used_is_refused_with_the_remedy,
    r1_e2_memory_is_held_by_the_kernel_wherever_it_is_kept,
    r1_memory_in_files_is_held_by_the_kernel,
    r2_a_kill_that_the_limit_had_no_part_in_is_no_limit,
    r1_memory_too_little_for_a_start_is_a_refusal_that_says_so,
    r1_e2_memory_too_little_for_an_unconfined_command_is_a_limit,
    r1_processes_of_a_group_are_limited,
    b3_an_unconfined_bomb_is_over_at_once,
    x6_the_peak_is_of_all_together,
    b2_a_group_that_was_delegated_is_found,
    b2_a_group_with_processes_is_refused,
    b2_a_group_that_no_process_can_get_into_is_refused,
    b2_a_host_that_cannot_have_processes_born_in_groups_says_so_at_its_start,
);
