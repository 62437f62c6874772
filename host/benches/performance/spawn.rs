//! spawn: `/bin/true` from the call to its exit, compared with a bare posix_spawn, and the effect of the host's own
//! memory.
//!
//! Bubblewrap with the same isolation is measured too, if it is installed.

use std::path::Path;
use std::time::{Duration, Instant};

use capsule_host::sandbox::Network;
use capsule_host::supervisor::SpawnRequest;

use crate::bare;
use crate::host::{AllowAll, Host};
use crate::relay::Relay;
use crate::report::{Report, Target, Unit, median, micros};

const ROUNDS: usize = 300;

/// Median times in microseconds of each way. The last is none if bubblewrap is not installed.
struct Times {
    bare: f64,
    relayed: f64,
    piped: f64,
    unconfined: f64,
    confined: f64,
    /// In a network in which a tree of the same owner runs.
    joined: f64,
    /// Without a network.
    isolated: f64,
    bubblewrap: Option<f64>,
}

pub(crate) fn run(report: &mut Report) {
    let (unconfined, confined) = (Host::unconfined(), Host::confined());
    let (joined, isolated) = (Host::confined(), Host::in_network(Network::None));
    let stays = SpawnRequest {
        cmd: "/bin/sleep".into(),
        args: vec!["infinity".into()],
        ..SpawnRequest::default()
    };
    joined.runtime.block_on(joined.start(&joined.scope("spawn"), stays));
    let hosts = Hosts {
        unconfined,
        confined,
        joined,
        isolated,
    };
    let small = with_memory(16 << 20, || times(&hosts));
    let against = format!("{:.0} µs (posix_spawn and waitpid)", small.bare);
    for (name, time, target) in [("unconfined", small.unconfined, 1.1), ("confined", small.confined, 4.0)] {
        report.line(
            "spawn",
            &format!("`/bin/true` to its exit, {name}"),
            &format!("{time:.0} µs"),
            &against,
            time / small.bare,
            Unit::Times,
            Target::AtMost(target),
        );
    }
    for (workload, time) in [
        ("the same by a process that does nothing else", small.relayed),
        (
            "the same, asked by a thread that may block, its streams read in a task",
            small.piped,
        ),
    ] {
        report.line(
            "spawn",
            workload,
            &format!("{time:.0} µs"),
            &against,
            time / small.bare,
            Unit::Times,
            Target::None,
        );
    }
    for (workload, time) in [
        (
            "confined, in a private network of which it is the first tree",
            small.confined,
        ),
        ("confined, in a private network with another tree", small.joined),
    ] {
        report.line(
            "spawn",
            &format!("`/bin/true` to its exit, {workload}"),
            &format!("{time:.0} µs"),
            &format!("{:.0} µs (confined, without a network)", small.isolated),
            time / small.isolated,
            Unit::Times,
            Target::AtMost(1.0),
        );
    }
    match small.bubblewrap {
        Some(bubblewrap) => report.line(
            "spawn",
            "`/bin/true` to its exit, confined",
            &format!("{:.0} µs", small.confined),
            &format!("{bubblewrap:.0} µs (bubblewrap, equal isolation)"),
            small.confined / bubblewrap,
            Unit::Times,
            Target::AtMost(0.7),
        ),
        None => println!("| spawn | beside bubblewrap | skipped: /usr/bin/bwrap is not installed | | | | |"),
    }
    let large = with_memory(4 << 30, || times(&hosts));
    for (name, small, large) in [
        ("unconfined", small.unconfined, large.unconfined),
        ("confined", small.confined, large.confined),
    ] {
        report.line(
            "spawn, big host",
            &format!("the same with 4 GiB of touched memory, {name}"),
            &format!("{large:.0} µs"),
            &format!("{small:.0} µs (with 16 MiB)"),
            large / small,
            Unit::Times,
            Target::AtMost(1.2),
        );
    }
}

/// Runs `work` while the host has `bytes` of memory, all of it written to, because the kernel allocates no other.
fn with_memory<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let touched: Vec<u8> = vec![1; bytes];
    let result = work();
    drop(std::hint::black_box(touched));
    result
}

struct Hosts {
    unconfined: Host,
    confined: Host,
    joined: Host,
    isolated: Host,
}

fn times(hosts: &Hosts) -> Times {
    let Hosts {
        unconfined,
        confined,
        joined,
        isolated,
    } = hosts;
    let folder = confined.workspace.path().to_str().unwrap().to_owned();
    let bubblewrap = bubblewrap(&folder);
    let (mut relay, mut reading_relay) = (Relay::start(), Relay::start());
    let mut ways: Vec<Box<dyn FnMut() -> Duration + '_>> = vec![
        Box::new(|| bare::run("/bin/true", &[])),
        Box::new(|| relay.spawn()),
        Box::new(|| reading_relay.spawn_piped(unconfined)),
        Box::new(|| through_host(unconfined)),
        Box::new(|| through_host(confined)),
        Box::new(|| through_host(joined)),
        Box::new(|| through_host(isolated)),
    ];
    if Path::new("/usr/bin/bwrap").exists() {
        ways.push(Box::new(|| bare::run("/usr/bin/bwrap", &bubblewrap)));
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(ROUNDS); ways.len()];
    for round in 0..ROUNDS + 10 {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let time = way();
            // The first processes load files that all later ones find in memory.
            if round >= 10 {
                times.push(micros(time));
            }
        }
    }
    let mut medians = times.iter_mut().map(|times| median(times));
    Times {
        bare: medians.next().unwrap(),
        relayed: medians.next().unwrap(),
        piped: medians.next().unwrap(),
        unconfined: medians.next().unwrap(),
        confined: medians.next().unwrap(),
        joined: medians.next().unwrap(),
        isolated: medians.next().unwrap(),
        bubblewrap: medians.next(),
    }
}

/// Bubblewrap's options that are nearest to the default confinement. Bubblewrap makes no user namespace and sets no
/// filters here.
fn bubblewrap(workspace: &str) -> Vec<&str> {
    let mut args = vec![
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ];
    args.extend([
        "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", workspace, workspace,
    ]);
    args.extend([
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/sbin",
        "/sbin",
    ]);
    args.extend(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
    for path in ["/opt"].iter().chain(ETC) {
        args.extend(["--ro-bind-try", path, path]);
    }
    args.push("/bin/true");
    args
}

/// The parts of `/etc` that the default policy shows, so that both make the same mounts.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

fn through_host(host: &Host) -> Duration {
    let (scope, workspace) = (host.scope("spawn"), host.workspace.clone());
    let request = SpawnRequest {
        cmd: "/bin/true".into(),
        ..SpawnRequest::default()
    };
    // In a task, as the calls of guests run.
    let task = host.runtime.spawn(async move {
        let begun = Instant::now();
        let output = scope.spawn(request, &workspace, &mut AllowAll).await.unwrap();
        assert_eq!(output.exit.exit_code, Some(0));
        begun.elapsed()
    });
    host.runtime.block_on(task).unwrap()
}
