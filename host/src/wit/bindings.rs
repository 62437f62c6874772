//! Bindings of the WIT packages that this crate serves.
//!
//! Generated from `wit/`, world `capsule:worlds/host`. An embedder needs them only to serve one of the interfaces with
//! an implementation of its own, or to name the types of the others. The one implementation here is that of
//! [`CapsuleCtxView`](crate::CapsuleCtxView), whose calls are recorded however it is linked.
//!
//! - Calls that wait are async, so that a waiting guest holds no thread. Every call may trap, but only for a misuse that the
//!   interface has no error for: a handle that is not in the host's table.
//! - No generated tracing: it prints every string argument and result, and a process id is a string.

mod generated {
    #![expect(missing_docs, reason = "generated; the words are in the WIT files")]

    wasmtime::component::bindgen!({
        path: "wit",
        world: "capsule:worlds/host",
        imports: {
            "astrid:process/host.spawn": async | trappable,
            "astrid:process/host.spawn-persistent": async | trappable,
            "astrid:process/host.write-stdin": async | trappable,
            "astrid:process/host.signal": async | trappable,
            "astrid:process/host.wait": async | trappable,
            "astrid:process/host.stop": async | trappable,
            "astrid:process/host.release-process": async | trappable,
            "astrid:process/host.spawn-background": async | trappable,
            "astrid:process/host.[method]process-handle.write-stdin": async | trappable,
            "astrid:process/host.[method]process-handle.signal": async | trappable,
            "astrid:process/host.[method]process-handle.kill": async | trappable,
            "astrid:process/host.[method]process-handle.wait": async | trappable,
            "astrid:process/host.[method]process-handle.wait-with-output": async | trappable,
            "astrid:process/host.[drop]process-handle": async | trappable,
            "astrid:io/poll.poll": async | trappable,
            "astrid:io/poll.[method]pollable.block": async | trappable,
            "astrid:io/poll.[method]pollable.ready": async | trappable,
            "astrid:ipc/host.[method]subscription.recv": async | trappable,
            "astrid:sys/host.sleep-ns": async | trappable,
            "capsule:net/net.ports": async | trappable,
            "capsule:net/net.wait-for-port": async | trappable,
            "capsule:net/net.fetch": async | trappable,
            "capsule:store/keyvalue.get": async | trappable,
            "capsule:store/keyvalue.set": async | trappable,
            "capsule:store/keyvalue.delete": async | trappable,
            "capsule:store/keyvalue.compare-and-set": async | trappable,
            "capsule:store/keyvalue.list": async | trappable,
            "capsule:sync/lock.acquire": async | trappable,
            default: trappable,
        },
        with: {
            "astrid:io/poll.pollable": wasmtime_wasi_io::poll::DynPollable,
            "astrid:io/error.error": crate::wit::IoError,
            "astrid:ipc/host.subscription": crate::wit::Subscription,
            "capsule:sync/lock.guard": crate::wit::LockGuard,
            "astrid:process/host@1.0.0.process-handle": crate::wit::ProcessHandle,
            "astrid:process/host@1.1.0.process-handle": crate::wit::ProcessHandle,
        },
        trappable_error_type: {
            "astrid:process/host@1.0.0.error-code" => crate::wit::ProcessError,
            "astrid:process/host@1.1.0.error-code" => crate::wit::ProcessError,
            "astrid:io/poll.error-code" => crate::wit::PollError,
            "astrid:ipc/host.error-code" => crate::wit::IpcError,
            "astrid:sys/host.error-code" => crate::wit::SysError,
            "capsule:net/net.error-code" => crate::wit::NetError,
            "capsule:store/keyvalue.error-code" => crate::wit::StoreError,
            "capsule:sync/lock.error-code" => crate::wit::LockError,
        },
        require_store_data_send: true,
    });
}

pub use generated::{Host_, astrid, capsule};
