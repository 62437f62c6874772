//! What a spawn costs: `/bin/true` from the call to its exit, beside a bare posix_spawn in the same run.
//!
//! Machines differ and are noisy, so the figures to look at are the ratios of medians. The ways take turns, one round of
//! each, so that a machine that slows down slows all of them. Bubblewrap with equal isolation takes part where it is
//! installed. `cargo bench -p capsule-host --no-default-features --bench spawn [-- GIB]`, where GIB is how much memory
//! the host touches first (a host that forks pays for it).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures"
)]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::sandbox::{Confined, Launcher, Policy, Unconfined, Workspace};
use capsule_host::supervisor::{Ask, Gate, Limits, Owner, Principal, Registry, Scope, SpawnRequest};

const ROUNDS: usize = 300;

/// One round of a way to run `/bin/true`.
type Way<'a> = Box<dyn FnMut() -> Duration + 'a>;

struct AllowAll;

impl Gate for AllowAll {
    fn allows(&mut self, _: Ask<'_>) -> bool {
        true
    }
}

fn main() {
    let gib: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(0);
    // Written to, or the kernel would not have it.
    let touched: Vec<u8> = vec![1; gib << 30];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(folder.path()).unwrap();
    let bubblewrap = bubblewrap(folder.path().to_str().unwrap());
    let registry =
        |launcher: Arc<dyn Launcher>| Registry::new(runtime.handle().clone(), launcher, Limits::default()).unwrap();
    let scope = |registry: &Registry| {
        registry.scope(Owner {
            principal: Principal::Named("bench".into()),
            capsule: "bench".into(),
        })
    };
    let unconfined = registry(Arc::new(Unconfined::new()));
    let confined = registry(Arc::new(Confined::new(Policy::new()).unwrap()));
    let (through_unconfined, through_confined) = (scope(&unconfined), scope(&confined));

    let mut ways: Vec<(&str, Way<'_>)> = vec![
        ("posix_spawn", Box::new(|| bare("/bin/true", &[]))),
        (
            "unconfined",
            Box::new(|| runtime.block_on(spawn(&through_unconfined, &workspace))),
        ),
        (
            "confined",
            Box::new(|| runtime.block_on(spawn(&through_confined, &workspace))),
        ),
    ];
    if std::path::Path::new("/usr/bin/bwrap").exists() {
        ways.push(("bubblewrap", Box::new(|| bare("/usr/bin/bwrap", &bubblewrap))));
    } else {
        println!("bubblewrap: skipped, /usr/bin/bwrap is not installed");
    }
    let mut times: Vec<Vec<Duration>> = vec![Vec::with_capacity(ROUNDS); ways.len()];
    for round in 0..ROUNDS + 10 {
        for ((_, way), times) in ways.iter_mut().zip(&mut times) {
            let time = way();
            if round >= 10 {
                times.push(time);
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| quantile(times, 50)).collect();
    let limit = medians.first().copied().unwrap_or(f64::NAN);
    println!("{ROUNDS} rounds, {} GiB of memory touched", touched.len() >> 30);
    for (((name, _), times), median) in ways.iter().zip(&mut times).zip(&medians) {
        println!(
            "{name:<12} p50 {median:6.2} ms  p99 {:6.2} ms  {:4.2} x posix_spawn",
            quantile(times, 99),
            median / limit
        );
    }
    if let [_, _, confined, bubblewrap] = medians.as_slice() {
        println!("confined is {:4.2} x bubblewrap", confined / bubblewrap);
    }
    runtime.block_on(async {
        unconfined.shutdown().await;
        confined.shutdown().await;
    });
}

/// As near to our default confinement as bubblewrap comes, which makes no user namespace and sets no filters here.
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

fn bare(program: &str, args: &[&str]) -> Duration {
    let begun = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    begun.elapsed()
}

async fn spawn(scope: &Scope, workspace: &Workspace) -> Duration {
    let request = SpawnRequest {
        cmd: "/bin/true".into(),
        ..SpawnRequest::default()
    };
    let begun = Instant::now();
    let output = scope.spawn(request, workspace, &mut AllowAll).await.unwrap();
    assert_eq!(output.exit.exit_code, Some(0));
    begun.elapsed()
}

/// In milliseconds.
fn quantile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() * percent / 100)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
