//! The one place where calls are recorded (contract U1): the interfaces as guests get them, around those that do the work.
//!
//! The linker is given these implementations. Each function makes a [`Call`], has the [`CapsuleCtxView`] answer, and hands
//! the answer out through the call, which then gives its record to the embedder's hooks. A call that never comes to an
//! answer, because its instance goes away, gives the record away when it is dropped, so there is exactly one in any case.
//! A function that an interface gets and this file has not does not compile.
//!
//! Of a message neither the topic nor the content is recorded: a topic may hold an id, which is what it ends in where a
//! process is watched without another wish.
//!
//! Not recorded is what only looks or waits and concerns no other caller: all of `astrid:io`, and of `astrid:sys` the
//! clocks, `sleep-ns`, `random-bytes`, `log` (a log of its own), `get-caller` and `enumerate-capabilities` (what the
//! caller is).

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi_io::poll::DynPollable;

use super::bindings::astrid::{self, ipc::host as ipc, sys::host as sys};
use super::error::{IpcError, ProcessError, SysError};
use super::{CapsuleCtxView, CapsuleView, ProcessHandle};
use crate::audit::{Outcome, Record, SpawnDetails};
use crate::{bus, supervisor};

/// What the linker's functions work on.
pub(super) struct Audited<'a>(CapsuleCtxView<'a>);

/// Names it for the linker.
pub(super) struct AuditedProcess;

impl HasData for AuditedProcess {
    type Data<'a> = Audited<'a>;
}

pub(super) fn audited<T: CapsuleView>(data: &mut T) -> Audited<'_> {
    Audited(data.capsule())
}

/// A call in flight, and its record, if one is wanted. Dropped, it hands the record over.
struct Call<'v, 'a> {
    view: &'v mut CapsuleCtxView<'a>,
    record: Option<Record>,
}

impl<'a> Audited<'a> {
    fn call(&mut self, operation: &'static str) -> Call<'_, 'a> {
        let wanted = self.0.hooks.wants_audit();
        Call {
            record: wanted.then(|| Record::new(self.0.ctx.scope.owner(), operation)),
            view: &mut self.0,
        }
    }
}

impl Call<'_, '_> {
    /// It is about the process of this id, or would be if there were one.
    fn about(mut self, id: &str) -> Self {
        self.note(id);
        self
    }

    /// It is about these.
    fn about_all(mut self, ids: &[String]) -> Self {
        /// As many as the record keeps need a name.
        const NAMED: usize = 32;
        if let Some(record) = &mut self.record {
            let scope = &self.view.ctx.scope;
            let names: Vec<_> = ids.iter().take(NAMED).map(|id| scope.audit_name(id)).collect();
            record.about(names, ids.len().saturating_sub(NAMED));
        }
        self
    }

    /// It is about the process of this handle, which has an id where it was attached to by one.
    fn on(mut self, handle: &Resource<ProcessHandle>) -> Self {
        let id = self.view.table.get(handle).ok().and_then(|handle| handle.id());
        if let (Some(id), Some(record)) = (id, &mut self.record) {
            let name = self.view.ctx.scope.audit_name(id.expose());
            record.about([name], 0);
        }
        self
    }

    fn note(&mut self, id: &str) {
        if let Some(record) = &mut self.record {
            let name = self.view.ctx.scope.audit_name(id);
            record.about([name], 0);
        }
    }

    fn spawning(mut self, request: &supervisor::SpawnRequest) -> Self {
        if let Some(record) = &mut self.record {
            let scope = &self.view.ctx.scope;
            let details = SpawnDetails::of(request, &|text| scope.audit_name(text));
            record.spawn = Some(Box::new(details));
        }
        self
    }

    /// The end of it, with this answer.
    fn end<T, E>(mut self, answer: Result<T, E>) -> Result<T, E>
    where
        for<'e> Outcome: From<&'e E>,
    {
        if let Some(record) = &mut self.record {
            record.outcome = answer.as_ref().map_or_else(Outcome::from, |_| Outcome::OK);
        }
        answer
    }

    /// The end of one that has no error to answer with.
    fn end_or_trap<T>(mut self, answer: wasmtime::Result<T>) -> wasmtime::Result<T> {
        if let Some(record) = &mut self.record {
            record.outcome = if answer.is_ok() { Outcome::OK } else { Outcome::TRAP };
        }
        answer
    }
}

impl Drop for Call<'_, '_> {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.view.hooks.audit(record);
        }
    }
}

impl From<&ProcessError> for Outcome {
    fn from(error: &ProcessError) -> Self {
        match error {
            ProcessError::Answer(error) => error.into(),
            ProcessError::Trap(_) => Self::TRAP,
        }
    }
}

impl From<&IpcError> for Outcome {
    fn from(error: &IpcError) -> Self {
        use bus::Error as E;
        Self::error(match error {
            IpcError::Denied | IpcError::Answer(E::Reserved) => "capability-denied",
            IpcError::Answer(E::InvalidInput(_)) => "invalid-input",
            IpcError::Answer(E::Closed) => "closed",
            IpcError::Answer(E::RateLimited) => "rate-limited",
            IpcError::Answer(E::Backpressure) => "backpressure",
            IpcError::Answer(E::Quota) => "quota",
            IpcError::Answer(E::Timeout) => "timeout",
            IpcError::Answer(E::TooDeep(_)) => "unknown(too-deep)",
            IpcError::Answer(E::Host(_)) => "unknown(host)",
            IpcError::Cancelled => "cancelled",
            IpcError::NoBus => "unknown(no-bus)",
            IpcError::Trap(_) => return Self::TRAP,
        })
    }
}

impl From<&SysError> for Outcome {
    fn from(error: &SysError) -> Self {
        Self::error(match error {
            SysError::ReservedKey => "config-key-reserved",
            SysError::TooLarge => "too-large",
            SysError::NoRegistry => "registry-unavailable",
            SysError::Cancelled => "cancelled",
            SysError::Random(_) => "unknown(host)",
        })
    }
}

/// Both versions of `astrid:process`; they differ in nothing that is recorded.
macro_rules! record {
    ($version:ident, $package:ident) => {
        mod $version {
            use super::astrid::$package::host::*;
            use super::*;

            type Answer<T> = Result<T, ProcessError>;

            impl Host for Audited<'_> {
                fn convert_error_code(&mut self, error: ProcessError) -> wasmtime::Result<ErrorCode> {
                    Host::convert_error_code(&mut self.0, error)
                }

                async fn spawn(&mut self, request: SpawnRequest) -> Answer<ProcessResult> {
                    let request = request.into();
                    let call = self.call("spawn").spawning(&request);
                    let answer = call.view.run(request).await;
                    Ok(call.end(answer)?.into())
                }

                async fn spawn_background(&mut self, request: SpawnRequest) -> Answer<Resource<ProcessHandle>> {
                    let request = request.into();
                    let call = self.call("spawn-background").spawning(&request);
                    let answer = call.view.start_in_background(request).await;
                    call.end(answer)
                }

                async fn spawn_persistent(&mut self, request: SpawnRequest) -> Answer<ProcessId> {
                    let request = request.into();
                    let mut call = self.call("spawn-persistent").spawning(&request);
                    let answer = call.view.start(request).await;
                    if let Ok(id) = &answer {
                        call.note(id.expose());
                    }
                    Ok(call.end(answer)?.expose().to_owned())
                }

                fn attach(&mut self, id: ProcessId) -> Answer<Resource<ProcessHandle>> {
                    let call = self.call("attach").about(&id);
                    let answer = Host::attach(&mut *call.view, id);
                    call.end(answer)
                }

                fn list_processes(&mut self, label_filter: Option<String>) -> Answer<Vec<ProcessInfo>> {
                    let call = self.call("list-processes");
                    let answer = Host::list_processes(&mut *call.view, label_filter);
                    call.end(answer)
                }

                fn status(&mut self, id: ProcessId) -> Answer<ProcessInfo> {
                    let call = self.call("status").about(&id);
                    let answer = Host::status(&mut *call.view, id);
                    call.end(answer)
                }

                fn status_many(&mut self, ids: Vec<ProcessId>) -> Answer<Vec<ProcessInfo>> {
                    let call = self.call("status-many").about_all(&ids);
                    let answer = Host::status_many(&mut *call.view, ids);
                    call.end(answer)
                }

                fn read_logs(&mut self, id: ProcessId) -> Answer<ReadLogsResult> {
                    let call = self.call("read-logs").about(&id);
                    let answer = Host::read_logs(&mut *call.view, id);
                    call.end(answer)
                }

                fn read_since(
                    &mut self,
                    id: ProcessId,
                    which_stream: LogStream,
                    cursor: LogCursor,
                    max_bytes: u32,
                ) -> Answer<LogChunk> {
                    let call = self.call("read-since").about(&id);
                    let answer = Host::read_since(&mut *call.view, id, which_stream, cursor, max_bytes);
                    call.end(answer)
                }

                async fn write_stdin(&mut self, id: ProcessId, data: Vec<u8>) -> Answer<u32> {
                    let call = self.call("write-stdin").about(&id);
                    let answer = Host::write_stdin(&mut *call.view, id, data).await;
                    call.end(answer)
                }

                fn close_stdin(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("close-stdin").about(&id);
                    let answer = Host::close_stdin(&mut *call.view, id);
                    call.end(answer)
                }

                async fn signal(&mut self, id: ProcessId, signal: ProcessSignal) -> Answer<()> {
                    let call = self.call("signal").about(&id);
                    let answer = Host::signal(&mut *call.view, id, signal).await;
                    call.end(answer)
                }

                async fn wait(&mut self, id: ProcessId, timeout_ms: u64) -> Answer<ExitInfo> {
                    let call = self.call("wait").about(&id);
                    let answer = Host::wait(&mut *call.view, id, timeout_ms).await;
                    call.end(answer)
                }

                async fn stop(&mut self, id: ProcessId, grace_ms: Option<u64>) -> Answer<ExitInfo> {
                    let call = self.call("stop").about(&id);
                    let answer = Host::stop(&mut *call.view, id, grace_ms).await;
                    call.end(answer)
                }

                async fn release_process(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("release-process").about(&id);
                    let answer = Host::release_process(&mut *call.view, id).await;
                    call.end(answer)
                }

                fn watch(&mut self, id: ProcessId, suffix: Option<String>) -> Answer<()> {
                    let call = self.call("watch").about(&id);
                    let answer = Host::watch(&mut *call.view, id, suffix);
                    call.end(answer)
                }

                fn unwatch(&mut self, id: ProcessId) -> Answer<()> {
                    let call = self.call("unwatch").about(&id);
                    let answer = Host::unwatch(&mut *call.view, id);
                    call.end(answer)
                }
            }

            impl HostProcessHandle for Audited<'_> {
                fn read_logs(&mut self, handle: Resource<ProcessHandle>) -> Answer<ReadLogsResult> {
                    let call = self.call("process-handle.read-logs").on(&handle);
                    let answer = HostProcessHandle::read_logs(&mut *call.view, handle);
                    call.end(answer)
                }

                async fn write_stdin(&mut self, handle: Resource<ProcessHandle>, data: Vec<u8>) -> Answer<u32> {
                    let call = self.call("process-handle.write-stdin").on(&handle);
                    let answer = HostProcessHandle::write_stdin(&mut *call.view, handle, data).await;
                    call.end(answer)
                }

                fn close_stdin(&mut self, handle: Resource<ProcessHandle>) -> Answer<()> {
                    let call = self.call("process-handle.close-stdin").on(&handle);
                    let answer = HostProcessHandle::close_stdin(&mut *call.view, handle);
                    call.end(answer)
                }

                async fn signal(&mut self, handle: Resource<ProcessHandle>, signal: ProcessSignal) -> Answer<()> {
                    let call = self.call("process-handle.signal").on(&handle);
                    let answer = HostProcessHandle::signal(&mut *call.view, handle, signal).await;
                    call.end(answer)
                }

                async fn kill(&mut self, handle: Resource<ProcessHandle>) -> Answer<KillResult> {
                    let call = self.call("process-handle.kill").on(&handle);
                    let answer = HostProcessHandle::kill(&mut *call.view, handle).await;
                    call.end(answer)
                }

                async fn wait(&mut self, handle: Resource<ProcessHandle>, timeout_ms: Option<u64>) -> Answer<ExitInfo> {
                    let call = self.call("process-handle.wait").on(&handle);
                    let answer = HostProcessHandle::wait(&mut *call.view, handle, timeout_ms).await;
                    call.end(answer)
                }

                async fn wait_with_output(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                    timeout_ms: Option<u64>,
                ) -> Answer<ProcessResult> {
                    let call = self.call("process-handle.wait-with-output").on(&handle);
                    let answer = HostProcessHandle::wait_with_output(&mut *call.view, handle, timeout_ms).await;
                    call.end(answer)
                }

                fn os_pid(&mut self, handle: Resource<ProcessHandle>) -> Answer<u32> {
                    let call = self.call("process-handle.os-pid").on(&handle);
                    let answer = HostProcessHandle::os_pid(&mut *call.view, handle);
                    call.end(answer)
                }

                fn subscribe_exit(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let call = self.call("process-handle.subscribe-exit").on(&handle);
                    let answer = HostProcessHandle::subscribe_exit(&mut *call.view, handle);
                    call.end_or_trap(answer)
                }

                fn subscribe_logs(
                    &mut self,
                    handle: Resource<ProcessHandle>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    let call = self.call("process-handle.subscribe-logs").on(&handle);
                    let answer = HostProcessHandle::subscribe_logs(&mut *call.view, handle);
                    call.end_or_trap(answer)
                }

                /// Lets go of the process, or ends it; also without a call by that name something is done here.
                async fn drop(&mut self, handle: Resource<ProcessHandle>) -> wasmtime::Result<()> {
                    let call = self.call("process-handle.drop").on(&handle);
                    let answer = HostProcessHandle::drop(&mut *call.view, handle).await;
                    call.end_or_trap(answer)
                }
            }
        }
    };
}

record!(v1_0, process1_0_0);
record!(v1_1, process1_1_0);

impl ipc::Host for Audited<'_> {
    fn convert_error_code(&mut self, error: IpcError) -> wasmtime::Result<ipc::ErrorCode> {
        ipc::Host::convert_error_code(&mut self.0, error)
    }

    fn publish(&mut self, topic: String, payload: String) -> Result<(), IpcError> {
        let call = self.call("publish");
        let answer = ipc::Host::publish(&mut *call.view, topic, payload);
        call.end(answer)
    }

    fn publish_as(&mut self, topic: String, payload: String, principal: String) -> Result<(), IpcError> {
        let call = self.call("publish-as");
        let answer = ipc::Host::publish_as(&mut *call.view, topic, payload, principal);
        call.end(answer)
    }

    fn subscribe(&mut self, topic_pattern: String) -> Result<Resource<bus::Subscription>, IpcError> {
        let call = self.call("subscribe");
        let answer = ipc::Host::subscribe(&mut *call.view, topic_pattern);
        call.end(answer)
    }

    fn get_interceptor_bindings(&mut self) -> Result<Vec<ipc::InterceptorBinding>, IpcError> {
        let call = self.call("get-interceptor-bindings");
        let answer = ipc::Host::get_interceptor_bindings(&mut *call.view);
        call.end(answer)
    }
}

impl ipc::HostSubscription for Audited<'_> {
    fn poll(&mut self, subscription: Resource<bus::Subscription>) -> Result<ipc::IpcEnvelope, IpcError> {
        let call = self.call("subscription.poll");
        let answer = ipc::HostSubscription::poll(&mut *call.view, subscription);
        call.end(answer)
    }

    async fn recv(
        &mut self,
        subscription: Resource<bus::Subscription>,
        timeout_ms: u64,
    ) -> Result<ipc::IpcEnvelope, IpcError> {
        let call = self.call("subscription.recv");
        let answer = ipc::HostSubscription::recv(&mut *call.view, subscription, timeout_ms).await;
        call.end(answer)
    }

    fn subscribe_readiness(
        &mut self,
        subscription: Resource<bus::Subscription>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let call = self.call("subscription.subscribe-readiness");
        let answer = ipc::HostSubscription::subscribe_readiness(&mut *call.view, subscription);
        call.end_or_trap(answer)
    }

    fn drop(&mut self, subscription: Resource<bus::Subscription>) -> wasmtime::Result<()> {
        let call = self.call("subscription.drop");
        let answer = ipc::HostSubscription::drop(&mut *call.view, subscription);
        call.end_or_trap(answer)
    }
}

impl sys::Host for Audited<'_> {
    fn convert_error_code(&mut self, error: SysError) -> wasmtime::Result<sys::ErrorCode> {
        sys::Host::convert_error_code(&mut self.0, error)
    }

    fn get_config(&mut self, key: String) -> Result<Option<String>, SysError> {
        let call = self.call("get-config");
        let answer = sys::Host::get_config(&mut *call.view, key);
        call.end(answer)
    }

    fn get_caller(&mut self) -> Result<sys::CallerContext, SysError> {
        sys::Host::get_caller(&mut self.0)
    }

    fn log(&mut self, level: sys::LogLevel, message: String) -> wasmtime::Result<()> {
        sys::Host::log(&mut self.0, level, message)
    }

    fn signal_ready(&mut self) -> wasmtime::Result<()> {
        let call = self.call("signal-ready");
        let answer = sys::Host::signal_ready(&mut *call.view);
        call.end_or_trap(answer)
    }

    fn clock_ms(&mut self) -> wasmtime::Result<u64> {
        sys::Host::clock_ms(&mut self.0)
    }

    fn clock_monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        sys::Host::clock_monotonic_ns(&mut self.0)
    }

    async fn sleep_ns(&mut self, duration_ns: u64) -> Result<(), SysError> {
        sys::Host::sleep_ns(&mut self.0, duration_ns).await
    }

    fn random_bytes(&mut self, length: u64) -> Result<Vec<u8>, SysError> {
        sys::Host::random_bytes(&mut self.0, length)
    }

    fn check_capsule_capability(
        &mut self,
        request: sys::CapabilityCheckRequest,
    ) -> Result<sys::CapabilityCheckResponse, SysError> {
        let call = self.call("check-capsule-capability");
        let answer = sys::Host::check_capsule_capability(&mut *call.view, request);
        call.end(answer)
    }

    fn enumerate_capabilities(&mut self) -> wasmtime::Result<Vec<String>> {
        sys::Host::enumerate_capabilities(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Poll;

    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;
    use wasmtime::component::ResourceTable;

    use super::super::bindings::astrid::{process1_0_0::host as old, process1_1_0::host as new};
    use super::super::{CapsuleCtx, CapsuleHooks};
    use super::*;
    use crate::sandbox::{Unconfined, Workspace};
    use crate::supervisor::{Ask, Limits, Owner, Principal, Registry};

    /// Allows everything but `rm`, and keeps what it is told.
    #[derive(Default)]
    struct Ear(Vec<Record>, /* deaf */ bool);

    impl CapsuleHooks for Ear {
        fn authorize(&mut self, _: &Owner, ask: Ask<'_>) -> bool {
            !matches!(ask, Ask::Command(command) if command.cmd == "rm")
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

        fn calls(&mut self) -> Audited<'_> {
            audited(self)
        }

        /// The one record since this was last asked.
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

        /// The same, of which only the operation, the outcome and the names are of interest.
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
            drop(new::Host::status(&mut guest.calls(), "none".into()));
            assert_eq!(guest.ear.0.is_empty(), deaf);
        }
    }

    #[tokio::test]
    async fn u1_every_call_by_id_leaves_one_record_with_the_name_of_the_id() {
        let mut guest = Guest::new();
        let id = new::Host::spawn_persistent(&mut guest.calls(), request("cat", &[]))
            .await
            .unwrap();
        let name = guest.registry.audit_name(&id);
        let record = guest.told();
        assert_eq!((record.operation, record.outcome.as_str()), ("spawn-persistent", "ok"));
        assert_eq!(record.ids, [&*name]);
        assert_eq!(record.spawn.unwrap().cmd, "cat");

        // Those that succeed, each by its name in the interface.
        drop(new::Host::status(&mut guest.calls(), id.clone()).unwrap());
        assert_eq!(guest.told_shortly(), ("status", "ok", vec![name.clone()]));
        new::Host::write_stdin(&mut guest.calls(), id.clone(), b"hush".into())
            .await
            .unwrap();
        assert_eq!(guest.told_shortly(), ("write-stdin", "ok", vec![name.clone()]));
        new::Host::close_stdin(&mut guest.calls(), id.clone()).unwrap();
        assert_eq!(guest.told_shortly(), ("close-stdin", "ok", vec![name.clone()]));
        new::Host::wait(&mut guest.calls(), id.clone(), 60_000).await.unwrap();
        assert_eq!(guest.told_shortly(), ("wait", "ok", vec![name.clone()]));
        new::Host::signal(&mut guest.calls(), id.clone(), new::ProcessSignal::Usr1)
            .await
            .unwrap();
        assert_eq!(guest.told_shortly(), ("signal", "ok", vec![name.clone()]));
        let chunk = new::Host::read_since(&mut guest.calls(), id.clone(), new::LogStream::Stdout, start(), 9).unwrap();
        assert_eq!(chunk.data, b"hush");
        assert_eq!(guest.told_shortly(), ("read-since", "ok", vec![name.clone()]));
        assert_eq!(
            new::Host::read_logs(&mut guest.calls(), id.clone()).unwrap().stdout,
            "hush"
        );
        assert_eq!(guest.told_shortly(), ("read-logs", "ok", vec![name.clone()]));
        assert_eq!(new::Host::list_processes(&mut guest.calls(), None).unwrap().len(), 1);
        assert_eq!(guest.told_shortly(), ("list-processes", "ok", vec![]));
        let many = vec![id.clone(), "nobody".into()];
        assert_eq!(new::Host::status_many(&mut guest.calls(), many).unwrap().len(), 1);
        let names = vec![name.clone(), guest.registry.audit_name("nobody")];
        assert_eq!(guest.told_shortly(), ("status-many", "ok", names));
        new::Host::release_process(&mut guest.calls(), id.clone())
            .await
            .unwrap();
        assert_eq!(guest.told_shortly(), ("release-process", "ok", vec![name.clone()]));

        // By the same name afterwards, in the other version, when there is no such process.
        assert!(old::Host::stop(&mut guest.calls(), id.clone(), None).await.is_err());
        assert_eq!(guest.told_shortly(), ("stop", "no-such-process", vec![name.clone()]));
        assert!(old::Host::status(&mut guest.calls(), id.clone()).is_err());
        assert_eq!(guest.told_shortly(), ("status", "no-such-process", vec![name]));
        guest.registry.shutdown().await;
    }

    #[tokio::test]
    async fn u1_i2_a_spawn_is_told_of_without_values_stdin_output_and_ids() {
        let mut guest = Guest::new();
        let id = new::Host::spawn_persistent(&mut guest.calls(), request("cat", &[]))
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
        let ran = new::Host::spawn(&mut guest.calls(), spawn).await.unwrap();
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

        // Refusals say why, by name.
        for (cmd, outcome) in [
            ("rm", "capability-denied"),
            ("", "invalid-input"),
            ("no-such", "unknown(not-found)"),
        ] {
            assert!(new::Host::spawn(&mut guest.calls(), request(cmd, &[])).await.is_err());
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
        let handle = new::Host::spawn_background(&mut guest.calls(), request("cat", &["-"]))
            .await
            .unwrap();
        let record = guest.told();
        assert_eq!((record.operation, record.outcome.as_str()), ("spawn-background", "ok"));
        assert_eq!(record.spawn.unwrap().args, ["-"]);
        let own = |handle: &Resource<ProcessHandle>| Resource::<ProcessHandle>::new_borrow(handle.rep());
        Methods::write_stdin(&mut guest.calls(), own(&handle), b"hush".into())
            .await
            .unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.write-stdin", "ok", vec![]));
        Methods::os_pid(&mut guest.calls(), own(&handle)).unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.os-pid", "ok", vec![]));
        Methods::signal(&mut guest.calls(), own(&handle), new::ProcessSignal::Cont)
            .await
            .unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.signal", "ok", vec![]));
        assert!(Methods::wait(&mut guest.calls(), own(&handle), Some(0)).await.is_err());
        assert_eq!(guest.told_shortly(), ("process-handle.wait", "wait-timeout", vec![]));
        Methods::close_stdin(&mut guest.calls(), own(&handle)).unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.close-stdin", "ok", vec![]));
        let ran = Methods::wait_with_output(&mut guest.calls(), own(&handle), None)
            .await
            .unwrap();
        assert_eq!(ran.stdout, "hush");
        assert_eq!(guest.told_shortly(), ("process-handle.wait-with-output", "ok", vec![]));
        Methods::read_logs(&mut guest.calls(), own(&handle)).unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.read-logs", "ok", vec![]));
        Methods::kill(&mut guest.calls(), own(&handle)).await.unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.kill", "ok", vec![]));
        Methods::subscribe_exit(&mut guest.calls(), own(&handle)).unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.subscribe-exit", "ok", vec![]));
        Methods::subscribe_logs(&mut guest.calls(), own(&handle)).unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.subscribe-logs", "ok", vec![]));
        let number = own(&handle);
        Methods::drop(&mut guest.calls(), handle).await.unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.drop", "ok", vec![]));
        assert!(Methods::os_pid(&mut guest.calls(), number).is_err());
        assert_eq!(guest.told_shortly(), ("process-handle.os-pid", "trap", vec![]));

        // One that was attached to is known by the name of its id.
        let id = new::Host::spawn_persistent(&mut guest.calls(), request("cat", &[]))
            .await
            .unwrap();
        let name = guest.registry.audit_name(&id);
        guest.ear.0.clear();
        let handle = old::Host::attach(&mut guest.calls(), id.clone()).unwrap();
        assert_eq!(guest.told_shortly(), ("attach", "ok", vec![name.clone()]));
        Methods::kill(&mut guest.calls(), own(&handle)).await.unwrap();
        assert_eq!(guest.told_shortly(), ("process-handle.kill", "ok", vec![name.clone()]));
        new::Host::watch(&mut guest.calls(), id.clone(), None).unwrap();
        assert_eq!(guest.told_shortly(), ("watch", "ok", vec![name.clone()]));
        new::Host::unwatch(&mut guest.calls(), id).unwrap();
        assert_eq!(guest.told_shortly(), ("unwatch", "ok", vec![name]));
        guest.registry.shutdown().await;
    }

    #[tokio::test]
    async fn u1_a_call_that_is_cut_short_leaves_one_record_too() {
        let mut guest = Guest::new();
        let id = new::Host::spawn_persistent(&mut guest.calls(), request("cat", &[]))
            .await
            .unwrap();
        guest.ear.0.clear();
        {
            // Its instance goes away while it waits.
            let mut calls = guest.calls();
            let mut wait = pin!(new::Host::wait(&mut calls, id.clone(), 60_000));
            let pending = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
            assert!(pending);
        }
        assert_eq!(guest.told().outcome, Outcome::DROPPED);

        let unload = guest.unload.clone();
        let mut calls = guest.calls();
        let (answer, ()) = tokio::join!(new::Host::wait(&mut calls, id, 60_000), async { unload.cancel() });
        assert!(answer.is_err());
        assert_eq!(guest.told().outcome.as_str(), "cancelled");
        assert!(
            new::Host::spawn(&mut guest.calls(), request("true", &[]))
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
        // Nothing is granted here, and what is refused is told of all the same.
        assert!(ipc::Host::publish(&mut guest.calls(), "a.b".into(), "hush".into()).is_err());
        let record = guest.told();
        assert_eq!(
            (record.operation, record.outcome.as_str()),
            ("publish", "capability-denied")
        );
        assert!(ipc::Host::subscribe(&mut guest.calls(), "a.*".into()).is_err());
        assert_eq!(guest.told().operation, "subscribe");
        assert!(ipc::Host::publish_as(&mut guest.calls(), "a.b".into(), "hush".into(), "bob".into()).is_err());
        assert_eq!(guest.told().operation, "publish-as");
        let no_such = || Resource::<bus::Subscription>::new_borrow(7);
        assert!(ipc::HostSubscription::poll(&mut guest.calls(), no_such()).is_err());
        assert_eq!(guest.told_shortly(), ("subscription.poll", "trap", vec![]));
        assert!(
            ipc::HostSubscription::recv(&mut guest.calls(), no_such(), 0)
                .await
                .is_err()
        );
        assert_eq!(guest.told_shortly(), ("subscription.recv", "trap", vec![]));
        assert!(ipc::HostSubscription::subscribe_readiness(&mut guest.calls(), no_such()).is_err());
        assert_eq!(
            guest.told_shortly(),
            ("subscription.subscribe-readiness", "trap", vec![])
        );
    }

    #[tokio::test]
    async fn u1_of_sys_what_asks_about_others_is_recorded_and_what_only_looks_is_not() {
        let mut guest = Guest::new();
        let mut calls = guest.calls();
        sys::Host::clock_ms(&mut calls).unwrap();
        sys::Host::clock_monotonic_ns(&mut calls).unwrap();
        sys::Host::random_bytes(&mut calls, 8).unwrap();
        sys::Host::sleep_ns(&mut calls, 1).await.unwrap();
        sys::Host::log(&mut calls, sys::LogLevel::Trace, "x".into()).unwrap();
        sys::Host::enumerate_capabilities(&mut calls).unwrap();
        sys::Host::get_caller(&mut calls).unwrap();
        assert!(guest.ear.0.is_empty(), "{:?}", guest.ear.0);

        assert!(sys::Host::get_config(&mut guest.calls(), "_key".into()).is_err());
        assert_eq!(guest.told_shortly(), ("get-config", "config-key-reserved", vec![]));
        sys::Host::signal_ready(&mut guest.calls()).unwrap();
        assert_eq!(guest.told_shortly(), ("signal-ready", "ok", vec![]));
        let request = sys::CapabilityCheckRequest {
            source_uuid: "other".into(),
            capability: "process".into(),
        };
        assert!(sys::Host::check_capsule_capability(&mut guest.calls(), request).is_err());
        assert_eq!(
            guest.told_shortly(),
            ("check-capsule-capability", "registry-unavailable", vec![])
        );
    }
}
