//! Starts the real command in a workspace of its own, and looks at what it left.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Once, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;

/// The crate folder of the example capsule.
pub(crate) const DEV_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../example-capsules/dev-server");

/// Every grant that the example capsule needs. Its processes share a network of their own.
pub(crate) const GRANTED: [&str; 3] = ["--allow", "python3", "--allow-persistent"];

/// The same, for processes that are not confined: they share the host's network.
pub(crate) const UNCONFINED: [&str; 4] = ["--unconfined", "--allow", "python3", "--allow-persistent"];

/// The longest time that a test waits for an event that must happen. Reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workspace. Everything that a capsule starts has its working directory in it, so the tests find leftover processes
/// by it.
pub(crate) struct Workspace(TempDir);

impl Workspace {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    /// Makes a named pipe. A process that opens it to read blocks until [`Self::when_read`].
    pub(crate) fn pipe(&self, name: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, self.0.path().join(name), FileType::Fifo, Mode::RWXU, 0).unwrap();
    }

    /// Waits until a process has opened the pipe to read, and returns the end to write to.
    pub(crate) fn when_read(&self, name: &str) -> fs::File {
        let path = self.0.path().join(name);
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || send.send(fs::File::options().write(true).open(path)));
        receive
            .recv_timeout(PATIENCE)
            .expect("no process opened the pipe")
            .unwrap()
    }

    /// Waits until the example capsule's server handles a request, for which it has a thread of its own.
    pub(crate) fn when_serving(&self) {
        let start = Instant::now();
        let is_serving = |process: &Process| process.command.contains("http.server") && process.threads > 1;
        while !self.processes().iter().any(is_serving) {
            assert!(start.elapsed() < PATIENCE, "no request: {:?}", self.processes());
            std::thread::yield_now();
        }
    }

    /// The processes whose working directory is in this folder.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let folder = self.path();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)))
            .filter_map(Process::new)
            .collect()
    }

    /// Fails if a process runs in this folder. Every test of an ending checks this at last.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let left = self.processes();
        assert!(left.is_empty(), "left running: {left:?}");
    }

    /// The command `capsule run --workspace <this> …`, not started yet.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.command("run", arguments)
    }

    /// The command `capsule SUBCOMMAND --workspace <this> …`, not started yet.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, subcommand: &str, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_capsule"));
        command
            .arg(subcommand)
            .arg("--workspace")
            .arg(self.path())
            .args(arguments);
        // Cargo's folder for the scratch files of tests lies in its target folder. Capsules are built in the same
        // target folder.
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        command
            .env("CARGO_TARGET_DIR", target_dir())
            .env("XDG_CACHE_HOME", scratch.join("cache"))
            .env("XDG_STATE_HOME", scratch.join("state"))
            // Without grants that another test saved.
            .env("XDG_CONFIG_HOME", scratch.join("config"));
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }
}

/// A process that existed when it was looked for.
#[derive(Debug)]
pub(crate) struct Process {
    handle: OwnedFd,
    command: String,
    threads: usize,
}

impl Process {
    pub(crate) fn new(pid: i32) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
        Some(Self {
            handle,
            threads,
            command: String::from_utf8_lossy(&command).replace('\0', " "),
        })
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&self) {
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut ended, Some(&patience)).unwrap(), 1, "still running: {self:?}");
    }
}

/// Where the tests' capsules are built.
pub(crate) fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// The example capsule as a file. The command itself builds it, once.
pub(crate) fn dev_server_file() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    built(&BUILT, DEV_SERVER, "dev_server.wasm")
}

/// A capsule that does what a test tells it (`tests/guests`), as a file.
pub(crate) fn test_guest_file() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests");
    built(&BUILT, folder, "capsule_test_guest.wasm")
}

fn built(built: &OnceLock<PathBuf>, folder: &str, name: &str) -> PathBuf {
    let build = || {
        let output = Workspace::new()
            .run(["--unconfined", folder, "no-such-action"])
            .output()
            .unwrap();
        let file = target_dir().join("confined/wasm32-wasip2/release").join(name);
        assert!(file.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    };
    built.get_or_init(build).clone()
}

/// Reports what a test lacks on this machine. On a machine that must have everything, it fails.
pub(crate) fn skip(lacks: &str) {
    assert!(std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(), "missing: {lacks}");
    eprintln!("skipped: {lacks}");
}

/// Makes `inner` run as a user that may not make user namespaces and is not root. Reports it and returns none if that
/// cannot be arranged.
pub(crate) fn without_user_namespaces(inner: &Command) -> Option<Command> {
    let outer = || {
        let mut unshare = command("unshare");
        unshare.args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "--keep-caps",
            "sh",
            "-c",
        ]);
        unshare.args(["echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"", "sh"]);
        unshare
    };
    if !outer().arg("true").status().is_ok_and(|status| status.success()) {
        skip("unshare of util-linux, and a user namespace to take namespaces away in");
        return None;
    }
    Some(within(outer(), inner))
}

/// The command `outer` with `inner` as its last arguments.
pub(crate) fn within(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(Stdio::null());
    outer
}

#[expect(clippy::disallowed_methods, reason = "the command under test is a program")]
pub(crate) fn command(program: &str) -> Command {
    receive_interrupts();
    Command::new(program)
}

/// Makes commands start with the default action for SIGHUP and SIGINT, although the tests run where these are ignored, as below
/// `nohup` and in a shell's background jobs: the command leaves an ignored signal ignored. A signal that this process receives has
/// its default action in a program that it starts, and does nothing here, as before.
fn receive_interrupts() {
    use tokio::signal::unix::{SignalKind, signal};
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        for kind in [SignalKind::hangup(), SignalKind::interrupt()] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 1 {
                // It stays received when this is dropped.
                drop(signal(kind).unwrap());
            }
        }
    });
}

/// The output and the status of a finished command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// Runs the command to its end.
pub(crate) fn finish(command: &mut Command) -> Ended {
    ended(command.output().unwrap())
}

pub(crate) fn ended(output: Output) -> Ended {
    let stdout = String::from_utf8(output.stdout).unwrap();
    Ended {
        lines: stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// A running command.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// Waits for the next line of its output, and returns it.
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect(&line)
    }

    /// Waits for the next line of its standard error, and returns it. The rest is still there for [`Self::finish`].
    pub(crate) fn message(&mut self) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            stderr.read_exact(&mut byte).unwrap();
            match byte {
                [b'\n'] => return String::from_utf8(line).unwrap(),
                [byte] => line.push(byte),
            }
        }
    }

    /// The writing end of its input, if that is a pipe.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Waits until there is output to read. It takes at most a buffer of it.
    pub(crate) fn wait_for_output(&mut self) {
        assert!(!self.stdout.as_mut().unwrap().fill_buf().unwrap().is_empty());
    }

    /// Waits for its end without reading more output.
    pub(crate) fn wait(mut self) -> Option<i32> {
        Process::new(self.child.id().cast_signed())
            .expect("it is not waited for yet")
            .wait();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Closes the reading end of its output.
    pub(crate) fn close_output(&mut self) {
        self.stdout = None;
    }

    /// Reads the rest of its output, and waits for its end.
    pub(crate) fn finish(self) -> Ended {
        let mut rest = String::new();
        if let Some(mut stdout) = self.stdout {
            stdout.read_to_string(&mut rest).unwrap();
        }
        ended(Output {
            stdout: rest.into_bytes(),
            ..self.child.wait_with_output().unwrap()
        })
    }
}

/// Whether the port is free, which means that no process listens on it.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
