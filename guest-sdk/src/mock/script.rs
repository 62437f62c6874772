//! What a mock process does, as a test writes it down.

use crate::{LogStream, Signal, wit::generated::astrid::process1_1_0::host::ExitInfo};
use std::{fmt, time::Duration};

/// What a process does, step by step; without an exit it runs until it is ended. Dropping it does
/// nothing: it is only a description.
///
/// ```
/// use capsule_sdk::{Command, mock::{Host, Script}};
/// use std::time::Duration;
///
/// let host = Host::new();
/// host.command("make", |_| {
///     Script::new().stdout("compiling\n").after(Duration::from_secs(90)).stderr("error\n").exit(2)
/// });
/// let output = Command::new("make").output().unwrap();
/// assert_eq!((output.status.code(), &*output.stderr), (Some(2), &b"error\n"[..]));
/// assert_eq!(host.now(), Duration::from_secs(90));
/// ```
#[derive(Default)]
pub struct Script {
    /// With the time since the start.
    pub(super) steps: Vec<(Duration, Step)>,
    clock: Duration,
    pub(super) on_input: Option<OnInput>,
    pub(super) on_end_of_input: Option<Box<Self>>,
    pub(super) on_signal: Vec<(Signal, Self)>,
}

pub(super) type OnInput = Box<dyn FnMut(&[u8]) -> Vec<u8>>;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(LogStream, Vec<u8>),
    Listen(u16),
    Exit(ExitInfo),
}

impl Script {
    /// A process that does nothing, for ever.
    ///
    /// ```
    /// let idle = capsule_sdk::mock::Script::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Delays all following steps by this time.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let slow = Script::new().after(std::time::Duration::from_secs(5)).exit(0);
    /// ```
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.clock += pause;
        self
    }

    /// Writes to standard output.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let greeting = Script::new().stdout("hello\n").exit(0);
    /// ```
    #[must_use]
    pub fn stdout(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Write(LogStream::Stdout, bytes.into()))
    }

    /// Writes to standard error.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let complaint = Script::new().stderr("no such file\n").exit(1);
    /// ```
    #[must_use]
    pub fn stderr(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Write(LogStream::Stderr, bytes.into()))
    }

    /// Listens on a port, until it exits. [`Host::serve`](super::Host::serve) says what it answers.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let server = Script::new().after(std::time::Duration::from_secs(1)).listens(8080);
    /// ```
    #[must_use]
    pub fn listens(self, port: u16) -> Self {
        self.step(Step::Listen(port))
    }

    /// Exits with a code.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let good = Script::new().exit(0);
    /// ```
    #[must_use]
    pub fn exit(self, code: i32) -> Self {
        self.step(Step::Exit(ExitInfo {
            exit_code: Some(code),
            signal: None,
        }))
    }

    /// Ends by a signal, given by its number, that the capsule did not send.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let crash = Script::new().dies_of(11);
    /// ```
    #[must_use]
    pub fn dies_of(self, signal: i32) -> Self {
        self.step(Step::Exit(ExitInfo {
            exit_code: None,
            signal: Some(signal),
        }))
    }

    /// What it answers on standard output to each piece of input, the prelude included.
    ///
    /// ```
    /// use capsule_sdk::{Command, mock::{Host, Script}};
    ///
    /// let host = Host::new();
    /// host.command("cat", |_| Script::new().on_input(|bytes| bytes.to_vec()).on_end_of_input(Script::new().exit(0)));
    /// assert_eq!(Command::new("cat").stdin("meow").output().unwrap().stdout, b"meow");
    /// ```
    #[must_use]
    pub fn on_input(mut self, answer: impl FnMut(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.on_input = Some(Box::new(answer));
        self
    }

    /// What it does in addition when its input has ended.
    ///
    /// ```
    /// # use capsule_sdk::mock::Script;
    /// let sort = Script::new().on_end_of_input(Script::new().stdout("a\nb\n").exit(0));
    /// ```
    #[must_use]
    pub fn on_end_of_input(mut self, then: Self) -> Self {
        self.on_end_of_input = Some(Box::new(then));
        self
    }

    /// What it does in addition when it gets this signal, which then does not end it: an empty script
    /// ignores it. Without this, every signal but SIGSTOP and SIGCONT ends it.
    ///
    /// ```
    /// use capsule_sdk::{Command, Signal, mock::{Host, Script}};
    ///
    /// let host = Host::new();
    /// host.command("server", |_| Script::new().on_signal(Signal::Term, Script::new().stderr("bye\n").exit(0)));
    /// let status = Command::new("server").spawn_persistent().unwrap().stop(None).unwrap();
    /// assert!(status.success());
    /// ```
    #[must_use]
    pub fn on_signal(mut self, signal: Signal, then: Self) -> Self {
        self.on_signal.push((signal, then));
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push((self.clock, step));
        self
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}
