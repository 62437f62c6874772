//! A launcher in another crate, whose commands have a kernel of their own. It shows that the trait suffices for
//! streams, ends and files.
//!
//! `tests/vm/launcher` makes the machine and names it in `CAPSULE_MACHINE`. Without it each case reports that it is
//! skipped. The printed times and sizes are those of docs/launchers.md.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::sandbox::Launcher;
use capsule_host::supervisor::{ExitInfo, Limits, LogStream, Overflow, RunOutput, SpawnRequest};
use capsule_tests::machine::Machine;

use crate::death::Doomed;
use crate::harness::{
    AllowAll, Host, Process, breathe, code, command, living, marker, nothing_left, sh, signalled, soon,
};
use crate::who::{program, remark};

/// Longer than an emulated kernel takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const MIB: usize = 1 << 20;

fn launcher() -> Option<Arc<dyn Launcher>> {
    let machine = Machine::new().expect("a confinement");
    if machine.is_none() {
        remark("skipped, for want of a virtual machine: tests/vm/launcher brings one");
    }
    machine.map(|machine| Arc::new(machine) as Arc<dyn Launcher>)
}

fn host() -> Option<Host> {
    launcher().map(Host::launching)
}

async fn run(host: &Host, request: SpawnRequest) -> RunOutput {
    let (scope, mut gate) = (host.scope(), AllowAll);
    let spawn = scope.spawn(request, &host.workspace, &mut gate);
    let ended = tokio::time::timeout(PATIENCE, spawn).await;
    ended.expect("it ended, instead of hanging").expect("it runs")
}

/// The output of a command, which must succeed.
async fn printed(host: &Host, request: SpawnRequest) -> String {
    let output = run(host, request).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.exit, code(0), "{said}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

async fn prints(process: &Process, line: &str) {
    let found = soon(PATIENCE, || process.output().lines().any(|found| found == line)).await;
    assert!(found, "never printed {line:?}, but: {}", process.output());
}

async fn ended(process: &Process) -> ExitInfo {
    process
        .scope
        .wait(&process.id, Limits::default().wait_max)
        .await
        .expect("an exit")
}

/// The number of a command's processes on the host, all of which have the workspace in their command lines.
fn left_of(workspace: &Path) -> usize {
    living(&workspace.display().to_string(), &[]).len()
}

/// The resident memory of these processes that the host does not share, in KiB.
fn private_memory(workspace: &Path) -> u64 {
    let processes = living(&workspace.display().to_string(), &[]);
    let sizes = processes.iter().map(|(pid, _)| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        of("Private_Clean:").unwrap_or(0) + of("Private_Dirty:").unwrap_or(0)
    });
    sizes.sum()
}

async fn b1_the_kernel_is_another() {
    let Some(host) = host() else { return };
    let inside = printed(&host, command("uname", &["-r"])).await;
    let outside = program("uname").arg("-r").stdin(Stdio::null()).output().expect("uname");
    let outside = String::from_utf8_lossy(&outside.stdout).trim_end().to_owned();
    remark(&format!("kernel inside {inside}, outside {outside}"));
    assert_ne!(inside, outside);
    assert!(inside.starts_with(|first: char| first.is_ascii_digit()), "{inside:?}");
}

async fn s8_output_arrives_unharmed() {
    let Some(host) = host() else { return };
    // Every byte value, without a period that a buffer could have.
    let content: Vec<u8> = (0..3 * MIB)
        .map(|at| (at ^ (at >> 8) ^ (at >> 15)).to_le_bytes()[0])
        .collect();
    std::fs::write(host.dir().join("content"), &content).expect("a file");
    let output = run(&host, sh("cat content; cat content | head -c 1000000 >&2")).await;
    assert_eq!(output.exit, code(0));
    assert!(output.stdout == content, "{} bytes of stdout", output.stdout.len());
    assert!(
        output.stderr == content.get(..1_000_000).expect("more than that"),
        "{} bytes of stderr",
        output.stderr.len()
    );
}

async fn l6_a_machine_waits_for_what_was_written_to_be_read() {
    let Some(host) = host() else { return };
    // More than the pipeline from a port to the ring holds, and less than a port takes. So the command ends before all
    // its output has left the machine.
    const SIZE: usize = MIB;
    let content: Vec<u8> = (0..SIZE).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
    std::fs::write(host.dir().join("content"), &content).expect("a file");
    let request = SpawnRequest {
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4 << 10),
        ..sh("cat content; touch written")
    };
    let process = host.start(request).await;
    assert!(
        soon(PATIENCE, || host.dir().join("written").exists()).await,
        "it is written"
    );
    let gone = soon(Duration::from_secs(10), || left_of(host.dir()) == 0).await;
    assert!(!gone, "the machine has ended, and its output was not read");

    let mut read = Vec::new();
    let mut from = None;
    let begun = Instant::now();
    loop {
        let chunk = process
            .scope
            .read_since(&process.id, LogStream::Stdout, from.as_deref(), u32::MAX)
            .expect("it is there");
        read.extend(chunk.data);
        if chunk.drained_eof {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{} bytes", read.len());
        from = Some(chunk.next);
        breathe().await;
    }
    assert!(read == content, "{} bytes", read.len());
    assert_eq!(ended(&process).await, code(0));
}

async fn x2_an_exit_code_and_a_signal_are_told() {
    let Some(host) = host() else { return };
    assert_eq!(run(&host, sh("exit 7")).await.exit, code(7));
    assert_eq!(run(&host, sh("exit 137")).await.exit, code(137));
    assert_eq!(run(&host, sh("kill -KILL $$")).await.exit, signalled(9));
}

async fn n4_stdin_arrives_with_its_end() {
    let Some(host) = host() else { return };
    let stdin: Vec<u8> = (0..MIB).map(|at| at.to_le_bytes()[0]).collect();
    let request = SpawnRequest {
        stdin: Some(stdin.clone()),
        ..command("cat", &[])
    };
    let output = run(&host, request).await;
    assert_eq!(output.exit, code(0));
    assert!(output.stdout == stdin, "{} bytes", output.stdout.len());

    let request = SpawnRequest {
        keep_stdin_open: true,
        ..command("cat", &[])
    };
    let process = host.start(request).await;
    for line in ["one", "two"] {
        let bytes = format!("{line}\n").into_bytes();
        process.scope.write_stdin(&process.id, bytes).await.expect("it reads");
        prints(&process, line).await;
    }
    process.scope.close_stdin(&process.id).expect("it is open");
    assert_eq!(ended(&process).await, code(0));
}

async fn s2_arguments_variables_and_folder_arrive_as_they_are() {
    let Some(host) = host() else { return };
    std::fs::create_dir(host.dir().join("a folder")).expect("a folder");
    let odd = "it's $HOME, \"two\"\nlines\\ and 100% ü";
    let request = SpawnRequest {
        env: vec![("ODD".into(), odd.into())],
        cwd: Some("a folder".into()),
        ..command("/bin/sh", &["-c", "printf '%s|%s|' \"$1\" \"$ODD\"; pwd", "sh", odd])
    };
    let cwd = host.dir().join("a folder");
    assert_eq!(printed(&host, request).await, format!("{odd}|{odd}|{}", cwd.display()));
}

async fn b6_what_it_writes_is_seen_outside_and_what_is_protected_it_cannot_write() {
    let Some(host) = host() else { return };
    std::fs::create_dir(host.dir().join(".git")).expect("a folder");
    let script = "echo written >made && ! touch .git/made && ! touch /usr/made && ! ls /home";
    let said = printed(&host, sh(script)).await;
    assert_eq!(
        std::fs::read_to_string(host.dir().join("made")).expect("a file"),
        "written\n",
        "{said}"
    );
    assert!(!host.dir().join(".git/made").exists());
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&path.metadata().expect("it is there"));
    assert_eq!(owner(&host.dir().join("made")), owner(host.dir()));
}

async fn k2_it_is_told_to_end_before_it_is_ended() {
    let Some(host) = host() else { return };
    let process = host
        .start(sh("trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"))
        .await;
    prints(&process, "up").await;
    assert_eq!(process.stop(Duration::from_secs(10)).await, code(3));
    assert_eq!(left_of(host.dir()), 0);
}

async fn b5_a_stop_without_grace_ends_the_machine() {
    let Some(host) = host() else { return };
    let process = host.start(sh("trap '' TERM; echo up; while :; do sleep 1; done")).await;
    prints(&process, "up").await;
    assert!(left_of(host.dir()) > 0);
    remark(&format!(
        "an idle machine: {} KiB that it alone has",
        private_memory(host.dir())
    ));
    let begun = Instant::now();
    assert_eq!(process.stop(Duration::ZERO).await, signalled(9));
    remark(&format!("stop without grace: {:?}", begun.elapsed()));
    assert_eq!(left_of(host.dir()), 0);
}

async fn b3_the_machine_ends_with_a_host_that_is_killed() {
    if launcher().is_none() {
        return;
    }
    let (dir, marker) = (crate::harness::workspace(), marker());
    let mut host = program(crate::who::binary("zoo-host"));
    host.env("ZOO_MACHINE", "");
    let mut host = Doomed::start_as(host, &marker, dir.path(), &["deaf-tree"]);
    host.says("spawning");
    host.says("spawned");
    assert!(
        soon(PATIENCE, || dir.path().join("up").exists()).await,
        "a tree in the machine"
    );
    let workspace = dir.path().display().to_string();
    assert!(
        living(&workspace, &[])
            .iter()
            .any(|(_, command)| command.contains("qemu-system"))
    );
    let session = host.killed();
    nothing_left(&workspace, &[session], Duration::from_secs(1)).await;
}

async fn the_time_of_a_command_that_does_nothing() {
    let Some(machine) = host() else { return };
    for (name, host) in [("in a machine", machine), ("confined", Host::new())] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let process = host.start(command("/bin/true", &[])).await;
            assert_eq!(ended(&process).await, code(0));
            let cpu = process.scope.status(&process.id).expect("it is there").cpu;
            times.push((begun.elapsed(), cpu));
        }
        times.sort();
        remark(&format!(
            "/bin/true {name}, by the clock, and of processor time: {times:?}"
        ));
    }
}

// An ordinary user's commands are confined differently, but their machines are the same.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod cases {
            $(#[test] fn $case() { crate::who::run(super::$case); })+
        }
    };
}

cases!(
    b1_the_kernel_is_another,
    s8_output_arrives_unharmed,
    l6_a_machine_waits_for_what_was_written_to_be_read,
    x2_an_exit_code_and_a_signal_are_told,
    n4_stdin_arrives_with_its_end,
    s2_arguments_variables_and_folder_arrive_as_they_are,
    b6_what_it_writes_is_seen_outside_and_what_is_protected_it_cannot_write,
    k2_it_is_told_to_end_before_it_is_ended,
    b5_a_stop_without_grace_ends_the_machine,
    b3_the_machine_ends_with_a_host_that_is_killed,
    the_time_of_a_command_that_does_nothing,
);
