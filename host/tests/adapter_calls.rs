//! The adapter as an embedder with its own engine and store uses it: what each call adds to the supervisor's, with real
//! processes, through the traits that the linker calls.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::collections::BTreeMap;
use std::future::pending;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use capsule_host::bindings::astrid::io::{error, error::HostError as _, poll, poll::HostPollable as _};
use capsule_host::bindings::astrid::{process1_0_0::host as v1_0, process1_1_0::host as v1_1, sys::host as sys};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{Ask, Error, Limits, Owner, Principal, Registry};
use capsule_host::{
    CapsuleCtx, CapsuleCtxBuilder, CapsuleCtxView, CapsuleHooks, CapsuleView, IoError, PollError, ProcessError,
    ProcessHandle, SysError,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

/// Allows everything, and records the questions.
#[derive(Default)]
struct Asked(Vec<String>);

impl CapsuleHooks for Asked {
    fn authorize(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        let ask = match ask {
            Ask::Process => "process".into(),
            Ask::Command(command) => format!(
                "{} {:?} {:?} {:?}",
                command.cmd, command.args, command.cwd, command.env_keys
            ),
            Ask::Persistent => "persistent".into(),
            other => format!("{other:?}"),
        };
        self.0.push(format!("{}: {ask}", owner.capsule));
        true
    }

    fn capsule_holds(&mut self, capsule: &str, capability: &str) -> Option<bool> {
        (capsule == "known").then(|| capability == "process")
    }
}

/// Leaves every decision at its default.
struct Silent;

impl CapsuleHooks for Silent {}

struct Guest<H> {
    ctx: CapsuleCtx,
    table: ResourceTable,
    hooks: H,
    unload: CancellationToken,
    _workspace: TempDir,
}

impl<H: CapsuleHooks> CapsuleView for Guest<H> {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

fn registry() -> Registry {
    let launcher = Unconfined::new().allow_persistent();
    Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default()).unwrap()
}

fn guest_in<H: CapsuleHooks>(
    registry: &Registry,
    hooks: H,
    more: impl FnOnce(CapsuleCtxBuilder) -> CapsuleCtxBuilder,
) -> Guest<H> {
    let folder = TempDir::new().unwrap();
    let owner = Owner {
        principal: Principal::Named("user".into()),
        capsule: "guest".into(),
    };
    let unload = CancellationToken::new();
    let builder = CapsuleCtx::builder(registry, owner, Workspace::open(folder.path()).unwrap()).unload(unload.clone());
    Guest {
        ctx: more(builder).build(),
        table: ResourceTable::new(),
        hooks,
        unload,
        _workspace: folder,
    }
}

fn guest() -> Guest<Asked> {
    guest_in(&registry(), Asked::default(), |builder| builder)
}

fn request(cmd: &str, args: &[&str]) -> v1_1::SpawnRequest {
    v1_1::SpawnRequest {
        cmd: cmd.into(),
        args: args.iter().map(|&arg| arg.into()).collect(),
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        file_injections: Vec::new(),
        label: None,
        keep_stdin_open: None,
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

fn v1_0_request(cmd: &str, args: &[&str]) -> v1_0::SpawnRequest {
    let v1_1::SpawnRequest { cmd, args, .. } = request(cmd, args);
    v1_0::SpawnRequest {
        cmd,
        args,
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        label: None,
        keep_stdin_open: None,
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

fn answer<T>(result: Result<T, ProcessError>) -> Error {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(ProcessError::Answer(error)) => error,
        Err(ProcessError::Trap(trap)) => panic!("trapped: {trap:?}"),
    }
}

/// A source that is ready or not, for ever.
struct Ready(bool);

#[async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {
        if !self.0 {
            pending::<()>().await;
        }
    }
}

/// A pollable that owns its source.
fn pollable(table: &mut ResourceTable, ready: bool) -> Resource<DynPollable> {
    let parent = table.push(Ready(ready)).unwrap();
    subscribe(table, parent).unwrap()
}

fn borrow(pollable: &Resource<DynPollable>) -> Resource<DynPollable> {
    Resource::new_borrow(pollable.rep())
}

#[tokio::test]
async fn poll_refuses_nothing_and_too_much() {
    let mut guest = guest();
    let one = pollable(&mut guest.table, true);
    let result = poll::Host::poll(&mut guest.capsule(), Vec::new()).await;
    assert!(matches!(result, Err(PollError::Empty)));
    let most = (0..256).map(|_| borrow(&one)).collect();
    assert_eq!(
        poll::Host::poll(&mut guest.capsule(), most).await.unwrap(),
        (0..256).collect::<Vec<u32>>()
    );
    let more = (0..257).map(|_| borrow(&one)).collect();
    let result = poll::Host::poll(&mut guest.capsule(), more).await;
    assert!(matches!(result, Err(PollError::TooMany)));
    assert!(
        poll::Host::convert_error_code(&mut guest.capsule(), PollError::Empty)
            .unwrap()
            .is("invalid-input")
    );
    assert!(
        poll::Host::convert_error_code(&mut guest.capsule(), PollError::TooMany)
            .unwrap()
            .is("too-large")
    );
    assert!(
        poll::Host::convert_error_code(&mut guest.capsule(), PollError::Cancelled)
            .unwrap()
            .is("cancelled")
    );
}

trait Named {
    fn is(&self, name: &str) -> bool;
}

impl Named for poll::ErrorCode {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::InvalidInput => name == "invalid-input",
            Self::Closed => name == "closed",
            Self::TooLarge => name == "too-large",
            Self::Cancelled => name == "cancelled",
            Self::Unknown(text) => text == name,
        }
    }
}

#[tokio::test]
async fn poll_names_all_that_are_ready_in_ascending_order() {
    let mut guest = guest();
    let table = &mut guest.table;
    // Older entries of the table come later in the list, and some come twice.
    let never = pollable(table, false);
    let old = pollable(table, true);
    let new = pollable(table, true);
    let list = [&new, &never, &old, &new, &never, &old].map(borrow).into();
    assert_eq!(
        poll::Host::poll(&mut guest.capsule(), list).await.unwrap(),
        [0, 2, 3, 5]
    );
    assert!(guest.capsule().ready(borrow(&old)).await.unwrap());
    assert!(!guest.capsule().ready(borrow(&never)).await.unwrap());
    guest.capsule().block(borrow(&new)).await.unwrap();
    for pollable in [never, old, new] {
        poll::HostPollable::drop(&mut guest.capsule(), pollable).unwrap();
    }
    assert!(guest.table.is_empty(), "a pollable takes what it owns with it");
}

#[tokio::test]
async fn waiting_ends_when_the_capsule_is_unloaded_and_is_refused_after() {
    let mut guest = guest();
    let never = pollable(&mut guest.table, false);
    let unload = guest.unload.clone();
    let mut view = guest.capsule();
    let wait = poll::Host::poll(&mut view, vec![borrow(&never)]);
    let (result, ()) = tokio::join!(wait, async { unload.cancel() });
    assert!(matches!(result, Err(PollError::Cancelled)));
    let mut view = guest.capsule();
    assert!(matches!(view.block(borrow(&never)).await, Err(PollError::Cancelled)));
    assert!(matches!(
        sys::Host::sleep_ns(&mut view, 1).await,
        Err(SysError::Cancelled)
    ));
    assert_eq!(
        answer(v1_1::Host::spawn(&mut view, request("true", &[])).await),
        Error::Cancelled
    );
    assert_eq!(
        answer(v1_1::Host::wait(&mut view, "x".into(), 1).await),
        Error::Cancelled
    );
    assert!(
        guest.hooks.0.is_empty(),
        "the embedder is not asked about a spawn that comes too late"
    );
}

#[tokio::test]
async fn an_error_describes_itself() {
    let mut guest = guest();
    let error = guest.table.push(IoError::new("the disk is full")).unwrap();
    let borrowed = Resource::new_borrow(error.rep());
    assert_eq!(guest.capsule().to_debug_string(borrowed).unwrap(), "the disk is full");
    error::HostError::drop(&mut guest.capsule(), error).unwrap();
    assert!(guest.table.is_empty());
}

#[tokio::test]
async fn nothing_is_allowed_unless_the_embedder_says_so() {
    let mut guest = guest_in(&registry(), Silent, |builder| builder);
    let mut view = guest.capsule();
    assert_eq!(
        answer(v1_1::Host::spawn(&mut view, request("true", &[])).await),
        Error::CapabilityDenied
    );
    assert_eq!(
        answer(v1_1::Host::spawn_persistent(&mut view, request("true", &[])).await),
        Error::CapabilityDenied
    );
}

#[tokio::test]
async fn the_embedder_is_asked_about_the_command_and_never_told_secrets() {
    let mut guest = guest();
    let mut spawn = request("sh", &["-c", "exit 3"]);
    spawn.env = vec![v1_1::EnvVar {
        key: "TOKEN".into(),
        value: "s3cret".into(),
    }];
    spawn.stdin = Some(b"s3cret".to_vec());
    let result = v1_1::Host::spawn(&mut guest.capsule(), spawn).await.unwrap();
    assert_eq!((result.exit.exit_code, result.exit.signal), (Some(3), None));
    assert_eq!(
        guest.hooks.0,
        ["guest: process", r#"guest: sh ["-c", "exit 3"] None ["TOKEN"]"#]
    );
}

#[tokio::test]
async fn both_versions_run_the_same_process() {
    let mut guest = guest();
    let mut view = guest.capsule();
    let result = v1_1::Host::spawn(&mut view, request("printf", &[r"a\377b\303\251"]))
        .await
        .unwrap();
    assert_eq!(
        result.stdout, "a\u{fffd}bé",
        "what is not UTF-8 is replaced, the rest kept"
    );

    let old = v1_0::SpawnRequest {
        label: Some("server".into()),
        keep_stdin_open: Some(true),
        overflow: Some(v1_0::OverflowPolicy::Backpressure),
        max_lifetime_ms: Some(60_000),
        ..v1_0_request("sleep", &["100"])
    };
    let id = v1_0::Host::spawn_persistent(&mut view, old).await.unwrap();
    let seen = v1_1::Host::list_processes(&mut view, Some("serv".into())).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].id.as_str(), seen[0].label.as_str(), seen[0].command.as_str()),
        (&*id, "server", "sleep 100")
    );
    assert!(seen[0].stdin_open);
    assert_eq!(
        v1_0::Host::list_processes(&mut view, Some("other".into()))
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        v1_0::Host::status_many(&mut view, vec!["x".into(), id.clone()])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        answer(v1_0::Host::wait(&mut view, id.clone(), 0).await),
        Error::WaitTimeout
    );
    v1_0::Host::signal(&mut view, id.clone(), v1_0::ProcessSignal::Int)
        .await
        .unwrap();
    let exit = v1_1::Host::wait(&mut view, id.clone(), u64::MAX).await.unwrap();
    assert_eq!((exit.exit_code, exit.signal), (None, Some(2)));
    v1_1::Host::release_process(&mut view, id.clone()).await.unwrap();
    assert_eq!(answer(v1_0::Host::status(&mut view, id)), Error::NoSuchProcess);
}

#[tokio::test]
async fn a_log_is_read_by_cursor_from_both_versions() {
    let mut guest = guest();
    let mut view = guest.capsule();
    let id = v1_1::Host::spawn_persistent(&mut view, request("printf", &["abcdef"]))
        .await
        .unwrap();
    v1_1::Host::wait(&mut view, id.clone(), 10_000).await.unwrap();
    let start = v1_0::LogCursor { token: None };
    let first = v1_0::Host::read_since(&mut view, id.clone(), v1_0::LogStream::Stdout, start, 4).unwrap();
    assert_eq!(
        (&*first.data, first.bytes_dropped, first.drained_eof),
        (&b"abcd"[..], 0, false)
    );
    let cursor = v1_1::LogCursor {
        token: first.next.token,
    };
    let rest = v1_1::Host::read_since(&mut view, id.clone(), v1_1::LogStream::Stdout, cursor, 100).unwrap();
    assert_eq!(
        (&*rest.data, rest.bytes_dropped, rest.drained_eof),
        (&b"ef"[..], 0, true)
    );
    let foreign = v1_1::LogCursor { token: rest.next.token };
    let wrong = v1_1::Host::read_since(&mut view, id.clone(), v1_1::LogStream::Stderr, foreign, 100);
    assert_eq!(answer(wrong), Error::NoSuchProcess);
    let logs = v1_1::Host::read_logs(&mut view, id).unwrap();
    assert_eq!(
        (logs.stdout.as_str(), logs.running, logs.exit.unwrap().exit_code),
        ("abcdef", false, Some(0))
    );
}

#[tokio::test]
async fn zero_times_reach_the_supervisor_as_given() {
    let mut guest = guest();
    for request in [
        v1_1::SpawnRequest {
            max_lifetime_ms: Some(0),
            ..request("true", &[])
        },
        v1_1::SpawnRequest {
            idle_timeout_ms: Some(0),
            ..request("true", &[])
        },
    ] {
        let error = answer(v1_1::Host::spawn_persistent(&mut guest.capsule(), request).await);
        assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
    }
}

fn borrowed(handle: &Resource<ProcessHandle>) -> Resource<ProcessHandle> {
    Resource::new_borrow(handle.rep())
}

#[tokio::test]
async fn s9_a_handle_ends_its_process_before_its_drop_returns() {
    let registry = registry();
    let mut guest = guest_in(&registry, Asked::default(), |builder| builder);
    let mut view = guest.capsule();
    // More than may exist at once. Each is dropped before the next is made.
    for _ in 0..2 * Limits::default().processes_per_principal {
        let handle = v1_1::Host::spawn_background(&mut view, request("sleep", &["1000"]))
            .await
            .unwrap();
        assert!(v1_1::HostProcessHandle::os_pid(&mut view, borrowed(&handle)).unwrap() > 0);
        v1_1::HostProcessHandle::drop(&mut view, handle).await.unwrap();
    }
    // Pollables that the guest keeps are dropped with its store.
    v1_0::Host::spawn_background(&mut view, v1_0_request("sleep", &["1000"]))
        .await
        .unwrap();
    drop(guest);
    registry.shutdown().await;
    assert_eq!(registry.tasks(), 0);
}

#[tokio::test]
async fn a1_pollables_outlive_what_they_are_of_and_are_ready() {
    let mut guest = guest();
    let mut view = guest.capsule();
    let handle = v1_1::Host::spawn_background(&mut view, request("sleep", &["1000"]))
        .await
        .unwrap();
    let exit = v1_1::HostProcessHandle::subscribe_exit(&mut view, borrowed(&handle)).unwrap();
    let logs = v1_1::HostProcessHandle::subscribe_logs(&mut view, borrowed(&handle)).unwrap();
    for pollable in [&exit, &logs] {
        assert!(!view.ready(borrow(pollable)).await.unwrap());
    }
    v1_1::HostProcessHandle::drop(&mut view, handle).await.unwrap();
    let ready = poll::Host::poll(&mut view, vec![borrow(&exit), borrow(&logs)])
        .await
        .unwrap();
    assert_eq!(ready, [0, 1]);
    for pollable in [exit, logs] {
        poll::HostPollable::drop(&mut view, pollable).unwrap();
    }
    assert!(guest.table.is_empty());
}

#[tokio::test]
async fn s5_a_guest_without_room_for_a_handle_is_refused_before_anything_runs() {
    let mut guest = guest();
    guest.table.set_max_capacity(2);
    let mut view = guest.capsule();
    for _ in 0..2 {
        v1_1::Host::spawn_background(&mut view, request("sleep", &["1000"]))
            .await
            .unwrap();
    }
    let error = answer(v1_1::Host::spawn_background(&mut view, request("touch", &["ran"])).await);
    assert_eq!(error, Error::Quota);
    assert_eq!(guest.hooks.0.len(), 4, "the embedder was not asked about the third");
}

#[tokio::test]
async fn i3_handles_and_watches_of_no_process_are_refused_alike() {
    let mut guest = guest();
    let mut view = guest.capsule();
    for id in ["", "x", "é", &"a".repeat(52)] {
        assert_eq!(answer(v1_1::Host::attach(&mut view, id.into())), Error::NoSuchProcess);
        assert_eq!(
            answer(v1_1::Host::watch(&mut view, id.into(), None)),
            Error::NoSuchProcess
        );
        assert_eq!(answer(v1_1::Host::unwatch(&mut view, id.into())), Error::NoSuchProcess);
    }
}

#[tokio::test]
async fn j1_injections_reach_the_supervisor() {
    let mut guest = guest();
    let mut view = guest.capsule();
    for (placement, refused) in [
        (v1_1::InjectionPlacement::EnvPointer("A B".into()), None),
        (v1_1::InjectionPlacement::FixedPath("etc/x".into()), None),
        // This launcher does not confine.
        (
            v1_1::InjectionPlacement::EnvPointer("FILE".into()),
            Some("injection-unsupported: "),
        ),
        (
            v1_1::InjectionPlacement::FixedPath("/etc/x".into()),
            Some("injection-unsupported: "),
        ),
    ] {
        let request = v1_1::SpawnRequest {
            file_injections: vec![v1_1::FileInjection {
                content: vec![1],
                placement,
            }],
            ..request("true", &[])
        };
        let error = answer(v1_1::Host::spawn(&mut view, request).await);
        let code = v1_1::Host::convert_error_code(&mut view, error.into()).unwrap();
        match (&code, refused) {
            (v1_1::ErrorCode::InvalidInput, None) => {}
            (v1_1::ErrorCode::Unknown(text), Some(prefix)) if text.starts_with(prefix) => {}
            _ => panic!("{code:?}"),
        }
    }
}

#[tokio::test]
async fn unloading_ends_a_command_that_is_waited_for() {
    let registry = registry();
    let mut guest = guest_in(&registry, Asked::default(), |builder| builder);
    let unload = guest.unload.clone();
    let mut view = guest.capsule();
    let start = Instant::now();
    let run = v1_1::Host::spawn(&mut view, request("sleep", &["100"]));
    let (result, ()) = tokio::join!(run, async {
        tokio::task::yield_now().await;
        unload.cancel();
    });
    assert_eq!(answer(result), Error::Cancelled);
    registry.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(registry.tasks(), 0);
}

#[tokio::test]
async fn configuration_is_told_but_for_what_is_the_hosts() {
    let config = BTreeMap::from([("port".into(), "80".into()), ("_key".into(), "s3cret".into())]);
    let mut guest = guest_in(&registry(), Silent, |builder| builder.config(config));
    assert!(!format!("{:?}", guest.ctx).contains("s3cret"));
    let mut view = guest.capsule();
    assert_eq!(
        sys::Host::get_config(&mut view, "port".into()).unwrap().as_deref(),
        Some("80")
    );
    assert_eq!(sys::Host::get_config(&mut view, "none".into()).unwrap(), None);
    assert!(matches!(
        sys::Host::get_config(&mut view, "_key".into()),
        Err(SysError::ReservedKey)
    ));
    assert!(matches!(
        sys::Host::get_config(&mut view, "k".repeat(2000)),
        Err(SysError::TooLarge)
    ));
}

#[tokio::test]
async fn the_caller_is_who_the_embedder_says() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let mut guest = guest_in(&registry(), Silent, |builder| builder.source_id("cli").called_at(time));
    let caller = sys::Host::get_caller(&mut guest.capsule()).unwrap();
    assert_eq!(caller.principal.as_deref(), Some("user"));
    assert_eq!(
        (caller.source_id.as_str(), caller.timestamp.as_str()),
        ("cli", "2023-11-14T22:13:20.123Z")
    );
}

#[tokio::test]
async fn capabilities_are_told_as_they_are() {
    let mut guest = guest_in(&registry(), Asked::default(), |builder| {
        builder.capabilities(["process", "x"])
    });
    let mut view = guest.capsule();
    assert_eq!(sys::Host::enumerate_capabilities(&mut view).unwrap(), ["process", "x"]);
    let mut check = |capsule: &str, capability: &str| {
        let request = sys::CapabilityCheckRequest {
            source_uuid: capsule.into(),
            capability: capability.into(),
        };
        sys::Host::check_capsule_capability(&mut view, request).map(|response| response.allowed)
    };
    assert!(check("guest", "x").unwrap());
    assert!(!check("guest", "y").unwrap());
    assert!(check("known", "process").unwrap());
    assert!(!check("known", "x").unwrap());
    assert!(matches!(check("stranger", "process"), Err(SysError::NoRegistry)));
}

#[tokio::test(start_paused = true)]
async fn time_and_chance_have_their_limits() {
    let mut guest = guest();
    let mut view = guest.capsule();
    let longest = Duration::from_secs(60);
    let start = tokio::time::Instant::now();
    sys::Host::sleep_ns(&mut view, u64::try_from(longest.as_nanos()).unwrap())
        .await
        .unwrap();
    assert!(start.elapsed() >= longest);
    let more = u64::try_from(longest.as_nanos()).unwrap() + 1;
    assert!(matches!(
        sys::Host::sleep_ns(&mut view, more).await,
        Err(SysError::TooLarge)
    ));
    assert!(matches!(
        sys::Host::sleep_ns(&mut view, u64::MAX).await,
        Err(SysError::TooLarge)
    ));

    for length in [0_u16, 1, 4096] {
        let bytes = sys::Host::random_bytes(&mut view, length.into()).unwrap();
        assert_eq!(bytes.len(), usize::from(length));
    }
    let two = [(); 2].map(|()| sys::Host::random_bytes(&mut view, 32).unwrap());
    assert_ne!(two[0], two[1]);
    for length in [4097, u64::MAX] {
        assert!(matches!(
            sys::Host::random_bytes(&mut view, length),
            Err(SysError::TooLarge)
        ));
    }

    let clocks = [(); 2].map(|()| sys::Host::clock_monotonic_ns(&mut view).unwrap());
    assert!(clocks[0] <= clocks[1]);
    assert!(sys::Host::clock_ms(&mut view).unwrap() > 1_700_000_000_000);
    assert!(!view.ctx.is_ready());
    sys::Host::signal_ready(&mut view).unwrap();
    assert!(view.ctx.is_ready());
}

/// A log that the test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_guests_log_is_under_its_name_and_no_id_is_in_any() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false);
    // One thread runs everything here, the registry's tasks too, so this sees every line that any of them logs.
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || sink.clone()).finish());
    let mut guest = guest();
    let mut view = guest.capsule();
    sys::Host::log(&mut view, sys::LogLevel::Warn, "mind the gap".into()).unwrap();
    sys::Host::log(&mut view, sys::LogLevel::Info, "x".repeat(1 << 20)).unwrap();

    let id = v1_1::Host::spawn_persistent(&mut view, request("sleep", &["100"]))
        .await
        .unwrap();
    let info = v1_1::Host::status(&mut view, id.clone()).unwrap();
    v1_1::Host::read_logs(&mut view, id.clone()).unwrap();
    answer(v1_1::Host::write_stdin(&mut view, id.clone(), b"x".to_vec()).await);
    answer(v1_1::Host::release_process(&mut view, id.clone()).await);
    v1_1::Host::stop(&mut view, id.clone(), Some(0)).await.unwrap();
    let gone = answer(v1_1::Host::status(&mut view, id.clone()));
    let printed = format!("{view:?} {:?} {gone:?}", view.ctx);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("WARN") && log.contains("mind the gap") && log.contains("capsule=\"guest\""),
        "{log}"
    );
    assert!(log.len() < 100_000, "a long message is cut");
    assert_eq!(info.id, id);
    assert!(!log.contains(&id) && !printed.contains(&id));
}
