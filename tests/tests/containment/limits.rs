//! Limits and accounting of trees that try to be miscounted (R1, X6).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use capsule_host::sandbox::{Policy, ResourceLimits};
use capsule_host::supervisor::{Error, Events, ProcessEvent, SpawnRequest};

use crate::harness::{
    AT_ONCE, Host, PATIENCE, command, limited, living, marker, nothing_left, sh, signalled, soon, watchdog, zoo,
};
use crate::who::{ORDINARY, is_root, program};

const MIB: u64 = 1 << 20;
/// What the greedy trees may have, and what they try to get.
const MAY: u64 = 64;
const WANT: &str = "640";
/// A sampled limit is exceeded by what a machine can fill in 20 ms, and by more if the machine is busy. Here the excess
/// must be less than what the greedy trees try to get.
const OVERRUN: u64 = 400;

/// The longest time until a tree that multiplies is gone. Usually it takes some milliseconds.
pub(crate) const OVER: Duration = Duration::from_secs(1);

const fn memory(mib: u64) -> ResourceLimits {
    ResourceLimits {
        max_memory_bytes: Some(mib * MIB),
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: None,
    }
}

const fn cpu(seconds: u64) -> ResourceLimits {
    ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: Some(seconds),
        max_pids: None,
        max_open_files: None,
    }
}

const fn pids(pids: u32) -> ResourceLimits {
    ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: Some(pids),
        max_open_files: None,
    }
}

/// Checks that the tree was ended before it had what it wanted, or that the kernel refused it.
pub(crate) async fn memory_is_bounded(behaviour: &str) {
    // A `/tmp` that could hold more than the limit.
    let host = Host::with(Policy::new().tmp_bytes(1024 * MIB));
    let process = host.start(limited(zoo(&[behaviour, WANT]), memory(MAY))).await;
    let ended = tokio::time::timeout(AT_ONCE, process.exit()).await;
    let output = process.output();
    let held = |line: &str| line.strip_prefix("held ")?.parse::<u64>().ok();
    let held = output.lines().filter_map(held).max().unwrap_or_default();
    process.stop(Duration::ZERO).await;
    let Ok(exit) = ended else {
        panic!("{behaviour}: holds {held} MiB with a limit of {MAY}, and lives")
    };
    assert!(held <= MAY + OVERRUN, "{behaviour}: had {held} MiB");
    let refused = output.contains("refused");
    assert!(
        refused || exit == signalled(libc::SIGKILL),
        "{behaviour}: {exit:?} {output}"
    );
}

async fn r1_memory_of_its_own_is_bounded() {
    memory_is_bounded("touch").await;
}

async fn r1_memory_of_eight_is_bounded() {
    memory_is_bounded("eight").await;
}

async fn r1_memory_in_files_is_bounded() {
    for behaviour in ["tmpfs", "shm", "memfd"] {
        memory_is_bounded(behaviour).await;
    }
}

async fn r1_unmapped_shared_memory_is_bounded() {
    memory_is_bounded("unmapped").await;
}

async fn r1_memory_of_a_process_without_its_first_thread_is_bounded() {
    memory_is_bounded("headless").await;
}

async fn r1_memory_behind_a_name_that_is_no_text_is_bounded() {
    let host = Host::new();
    let renamed = format!(r"name=$(printf '\377\376'); cp zoo $name; exec ./$name touch {WANT}");
    let process = host.start(limited(sh(&renamed), memory(MAY))).await;
    let ended = tokio::time::timeout(AT_ONCE, process.exit()).await;
    let output = process.output();
    process.stop(Duration::ZERO).await;
    let ended = ended.expect("it does not live on");
    assert!(
        output.contains("refused") || ended == signalled(libc::SIGKILL),
        "{ended:?} {output}"
    );
}

async fn r1_memory_in_two_places_is_bounded_in_sum() {
    let host = Host::new();
    // The program may be executed and not read, so the kernel lets only root inspect the process.
    host.printed(sh("cp zoo unreadable && chmod 111 unreadable")).await;
    for program in ["./zoo", "./unreadable"] {
        // 56 MiB in each process, with a limit of 64: together they exceed the limit, and neither does alone.
        let process = host
            .start(limited(command(program, &["half-and-half", "112"]), memory(MAY)))
            .await;
        let ended = tokio::time::timeout(AT_ONCE, process.exit()).await;
        let output = process.output();
        process.stop(Duration::ZERO).await;
        assert_eq!(ended.ok(), Some(signalled(libc::SIGKILL)), "{program}: {output}");
    }
}

async fn r1_memory_that_a_pipe_keeps_is_bounded() {
    memory_is_bounded("spliced").await;
}

async fn r1_memory_in_pipes_is_bounded() {
    memory_is_bounded("pipes").await;
}

/// Checks that the tree was ended after about a second of processor time. It tries to use five.
async fn cpu_is_bounded(behaviour: &str) {
    cpu_in_parts_is_bounded(behaviour, "200").await;
}

async fn cpu_in_parts_is_bounded(behaviour: &str, part: &str) {
    let host = Host::new();
    let process = host.start(limited(zoo(&[behaviour, "5000", part]), cpu(1))).await;
    let exit = process.exit().await;
    let output = process.output();
    assert_eq!(exit, signalled(libc::SIGKILL), "{behaviour}: {output}");
    assert!(!output.contains("free"), "{behaviour}");
    let used = process
        .scope
        .status(&process.id)
        .expect("it is there")
        .cpu
        .expect("it is counted");
    assert!(used < Duration::from_millis(1600), "{behaviour}: {used:?}");
}

async fn r1_cpu_of_one_is_bounded() {
    cpu_is_bounded("spin").await;
}

async fn r1_cpu_of_many_in_turn_is_bounded() {
    cpu_is_bounded("relay").await;
}

async fn r1_cpu_of_children_that_are_not_waited_for_is_bounded() {
    cpu_is_bounded("relay-unseen").await;
}

async fn r1_cpu_of_unreadable_programs_is_bounded() {
    cpu_is_bounded("relay-unreadable").await;
}

async fn r1_processes_and_threads_are_limited_for_the_tree_alone() {
    // Of the same user as the tree.
    let mut others: Vec<_> = (0..40)
        .map(|_| {
            let mut command = program("/bin/sleep");
            command.arg("1000");
            if is_root() {
                std::os::unix::process::CommandExt::uid(&mut command, ORDINARY);
            }
            command.spawn().expect("a process")
        })
        .collect();
    let host = Host::new();
    let forks = host.printed(limited(zoo(&["forks"]), pids(20))).await;
    let threads = host.printed(limited(zoo(&["threads"]), pids(20))).await;
    for other in &mut others {
        other.kill().expect("it runs");
        other.wait().expect("it ended");
    }
    assert_eq!((forks.trim(), threads.trim()), ("forks 19 11", "threads 19 11"));
}

/// Checks that the tree never has more than 20 processes, ends at once, and does not disturb other trees.
///
/// Processes that live for a short time must report their number themselves, because a sample may find none of them.
async fn multiplies_within_bounds(behaviour: &str, said: Option<&str>) {
    let host = Host::new();
    let marker = marker();
    let process = host.start(limited(zoo(&[behaviour, &marker]), pids(20))).await;
    process.prints("up").await;
    if let Some(said) = said {
        process.prints(said).await;
    }
    let mut most = 0;
    for _ in 0..5 {
        most = most.max(living(&marker, &[]).len());
        host.printed(command("/bin/true", &[])).await;
    }
    assert!(most <= 20, "{behaviour}: {most}");
    assert!(said.is_some() || most > 1, "{behaviour}: {most}");
    let begun = Instant::now();
    assert_eq!(process.stop(Duration::ZERO).await, signalled(libc::SIGKILL));
    assert!(begun.elapsed() < OVER, "{:?}", begun.elapsed());
    nothing_left(&marker, &[], Duration::ZERO).await;
}

async fn r1_a_bomb_is_bounded_and_over_at_once() {
    multiplies_within_bounds("bomb", None).await;
}

async fn r1_comets_are_bounded_and_over_at_once() {
    multiplies_within_bounds("comets", Some("a hundred")).await;
}

async fn r1_open_files_are_limited() {
    let limits = ResourceLimits {
        max_open_files: Some(20),
        ..ResourceLimits::default()
    };
    let host = Host::new();
    assert_eq!(
        host.printed(limited(zoo(&["open-files"]), limits)).await.trim(),
        "open-files 17"
    );
    let all = host.printed(zoo(&["open-files"])).await;
    assert_eq!(all.trim(), "open-files 500", "without the limit");
}

async fn r1_what_an_unconfined_host_cannot_hold_is_refused() {
    let host = Host::unconfined();
    for limits in [memory(MAY), pids(20)] {
        let refused = host.run(limited(command("/bin/true", &[]), limits)).await;
        assert!(matches!(refused, Err(Error::LimitUnenforceable(_))), "{refused:?}");
    }
}

async fn x6_what_left_the_tree_of_parents_is_counted() {
    let host = Host::new();
    let process = host.start(zoo(&["spin-apart", "500"])).await;
    process.exit().await;
    let used = process
        .scope
        .status(&process.id)
        .expect("it is there")
        .cpu
        .expect("it is counted");
    assert!(
        used >= Duration::from_millis(500) && used < Duration::from_millis(900),
        "{used:?}"
    );
}

async fn x6_processor_time_is_live() {
    let host = Host::new();
    let process = host.start(zoo(&["spin", "60000"])).await;
    let used = || {
        process
            .scope
            .status(&process.id)
            .expect("it is there")
            .cpu
            .unwrap_or_default()
    };
    assert!(soon(PATIENCE, || used() > Duration::from_millis(100)).await);
    process.stop(Duration::ZERO).await;
}

async fn x6_the_peak_is_not_the_hosts() {
    let dir = crate::harness::workspace();
    let output = program(crate::who::binary("zoo-host"))
        .arg(marker())
        .arg(dir.path())
        .args(["run", "/bin/true"])
        .env("ZOO_BALLAST", "500")
        .output()
        .expect("a host");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak = output
        .lines()
        .find_map(|line| line.strip_prefix("peak ")?.parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("{output}"));
    assert!(peak > 100 << 10 && peak < 10 * MIB, "{peak}");
}

async fn x7_the_pid_is_the_commands_own() {
    let host = Host::new();
    let marker = marker();
    let process = host.start(zoo(&["stay", &marker])).await;
    process.prints("up").await;
    let pid = process.os_pid();
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    assert_eq!(command, format!("./zoo\0stay\0{marker}\0"));
    process.stop(Duration::ZERO).await;
}

async fn r1_a_limit_of_nothing_is_refused() {
    let request = SpawnRequest {
        limits: Some(pids(0)),
        ..command("/bin/true", &[])
    };
    let refused = watchdog(Host::new().run(request)).await;
    assert!(matches!(refused, Err(Error::InvalidInput(_))), "{refused:?}");
}

/// The published exits, with their reasons.
#[derive(Default)]
struct Reasons(Mutex<Vec<(String, String)>>);

impl Events for Reasons {
    fn publish(&self, event: ProcessEvent) {
        let told: serde_json::Value = serde_json::from_str(&event.payload).expect("JSON");
        let text = |key: &str| {
            told.get(key)
                .and_then(|text| text.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        // Output has events, too.
        if event.topic.contains(".exited.") {
            let mut exits = self.0.lock().expect("no panic under it");
            exits.push((text("reason"), text("cause")));
        }
    }
}

async fn r2_e2_an_exit_over_a_limit_is_told_from_other_deaths() {
    let host = Host::new();
    let reasons = Arc::new(Reasons::default());
    host.registry.publish_to(Arc::<Reasons>::clone(&reasons));
    for (behaviour, limits, reason) in [
        ("touch", memory(MAY), "limit-memory"),
        ("spin", cpu(1), "limit-cpu"),
        ("spin", ResourceLimits::default(), "self-exit"),
    ] {
        let want = if behaviour == "touch" { WANT } else { "1500" };
        let process = host.start(limited(zoo(&[behaviour, want, "200"]), limits)).await;
        process.exit().await;
        // As late as possible. The exit is published all the same.
        process.scope.watch(&process.id, Some("x")).expect("it is there");
        let (told, cause) = reasons.0.lock().expect("no panic under it").pop().expect("an event");
        assert_eq!(
            (told.as_str(), cause.is_empty()),
            (reason, reason == "self-exit"),
            "{cause}"
        );
        process.stop(Duration::ZERO).await;
    }
}

crate::who::each_user!(
    r2_e2_an_exit_over_a_limit_is_told_from_other_deaths,
    r1_memory_of_its_own_is_bounded,
    r1_memory_of_eight_is_bounded,
    r1_memory_in_files_is_bounded,
    r1_unmapped_shared_memory_is_bounded,
    r1_memory_of_a_process_without_its_first_thread_is_bounded,
    r1_memory_behind_a_name_that_is_no_text_is_bounded,
    r1_memory_in_two_places_is_bounded_in_sum,
    r1_memory_in_pipes_is_bounded,
    r1_memory_that_a_pipe_keeps_is_bounded,
    r1_cpu_of_one_is_bounded,
    r1_cpu_of_many_in_turn_is_bounded,
    r1_cpu_of_children_that_are_not_waited_for_is_bounded,
    r1_cpu_of_unreadable_programs_is_bounded,
    r1_processes_and_threads_are_limited_for_the_tree_alone,
    r1_a_bomb_is_bounded_and_over_at_once,
    r1_comets_are_bounded_and_over_at_once,
    r1_open_files_are_limited,
    r1_what_an_unconfined_host_cannot_hold_is_refused,
    r1_a_limit_of_nothing_is_refused,
    x6_what_left_the_tree_of_parents_is_counted,
    x6_processor_time_is_live,
    x6_the_peak_is_not_the_hosts,
    x7_the_pid_is_the_commands_own,
);
