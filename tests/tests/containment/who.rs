//! Runs each case as root and as an ordinary user, if the user of the tests can be both.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

/// An ordinary user, for which no account need exist.
pub(crate) const ORDINARY: u32 = 1000;

/// Makes two tests of each case.
macro_rules! each_user {
    ($($case:ident),+ $(,)?) => {
        mod as_root {
            $(#[test] fn $case() { crate::who::as_root(super::$case); })+
        }
        mod as_an_ordinary_user {
            $(#[test] fn $case() {
                crate::who::as_an_ordinary_user(concat!(module_path!(), "::", stringify!($case)), super::$case);
            })+
        }
    };
}
/// Makes one test of each case that is about a host that is root.
macro_rules! root {
    ($($case:ident),+ $(,)?) => {
        mod only_as_root {
            $(#[test] fn $case() { crate::who::as_root(super::$case); })+
        }
    };
}
/// Makes one test of each case that needs a user of its own, whose number is written before it.
macro_rules! apart {
    ($($user:literal: $case:ident),+ $(,)?) => {
        mod as_a_user_of_its_own {
            $(#[test] fn $case() {
                crate::who::as_a_user_of_its_own($user, concat!(module_path!(), "::", stringify!($case)), super::$case);
            })+
        }
    };
}
/// Makes two tests of each case that counts what its whole process holds, or takes a limit of it: each in a process of its own.
macro_rules! alone {
    ($($case:ident),+ $(,)?) => {
        mod alone_as_root {
            $(#[test] fn $case() {
                crate::who::in_a_process_of_its_own(0, concat!(module_path!(), "::", stringify!($case)), super::$case);
            })+
        }
        mod alone_as_an_ordinary_user {
            $(#[test] fn $case() {
                crate::who::in_a_process_of_its_own(crate::who::ORDINARY, concat!(module_path!(), "::", stringify!($case)), super::$case);
            })+
        }
    };
}
/// Makes one test of each case that is about an ordinary user with a subordinate range.
macro_rules! ranged {
    ($user:ident: $($case:ident),+ $(,)?) => {
        mod with_a_subordinate_range {
            $(#[test] fn $case() {
                let name = concat!(module_path!(), "::", stringify!($case));
                crate::who::with_a_range(crate::who::$user, name, super::$case);
            })+
        }
    };
}
pub(crate) use alone;
pub(crate) use apart;
pub(crate) use each_user;
pub(crate) use ranged;
pub(crate) use root;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn as_root<F: Future<Output = ()>>(case: fn() -> F) {
    if is_root() {
        run(case);
    } else {
        skip("the tests to be run by root");
    }
}

/// Runs this one test in another process, in which root becomes another user.
pub(crate) fn as_an_ordinary_user<F: Future<Output = ()>>(path: &str, case: fn() -> F) {
    if is_root() {
        as_user(ORDINARY, path);
    } else {
        run(case);
    }
}

/// The same, as a user that no other test uses.
pub(crate) fn as_a_user_of_its_own<F: Future<Output = ()>>(user: u32, path: &str, case: fn() -> F) {
    if is_root() {
        as_user(user, path);
    } else if std::env::var_os(BINARIES).is_some() {
        run(case);
    } else {
        skip("the tests to be run by root");
    }
}

/// Runs a case in a process of its own.
pub(crate) fn in_a_process_of_its_own<F: Future<Output = ()>>(user: u32, path: &str, case: fn() -> F) {
    if std::env::var_os(BINARIES).is_some() {
        run(case);
    } else if is_root() {
        as_user(user, path);
    } else {
        skip("the tests to be run by root");
    }
}

fn as_user(user: u32, path: &str) {
    let (_, name) = path.split_once("::").expect("a crate's name first");
    let binaries = Binaries::borrow();
    // The folders in which this user's secrets would be.
    let home = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(home.path(), Some(user), Some(user)).expect("a home");
    let output = program(binaries.path("this-test"))
        .env(BINARIES, binaries.folder())
        .args(["--exact", name, "--nocapture"])
        .env("HOME", home.path())
        .current_dir("/")
        .uid(user)
        .gid(user)
        .output()
        .expect("the test binary can be run by all users");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "as uid {user}:\n{printed}"
    );
}

/// The users that have a subordinate range. No other test runs as them, because the kernel counts by user.
pub(crate) const RANGED: u32 = 4343;
/// A user whose own watches a test takes.
pub(crate) const ROBBED: u32 = 4344;

/// The first number of the range.
pub(crate) const RANGE: u32 = 3_000_000_000;

/// Writes the range to files that only the process of this one test sees, and becomes that user there.
pub(crate) fn with_a_range<F: Future<Output = ()>>(user: u32, path: &str, case: fn() -> F) {
    const BECOME: &str = "mount --bind \"$1\" /etc/subuid && mount --bind \"$1\" /etc/subgid && \
        mount --bind \"$2\" /etc/passwd && exec setpriv --reuid \"$3\" --regid \"$3\" --clear-groups \"$4\" --exact \"$5\" --nocapture";
    if !is_root() && std::env::var_os(BINARIES).is_some() {
        run(case);
        return;
    }
    let tools = ["/usr/bin/newuidmap", "/usr/bin/setpriv", "/etc/subuid", "/etc/subgid"];
    if !is_root() || tools.iter().any(|tool| !Path::new(tool).exists()) {
        skip("the tests to be run by root, with newuidmap and setpriv");
        return;
    }
    let (_, name) = path.split_once("::").expect("a crate's name first");
    let binaries = Binaries::borrow();
    let home = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(home.path(), Some(user), Some(user)).expect("a home of that user's");
    let said = tempfile::tempdir().expect("a folder");
    let (range, accounts) = (said.path().join("range"), said.path().join("accounts"));
    std::fs::write(&range, format!("{user}:{RANGE}:65536\n")).expect("a file");
    let known = std::fs::read_to_string("/etc/passwd").expect("accounts");
    std::fs::write(&accounts, format!("{known}ranged:x:{user}:{user}::/:/bin/sh\n")).expect("a file");
    for file in [said.path(), &range, &accounts] {
        std::fs::set_permissions(file, Permissions::from_mode(0o755)).expect("a mode");
    }
    let output = program("/usr/bin/unshare")
        .args(["--mount", "/bin/sh", "-c", BECOME, "sh"])
        .args([&range, &accounts])
        .arg(user.to_string())
        .arg(binaries.path("this-test"))
        .arg(name)
        .env(BINARIES, binaries.folder())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .current_dir("/")
        .output()
        .expect("unshare");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "as uid {user}:\n{printed}"
    );
}

/// The folder in which [`binary`] looks, in the process of an ordinary user.
const BINARIES: &str = "CAPSULE_TEST_BINARIES";

/// A program of these tests, at a path that the user who runs it can reach.
pub(crate) fn binary(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(BINARIES) {
        return Path::new(&folder).join(name);
    }
    match name {
        "zoo" => env!("CARGO_BIN_EXE_zoo").into(),
        "zoo-host" => env!("CARGO_BIN_EXE_zoo-host").into(),
        _ => std::env::current_exe().expect("this test has a name"),
    }
}

/// The programs in a folder that all users may enter, because only root may enter the folder of the build. It exists as
/// long as a test uses it.
struct Binaries(Arc<TempDir>);

impl Binaries {
    fn borrow() -> Self {
        static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = shared.upgrade() {
            return Self(folder);
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
        for name in ["zoo", "zoo-host", "this-test"] {
            let (from, to) = (binary(name), folder.path().join(name));
            if std::fs::hard_link(&from, &to).is_err() {
                // On another file system. Another process copies it, as the zoo is copied into a workspace.
                let copied = program("/bin/cp").arg(&from).arg(&to).status();
                assert!(copied.expect("cp").success(), "a copy");
            }
        }
        let folder = Arc::new(folder);
        *shared = Arc::downgrade(&folder);
        Self(folder)
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

pub(crate) fn run<F: Future<Output = ()>>(case: fn() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case())));
    // A launch that never ends must not prevent the test from reporting it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Reports why a case cannot run here. Where everything is required, it fails.
pub(crate) fn skip(missing: &str) {
    assert!(
        std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(),
        "skipped, for want of {missing}"
    );
    remark(&format!("skipped, for want of {missing}"));
}

/// Prints a figure for the reader of the test's output.
pub(crate) fn remark(text: &str) {
    #[expect(clippy::print_stderr, reason = "a test's own words, which the test runner collects")]
    {
        eprintln!("{text}");
    }
}

/// Starts the processes that the tests themselves need: unrelated processes, and hosts that are killed.
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "what the tests start beside the host under test"
    )]
    Command::new(path)
}
