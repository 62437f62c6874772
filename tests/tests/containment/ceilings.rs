//! What a tree may use when its request names no limit, and what it leaves to others that share a resource with it (R3,
//! S5, Q5).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use capsule_host::sandbox::ResourceLimits;
use capsule_host::supervisor::SpawnRequest;

use crate::harness::{AT_ONCE, Host, command, limited, marker, sh, signalled, workspace, zoo};
use crate::limits::memory_is_bounded;
use crate::users::most_watches;
use crate::who::{binary, program};

const MIB: u64 = 1 << 20;

async fn r3_a_tree_that_asks_for_nothing_has_the_default_ceilings() {
    let host = Host::new();
    let said = host
        .printed(sh(
            "ulimit -Hn; ulimit -Sn; awk '/Max processes/ { print $3, $4 }' /proc/self/limits",
        ))
        .await;
    // Pid 1 is counted too, and is not the guest's.
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["4096", "4096", "513", "513"]
    );
    let forks = host.printed(zoo(&["forks"])).await;
    // All processes but the command itself.
    assert_eq!(forks.trim(), format!("forks 511 {}", libc::EAGAIN));
    let tmp = host.printed(sh("df -k /tmp | tail -n 1")).await;
    let kib = tmp.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    assert!(kib.is_some_and(|kib| kib <= 256 << 10), "{tmp}");
}

async fn r1_tables_of_memory_are_bounded() {
    memory_is_bounded("tables").await;
}

async fn r1_semaphores_are_bounded() {
    memory_is_bounded("semaphores").await;
}

async fn r1_messages_are_bounded() {
    memory_is_bounded("messages").await;
}

async fn r1_tmp_of_a_tree_without_its_first_thread_is_bounded() {
    memory_is_bounded("headless-tmpfs").await;
}

/// One process may have 4096 files, and their buffers at their usual size would hold 420 MiB.
async fn r1_memory_in_sockets_is_bounded() {
    let memory = ResourceLimits {
        max_memory_bytes: Some(64 * MIB),
        ..ResourceLimits::default()
    };
    let host = Host::new();
    let process = host.start(limited(zoo(&["sockets", "384"]), memory)).await;
    let ended = tokio::time::timeout(AT_ONCE, process.exit()).await;
    let output = process.output();
    process.stop(Duration::ZERO).await;
    assert_eq!(ended.ok(), Some(signalled(libc::SIGKILL)), "{output}");
}

/// One command takes all that it gets of a resource. Another command of the same host, which has the same kernel user,
/// still gets `needs` of it, and so does the host.
async fn leaves_others_their_part(what: &str, wants: &str, needs: &str) {
    let host = Host::new();
    let hoarder = host.start(zoo(&[what, wants, "keep"])).await;
    let said = || hoarder.output().lines().any(|line| line.starts_with("took "));
    assert!(
        crate::harness::soon(crate::harness::PATIENCE, said).await,
        "{}",
        hoarder.output()
    );
    let other = host.printed(zoo(&[what, needs])).await;
    let took = hoarder.output();
    hoarder.stop(Duration::ZERO).await;
    assert_eq!(other.trim(), format!("took {needs}"), "beside one that {took}");
    assert_ne!(took.trim(), format!("took {wants}"), "without a bound");
}

async fn s5_q5_watchers_of_files_are_left_to_others() {
    leaves_others_their_part("watchers", "1000", "2").await;
}

async fn s5_q5_files_on_their_way_are_left_to_the_host() {
    let host = Host::new();
    let hoarder = host.start(zoo(&["in-flight", "1000", "keep"])).await;
    let said = || hoarder.output().lines().any(|line| line.starts_with("took "));
    assert!(
        crate::harness::soon(crate::harness::PATIENCE, said).await,
        "{}",
        hoarder.output()
    );
    // With a pipe as stdin, a workspace and a ruleset, all of which the host sends as descriptors.
    for _ in 0..3 {
        host.printed(command("/bin/true", &[])).await;
    }
    let took = hoarder.output();
    hoarder.stop(Duration::ZERO).await;
    assert_ne!(took.trim(), "took 1000", "without a bound");
}

async fn s5_q5_pending_signals_are_left_to_others() {
    leaves_others_their_part("signals", "200000", "8").await;
}

/// A process that ends with the test, however the test ends.
struct Hoarder(Child);

impl Drop for Hoarder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Another process has all epoll watches that the host's user may have. A command of the host could take them if it had
/// the same user.
async fn s5_q5_a_host_that_may_watch_nothing_more_goes_on() {
    let Some(most) = most_watches() else {
        crate::who::skip("a limit of watches that can be reached");
        return;
    };
    let host = Host::new();
    let watches = |number: &str| {
        let mut command = program(host.dir().join("zoo"));
        command.args(["watches", number]);
        command
    };
    let mut hoarder = watches(&(2 * most).to_string());
    let hoarder = hoarder.arg("keep").stdout(Stdio::piped()).spawn();
    let mut hoarder = Hoarder(hoarder.expect("the zoo"));
    let mut said = BufReader::new(hoarder.0.stdout.take().expect("it is piped"));
    let mut took = String::new();
    said.read_line(&mut took).expect("a line");
    assert!(took.starts_with("took "), "{took}");
    let other = watches("1").output().expect("it runs").stdout;
    assert_eq!(String::from_utf8_lossy(&other).trim(), "took 0", "there are some left");
    for _ in 0..3 {
        assert_eq!(host.printed(sh("echo out; echo err >&2")).await, "out\n");
    }
    let marker = marker();
    let tree = host.start(zoo(&["stay", &marker])).await;
    tree.prints("up").await;
    let reads = SpawnRequest {
        keep_stdin_open: true,
        ..sh("read line; echo \"heard $line\"; read line")
    };
    let reader = host.start(reads).await;
    let written = reader.scope.write_stdin(&reader.id, b"it\n".to_vec()).await;
    written.expect("it is written");
    reader.prints("heard it").await;
    for process in [&tree, &reader] {
        assert!(process.stop(Duration::ZERO).await.signal.is_some());
    }
    drop(hoarder);
}

/// The host has a higher priority than all other processes.
async fn b4_a_command_has_no_priority_of_its_hosts() {
    let dir = workspace();
    for before in [&["/usr/bin/chrt", "-f", "1"][..], &["/usr/bin/nice", "-n", "-5"]] {
        let output = program("/usr/bin/env")
            .args(before)
            .arg(binary("zoo-host"))
            .arg(marker())
            .arg(dir.path())
            .args(["run", "./zoo", "priority"])
            .output()
            .expect("a host");
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains("policy 0 nice 20 io 0"), "{before:?}: {output}");
    }
}

crate::who::each_user!(
    r3_a_tree_that_asks_for_nothing_has_the_default_ceilings,
    r1_tables_of_memory_are_bounded,
    r1_semaphores_are_bounded,
    r1_messages_are_bounded,
    r1_tmp_of_a_tree_without_its_first_thread_is_bounded,
    r1_memory_in_sockets_is_bounded,
    s5_q5_watchers_of_files_are_left_to_others,
    s5_q5_files_on_their_way_are_left_to_the_host,
    s5_q5_pending_signals_are_left_to_others,
);
crate::who::ranged!(ROBBED: s5_q5_a_host_that_may_watch_nothing_more_goes_on);
crate::who::root!(b4_a_command_has_no_priority_of_its_hosts);
