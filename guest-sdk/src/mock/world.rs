//! The state of the mock, and how its time passes.
//!
//! A wait moves the clock: from one scripted step to the next, until what is waited for is
//! there or the deadline came. A wait without a deadline for which no step is left would never
//! return, so it panics and says so.

use super::{
    run::{File, Run},
    script::{OnInput, Script, Step},
};
use crate::{
    Error, ExitStatus, LogStream, ProcessId, Signal,
    http::{Request, Response},
    level::Level,
    published::PublishedPort,
    sender::Sender,
    text,
    wit::generated::astrid::{
        ipc::host::IpcMessage,
        process1_1_0::host::{ErrorCode, ExitInfo, InjectionPlacement, SpawnRequest},
    },
};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

#[cfg(feature = "mock")]
const NO_HOST: &str = "this thread has no mock host: make one with `capsule_sdk::mock::Host::new()`";
#[cfg(not(feature = "mock"))]
const NO_HOST: &str = "a capsule's function called the host outside of a component, where there is none. In a test, \
                       use the host in memory: `capsule-sdk = { …, features = [\"mock\"] }` in [dev-dependencies], and \
                       `capsule_sdk::mock::Host::new()` in the test";

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

pub(super) fn install(world: World) {
    WORLD.with_borrow_mut(|here| {
        assert!(here.is_none(), "this thread has a mock host already");
        *here = Some(world);
    });
}

pub(super) fn uninstall() {
    let world = WORLD.with_borrow_mut(Option::take);
    // Outside: values that a script's closures own may use the world when they are dropped.
    drop(world);
}

pub(super) fn with<R>(use_it: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(|world| use_it(world.as_mut().unwrap_or_else(|| panic!("{NO_HOST}"))))
}

/// For values that may be dropped after the host.
pub(super) fn with_if_any(use_it: impl FnOnce(&mut World)) {
    WORLD.with_borrow_mut(|world| world.as_mut().map(use_it));
}

pub(super) enum Answer {
    Script(Box<dyn FnMut(&Run) -> Script>),
    Refusal(Error),
}

pub(super) type Server = Box<dyn FnMut(&Request) -> Response>;

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) unloading: bool,
    /// `None` while its closure runs.
    pub(super) answers: HashMap<String, Option<Answer>>,
    /// In the order of the starts; none is ever removed, so that an index stays good.
    pub(super) processes: Vec<MockProcess>,
    /// By subscription; none once that was dropped.
    pub(super) queues: Vec<Option<Queue>>,
    pub(super) published: Vec<IpcMessage>,
    /// `None` while its closure runs.
    pub(super) servers: HashMap<u16, Option<Server>>,
    pub(super) published_ports: Vec<PublishedPort>,
    pub(super) bindings: Vec<(String, String)>,
    pub(super) config: HashMap<String, String>,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) locks: BTreeSet<String>,
    pub(super) principal: Option<String>,
    pub(super) log: Vec<(Level, String)>,
    pub(super) random: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: Duration::ZERO,
            unloading: false,
            answers: HashMap::new(),
            processes: Vec::new(),
            queues: Vec::new(),
            published: Vec::new(),
            servers: HashMap::new(),
            published_ports: Vec::new(),
            bindings: Vec::new(),
            config: HashMap::new(),
            store: BTreeMap::new(),
            locks: BTreeSet::new(),
            principal: Some("test".to_owned()),
            log: Vec::new(),
            random: 0,
        }
    }
}

pub(super) struct Queue {
    pub(super) pattern: String,
    pub(super) messages: Vec<IpcMessage>,
    pub(super) dropped: u64,
    /// The same since the subscription began.
    pub(super) lagged: u64,
}

pub(super) struct MockProcess {
    pub(super) run: Run,
    pub(super) started: Duration,
    pub(super) touched: Duration,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) ports: BTreeSet<u16>,
    pub(super) exit: Option<ExitInfo>,
    /// Stopped, released or dropped: it cannot be named any more.
    pub(super) gone: bool,
    /// In the mock's time, in ascending order.
    steps: VecDeque<(Duration, Step)>,
    pub(super) on_input: Option<OnInput>,
    on_end_of_input: Option<Box<Script>>,
    on_signal: Vec<(Signal, Script)>,
    reason: (&'static str, Option<&'static str>),
    suffix: Option<String>,
    exit_published: bool,
}

/// What a stream keeps, by offsets into all that was ever written.
pub(super) struct Stream {
    kept: Vec<u8>,
    /// The offset of the first byte kept.
    start: usize,
    /// Everything before was taken by a draining read.
    drained: usize,
    /// Everything before was returned by a read of either kind.
    seen: usize,
    limit: usize,
    pub(super) evicted: u64,
    /// The next byte is announced by an event: the last read reached the end.
    at_end: bool,
}

impl Stream {
    fn new(limit: usize) -> Self {
        Self {
            kept: Vec::new(),
            start: 0,
            drained: 0,
            seen: 0,
            limit,
            evicted: 0,
            at_end: true,
        }
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.kept.len()
    }

    /// The offset of the oldest byte that can be read.
    pub(super) fn oldest(&self) -> usize {
        self.start.max(self.drained)
    }

    fn from(&self, offset: usize) -> &[u8] {
        self.kept.get(offset.saturating_sub(self.start)..).unwrap_or_default()
    }

    /// Returns whether these are the first bytes since a read reached the end.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.kept.extend_from_slice(bytes);
        let spare = self.kept.len().saturating_sub(self.limit);
        let undrained = (self.start + spare).saturating_sub(self.oldest());
        self.evicted += undrained as u64;
        self.kept.drain(..spare);
        self.start += spare;
        !bytes.is_empty() && std::mem::replace(&mut self.at_end, false)
    }

    pub(super) fn buffered(&self) -> usize {
        self.end() - self.oldest()
    }

    pub(super) fn drain(&mut self, whole: bool) -> String {
        let rest = self.from(self.oldest());
        let take = if whole { rest.len() } else { text::complete(rest) };
        let bytes = rest.get(..take).unwrap_or_default().to_vec();
        self.drained = self.oldest() + take;
        self.seen = self.seen.max(self.drained);
        self.at_end = true;
        text::lossy(bytes)
    }

    pub(super) fn read(&mut self, offset: usize, most: usize) -> Vec<u8> {
        let rest = self.from(offset);
        let bytes = rest.get(..most.min(rest.len())).unwrap_or_default().to_vec();
        self.seen = self.seen.max(offset + bytes.len());
        self.at_end |= offset + bytes.len() == self.end() && most > 0;
        bytes
    }

    fn has_news(&self) -> bool {
        text::complete(self.from(self.oldest().max(self.seen))) > 0
    }
}

impl MockProcess {
    pub(super) fn stream(&mut self, stream: LogStream) -> &mut Stream {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    pub(super) fn exit_ready(&self) -> bool {
        self.gone || self.exit.is_some()
    }

    pub(super) fn logs_ready(&self) -> bool {
        self.exit_ready() || self.stdout.has_news() || self.stderr.has_news()
    }
}

pub(super) const fn signalled(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}

impl World {
    pub(super) fn process(&mut self, index: usize) -> &mut MockProcess {
        self.processes
            .get_mut(index)
            .expect("indices come from the mock and stay good")
    }

    pub(super) fn find(&self, id: &str) -> Result<usize, ErrorCode> {
        let found = self
            .processes
            .iter()
            .position(|process| !process.gone && process.run.id.as_ref().is_some_and(|here| here.expose() == id));
        found.ok_or(ErrorCode::NoSuchProcess)
    }

    fn next_step(&self) -> Option<(Duration, usize)> {
        let steps = self.processes.iter().enumerate();
        steps
            .filter_map(|(index, process)| Some((process.steps.front()?.0, index)))
            .min()
    }

    /// Runs the steps that are due, and sets the clock to `until`.
    pub(super) fn advance_to(&mut self, until: Duration) {
        while let Some((at, index)) = self.next_step().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            match self.process(index).steps.pop_front() {
                Some((_, Step::Write(stream, bytes))) => self.write(index, stream, &bytes),
                Some((_, Step::Listen(port))) => {
                    self.process(index).ports.insert(port);
                }
                Some((_, Step::Exit(exit))) => self.end(index, exit, "self-exit", None),
                None => {}
            }
        }
        self.now = self.now.max(until);
    }

    pub(super) fn write(&mut self, index: usize, stream: LogStream, bytes: &[u8]) {
        if self.process(index).stream(stream).write(bytes) {
            let name = match stream {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
            };
            self.tell(index, "log-ready", json!({ "stream": name }));
        }
    }

    /// Ends a process, unless it has ended.
    pub(super) fn end(&mut self, index: usize, exit: ExitInfo, reason: &'static str, cause: Option<&'static str>) {
        let process = self.process(index);
        if process.exit.is_none() {
            process.exit = Some(exit);
            process.run.exit = Some(ExitStatus::from(exit));
            process.run.input_open = false;
            process.steps.clear();
            process.ports.clear();
            if process.reason.0.is_empty() {
                process.reason = (reason, cause);
            }
            self.tell_exit(index);
        }
    }

    pub(super) fn forget(&mut self, index: usize) {
        self.process(index).gone = true;
    }

    pub(super) fn watch(&mut self, index: usize, suffix: Option<String>) {
        self.process(index).suffix = suffix;
        self.tell_exit(index);
    }

    fn tell_exit(&mut self, index: usize) {
        let process = self.process(index);
        if let (Some(exit), Some(_), false) = (process.exit, &process.suffix, process.exit_published) {
            process.exit_published = true;
            let (reason, cause) = process.reason;
            let payload =
                json!({ "exit_code": exit.exit_code, "signal": exit.signal, "reason": reason, "cause": cause });
            self.tell(index, "exited", payload);
        }
    }

    fn tell(&mut self, index: usize, kind: &str, mut payload: serde_json::Value) {
        let process = self.process(index);
        if let (Some(suffix), Some(id)) = (&process.suffix, &process.run.id) {
            let topic = format!("astrid.process.v1.{kind}.{suffix}");
            if let Some(fields) = payload.as_object_mut() {
                fields.insert("id".to_owned(), json!(id.expose()));
            }
            self.deliver(&topic, &payload.to_string(), "host", Sender::System);
        }
    }

    pub(super) fn deliver(&mut self, topic: &str, payload: &str, source: &str, sender: Sender) {
        let message = IpcMessage {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            source_id: source.to_owned(),
            principal: sender.into(),
        };
        for queue in self.queues.iter_mut().flatten() {
            let matches = match queue.pattern.strip_suffix('*') {
                Some(start) => topic.starts_with(start) && topic.len() > start.len(),
                None => topic == queue.pattern,
            };
            if matches {
                queue.messages.push(message.clone());
            }
        }
        if source != "mock" {
            self.published.push(message);
        }
    }

    /// Begins the steps of a script, from now on.
    fn begin(&mut self, index: usize, steps: Vec<(Duration, Step)>) {
        let now = self.now;
        let process = self.process(index);
        if process.exit.is_none() {
            process
                .steps
                .extend(steps.into_iter().map(|(after, step)| (now + after, step)));
            process.steps.make_contiguous().sort_by_key(|(at, _)| *at);
        }
        self.advance_to(now);
    }

    pub(super) fn end_input(&mut self, index: usize) {
        let process = self.process(index);
        if std::mem::replace(&mut process.run.input_open, false)
            && let Some(then) = process.on_end_of_input.take()
        {
            self.begin(index, then.steps);
        }
    }

    /// Notes a signal and does what the script says, or what the system would.
    pub(super) fn signal(&mut self, index: usize, signal: Signal) {
        let process = self.process(index);
        if process.exit.is_some() {
            return;
        }
        process.run.signals.push(signal);
        if let Some(at) = process.on_signal.iter().position(|(known, _)| *known == signal) {
            let steps = process.on_signal.get(at).map(|(_, script)| script.steps.clone());
            return self.begin(index, steps.unwrap_or_default());
        }
        let number = match signal {
            Signal::Term => 15,
            Signal::Hup => 1,
            Signal::Int => 2,
            Signal::Usr1 => 10,
            Signal::Usr2 => 12,
            Signal::Stop | Signal::Cont => return,
        };
        self.end(index, signalled(number), "self-exit", None);
    }

    /// Sets the reason for an end that follows.
    pub(super) fn blame(&mut self, index: usize, reason: &'static str) {
        let process = self.process(index);
        if process.exit.is_none() {
            process.reason = (reason, None);
        }
    }
}

/// Starts the process of a request, and returns its index.
pub(super) fn start(request: &SpawnRequest, persistent: bool, keep_input_open: bool) -> Result<usize, ErrorCode> {
    let (mut env, mut files) = (Vec::new(), Vec::new());
    env.extend(request.env.iter().map(|var| (var.key.clone(), var.value.clone())));
    for file in &request.file_injections {
        let path = match &file.placement {
            InjectionPlacement::FixedPath(path) => path.clone(),
            InjectionPlacement::EnvPointer(variable) => {
                let path = format!("/run/injected/{variable}");
                env.push((variable.clone(), path.clone()));
                path
            }
        };
        files.push(File {
            path,
            content: file.content.clone(),
        });
    }
    let nth = with(|world| {
        if world.unloading {
            return Err(ErrorCode::Cancelled);
        }
        if persistent && world.principal.is_none() {
            return Err(ErrorCode::PersistUnsupported);
        }
        Ok(world.processes.len())
    })?;
    let run = Run {
        program: request.cmd.clone(),
        args: request.args.clone(),
        env,
        current_dir: request.cwd.clone(),
        files,
        label: request.label.clone(),
        id: persistent.then(|| ProcessId::new(id(nth))),
        input: Vec::new(),
        input_open: true,
        signals: Vec::new(),
        exit: None,
    };
    let script = ask(&run)?;
    const RING: u32 = 1024 * 1024;
    let ring = request.log_ring_bytes.filter(|_| persistent).unwrap_or(RING);
    let ring = ring.clamp(4 * 1024, 8 * RING) as usize;
    let index = with(|world| {
        let now = world.now;
        world.processes.push(MockProcess {
            run,
            started: now,
            touched: now,
            stdout: Stream::new(ring),
            stderr: Stream::new(ring),
            ports: BTreeSet::new(),
            exit: None,
            gone: false,
            steps: VecDeque::new(),
            on_input: script.on_input,
            on_end_of_input: script.on_end_of_input,
            on_signal: script.on_signal,
            reason: ("", None),
            suffix: None,
            exit_published: false,
        });
        let index = world.processes.len() - 1;
        world.begin(index, script.steps);
        index
    });
    if let Some(prelude) = &request.stdin {
        feed(index, prelude);
    }
    if !keep_input_open {
        with(|world| world.end_input(index));
    }
    Ok(index)
}

/// 52 characters, as on a host, but easily guessed.
fn id(nth: usize) -> String {
    let digits: String = nth
        .to_string()
        .bytes()
        .map(|digit| char::from(digit - b'0' + b'a'))
        .collect();
    format!("mock{digits:q>48}")
}

/// Asks the test what a program does. The world is not borrowed meanwhile, so that the closure may use it.
fn ask(run: &Run) -> Result<Script, ErrorCode> {
    let taken = with(|world| world.answers.get_mut(&run.program).map(Option::take));
    let mut answer = match taken {
        Some(Some(answer)) => answer,
        Some(None) => panic!("the closure for `{}` starts `{}`", run.program, run.program),
        None => {
            let text = format!(
                "not-found: the test says nothing about `{}`; see `Host::command`",
                run.program
            );
            return Err(ErrorCode::Unknown(text));
        }
    };
    let script = match &mut answer {
        Answer::Script(script) => Ok(script(run)),
        Answer::Refusal(error) => Err(code(error)),
    };
    with(|world| {
        // Unless the closure itself set another.
        if let Some(place @ None) = world.answers.get_mut(&run.program) {
            *place = Some(answer);
        }
    });
    script
}

/// Asks the test what the server on a port answers; none if the test says nothing about it. The world is not borrowed
/// meanwhile.
pub(super) fn serve(request: &Request) -> Option<Response> {
    let mut server = with(|world| world.servers.get_mut(&request.port).and_then(Option::take))?;
    let answer = server(request);
    with(|world| {
        // Unless the closure itself set another.
        if let Some(place @ None) = world.servers.get_mut(&request.port) {
            *place = Some(server);
        }
    });
    Some(answer)
}

/// Gives input to a process, which takes it at once and may answer. The world is not borrowed
/// while its closure makes the answer.
pub(super) fn feed(index: usize, bytes: &[u8]) {
    let on_input = with(|world| {
        let process = world.process(index);
        process.run.input.extend_from_slice(bytes);
        process.on_input.take()
    });
    if let Some(mut on_input) = on_input {
        let said = on_input(bytes);
        with(|world| {
            world.process(index).on_input = Some(on_input);
            if world.process(index).exit.is_none() {
                world.write(index, LogStream::Stdout, &said);
            }
        });
    }
    with(|world| world.tell(index, "stdin-drained", json!({})));
}

/// Lets time pass until `done`, or until `timeout` if there is one. Returns whether it was done.
pub(super) fn wait(
    timeout: Option<Duration>,
    what: &str,
    mut done: impl FnMut(&mut World) -> bool,
) -> Result<bool, ErrorCode> {
    with(|world| {
        if world.unloading {
            return Err(ErrorCode::Cancelled);
        }
        let deadline = timeout.map(|timeout| world.now.saturating_add(timeout));
        world.advance_to(world.now);
        loop {
            if done(world) {
                return Ok(true);
            }
            match (world.next_step(), deadline) {
                (Some((at, _)), deadline) if deadline.is_none_or(|deadline| at <= deadline) => world.advance_to(at),
                (_, Some(deadline)) => {
                    world.advance_to(deadline);
                    return Ok(false);
                }
                (_, None) => panic!("this would wait for ever: {what}, and no script has anything left to do"),
            }
        }
    })
}

fn code(error: &Error) -> ErrorCode {
    match error {
        Error::CapabilityDenied => ErrorCode::CapabilityDenied,
        Error::InvalidInput => ErrorCode::InvalidInput,
        Error::BoundaryEscape => ErrorCode::BoundaryEscape,
        Error::Quota => ErrorCode::Quota,
        Error::TooLarge => ErrorCode::TooLarge,
        Error::Closed => ErrorCode::Closed,
        Error::Cancelled => ErrorCode::Cancelled,
        Error::WaitTimeout => ErrorCode::WaitTimeout,
        Error::NoSuchProcess => ErrorCode::NoSuchProcess,
        Error::RegistryFull => ErrorCode::RegistryFull,
        Error::PersistUnsupported => ErrorCode::PersistUnsupported,
        // No host says these.
        Error::Lost { .. } | Error::LineTooLong { .. } => ErrorCode::Unknown(error.to_string()),
        Error::Unknown(text) => ErrorCode::Unknown(text.clone()),
    }
}
