//! Reports that host and init cannot send, because the kernel accepts no more descriptors in transit for their user. A
//! spawn that is refused has run nothing, and a process that runs is known to run (S5).
//!
//! Descriptors in transit are counted for a user, so each case runs as a user that no other test uses.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use capsule_host::supervisor::Error;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::harness::{AT_ONCE, Host, PATIENCE, command, marker, nothing_left, sh, signalled, soon, zoo};
use crate::who::{binary, program};
use capsule_tests::holdings::{children_of, waits_for_configuration};

/// Descriptors in transit, until it is dropped.
struct Hoard(Child);

impl Hoard {
    /// As many as so many messages carry, at 253 each; fewer if the limit is reached.
    fn of(messages: u32) -> Self {
        let mut child = program(binary("zoo"))
            .args(["in-flight", &messages.to_string(), "keep"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a hoarder");
        let mut said = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("a line");
        assert!(said.starts_with("took ") && said != "took 0\n", "{said}");
        Self(child)
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was started here");
    }
}

/// The spare init of the only host of this process.
pub(crate) async fn spare(host: &Host) -> u32 {
    host.run(command("/bin/true", &[])).await.expect("it runs");
    let mut found = None;
    let waits = || {
        let mut inits = children_of(std::process::id()).into_iter().flat_map(children_of);
        found = inits.find(|pid| waits_for_configuration(*pid));
        found.is_some()
    };
    assert!(soon(PATIENCE, waits).await, "no init waits");
    found.expect("it waits")
}

fn is_there(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn s5_a_configuration_that_cannot_be_sent_starts_nothing() {
    let host = Host::new();
    let waiting = spare(&host).await;
    let hoard = Hoard::of(100_000);
    // First with the spare init, then with an init that cannot be requested.
    for _ in 0..3 {
        let refused = host.run(sh("touch ran")).await;
        let Err(Error::Host(why)) = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("references"), "{why}");
    }
    assert!(soon(AT_ONCE, || !is_there(waiting)).await, "its init is there yet");
    drop(hoard);
    let ran = || host.dir().join("ran").exists();
    assert!(!ran(), "it ran and was refused");
    host.printed(sh("touch ran")).await;
    assert!(ran(), "or this shows nothing");
}

async fn s5_a_start_that_cannot_be_told_with_descriptors_is_told_without() {
    let (host, marker) = (Host::new(), marker());
    let waiting = spare(&host).await;
    // The kernel checks the sender's limit: more descriptors are in transit than this init may send, and fewer than the
    // host may.
    let few = Rlimit {
        current: Some(200),
        maximum: Some(200),
    };
    let own = getrlimit(Resource::Nofile).current;
    assert!(own.is_none_or(|own| own > 512), "{own:?}");
    let pid = i32::try_from(waiting).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, few).expect("its limit");
    let hoard = Hoard::of(1);
    let process = host.start(zoo(&["stay", &marker])).await;
    process.prints("up").await;
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", process.os_pid()));
    assert!(
        command.is_ok_and(|command| command.contains(&marker)),
        "another process"
    );
    assert!(is_there(waiting), "this init was not used");
    let info = process.scope.status(&process.id).expect("it is there");
    assert!(info.cpu.is_some() && info.mem_bytes_peak.is_some(), "{info:?}");
    let exit = process.stop(std::time::Duration::ZERO).await;
    assert_eq!(exit, signalled(libc::SIGKILL));
    nothing_left(&marker, &[], AT_ONCE).await;
    drop(hoard);
}

crate::who::apart! {
    4244: s5_a_configuration_that_cannot_be_sent_starts_nothing,
    4245: s5_a_start_that_cannot_be_told_with_descriptors_is_told_without,
}
