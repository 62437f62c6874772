//! The records of calls, and the calls that leave no record (contract U1), through the traits that the linker calls.
//! `every_function` of the `capsules` tests shows that each function of a real component leaves its one record.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use capsule_host::audit::{Outcome, Record};
use capsule_host::bindings::astrid::{
    ipc::host as ipc, process1_0_0::host as old, process1_1_0::host as new, sys::host as sys,
};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{Ask, Limits, Owner, Principal, Registry};
use capsule_host::{
    CapsuleCtx, CapsuleCtxView, CapsuleHooks, CapsuleView, Denial, ProcessHandle, Refusal, Subscription,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable};

/// Allows every command but `rm`, and keeps the records and the denials.
#[derive(Default)]
struct Ear(Vec<Record>, /* deaf */ bool, Vec<Denial>);

impl CapsuleHooks for Ear {
    fn authorize(&mut self, _: &Owner, ask: Ask<'_>) -> bool {
        !matches!(ask, Ask::Command(command) if command.cmd == "rm")
    }

    fn denied(&mut self, _: &Owner, denial: &Denial) {
        self.2.push(denial.clone());
    }

    fn wants_audit(&self) -> bool {
        let deaf = self.1;
        !deaf
    }

    fn audit(&mut self, record: &Record) {
        self.0.push(record.clone());
    }
}

struct Guest {
    ctx: CapsuleCtx,
    table: ResourceTable,
    ear: Ear,
    unload: CancellationToken,
    registry: Registry,
    _folder: TempDir,
}

impl CapsuleView for Guest {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
            hooks: &mut self.ear,
        }
    }
}

impl Guest {
    fn new() -> Self {
        let launcher = Arc::new(Unconfined::new().allow_persistent());
        let registry = Registry::new(tokio::runtime::Handle::current(), launcher, Limits::default()).unwrap();
        let folder = TempDir::new().unwrap();
        let owner = Owner {
            principal: Principal::Named("alice".into()),
            capsule: "editor".into(),
        };
        let unload = CancellationToken::new();
        let ctx = CapsuleCtx::builder(&registry, owner, Workspace::open(folder.path()).unwrap());
        Self {
            ctx: ctx.unload(unload.clone()).build(),
            table: ResourceTable::new(),
            ear: Ear::default(),
            unload,
            registry,
            _folder: folder,
        }
    }

    /// The one record since the last call of this.
    #[track_caller]
    fn told(&mut self) -> Record {
        assert_eq!(self.ear.0.len(), 1, "one record a call: {:?}", self.ear.0);
        let record = self.ear.0.remove(0);
        assert_eq!(
            (record.principal.as_deref(), &*record.capsule),
            (Some("alice"), "editor")
        );
        record
    }

    /// The same, reduced to the operation, the outcome and the names.
    #[track_caller]
    fn told_shortly(&mut self) -> (&'static str, &'static str, Vec<String>) {
        let record = self.told();
        (record.operation, record.outcome.as_str(), record.ids)
    }
}

fn request(cmd: &str, args: &[&str]) -> new::SpawnRequest {
    new::SpawnRequest {
        cmd: cmd.into(),
        args: args.iter().map(|&arg| arg.into()).collect(),
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        file_injections: Vec::new(),
        label: None,
        keep_stdin_open: Some(true),
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

fn start() -> new::LogCursor {
    new::LogCursor { token: None }
}

#[tokio::test]
async fn u1_who_wants_no_records_is_handed_none() {
    let mut guest = Guest::new();
    for deaf in [true, false] {
        guest.ear.1 = deaf;
        drop(new::Host::status(&mut guest.capsule(), "none".into()));
        assert_eq!(guest.ear.0.is_empty(), deaf);
    }
}

/// The guest gets `capability-denied` and the like, and no more.
#[tokio::test]
async fn u1_a_denial_says_what_was_refused_to_the_hooks_and_in_the_record() {
    let mut guest = Guest::new();
    let id_like = "a".repeat(52);
    let long = "x/".repeat(5000);
    for (request, outcome, refusal) in [
        (
            request("rm", &["-r"]),
            "capability-denied",
            Refusal::Command("rm".into()),
        ),
        (
            request("", &[]),
            "invalid-input",
            Refusal::Rule("invalid-input: cmd is empty".into()),
        ),
        (
            new::SpawnRequest {
                env: vec![new::EnvVar {
                    key: "A-B".into(),
                    value: "hush".into(),
                }],
                ..request("cat", &[])
            },
            "invalid-input",
            Refusal::Rule("invalid-input: an env key is not a name ([A-Za-z_][A-Za-z0-9_]*)".into()),
        ),
    ] {
        assert!(
            new::Host::spawn_persistent(&mut guest.capsule(), request)
                .await
                .is_err()
        );
        let record = guest.told();
        assert_eq!(record.outcome.as_str(), outcome);
        assert_eq!(record.denial.as_deref(), Some(&*refusal.to_string()));
        let denial = guest.ear.2.remove(0);
        assert_eq!(
            (denial.operation, denial.outcome.as_str()),
            ("spawn-persistent", outcome)
        );
        assert_eq!(denial.refusal, refusal);
    }
    // What a guest writes is cut, and holds no id.
    for cmd in [&format!("no-such-{id_like}"), &long] {
        assert!(new::Host::spawn(&mut guest.capsule(), request(cmd, &[])).await.is_err());
        let told = guest.told().denial.unwrap();
        assert!(told.len() < 400 && !told.contains(&id_like), "{told}");
        assert!(!guest.ear.2.remove(0).refusal.to_string().contains(&id_like));
    }
    assert!(ipc::Host::publish(&mut guest.capsule(), "notes.v1".into(), "hush".into()).is_err());
    assert_eq!(
        guest.told().denial.unwrap(),
        "publishing to \"notes.v1\" is not granted"
    );
    assert_eq!(guest.ear.2.remove(0).refusal, Refusal::Publish("notes.v1".into()));
    assert!(ipc::Host::publish(&mut guest.capsule(), "astrid.process.v1".into(), "x".into()).is_err());
    assert!(guest.told().denial.unwrap().contains("only the host may publish"));
    guest.ear.2.clear();
    // An answer is no denial.
    assert!(new::Host::status(&mut guest.capsule(), "none".into()).is_err());
    assert_eq!((guest.told().denial, guest.ear.2.len()), (None, 0));
    // The hooks are told without an audit, too.
    guest.ear.1 = true;
    assert!(
        new::Host::spawn(&mut guest.capsule(), request("rm", &[]))
            .await
            .is_err()
    );
    assert_eq!((guest.ear.0.len(), guest.ear.2.len()), (0, 1));
}

#[tokio::test]
async fn u1_every_call_by_id_leaves_one_record_with_the_name_of_the_id() {
    let mut guest = Guest::new();
    let id = new::Host::spawn_persistent(&mut guest.capsule(), request("cat", &[]))
        .await
        .unwrap();
    let name = guest.registry.audit_name(&id);
    let record = guest.told();
    assert_eq!((record.operation, record.outcome.as_str()), ("spawn-persistent", "ok"));
    assert_eq!(record.ids, [&*name]);
    assert_eq!(record.spawn.unwrap().cmd, "cat");

    // Successful calls, each by its name in the interface.
    drop(new::Host::status(&mut guest.capsule(), id.clone()).unwrap());
    assert_eq!(guest.told_shortly(), ("status", "ok", vec![name.clone()]));
    new::Host::write_stdin(&mut guest.capsule(), id.clone(), b"hush".into())
        .await
        .unwrap();
    assert_eq!(guest.told_shortly(), ("write-stdin", "ok", vec![name.clone()]));
    new::Host::close_stdin(&mut guest.capsule(), id.clone()).unwrap();
    assert_eq!(guest.told_shortly(), ("close-stdin", "ok", vec![name.clone()]));
    new::Host::wait(&mut guest.capsule(), id.clone(), 60_000).await.unwrap();
    assert_eq!(guest.told_shortly(), ("wait", "ok", vec![name.clone()]));
    new::Host::signal(&mut guest.capsule(), id.clone(), new::ProcessSignal::Usr1)
        .await
        .unwrap();
    assert_eq!(guest.told_shortly(), ("signal", "ok", vec![name.clone()]));
    let chunk = new::Host::read_since(&mut guest.capsule(), id.clone(), new::LogStream::Stdout, start(), 9).unwrap();
    assert_eq!(chunk.data, b"hush");
    assert_eq!(guest.told_shortly(), ("read-since", "ok", vec![name.clone()]));
    assert_eq!(
        new::Host::read_logs(&mut guest.capsule(), id.clone()).unwrap().stdout,
        "hush"
    );
    assert_eq!(guest.told_shortly(), ("read-logs", "ok", vec![name.clone()]));
    assert_eq!(new::Host::list_processes(&mut guest.capsule(), None).unwrap().len(), 1);
    assert_eq!(guest.told_shortly(), ("list-processes", "ok", vec![]));
    let many = vec![id.clone(), "unknown".into()];
    assert_eq!(new::Host::status_many(&mut guest.capsule(), many).unwrap().len(), 1);
    let names = vec![name.clone(), guest.registry.audit_name("unknown")];
    assert_eq!(guest.told_shortly(), ("status-many", "ok", names));
    new::Host::release_process(&mut guest.capsule(), id.clone())
        .await
        .unwrap();
    assert_eq!(guest.told_shortly(), ("release-process", "ok", vec![name.clone()]));

    // The names stay the same afterwards, and in the other version, when the process no longer exists.
    assert!(old::Host::stop(&mut guest.capsule(), id.clone(), None).await.is_err());
    assert_eq!(guest.told_shortly(), ("stop", "no-such-process", vec![name.clone()]));
    assert!(old::Host::status(&mut guest.capsule(), id.clone()).is_err());
    assert_eq!(guest.told_shortly(), ("status", "no-such-process", vec![name]));
    guest.registry.shutdown().await;
}

#[tokio::test]
async fn u1_i2_a_spawn_is_told_of_without_values_stdin_output_and_ids() {
    let mut guest = Guest::new();
    let id = new::Host::spawn_persistent(&mut guest.capsule(), request("cat", &[]))
        .await
        .unwrap();
    guest.ear.0.clear();
    let mut spawn = request("sh", &["-c", "cat; echo $TOKEN", &id, &format!("--stop={id}")]);
    spawn.stdin = Some(b"s3cret".to_vec());
    spawn.cwd = Some(".".into());
    spawn.env = vec![new::EnvVar {
        key: "TOKEN".into(),
        value: "s3cret".into(),
    }];
    let ran = new::Host::spawn(&mut guest.capsule(), spawn).await.unwrap();
    assert_eq!(ran.stdout, "s3crets3cret\n");
    let record = guest.told();
    let text = format!("{record:?}{}", serde_json::to_string(&record).unwrap());
    assert!(!text.contains("s3cret") && !text.contains(&id), "{text}");
    let told = record.spawn.unwrap();
    assert_eq!(
        (told.stdin_bytes, told.env_keys, told.cwd),
        (Some(6), vec!["TOKEN".to_owned()], Some(".".into()))
    );
    assert!(
        told.args[2].contains(&guest.registry.audit_name(&id)),
        "{:?}",
        told.args
    );

    // Records of refusals name the reason.
    for (cmd, outcome) in [
        ("rm", "capability-denied"),
        ("", "invalid-input"),
        ("no-such", "unknown(not-found)"),
    ] {
        assert!(new::Host::spawn(&mut guest.capsule(), request(cmd, &[])).await.is_err());
        let record = guest.told();
        assert_eq!((record.operation, record.outcome.as_str()), ("spawn", outcome));
        assert_eq!(record.spawn.unwrap().cmd, cmd);
    }
    guest.registry.shutdown().await;
}

#[tokio::test]
async fn u1_every_method_of_a_handle_leaves_one_record() {
    use new::HostProcessHandle as Methods;

    let mut guest = Guest::new();
    let handle = new::Host::spawn_background(&mut guest.capsule(), request("cat", &["-"]))
        .await
        .unwrap();
    let record = guest.told();
    assert_eq!((record.operation, record.outcome.as_str()), ("spawn-background", "ok"));
    assert_eq!(record.spawn.unwrap().args, ["-"]);
    let own = |handle: &Resource<ProcessHandle>| Resource::<ProcessHandle>::new_borrow(handle.rep());
    Methods::write_stdin(&mut guest.capsule(), own(&handle), b"hush".into())
        .await
        .unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.write-stdin", "ok", vec![]));
    Methods::os_pid(&mut guest.capsule(), own(&handle)).unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.os-pid", "ok", vec![]));
    Methods::signal(&mut guest.capsule(), own(&handle), new::ProcessSignal::Cont)
        .await
        .unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.signal", "ok", vec![]));
    assert!(
        Methods::wait(&mut guest.capsule(), own(&handle), Some(0))
            .await
            .is_err()
    );
    assert_eq!(guest.told_shortly(), ("process-handle.wait", "wait-timeout", vec![]));
    Methods::close_stdin(&mut guest.capsule(), own(&handle)).unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.close-stdin", "ok", vec![]));
    let ran = Methods::wait_with_output(&mut guest.capsule(), own(&handle), None)
        .await
        .unwrap();
    assert_eq!(ran.stdout, "hush");
    assert_eq!(guest.told_shortly(), ("process-handle.wait-with-output", "ok", vec![]));
    Methods::read_logs(&mut guest.capsule(), own(&handle)).unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.read-logs", "ok", vec![]));
    Methods::kill(&mut guest.capsule(), own(&handle)).await.unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.kill", "ok", vec![]));
    Methods::subscribe_exit(&mut guest.capsule(), own(&handle)).unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.subscribe-exit", "ok", vec![]));
    Methods::subscribe_logs(&mut guest.capsule(), own(&handle)).unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.subscribe-logs", "ok", vec![]));
    let number = own(&handle);
    Methods::drop(&mut guest.capsule(), handle).await.unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.drop", "ok", vec![]));
    assert!(Methods::os_pid(&mut guest.capsule(), number).is_err());
    assert_eq!(guest.told_shortly(), ("process-handle.os-pid", "trap", vec![]));

    // An attached process is recorded by the name of its id.
    let id = new::Host::spawn_persistent(&mut guest.capsule(), request("cat", &[]))
        .await
        .unwrap();
    let name = guest.registry.audit_name(&id);
    guest.ear.0.clear();
    let handle = old::Host::attach(&mut guest.capsule(), id.clone()).unwrap();
    assert_eq!(guest.told_shortly(), ("attach", "ok", vec![name.clone()]));
    Methods::kill(&mut guest.capsule(), own(&handle)).await.unwrap();
    assert_eq!(guest.told_shortly(), ("process-handle.kill", "ok", vec![name.clone()]));
    new::Host::watch(&mut guest.capsule(), id.clone(), None).unwrap();
    assert_eq!(guest.told_shortly(), ("watch", "ok", vec![name.clone()]));
    new::Host::unwatch(&mut guest.capsule(), id).unwrap();
    assert_eq!(guest.told_shortly(), ("unwatch", "ok", vec![name]));
    guest.registry.shutdown().await;
}

#[tokio::test]
async fn u1_a_call_that_is_cut_short_leaves_one_record_too() {
    let mut guest = Guest::new();
    let id = new::Host::spawn_persistent(&mut guest.capsule(), request("cat", &[]))
        .await
        .unwrap();
    guest.ear.0.clear();
    {
        // The instance goes away while the call waits.
        let mut calls = guest.capsule();
        let mut wait = pin!(new::Host::wait(&mut calls, id.clone(), 60_000));
        let pending = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    }
    assert_eq!(guest.told().outcome, Outcome::DROPPED);

    let unload = guest.unload.clone();
    let mut calls = guest.capsule();
    let (answer, ()) = tokio::join!(new::Host::wait(&mut calls, id, 60_000), async { unload.cancel() });
    assert!(answer.is_err());
    assert_eq!(guest.told().outcome.as_str(), "cancelled");
    assert!(
        new::Host::spawn(&mut guest.capsule(), request("true", &[]))
            .await
            .is_err()
    );
    let record = guest.told();
    assert_eq!((record.operation, record.outcome.as_str()), ("spawn", "cancelled"));
    guest.registry.shutdown().await;
}

#[tokio::test]
async fn u1_every_call_of_ipc_leaves_one_record() {
    let mut guest = Guest::new();
    // Nothing is granted here, and refusals are recorded too.
    assert!(ipc::Host::publish(&mut guest.capsule(), "a.b".into(), "hush".into()).is_err());
    let record = guest.told();
    assert_eq!(
        (record.operation, record.outcome.as_str()),
        ("publish", "capability-denied")
    );
    assert!(ipc::Host::subscribe(&mut guest.capsule(), "a.*".into()).is_err());
    assert_eq!(guest.told().operation, "subscribe");
    assert!(ipc::Host::publish_as(&mut guest.capsule(), "a.b".into(), "hush".into(), "bob".into()).is_err());
    assert_eq!(guest.told().operation, "publish-as");
    let no_such = || Resource::<Subscription>::new_borrow(7);
    assert!(ipc::HostSubscription::poll(&mut guest.capsule(), no_such()).is_err());
    assert_eq!(guest.told_shortly(), ("subscription.poll", "trap", vec![]));
    assert!(
        ipc::HostSubscription::recv(&mut guest.capsule(), no_such(), 0)
            .await
            .is_err()
    );
    assert_eq!(guest.told_shortly(), ("subscription.recv", "trap", vec![]));
    assert!(ipc::HostSubscription::subscribe_readiness(&mut guest.capsule(), no_such()).is_err());
    assert_eq!(
        guest.told_shortly(),
        ("subscription.subscribe-readiness", "trap", vec![])
    );
}

#[tokio::test]
async fn u1_of_sys_what_asks_about_others_is_recorded_and_what_only_looks_is_not() {
    let mut guest = Guest::new();
    let mut calls = guest.capsule();
    sys::Host::clock_ms(&mut calls).unwrap();
    sys::Host::clock_monotonic_ns(&mut calls).unwrap();
    sys::Host::random_bytes(&mut calls, 8).unwrap();
    sys::Host::sleep_ns(&mut calls, 1).await.unwrap();
    sys::Host::log(&mut calls, sys::LogLevel::Trace, "x".into()).unwrap();
    sys::Host::enumerate_capabilities(&mut calls).unwrap();
    sys::Host::get_caller(&mut calls).unwrap();
    assert!(guest.ear.0.is_empty(), "{:?}", guest.ear.0);

    assert!(sys::Host::get_config(&mut guest.capsule(), "_key".into()).is_err());
    assert_eq!(guest.told_shortly(), ("get-config", "config-key-reserved", vec![]));
    sys::Host::signal_ready(&mut guest.capsule()).unwrap();
    assert_eq!(guest.told_shortly(), ("signal-ready", "ok", vec![]));
    let request = sys::CapabilityCheckRequest {
        source_uuid: "other".into(),
        capability: "process".into(),
    };
    assert!(sys::Host::check_capsule_capability(&mut guest.capsule(), request).is_err());
    assert_eq!(
        guest.told_shortly(),
        ("check-capsule-capability", "registry-unavailable", vec![])
    );
}
