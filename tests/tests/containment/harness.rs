//! The shared parts of the containment tests: a confined host whose workspace contains the zoo, and waits for facts.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::sandbox::{Confined, Launcher, Policy, ResourceLimits, Unconfined};
use capsule_host::supervisor::{Error, ExitInfo, Limits, LogStream, RunOutput, Scope, SpawnRequest};
pub(crate) use capsule_tests::{AllowAll, breathe, code, command, sh, signalled};
use tempfile::TempDir;

use crate::who::{ORDINARY, is_root};

/// Longer than any step of these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The longest time for a step that takes almost no time on an idle machine.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(5);

/// A workspace with the zoo in it, which belongs to the user that commands run as.
pub(crate) fn workspace() -> TempDir {
    let dir = TempDir::new().expect("a workspace");
    let zoo = dir.path().join("zoo");
    // Another process copies it. If this process had a descriptor to write with, a child that another test starts at
    // that moment would hold it too, and the copy could not be executed.
    let copied = crate::who::program("/bin/cp")
        .arg(crate::who::binary("zoo"))
        .arg(&zoo)
        .status();
    assert!(copied.expect("cp").success(), "the zoo");
    std::fs::set_permissions(&zoo, std::fs::Permissions::from_mode(0o755)).expect("the zoo");
    if is_root() {
        for path in [dir.path(), &zoo] {
            std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).expect("a workspace of another user");
        }
    }
    dir
}

/// A host whose workspace contains the zoo.
pub(crate) struct Host(capsule_tests::Host);

impl Deref for Host {
    type Target = capsule_tests::Host;

    fn deref(&self) -> &capsule_tests::Host {
        &self.0
    }
}

impl Host {
    /// A confined host with the default policy.
    pub(crate) fn new() -> Self {
        Self::with(Policy::new())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        Self::launching(Arc::new(Confined::new(policy).expect("a confinement")))
    }

    /// The same commands unconfined, with all rights of this test. There every attempt would succeed.
    pub(crate) fn unconfined() -> Self {
        Self::launching(Arc::new(Unconfined::new().allow_persistent()))
    }

    pub(crate) fn launching(launcher: Arc<dyn Launcher>) -> Self {
        Self::launching_within(launcher, Limits::default())
    }

    pub(crate) fn launching_within(launcher: Arc<dyn Launcher>, limits: Limits) -> Self {
        Self(capsule_tests::Host::made_of(launcher, limits, workspace()))
    }

    pub(crate) async fn run(&self, request: SpawnRequest) -> Result<RunOutput, Error> {
        watchdog(self.scope().spawn(request, &self.workspace, &mut AllowAll)).await
    }

    /// The output of a command, which must succeed.
    pub(crate) async fn printed(&self, request: SpawnRequest) -> String {
        let output = self.run(request).await.expect("it runs");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.exit, code(0), "{stdout}{stderr}");
        stdout.into_owned()
    }

    pub(crate) async fn start(&self, request: SpawnRequest) -> Process {
        let scope = self.scope();
        let id = watchdog(scope.spawn_persistent(request, &self.workspace, &mut AllowAll))
            .await
            .expect("a process");
        Process {
            id: id.expose().to_owned(),
            scope,
        }
    }

    /// The kernel's answer to each attempt, 0 where it succeeded.
    pub(crate) async fn attempt(&self, attempts: &[&str]) -> BTreeMap<String, i32> {
        let mut args = vec!["try"];
        args.extend(attempts);
        let printed = self.printed(zoo(&args)).await;
        let answers: BTreeMap<_, _> = printed
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(attempt, errno)| (attempt.to_owned(), errno.parse().expect("an errno")))
            .collect();
        assert_eq!(answers.len(), attempts.len(), "{printed}");
        answers
    }

    /// Checks that each attempt is answered by one of the errnos beside it.
    pub(crate) async fn refused(&self, attempts: &[(&str, &[i32])]) {
        let names: Vec<_> = attempts.iter().map(|(name, _)| *name).collect();
        let answers = self.attempt(&names).await;
        let wrong: Vec<_> = attempts
            .iter()
            .filter(|(name, wanted)| !answers.get(*name).is_some_and(|errno| wanted.contains(errno)))
            .map(|(name, wanted)| format!("{name}: {:?}, not {wanted:?}", answers.get(*name)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Checks that each attempt succeeds.
    pub(crate) async fn allowed(&self, attempts: &[&str]) {
        let mut answers = self.attempt(attempts).await;
        answers.retain(|_, errno| *errno != 0);
        assert!(answers.is_empty(), "{answers:?}");
    }
}

/// A persistent process.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) scope: Scope,
}

impl Process {
    /// All its output so far.
    pub(crate) fn output(&self) -> String {
        let chunk = self
            .scope
            .read_since(&self.id, LogStream::Stdout, None, u32::MAX)
            .expect("it is there");
        String::from_utf8_lossy(&chunk.data).into_owned()
    }

    pub(crate) async fn prints(&self, line: &str) {
        let mut found = String::new();
        let fact = async {
            while !found.lines().any(|found| found == line) {
                breathe().await;
                found = self.output();
            }
        };
        let heard = tokio::time::timeout(PATIENCE, fact).await;
        assert!(heard.is_ok(), "never printed {line:?}, but: {found}");
    }

    pub(crate) async fn exit(&self) -> ExitInfo {
        watchdog(self.scope.wait(&self.id, PATIENCE)).await.expect("an exit")
    }

    pub(crate) async fn stop(&self, grace: Duration) -> ExitInfo {
        watchdog(self.scope.stop(&self.id, Some(grace))).await.expect("an exit")
    }

    pub(crate) fn os_pid(&self) -> u32 {
        self.scope
            .status(&self.id)
            .expect("it is there")
            .os_pid
            .expect("it runs")
    }
}

pub(crate) fn zoo(args: &[&str]) -> SpawnRequest {
    command("./zoo", args)
}

pub(crate) fn limited(request: SpawnRequest, limits: ResourceLimits) -> SpawnRequest {
    SpawnRequest {
        limits: Some(limits),
        ..request
    }
}

/// Fails the test if `future` does not complete in time.
pub(crate) async fn watchdog<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ended, instead of hanging")
}

/// Waits for `fact`, and returns whether it held in time.
pub(crate) async fn soon(within: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if fact() {
            return true;
        }
        if begun.elapsed() > within {
            return false;
        }
        breathe().await;
    }
}

/// A text that no other process of this machine has in its command line.
pub(crate) fn marker() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "zoo-marker-{}-{}-end",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The processes that execute and have `marker` in their command line or are in one of `sessions`, each with its
/// description.
pub(crate) fn living(marker: &str, sessions: &[u32]) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .ok()?
            .replace('\0', " ");
        let (state, session) = state_and_session(pid)?;
        let ours = command.contains(marker) || (sessions.contains(&session) && command.starts_with("capsule-init"));
        (ours && !matches!(state, 'Z' | 'X')).then(|| (pid, format!("{state} {command}")))
    })
    .collect()
}

fn state_and_session(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may contain any character, but it ends at the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(2)?.parse().ok()?))
}

/// Fails if a process of a tree is left, and ends the process, so that a failed test leaves nothing behind.
pub(crate) async fn nothing_left(marker: &str, sessions: &[u32], within: Duration) {
    if soon(within, || living(marker, sessions).is_empty()).await {
        return;
    }
    let left = living(marker, sessions);
    for (pid, _) in &left {
        let pid = i32::try_from(*pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    panic!("{} survivors: {left:?}", left.len());
}
