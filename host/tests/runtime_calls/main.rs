//! The runtime: the result of a call, the cost of a bad guest, and the ends of calls. Guests are real components.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

mod audit;
mod fairness;
mod guests;
mod messages;
mod talkers;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use capsule_host::audit::{AuditSink, Record};
use capsule_host::runtime::{BuildError, CallError, Capsule, CapsuleResult, Grants, LoadError, LoadOptions};
use capsule_host::runtime::{Runtime, RuntimeBuilder};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{self, Ask, Gate, Limits, Owner, Principal, Registry, SpawnRequest};
use tempfile::TempDir;

/// A guest time that a busy machine does not use up by accident, and that a test can wait for.
const GUEST_TIME: Duration = Duration::from_millis(300);

fn registry() -> Registry {
    Registry::new(
        tokio::runtime::Handle::current(),
        Arc::new(Unconfined::new()),
        Limits::default(),
    )
    .unwrap()
}

fn builder() -> RuntimeBuilder {
    Runtime::builder(registry()).max_instances(8)
}

fn options(workspace: &TempDir) -> LoadOptions {
    LoadOptions::new("guest", Workspace::open(workspace.path()).unwrap())
}

async fn load(builder: RuntimeBuilder, component: &[u8]) -> Capsule {
    let workspace = TempDir::new().unwrap();
    builder
        .build()
        .unwrap()
        .load(options(&workspace), component)
        .await
        .unwrap()
}

async fn refused(component: &[u8]) -> LoadError {
    let workspace = TempDir::new().unwrap();
    builder()
        .build()
        .unwrap()
        .load(options(&workspace), component)
        .await
        .unwrap_err()
}

async fn call(capsule: &Capsule, payload: &[u8]) -> Result<CapsuleResult, CallError> {
    capsule
        .call(Principal::Named("user".into()), "act", payload.to_owned())
        .await
}

fn answer(data: &str) -> CapsuleResult {
    CapsuleResult {
        action: "continue".into(),
        data: Some(data.into()),
    }
}

fn nanos(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_nanos()).unwrap().to_le_bytes()
}

#[tokio::test]
async fn the_payload_reaches_the_guest_and_its_answer_the_caller() {
    let capsule = load(builder(), &guests::echo()).await;
    assert_eq!(call(&capsule, b"{\"n\":1}").await.unwrap(), answer("{\"n\":1}"));
    assert_eq!(call(&capsule, b"").await.unwrap(), answer(""));
}

#[tokio::test]
async fn every_call_has_a_fresh_instance() {
    let capsule = load(builder(), &guests::counter()).await;
    for _ in 0..20 {
        assert_eq!(call(&capsule, b"").await.unwrap(), answer("1"));
    }
}

#[tokio::test]
async fn a_trap_fails_its_call_and_no_other() {
    let capsule = load(builder(), &guests::traps_on_payload()).await;
    for _ in 0..20 {
        let error = call(&capsule, b"x").await.unwrap_err();
        assert_eq!(error.kind(), "trap");
        assert!(error.to_string().contains("unreachable"), "{error}");
        assert_eq!(call(&capsule, b"").await.unwrap().data, None);
    }
}

#[tokio::test]
async fn the_last_words_of_a_guest_are_in_its_error() {
    let capsule = load(builder(), &guests::last_words()).await;
    let error = call(&capsule, b"no disk, no hope").await.unwrap_err();
    assert_eq!(error.kind(), "trap");
    assert!(error.to_string().contains("no disk, no hope"), "{error}");
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
async fn what_a_guest_writes_is_in_the_log_under_its_name() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || sink.clone());
    // One thread runs everything here, so this sees the lines of the guest.
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let capsule = load(builder(), &guests::last_words()).await;
    call(&capsule, b"one\ntwo, not ended").await.unwrap_err();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("capsule=\"guest\"")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("WARN") && lines[0].contains(": one "), "{log}");
    assert!(lines[1].contains("two, not ended"), "{log}");
}

/// Allows everything.
struct Everything;

impl Gate for Everything {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}

#[tokio::test]
async fn a_bad_guest_hurts_no_process() {
    let handle = tokio::runtime::Handle::current();
    let launcher = Unconfined::new().allow_persistent();
    let registry = Registry::new(handle, Arc::new(launcher), Limits::default()).unwrap();
    let workspace = TempDir::new().unwrap();
    // The same owner as that of the bad guests.
    let owner = Owner {
        principal: Principal::Named("user".into()),
        capsule: "guest".into(),
    };
    let scope = registry.scope(owner);
    let request = SpawnRequest {
        cmd: "sleep".into(),
        args: vec!["100".into()],
        ..SpawnRequest::default()
    };
    let folder = Workspace::open(workspace.path()).unwrap();
    let started = scope.spawn_persistent(request, &folder, &mut Everything).await;
    let id = started.unwrap();

    let builder = Runtime::builder(registry.clone())
        .max_instances(2)
        .guest_time(GUEST_TIME)
        .guest_memory(8 << 20);
    let runtime = builder.build().unwrap();
    let bad = [
        (guests::spin(), "guest-time"),
        (guests::memory_bomb(), "guest-memory"),
        (guests::last_words(), "trap"),
    ];
    for (component, kind) in bad {
        let capsule = runtime.load(options(&workspace), &component).await.unwrap();
        assert_eq!(call(&capsule, b"").await.unwrap_err().kind(), kind);
    }
    let waited = scope.wait(id.expose(), Duration::ZERO).await;
    assert_eq!(waited, Err(supervisor::Error::WaitTimeout), "it still runs");

    // A reload keeps it, an unload does not.
    let capsule = runtime.load(options(&workspace), &guests::echo()).await.unwrap();
    capsule.reload(&guests::counter()).await.unwrap();
    assert_eq!(call(&capsule, b"").await.unwrap(), answer("1"));
    let waited = scope.wait(id.expose(), Duration::ZERO).await;
    assert_eq!(waited, Err(supervisor::Error::WaitTimeout), "it still runs");
    capsule.unload().await;
    assert_eq!(scope.status(id.expose()).unwrap_err(), supervisor::Error::NoSuchProcess);
    registry.shutdown().await;
}

#[tokio::test]
async fn a_spinning_guest_is_ended_at_its_time() {
    let capsule = load(builder().guest_time(GUEST_TIME), &guests::spin()).await;
    let start = Instant::now();
    let error = call(&capsule, b"").await.unwrap_err();
    let took = start.elapsed();
    assert!(
        matches!(error, CallError::GuestTime(limit) if limit == GUEST_TIME),
        "{error:?}"
    );
    assert!(took >= GUEST_TIME, "ended early, after {took:?}");
    assert!(took < GUEST_TIME * 10, "ended late, after {took:?}");
}

#[tokio::test]
async fn a_spinning_guest_gives_way_to_other_tasks() {
    // One thread for everything, so that the other task runs only if the guest yields.
    let capsule = load(builder().guest_time(Duration::from_secs(60)), &guests::spin()).await;
    let spinning = capsule.clone();
    let spinning = tokio::spawn(async move { call(&spinning, b"").await });
    // More polls than the call needs to reach the guest.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(capsule.calls_in_flight(), 1, "it still spins");
    spinning.abort();
}

#[tokio::test]
async fn t4_a_caller_of_many_calls_gives_way_to_other_tasks() {
    let capsule = load(builder(), &guests::computes()).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let others = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for calls in 1..=50 {
        call(&capsule, b"").await.unwrap();
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns >= calls, "{turns} turns in {calls} calls");
    }
    others.abort();
}

#[tokio::test]
async fn time_in_a_host_call_is_not_guest_time() {
    let capsule = load(builder().guest_time(GUEST_TIME), &guests::sleep()).await;
    let start = Instant::now();
    assert_eq!(call(&capsule, &nanos(GUEST_TIME * 4)).await.unwrap(), answer("0"));
    assert!(start.elapsed() >= GUEST_TIME * 4);
}

#[tokio::test]
async fn waiting_guests_share_one_thread() {
    let builder = builder().max_instances(50).instances_per_principal(Some(50));
    let capsule = load(builder, &guests::sleep()).await;
    let start = Instant::now();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let capsule = capsule.clone();
            tokio::spawn(async move { call(&capsule, &nanos(Duration::from_millis(400))).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), answer("0"));
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "one after the other takes 20 s, this took {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn calls_beyond_the_pool_wait_for_their_turn() {
    let capsule = load(builder().max_instances(1), &guests::sleep()).await;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let capsule = capsule.clone();
            tokio::spawn(async move { call(&capsule, &nanos(Duration::from_millis(10))).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), answer("0"));
    }
}

#[tokio::test]
async fn a_memory_bomb_is_told_as_such() {
    let limit = 8 << 20;
    let capsule = load(builder().guest_memory(limit), &guests::memory_bomb()).await;
    let error = call(&capsule, b"").await.unwrap_err();
    assert!(
        matches!(error, CallError::GuestMemory(bytes) if bytes == limit),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_guest_that_lives_with_the_refusal_of_memory_answers() {
    let capsule = load(builder().guest_memory(8 << 20), &guests::modest_after_refusal()).await;
    assert_eq!(call(&capsule, b"").await.unwrap().data, None);
}

#[tokio::test]
async fn memory_wanted_from_the_start_counts() {
    let capsule = load(builder().guest_memory(8 << 20), &guests::born_big()).await;
    assert_eq!(call(&capsule, b"").await.unwrap_err().kind(), "guest-memory");
}

#[tokio::test]
async fn what_a_guest_hands_over_is_bounded() {
    let capsule = load(builder(), &guests::big_message()).await;
    assert_eq!(
        call(&capsule, b"").await.unwrap().data,
        None,
        "100 KB are fine by default"
    );
    let capsule = load(builder().hostcall_memory(64 << 10), &guests::big_message()).await;
    assert_eq!(call(&capsule, b"").await.unwrap_err().kind(), "trap");
}

#[tokio::test]
async fn a_guest_is_told_what_it_was_granted() {
    let workspace = TempDir::new().unwrap();
    let runtime = builder().build().unwrap();
    for (commands, told) in [(vec![], "0"), (vec!["a".to_owned(), "b".to_owned()], "4")] {
        let grants = Grants {
            commands,
            persistent: true,
            ..Grants::default()
        };
        let options = LoadOptions {
            grants,
            ..options(&workspace)
        };
        let capsule = runtime.load(options, &guests::capabilities()).await.unwrap();
        assert_eq!(call(&capsule, b"").await.unwrap(), answer(told));
    }
}

#[tokio::test]
async fn unloading_tells_a_waiting_guest_at_once() {
    for _ in 0..10 {
        let capsule = load(builder(), &guests::sleep()).await;
        let waiting = capsule.clone();
        let waiting = tokio::spawn(async move { call(&waiting, &nanos(Duration::from_secs(50))).await });
        // The other task runs before the call ends: there is one thread, and the guest runs until it waits.
        while capsule.calls_in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        capsule.unload().await;
        let took = start.elapsed();
        assert_eq!(
            call(&capsule, &nanos(Duration::ZERO)).await.unwrap_err().kind(),
            "cancelled"
        );
        match waiting.await.unwrap() {
            // The guest returns the answer that it got.
            Ok(data) => return assert_eq!(data, answer("5")),
            // The guest was interrupted, because this machine did not let it answer for a second.
            Err(CallError::Cancelled) => assert!(took >= Duration::from_millis(900), "took {took:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it is never told");
}

#[tokio::test]
async fn unloading_interrupts_a_guest_that_goes_on() {
    let capsule = load(builder().guest_time(Duration::from_secs(60)), &guests::spin()).await;
    let spinning = capsule.clone();
    let spinning = tokio::spawn(async move { call(&spinning, b"").await });
    while capsule.calls_in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    capsule.unload().await;
    let took = start.elapsed();
    assert!(matches!(spinning.await.unwrap(), Err(CallError::Cancelled)));
    assert!(
        took >= Duration::from_millis(900),
        "it has a second's notice; took {took:?}"
    );
    assert!(took < Duration::from_secs(10), "took {took:?}");
}

#[tokio::test]
async fn a4_unloading_waits_for_no_caller_that_has_stopped_polling() {
    let capsule = load(builder(), &guests::sleep()).await;
    let long = nanos(Duration::from_secs(50));
    let mut waiting = std::pin::pin!(call(&capsule, &long));
    // Polled once: the guest waits, and the future is not polled again.
    let ready = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready()));
    assert!(!ready.await);
    assert_eq!(capsule.calls_in_flight(), 1);
    tokio::time::timeout(Duration::from_secs(20), capsule.unload())
        .await
        .expect("unloading waits for the caller");
    assert_eq!(capsule.calls_in_flight(), 0);
    match waiting.await {
        Ok(data) => assert_eq!(data, answer("5")),
        Err(error) => assert!(matches!(error, CallError::Cancelled), "{error:?}"),
    }
}

/// Drops every record.
struct Faulty;

impl AuditSink for Faulty {
    fn record(&self, _: &Record) {
        panic!("a fault of the embedder, on purpose");
    }
}

#[tokio::test]
async fn a_panic_in_the_host_fails_its_call_and_frees_its_place() {
    let builder = builder().max_instances(1).audit(Some(Arc::new(Faulty)));
    let capsule = load(builder, &talkers::hoards()).await;
    for _ in 0..3 {
        assert_eq!(call(&capsule, b"").await.unwrap_err().kind(), "host");
        assert_eq!(capsule.calls_in_flight(), 0);
    }
}

#[tokio::test]
async fn a_dropped_call_frees_its_place() {
    let capsule = load(builder().max_instances(1), &guests::sleep()).await;
    let long = nanos(Duration::from_secs(50));
    let dropped = tokio::time::timeout(Duration::from_millis(50), call(&capsule, &long)).await;
    assert!(dropped.is_err());
    assert_eq!(call(&capsule, &nanos(Duration::ZERO)).await.unwrap(), answer("0"));
}

#[tokio::test]
async fn a_component_without_entry_point_loads_and_says_so_when_called() {
    for component in [guests::no_entry(), guests::other_entry()] {
        let capsule = load(builder(), &component).await;
        let error = call(&capsule, b"").await.unwrap_err();
        assert_eq!(error.kind(), "no-entry-point");
        assert!(error.to_string().contains("astrid-hook-trigger"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_with_the_reason() {
    let error = refused(&guests::core_module()).await;
    assert!(matches!(error, LoadError::CoreModule), "{error:?}");
    for junk in [&b""[..], b"hello", b"\0asm\x0d\0\x01\0junk"] {
        let error = refused(junk).await;
        assert!(matches!(error, LoadError::Compile(_)), "{error:?}");
    }
    let error = refused(&guests::unknown_import()).await;
    assert!(
        matches!(&error, LoadError::Link(reason) if reason.contains("unknown:package/interface")),
        "{error:?}"
    );
}

#[tokio::test]
async fn compiled_code_is_kept_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("a/b");
    let capsule = load(builder().cache_dir(Some(cache.clone())), &guests::echo()).await;
    assert_eq!(call(&capsule, b"x").await.unwrap(), answer("x"));
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let entries = cache.read_dir().unwrap().count();
    assert!(entries > 0, "nothing was kept");
    let capsule = load(builder().cache_dir(Some(cache.clone())), &guests::echo()).await;
    assert_eq!(call(&capsule, b"y").await.unwrap(), answer("y"));
}

#[tokio::test]
async fn b1_no_workspace_has_to_do_with_compiled_code() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    let runtime = builder().cache_dir(Some(cache.clone())).build().unwrap();
    let within = cache.join("within");
    let beside = folder.path().join("cache-of-others");
    for path in [&within, &beside] {
        std::fs::create_dir(path).unwrap();
    }
    let load = async |path: &std::path::Path| {
        let workspace = Workspace::open(path).unwrap();
        let options = LoadOptions {
            workspace,
            ..options(&folder)
        };
        runtime.load(options, &guests::echo()).await
    };
    for path in [folder.path(), &cache, &within] {
        let refused = load(path).await.unwrap_err();
        assert!(matches!(refused, LoadError::Workspace { .. }), "{path:?}: {refused:?}");
    }
    load(&beside).await.unwrap();
}

#[tokio::test]
async fn limits_that_nothing_runs_under_are_refused() {
    for builder in [
        builder().max_instances(0),
        builder().instances_per_principal(Some(0)),
        builder().guest_time(Duration::ZERO),
        builder().call_time(Some(Duration::ZERO)),
        builder().guest_memory(0),
        builder().max_resources(0),
    ] {
        assert!(matches!(builder.build(), Err(BuildError::Zero)));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = builder().cache_dir(Some(file.path().to_owned())).build().unwrap_err();
    assert!(matches!(error, BuildError::Cache { .. }), "{error:?}");
}
