//! A hostile capsule: it keeps every handle, pollable and subscription that it can get, and it makes any call that a
//! test wants to interrupt or to count. It uses the bare interface, because an SDK releases what its user forgets.

#![expect(unsafe_code, reason = "the bindings generate it; nothing here is written so")]

mod every;

use serde::{Deserialize, Serialize};

mod generated {
    wit_bindgen::generate!({
        inline: "
            package capsule:hostile;
            world hostile {
                import astrid:process/host@1.0.0;
                import astrid:process/host@1.1.0;
                import astrid:io/poll@1.0.0;
                import astrid:ipc/host@1.0.0;
                import astrid:sys/host@1.0.0;
                import capsule:net/net@0.1.0;
                import capsule:store/keyvalue@0.1.0;
                import capsule:sync/lock@0.1.0;
                include astrid:guest/interceptor@1.0.0;
            }
        ",
        path: "../../wit",
        world: "capsule:hostile/hostile",
        generate_all,
    });
}

use generated::astrid::io::poll::{Pollable, poll};
use generated::astrid::ipc::host as ipc;
use generated::astrid::process1_1_0::host as process;
use generated::astrid::sys::host as sys;
use generated::{CapsuleResult, Guest};

struct Hostile;

generated::export!(Hostile with_types_in generated);

#[derive(Deserialize)]
struct Ask {
    /// A persistent process of this owner.
    #[serde(default)]
    id: String,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    ms: u64,
}

/// How many objects of a kind there were, and why there were no more.
#[derive(Serialize)]
struct Kept {
    kept: u32,
    refused: Option<String>,
}

impl Guest for Hostile {
    fn astrid_hook_trigger(action: String, payload: Vec<u8>) -> CapsuleResult {
        let done = serde_json::from_slice(&payload)
            .map_err(|error| error.to_string())
            .and_then(|ask| act(&action, &ask));
        match done {
            Ok(data) => CapsuleResult {
                action: "continue".into(),
                data: Some(data),
            },
            Err(error) => CapsuleResult {
                action: "abort".into(),
                data: Some(serde_json::Value::String(error).to_string()),
            },
        }
    }
}

/// Takes as many as possible, and gives none back.
fn keep<T, E: std::fmt::Debug>(count: u32, make: impl Fn() -> Result<T, E>) -> Result<String, String> {
    let mut kept = Kept { kept: 0, refused: None };
    while kept.kept < count && kept.refused.is_none() {
        match make() {
            Ok(thing) => {
                std::mem::forget(thing);
                kept.kept += 1;
            }
            Err(error) => kept.refused = Some(format!("{error:?}")),
        }
    }
    serde_json::to_string(&kept).map_err(|error| error.to_string())
}

fn act(action: &str, ask: &Ask) -> Result<String, String> {
    let never = |thing| Ok::<Pollable, ()>(thing);
    let attach = || process::attach(&ask.id).map_err(text);
    let subscribe = || ipc::subscribe("hostile.v1.*").map_err(text);
    match action {
        "keep-handles" => keep(ask.count, || process::attach(&ask.id)),
        "keep-children" => keep(ask.count, || process::spawn_background(&request("sleep 1000", false))),
        "keep-exit-pollables" => {
            let handle = attach()?;
            keep(ask.count, || never(handle.subscribe_exit()))
        }
        "keep-log-pollables" => {
            let handle = attach()?;
            keep(ask.count, || never(handle.subscribe_logs()))
        }
        "keep-subscriptions" => keep(ask.count, || ipc::subscribe("hostile.v1.*")),
        "keep-readiness" => {
            let subscription = subscribe()?;
            keep(ask.count, || never(subscription.subscribe_readiness()))
        }
        "keep-messages" => {
            let subscription = subscribe()?;
            let message = "x".repeat(60_000);
            let sent = keep(ask.count, || ipc::publish("hostile.v1.self", &message));
            std::mem::forget(subscription);
            sent
        }
        "every-function" => serde_json::to_string(&every::function()).map_err(text),
        "keep-watches" => keep(ask.count, || process::watch(&ask.id, Some("again"))),
        _ => call(action, ask).map(|()| "null".into()),
    }
}

/// Makes one call of each function that can wait, for as long as it may.
fn call(action: &str, ask: &Ask) -> Result<(), String> {
    let (id, ms) = (&ask.id, ask.ms);
    let attached = || process::attach(id).map_err(text);
    let child = |script| process::spawn_background(&request(script, true)).map_err(text);
    let subscription = || ipc::subscribe("hostile.v1.*").map_err(text);
    match action {
        "spawn" => done(process::spawn(&request("head -c 100000 /dev/zero; sleep 1000", false))),
        "spawn-short" => done(process::spawn(&request("echo out; echo err >&2", false))),
        "spawn-background" => done(child("sleep 1000")),
        "spawn-persistent" => done(process::spawn_persistent(&request("sleep 1000", true))),
        "write-stdin" => done(process::write_stdin(id, &vec![b'x'; 1 << 20])),
        "signal" => done(process::signal(id, process::ProcessSignal::Cont)),
        "wait" => done(process::wait(id, ms)),
        "stop" => done(process::stop(id, Some(ms))),
        "release" => done(process::release_process(id)),
        "sleep" => done(sys::sleep_ns(ms * 1_000_000)),
        "handle-write" => done(child("sleep 1000")?.write_stdin(&vec![b'x'; 1 << 20])),
        "handle-signal" => done(child("sleep 1000")?.signal(process::ProcessSignal::Usr1)),
        "handle-wait" => done(child("sleep 1000")?.wait(None)),
        "handle-wait-short" => done(child("exit 3")?.wait(None)),
        "handle-output" => done(child("echo out; echo err >&2; cat")?.wait_with_output(None)),
        "handle-output-short" => done(child("echo out; echo err >&2")?.wait_with_output(None)),
        "handle-kill" => done(child("sleep 1000")?.kill()),
        "handle-drop" => {
            drop(child("sleep 1000")?);
            Ok(())
        }
        "attached-wait" => done(attached()?.wait(Some(ms))),
        "attached-write" => done(attached()?.write_stdin(&vec![b'x'; 1 << 20])),
        "attached-kill" => done(attached()?.kill()),
        "attached-drop" => {
            drop(attached()?);
            Ok(())
        }
        "poll" => {
            let (one, other) = (attached()?, child("sleep 1000")?);
            let all = [
                one.subscribe_exit(),
                one.subscribe_logs(),
                other.subscribe_exit(),
                other.subscribe_logs(),
            ];
            done(poll(&all.iter().collect::<Vec<_>>()))
        }
        "block" => done(child("sleep 1000")?.subscribe_exit().block()),
        "recv" => done(subscription()?.recv(ms)),
        "block-readiness" => done(subscription()?.subscribe_readiness().block()),
        other => Err(format!("there is no {other} here")),
    }
}

fn request(script: &str, keep_stdin_open: bool) -> process::SpawnRequest {
    process::SpawnRequest {
        cmd: "sh".into(),
        args: vec!["-c".into(), script.into()],
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        file_injections: Vec::new(),
        label: None,
        keep_stdin_open: Some(keep_stdin_open),
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

fn done<T, E: std::fmt::Debug>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(text)
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
