//! Calls every function of every interface once, and returns their names in order.
//!
//! The answers do not matter here, only that the host is called. If a function needs a handle or an id, an earlier call
//! made one.

use crate::generated::astrid::io::poll::poll;
use crate::generated::astrid::ipc::host as ipc;
use crate::generated::astrid::sys::host as sys;
use crate::generated::capsule::net::net;
use crate::generated::capsule::store::keyvalue;
use crate::generated::capsule::sync::lock;

/// Makes calls, and records each under its name in the interface.
macro_rules! calls {
    ($called:ident in $interface:literal: $($name:literal => $call:expr;)+) => {
        $({
            $called.push(concat!($interface, " ", $name).to_owned());
            // The parameter may be a result of any kind, or a resource to be dropped.
            let _answer = $call;
        })+
    };
}

/// Returns the names of the calls: the interface, and the function as the interface names it, including the `drop` of a
/// resource.
pub(crate) fn function() -> Vec<String> {
    let mut called = Vec::new();
    v1_0::calls(&mut called);
    v1_1::calls(&mut called);
    messages(&mut called);
    system(&mut called);
    network(&mut called);
    store(&mut called);
    locks(&mut called);
    called
}

/// Each version of `astrid:process`, and `astrid:io/poll` with pollables of that version.
macro_rules! process {
    ($version:ident, $package:ident, $interface:literal, { $($field:ident: $value:expr)? }) => {
        mod $version {
            use super::poll;
            use crate::generated::astrid::$package::host::*;

            fn request() -> SpawnRequest {
                SpawnRequest {
                    cmd: "cat".into(),
                    args: Vec::new(),
                    stdin: None,
                    env: Vec::new(),
                    cwd: None,
                    limits: None,
                    $($field: $value,)?
                    label: None,
                    keep_stdin_open: None,
                    overflow: None,
                    log_ring_bytes: None,
                    max_lifetime_ms: None,
                    idle_timeout_ms: None,
                    exit_retention_ms: None,
                }
            }

            pub(super) fn calls(called: &mut Vec<String>) {
                let name = |function: &str| format!("{} {function}", $interface);
                called.push(name("spawn-background"));
                let Ok(child) = spawn_background(&request()) else {
                    return;
                };
                called.push(name("[method]process-handle.subscribe-exit"));
                let exit = child.subscribe_exit();
                called.push(name("[method]process-handle.subscribe-logs"));
                let logs = child.subscribe_logs();
                calls! { called in $interface:
                    "[method]process-handle.write-stdin" => child.write_stdin(b"x");
                    "[method]process-handle.close-stdin" => child.close_stdin();
                    "[method]process-handle.read-logs" => child.read_logs();
                    "[method]process-handle.os-pid" => child.os_pid();
                    "[method]process-handle.signal" => child.signal(ProcessSignal::Cont);
                    "[method]process-handle.wait" => child.wait(Some(60_000));
                    "[method]process-handle.wait-with-output" => child.wait_with_output(Some(60_000));
                    "[method]process-handle.kill" => child.kill();
                    "[resource-drop]process-handle" => child;
                }
                calls! { called in "astrid:io/poll@1.0.0":
                    "[method]pollable.ready" => exit.ready();
                    "[method]pollable.block" => exit.block();
                    "poll" => poll(&[&exit, &logs]);
                    "[resource-drop]pollable" => exit;
                    "[resource-drop]pollable" => logs;
                }
                calls! { called in $interface:
                    "spawn" => spawn(&request());
                }
                called.push(name("spawn-persistent"));
                let Ok(id) = spawn_persistent(&request()) else {
                    return;
                };
                called.push(name("attach"));
                let Ok(attached) = attach(&id) else {
                    return;
                };
                calls! { called in $interface:
                    "[resource-drop]process-handle" => attached;
                    "list-processes" => list_processes(None);
                    "status" => status(&id);
                    "status-many" => status_many(std::slice::from_ref(&id));
                    "read-logs" => read_logs(&id);
                    "read-since" => read_since(&id, LogStream::Stdout, &LogCursor { token: None }, 1);
                    "write-stdin" => write_stdin(&id, b"x");
                    "close-stdin" => close_stdin(&id);
                    "signal" => signal(&id, ProcessSignal::Cont);
                    "wait" => wait(&id, 60_000);
                    "watch" => watch(&id, None);
                    "unwatch" => unwatch(&id);
                    "release-process" => release_process(&id);
                    "stop" => stop(&id, Some(0));
                }
            }
        }
    };
}

process!(v1_0, process1_0_0, "astrid:process/host@1.0.0", {});
process!(v1_1, process1_1_0, "astrid:process/host@1.1.0", { file_injections: Vec::new() });

fn messages(called: &mut Vec<String>) {
    called.push("astrid:ipc/host@1.0.0 subscribe".into());
    let Ok(subscription) = ipc::subscribe("hostile.v1.*") else {
        return;
    };
    called.push("astrid:ipc/host@1.0.0 [method]subscription.subscribe-readiness".into());
    let readiness = subscription.subscribe_readiness();
    calls! { called in "astrid:ipc/host@1.0.0":
        "publish" => ipc::publish("hostile.v1.self", "{}");
        "publish-as" => ipc::publish_as("hostile.v1.self", "{}", "bob");
        "get-interceptor-bindings" => ipc::get_interceptor_bindings();
        "[method]subscription.poll" => subscription.poll();
        "[method]subscription.recv" => subscription.recv(0);
        "[resource-drop]subscription" => subscription;
    }
    calls! { called in "astrid:io/poll@1.0.0":
        "[resource-drop]pollable" => readiness;
    }
}

fn system(called: &mut Vec<String>) {
    let request = sys::CapabilityCheckRequest {
        source_uuid: "other".into(),
        capability: "process".into(),
    };
    calls! { called in "astrid:sys/host@1.0.0":
        "get-config" => sys::get_config("key");
        "get-caller" => sys::get_caller();
        "log" => sys::log(sys::LogLevel::Trace, "x");
        "signal-ready" => sys::signal_ready();
        "clock-ms" => sys::clock_ms();
        "clock-monotonic-ns" => sys::clock_monotonic_ns();
        "sleep-ns" => sys::sleep_ns(1);
        "random-bytes" => sys::random_bytes(1);
        "check-capsule-capability" => sys::check_capsule_capability(&request);
        "enumerate-capabilities" => sys::enumerate_capabilities();
    }
}

/// No process has this id, and no process runs any more.
fn network(called: &mut Vec<String>) {
    let request = net::Request {
        port: 1,
        method: "GET".into(),
        path: "/".into(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 1,
    };
    calls! { called in "capsule:net/net@0.1.0":
        "ports" => net::ports("id");
        "wait-for-port" => net::wait_for_port("id", 1, 0);
        "published" => net::published();
        "fetch" => net::fetch(&request);
    }
}

fn store(called: &mut Vec<String>) {
    calls! { called in "capsule:store/keyvalue@0.1.0":
        "get" => keyvalue::get("key");
        "set" => keyvalue::set("key", b"value");
        "compare-and-set" => keyvalue::compare_and_set("key", None, Some(b"other"));
        "list" => keyvalue::list("k", None, 10);
        "delete" => keyvalue::delete("key");
    }
}

fn locks(called: &mut Vec<String>) {
    called.push("capsule:sync/lock@0.1.0 acquire".into());
    let Ok(guard) = lock::acquire("name", 0) else {
        return;
    };
    calls! { called in "capsule:sync/lock@0.1.0":
        "[resource-drop]guard" => guard;
    }
}
