//! A host in a file, over `std::process`, and the program that judges it: what an implementer begins with.
//!
//! ```sh
//! cargo run --release -p capsule-conformance --features command-line --example toy_host -- --report toy.html
//! ```
//!
//! It confines nothing, has no quotas, and knows a few functions of the interface. A case that calls another one ends with a trap that
//! names it. So most cases fail, and the report says of each what is missing.

#![expect(
    clippy::disallowed_methods,
    reason = "a host of its own, which starts processes and serves an interface"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use capsule_conformance::{Answer, CallFailure, Description, Host, Load, Refusal, Running, Start};
use rustix::process::{Pid, Signal, kill_process_group};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, StoreContextMut};

use self::bindings::Capsule;
use self::bindings::astrid::guest::lifecycle::CapsuleResult;
use self::bindings::astrid::process1_1_0::host::*;
use self::bindings::astrid::sys::host::ErrorCode as SysError;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        inline: "
            package toy:host;
            world capsule {
                import astrid:process/host@1.1.0;
                import astrid:sys/host@1.0.0;
                include astrid:guest/interceptor@1.0.0;
            }
        ",
    });
}

fn main() -> ExitCode {
    capsule_conformance::main(|| Ok::<_, String>(Toy(Engine::default())))
}

struct Toy(Engine);

impl Host for Toy {
    type Running = RunningToy;

    fn describe(&self) -> Description {
        Description {
            name: "toy".into(),
            version: "0".into(),
            confinement: Vec::new(),
            concurrent_calls: true,
            persistent_unconfined: true,
            notes: vec!["An example: it has a few functions of the interface, and no quotas.".into()],
        }
    }

    async fn start(&self, start: Start) -> Result<RunningToy, Refusal> {
        let needs = format!("{:?}", start.needs);
        if needs.contains("Some") {
            return Err(Refusal::NotOffered("no limit can be set".into()));
        }
        Ok(RunningToy {
            engine: self.0.clone(),
            workspace: start.workspace,
            capsules: Mutex::default(),
            processes: Arc::default(),
        })
    }
}

struct RunningToy {
    engine: Engine,
    workspace: PathBuf,
    capsules: Mutex<HashMap<String, (Component, Load)>>,
    processes: Arc<Mutex<Vec<Arc<Process>>>>,
}

impl Running for RunningToy {
    async fn load(&self, load: Load) -> Result<(), Refusal> {
        let component =
            Component::new(&self.engine, load.component).map_err(|error| Refusal::Failed(error.to_string()))?;
        locked(&self.capsules).insert(load.capsule.clone(), (component, load));
        Ok(())
    }

    async fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        let Some((component, load)) = locked(&self.capsules).get(capsule).cloned() else {
            return Err(CallFailure::Cancelled);
        };
        let caller = Caller {
            owner: (capsule.to_owned(), principal.map(str::to_owned)),
            load,
            workspace: self.workspace.clone(),
            processes: Arc::clone(&self.processes),
        };
        let (engine, action) = (self.engine.clone(), action.to_owned());
        // This engine blocks the thread on which a guest runs.
        let called = tokio::task::spawn_blocking(move || call(&engine, &component, caller, &action, &payload));
        match called.await {
            Ok(Ok(result)) => Ok(Answer {
                action: result.action,
                data: result.data,
            }),
            Ok(Err(trap)) => Err(CallFailure::Trapped(format!("{:#}", trap.root_cause()))),
            Err(error) => Err(CallFailure::Host(error.to_string())),
        }
    }

    async fn reload(&self, _: &str) -> Result<(), Refusal> {
        Err(Refusal::NotOffered("a capsule cannot be reloaded".into()))
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        locked(&self.capsules).remove(capsule);
        locked(&self.processes).retain(|process| process.owner.0 != capsule || process.kill());
        Ok(())
    }

    async fn shutdown(&self) {
        locked(&self.processes).retain(|process| process.kill());
    }
}

/// Calls a fresh instance.
fn call(
    engine: &Engine,
    component: &Component,
    caller: Caller,
    action: &str,
    payload: &[u8],
) -> wasmtime::Result<CapsuleResult> {
    let mut linker = Linker::new(engine);
    provide(&mut linker)?;
    linker.define_unknown_imports_as_traps(component)?;
    let mut store = Store::new(engine, caller);
    Capsule::instantiate(&mut store, component, &linker)?.call_astrid_hook_trigger(&mut store, action, payload)
}

/// On whose behalf an instance runs.
struct Caller {
    owner: Owner,
    load: Load,
    workspace: PathBuf,
    processes: Arc<Mutex<Vec<Arc<Process>>>>,
}

/// A capsule and a principal.
type Owner = (String, Option<String>);

/// The functions of the host. A missing one is a trap in the linker.
fn provide(linker: &mut Linker<Caller>) -> wasmtime::Result<()> {
    let mut sys = linker.instance("astrid:sys/host@1.0.0")?;
    let started = Instant::now();
    sys.func_wrap("clock-monotonic-ns", move |_, ()| {
        Ok((u64::try_from(started.elapsed().as_nanos())?,))
    })?;
    sys.func_wrap("sleep-ns", |_, (ns,): (u64,)| {
        thread::park_timeout(Duration::from_nanos(ns));
        Ok((Ok::<_, SysError>(()),))
    })?;

    let mut host = linker.instance("astrid:process/host@1.1.0")?;
    host.func_wrap("spawn", |caller: Called<'_>, (request,): (SpawnRequest,)| {
        let done = caller.data().start(&request, false).map(|process| {
            let exit = process.wait(None);
            let [stdout, stderr] = process.output.each_ref().map(|output| text(&locked(output)));
            exit.map(|exit| ProcessResult { stdout, stderr, exit })
        });
        Ok((done.and_then(|exit| exit),))
    })?;
    host.func_wrap("spawn-persistent", |caller: Called<'_>, (request,): (SpawnRequest,)| {
        Ok((caller.data().start(&request, true).map(|process| process.id.clone()),))
    })?;
    host.func_wrap("wait", |caller: Called<'_>, (id, ms): (String, u64)| {
        let found = caller.data().find(&id);
        Ok((found.and_then(|process| process.wait(Some(Duration::from_millis(ms)))),))
    })?;
    host.func_wrap(
        "read-since",
        |caller: Called<'_>, (id, stream, cursor, most): (String, LogStream, LogCursor, u32)| {
            Ok((caller
                .data()
                .find(&id)
                .and_then(|process| process.read(stream, &cursor, most)),))
        },
    )?;
    host.func_wrap("stop", |caller: Called<'_>, (id, _): (String, Option<u64>)| {
        let exit = caller.data().find(&id).and_then(|process| {
            process.kill();
            process.wait(None)
        });
        locked(&caller.data().processes).retain(|process| process.id != id);
        Ok((exit,))
    })
}

type Called<'a> = StoreContextMut<'a, Caller>;

impl Caller {
    fn start(&self, request: &SpawnRequest, is_persistent: bool) -> Result<Arc<Process>, ErrorCode> {
        if !self.load.grants.commands.contains(&request.cmd) || (is_persistent && !self.load.grants.persistent) {
            return Err(ErrorCode::CapabilityDenied);
        }
        let mut child = Command::new(&request.cmd)
            .args(&request.args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(request.env.iter().map(|var| (&var.key, &var.value)))
            .current_dir(self.workspace.join(request.cwd.as_deref().unwrap_or_default()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| ErrorCode::Unknown(error.to_string()))?;
        let process = Arc::new(Process {
            id: format!("p{}", child.id()),
            owner: self.owner.clone(),
            pid: child.id(),
            output: Default::default(),
            exit: Mutex::default(),
            exited: Condvar::new(),
        });
        // It is closed then. A command that does not read it makes this wait.
        let written = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(request.stdin.as_deref().unwrap_or_default()));
        drop(written);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let of_thread = Arc::clone(&process);
        thread::spawn(move || {
            let collect = |from: Option<Box<dyn Read + Send>>, to: &Mutex<Vec<u8>>| {
                let (mut from, mut block) = (from.into_iter().next()?, [0; 8192]);
                while let Ok(count @ 1..) = from.read(&mut block) {
                    locked(to).extend_from_slice(block.get(..count)?);
                }
                Some(())
            };
            thread::scope(|scope| {
                scope.spawn(|| collect(stderr.map(|from| Box::new(from) as _), &of_thread.output[1]));
                collect(stdout.map(|from| Box::new(from) as _), &of_thread.output[0]);
            });
            *locked(&of_thread.exit) = child.wait().ok().map(|status| ExitInfo {
                exit_code: status.code(),
                signal: status.signal(),
            });
            of_thread.exited.notify_all();
        });
        if is_persistent {
            locked(&self.processes).push(Arc::clone(&process));
        }
        Ok(process)
    }

    fn find(&self, id: &str) -> Result<Arc<Process>, ErrorCode> {
        let processes = locked(&self.processes);
        let found = processes
            .iter()
            .find(|process| process.id == id && process.owner == self.owner);
        found.cloned().ok_or(ErrorCode::NoSuchProcess)
    }
}

struct Process {
    id: String,
    owner: Owner,
    pid: u32,
    output: [Mutex<Vec<u8>>; 2],
    /// Set when both streams are at their end and the command has exited.
    exit: Mutex<Option<ExitInfo>>,
    exited: Condvar,
}

impl Process {
    fn wait(&self, most: Option<Duration>) -> Result<ExitInfo, ErrorCode> {
        let is_running = |exit: &mut Option<ExitInfo>| exit.is_none();
        let most = most.unwrap_or(Duration::MAX);
        let waited = self.exited.wait_timeout_while(locked(&self.exit), most, is_running);
        let (exit, _) = waited.unwrap_or_else(PoisonError::into_inner);
        exit.ok_or(ErrorCode::WaitTimeout)
    }

    fn read(&self, stream: LogStream, cursor: &LogCursor, most: u32) -> Result<LogChunk, ErrorCode> {
        let has_ended = locked(&self.exit).is_some();
        let output = match stream {
            LogStream::Stdout => locked(&self.output[0]),
            LogStream::Stderr => locked(&self.output[1]),
        };
        let at: usize = cursor
            .token
            .as_deref()
            .unwrap_or("0")
            .parse()
            .map_err(|_| ErrorCode::InvalidInput)?;
        let rest = output.get(at..).ok_or(ErrorCode::InvalidInput)?;
        let data = rest.get(..most as usize).unwrap_or(rest).to_vec();
        let next = at + data.len();
        Ok(LogChunk {
            drained_eof: has_ended && next == output.len(),
            next: LogCursor {
                token: Some(next.to_string()),
            },
            bytes_dropped: 0,
            data,
        })
    }

    /// Kills the command and what it started in its group. It is not to be kept.
    fn kill(&self) -> bool {
        if locked(&self.exit).is_none()
            && let Some(group) = Pid::from_raw(self.pid.cast_signed())
        {
            // It may have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        false
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
