//! Many concurrent callers, and dropped calls: every answer is one that the contract allows, and nothing is left.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use capsule_host::sandbox::{Launch, LaunchError, Launched, Launcher, Unconfined};
use capsule_host::supervisor::{Error, LogStream, Overflow, Scope, Signal, SpawnRequest};

use crate::tail::numbers;
use capsule_tests::{
    AllowAll, Host, breathe, chunk, code, command, exit, follow, forever, printed_pid, runs, sh, until, watchdog,
};

/// A small generator, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Polls a call a few times and then drops it.
async fn polled<F: Future>(times: u64, future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

fn some_child(dice: &mut Dice) -> SpawnRequest {
    let request = match dice.roll(6) {
        0 => command("/bin/cat", &[]),
        1 => sh("trap '' TERM; while :; do sleep 0.1; done"),
        2 => sh("yes & sleep 0.02; exit 3"),
        3 => command("/usr/bin/head", &["-c", "70000", "/dev/zero"]),
        4 => sh("sleep 0.01; read -r x; echo $x >&2; exit 4"),
        _ => forever(),
    };
    let time = |dice: &mut Dice| (dice.roll(8) == 0).then(|| Duration::from_millis(1 + dice.roll(50)));
    SpawnRequest {
        keep_stdin_open: dice.roll(2) == 0,
        stdin: (dice.roll(3) == 0).then(|| vec![b'x'; usize::try_from(dice.roll(300_000)).expect("small")]),
        overflow: if dice.roll(2) == 0 {
            Overflow::DropOldest
        } else {
            Overflow::Backpressure
        },
        log_ring_bytes: Some(4096),
        max_lifetime: time(dice),
        idle_timeout: time(dice),
        exit_retention: time(dice),
        ..request
    }
}

/// One call of some kind on some process. The caller may drop it before its end.
async fn one_call(scope: &Scope, id: &str, dice: &mut Dice) {
    let patience = dice.roll(20);
    let stream = if dice.roll(2) == 0 {
        LogStream::Stdout
    } else {
        LogStream::Stderr
    };
    let grace = Some(Duration::from_millis(dice.roll(20)));
    let error = match dice.roll(10) {
        0 => scope.status(id).map(drop).err(),
        1 => scope.read_logs(id).map(drop).err(),
        2 => scope.read_since(id, stream, None, 100).map(drop).err(),
        3 => {
            // Follows for two steps, so that some output is acknowledged.
            match scope.read_since(id, stream, None, u32::MAX) {
                Ok(chunk) => scope
                    .read_since(id, stream, Some(&chunk.next), u32::MAX)
                    .map(drop)
                    .err(),
                Err(error) => Some(error),
            }
        }
        4 => {
            let size = usize::try_from(dice.roll(200_000)).expect("small");
            let write = polled(patience, scope.write_stdin(id, vec![b'y'; size])).await;
            let error = write.and_then(Result::err);
            if error == Some(Error::Closed) { None } else { error }
        }
        5 => scope.close_stdin(id).err(),
        6 => {
            let signal = match dice.roll(5) {
                0 => Signal::Hup,
                1 => Signal::Stop,
                2 => Signal::Cont,
                3 => Signal::Usr1,
                _ => Signal::Int,
            };
            polled(patience, scope.signal(id, signal)).await.and_then(Result::err)
        }
        7 => {
            let time = Duration::from_millis(dice.roll(10));
            let waited = polled(patience, scope.wait(id, time)).await;
            let error = waited.and_then(Result::err);
            if error == Some(Error::WaitTimeout) { None } else { error }
        }
        8 => polled(patience, scope.stop(id, grace)).await.and_then(Result::err),
        _ => match polled(patience, scope.release(id)).await.and_then(Result::err) {
            Some(Error::InvalidInput(_)) => None,
            error => error,
        },
    };
    assert!(matches!(error, None | Some(Error::NoSuchProcess)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_k2_s5_any_calls_in_any_order_get_answers_of_the_contract() {
    for seed in 1..=3 {
        let host = Arc::new(Host::with(|limits| {
            limits.grace_default = Duration::from_millis(20);
            limits.grace_shutdown = Duration::from_millis(20);
            limits.drain_time = Duration::from_millis(20);
        }));
        let ids = Arc::new(Mutex::new(Vec::<String>::new()));
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let (host, ids) = (Arc::clone(&host), Arc::clone(&ids));
                tokio::spawn(async move {
                    let mut dice = Dice(0x1234_5678_9abc + seed * 1000 + caller);
                    let scope = host.scope();
                    for _ in 0..400 {
                        if dice.roll(4) == 0 {
                            let request = some_child(&mut dice);
                            let mut gate = AllowAll;
                            let times = 1000 * dice.roll(2) + dice.roll(10);
                            let spawn = scope.spawn_persistent(request, &host.workspace, &mut gate);
                            match polled(times, spawn).await {
                                Some(Ok(id)) => ids.lock().expect("no panic").push(id.expose().to_owned()),
                                None | Some(Err(Error::Quota | Error::RegistryFull)) => breathe().await,
                                Some(Err(error)) => panic!("{error:?}"),
                            }
                        }
                        let id = {
                            let mut ids = ids.lock().expect("no panic");
                            if ids.len() > 20 {
                                ids.remove(0);
                            }
                            let len = u64::try_from(ids.len()).expect("small");
                            let pick = usize::try_from(dice.roll(len.max(1))).expect("small");
                            ids.get(pick).cloned()
                        };
                        if let Some(id) = id {
                            watchdog(one_call(&scope, &id, &mut dice)).await;
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            watchdog(caller).await.expect("answers of the contract only");
        }
        // Whatever the calls did, every process can be ended, and then every slot is free.
        let scope = host.scope();
        for info in scope.list(None) {
            let result = watchdog(scope.stop(info.id.expose(), Some(Duration::ZERO))).await;
            assert!(matches!(result, Ok(_) | Err(Error::NoSuchProcess)), "{result:?}");
        }
        until("all is released", || host.registry.retained() == 0).await;
        until("no task is left", || host.registry.tasks() == 0).await;
        for _ in 0..8 {
            host.start(forever()).await;
        }
        watchdog(host.registry.shutdown()).await;
    }
}

/// A spawn that is dropped at any point either did not happen or is in the list. It keeps no quota unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_a_spawn_dropped_anywhere_keeps_nothing_in_secret() {
    let host = Host::new();
    let scope = host.scope();
    for round in 0..200 {
        let mut gate = AllowAll;
        let spawn = scope.spawn_persistent(forever(), &host.workspace, &mut gate);
        drop(polled(round % 20, spawn).await);
        let mut gate = AllowAll;
        let request = sh("echo x; exec sleep 1000");
        drop(polled(round % 30, scope.spawn(request, &host.workspace, &mut gate)).await);
        if round % 4 == 3 {
            // At the end the quotas hold only what the list shows.
            watchdog(async {
                loop {
                    for info in scope.list(None) {
                        let stopped = scope.stop(info.id.expose(), Some(Duration::ZERO)).await;
                        assert!(matches!(stopped, Ok(_) | Err(Error::NoSuchProcess)));
                    }
                    if host.registry.tasks() == 0 && host.registry.retained() == 0 {
                        break;
                    }
                    breathe().await;
                }
            })
            .await;
        }
    }
    let mut started = 0;
    watchdog(async {
        while started < 8 {
            match host.try_start(forever()).await {
                Ok(_) => started += 1,
                Err(error) => {
                    assert_eq!(error, Error::Quota);
                    breathe().await;
                }
            }
        }
    })
    .await;
    assert_eq!(host.try_start(forever()).await.map(drop), Err(Error::Quota));
}

/// One drain and two cursors at once. The counts of each chain are right, whichever reader got which bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_l6_a_drain_and_cursors_side_by_side_add_up() {
    const LINES: usize = 100_000;
    for overflow in [Overflow::DropOldest, Overflow::Backpressure] {
        let host = Host::new();
        let scope = host.scope();
        let id = host
            .start(SpawnRequest {
                overflow,
                log_ring_bytes: Some(8192),
                keep_stdin_open: true,
                ..sh(&format!("read -r x; exec seq -f %07g 0 {}", LINES - 1))
            })
            .await;
        let origin = chunk(&scope, &id, LogStream::Stdout, None, 0).next;
        let follower = |max: u32| {
            let (scope, id) = (scope.clone(), id.clone());
            let mut cursor = origin.clone();
            tokio::spawn(async move {
                let expected = numbers(0, LINES);
                let mut delivered = 0;
                loop {
                    let chunk = chunk(&scope, &id, LogStream::Stdout, Some(&cursor), max);
                    delivered += chunk.data.len();
                    let place = delivered + usize::try_from(chunk.bytes_dropped).expect("small");
                    assert!(expected[..place].ends_with(&chunk.data), "at {place}");
                    if chunk.drained_eof {
                        assert_eq!(place, expected.len());
                        break;
                    }
                    cursor = chunk.next;
                    tokio::task::yield_now().await;
                }
            })
        };
        let followers = [follower(u32::MAX), follower(1000)];
        scope.write_stdin(&id, b"\n".to_vec()).await.expect("it reads");
        let mut drained = 0;
        watchdog(async {
            loop {
                let logs = scope.read_logs(&id).expect("there");
                drained += logs.stdout.len();
                if !logs.running && logs.stdout.is_empty() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        for follower in followers {
            watchdog(follower).await.expect("it adds up");
        }
        assert_eq!(exit(&scope, &id).await, code(0));
        let info = scope.status(&id).expect("there");
        assert_eq!(info.buffered_bytes, 0);
        if overflow == Overflow::Backpressure {
            assert_eq!(info.bytes_dropped, 0);
        } else {
            let dropped = usize::try_from(info.bytes_dropped).expect("small");
            assert_eq!(drained + dropped, LINES * 8);
        }
    }
}

/// The real launcher, with a counter that can delay it.
#[derive(Debug)]
struct Watched {
    launcher: Unconfined,
    launches: AtomicUsize,
    after_the_shutdown: AtomicUsize,
    down: AtomicBool,
    hold: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Watched {
    fn new(hold: Option<mpsc::Receiver<()>>) -> Arc<Self> {
        Arc::new(Self {
            launcher: Unconfined::new().allow_persistent(),
            launches: AtomicUsize::new(0),
            after_the_shutdown: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            hold: Mutex::new(hold),
        })
    }
}

impl Launcher for Watched {
    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        self.launches.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            self.after_the_shutdown.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(hold) = &*self.hold.lock().expect("no panic") {
            hold.recv().expect_err("the test lets go by dropping its end");
        }
        self.launcher.launch(launch)
    }

    fn prepare(&self) {
        self.launcher.prepare();
    }

    fn supports_persistent(&self) -> bool {
        self.launcher.supports_persistent()
    }
}

/// A command that first makes a file with its pid as the name.
fn leaves_its_pid() -> SpawnRequest {
    sh(": >pid.$$; exec sleep 1000")
}

fn assert_none_runs(host: &Host, what: &str) {
    for entry in std::fs::read_dir(host.dir()).expect("the workspace") {
        let name = entry.expect("a file").file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("pid.")?.parse().ok());
        assert!(!runs(pid.expect("a pid")), "{what}");
    }
}

/// A shutdown meets spawns in every stage. After it has returned nothing runs and nothing starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_shutdown_that_races_with_spawns_leaves_nothing() {
    for round in 0..60 {
        let launcher = Watched::new(None);
        let host = Arc::new(Host::launching(launcher.clone()));
        let spawns: Vec<_> = (0..30)
            .map(|number| {
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    if number % 2 == 0 {
                        host.try_start(leaves_its_pid()).await.map(drop)
                    } else {
                        host.run(leaves_its_pid()).await.map(drop)
                    }
                })
            })
            .collect();
        // At most as many as the quota allows.
        let wanted = round % 9;
        until("some have begun", || launcher.launches.load(Ordering::SeqCst) >= wanted).await;
        watchdog(host.registry.shutdown()).await;
        launcher.down.store(true, Ordering::SeqCst);
        assert_none_runs(&host, &format!("round {round}: gone when the shutdown returns"));
        for spawn in spawns {
            match watchdog(spawn).await.expect("no panic") {
                Ok(()) | Err(Error::Cancelled | Error::Quota) => (),
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(launcher.after_the_shutdown.load(Ordering::SeqCst), 0, "round {round}");
        assert_none_runs(&host, &format!("round {round}: none came late"));
        // A refused spawn may have held permits until a moment ago.
        until("no task is left", || host.registry.tasks() == 0).await;
        assert_eq!(host.registry.retained(), 0, "round {round}");
    }
}

/// A launch that has begun cannot be cancelled, so the shutdown waits for it and ends its process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_shutdown_waits_for_a_launch_under_way() {
    for (persistent, caller_stays) in [(true, true), (true, false), (false, true), (false, false)] {
        let what = format!("persistent: {persistent}, caller stays: {caller_stays}");
        let (let_go, hold) = mpsc::channel();
        let launcher = Watched::new(Some(hold));
        let host = Arc::new(Host::launching(launcher.clone()));
        let spawn = tokio::spawn({
            let host = Arc::clone(&host);
            async move {
                if persistent {
                    host.try_start(leaves_its_pid()).await.map(drop)
                } else {
                    host.run(leaves_its_pid()).await.map(drop)
                }
            }
        });
        until("the launch has begun", || launcher.launches.load(Ordering::SeqCst) == 1).await;
        let staying = if caller_stays {
            Some(spawn)
        } else {
            spawn.abort();
            assert!(watchdog(spawn).await.expect_err("it cannot be done").is_cancelled());
            None
        };
        let shutdown = tokio::spawn({
            let host = Arc::clone(&host);
            async move { host.registry.shutdown().await }
        });
        for _ in 0..20 {
            breathe().await;
            assert!(!shutdown.is_finished(), "{what}: something may still begin");
        }
        drop(let_go);
        watchdog(shutdown).await.expect("no panic");
        assert_none_runs(&host, &what);
        assert_eq!((host.registry.tasks(), host.registry.retained()), (0, 0), "{what}");
        if let Some(spawn) = staying {
            let result = watchdog(spawn).await.expect("no panic");
            assert!(matches!(result, Ok(()) | Err(Error::Cancelled)), "{what}: {result:?}");
        }
    }
}

/// A call that is dropped during the launch of a captured command leaves nothing running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_s5_a_spawn_dropped_during_the_launch_ends_what_comes_of_it() {
    let (let_go, hold) = mpsc::channel();
    let launcher = Watched::new(Some(hold));
    let host = Arc::new(Host::launching(launcher.clone()));
    let spawn = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.run(leaves_its_pid()).await.map(drop) }
    });
    until("the launch has begun", || launcher.launches.load(Ordering::SeqCst) == 1).await;
    spawn.abort();
    assert!(watchdog(spawn).await.expect_err("it cannot be done").is_cancelled());
    drop(let_go);
    until("no task is left", || host.registry.tasks() == 0).await;
    assert_none_runs(&host, "its caller is gone");
    assert_eq!(host.registry.retained(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_after_a_shutdown_every_id_is_unknown() {
    let host = Host::new();
    let scope = host.scope();
    let exited = host.start(command("/bin/true", &[])).await;
    exit(&scope, &exited).await;
    let live = host.start(forever()).await;
    watchdog(host.registry.shutdown()).await;
    for id in [exited, live] {
        assert_eq!(scope.status(&id).map(drop), Err(Error::NoSuchProcess));
        assert_eq!(
            watchdog(scope.wait(&id, Duration::ZERO)).await,
            Err(Error::NoSuchProcess)
        );
        assert_eq!(watchdog(scope.stop(&id, None)).await, Err(Error::NoSuchProcess));
        assert_eq!(watchdog(scope.release(&id)).await, Ok(()));
        assert_eq!(scope.read_logs(&id), Err(Error::NoSuchProcess));
    }
    assert!(scope.list(None).is_empty());
}

/// Processes belong to the registry's runtime. Callers may be on any other runtime, even one without a clock.
#[test]
fn i4_callers_need_no_runtime_with_drivers_and_processes_outlive_theirs() {
    let home = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let host = home.block_on(async { Host::new() });
    let scope = host.scope();
    let bare = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers")
    };
    let id = bare().block_on(async {
        let mut gate = AllowAll;
        let request = SpawnRequest {
            keep_stdin_open: true,
            ..command("/bin/cat", &[])
        };
        let id = scope.spawn_persistent(request, &host.workspace, &mut gate).await;
        let id = id.expect("a process").expose().to_owned();
        assert_eq!(
            scope.wait(&id, Duration::from_millis(20)).await,
            Err(Error::WaitTimeout)
        );
        id
    });
    bare().block_on(async {
        assert_eq!(scope.write_stdin(&id, b"hello".to_vec()).await, Ok(5));
        scope.signal(&id, Signal::Cont).await.expect("it is there");
        scope.close_stdin(&id).expect("it is there");
        assert_eq!(scope.wait(&id, Duration::from_secs(60)).await, Ok(code(0)));
        assert_eq!(scope.read_logs(&id).expect("there").stdout, "hello");
        assert_eq!(scope.release(&id).await, Ok(()));
        let mut gate = AllowAll;
        let output = scope
            .spawn(command("/bin/echo", &["x"]), &host.workspace, &mut gate)
            .await;
        assert_eq!(output.expect("it runs").stdout, b"x\n");
        let mut gate = AllowAll;
        let id = scope.spawn_persistent(forever(), &host.workspace, &mut gate).await;
        let id = id.expect("a process");
        scope.stop(id.expose(), None).await.expect("it runs");
        host.registry.shutdown().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The processes' runtime ends while callers on another runtime wait. All of them get an answer.
#[test]
fn b3_calls_in_flight_when_the_runtime_goes_down_end() {
    let (home, abroad) = (runtime(), runtime());
    let host = Arc::new(home.block_on(async { Host::new() }));
    let request = || SpawnRequest {
        keep_stdin_open: true,
        ..sh("trap '' TERM; echo $$; while :; do sleep 1; done")
    };
    let (ids, pids) = home.block_on(async {
        let mut ids = Vec::new();
        let mut pids = Vec::new();
        for _ in 0..3 {
            let id = host.start(request()).await;
            pids.push(printed_pid(&host.scope(), &id).await);
            ids.push(id);
        }
        (ids, pids)
    });
    let call = |number: usize| {
        let (scope, id) = (host.scope(), ids[number].clone());
        (scope, id)
    };
    let (scope, id) = call(0);
    let wait = abroad.spawn(async move { scope.wait(&id, Duration::from_secs(100)).await.map(drop) });
    let (scope, id) = call(1);
    let write = abroad.spawn(async move { scope.write_stdin(&id, vec![0; 1 << 20]).await.map(drop) });
    let (scope, id) = call(2);
    let stop = abroad.spawn(async move { scope.stop(&id, Some(Duration::from_secs(20))).await.map(drop) });
    let spawning = Arc::clone(&host);
    let spawn = abroad.spawn(async move { spawning.run(request()).await.map(drop) });
    abroad.block_on(async {
        // Gives them time to make progress. The answers do not depend on how much.
        until("something is supervised", || host.registry.tasks() > 0).await;
        for _ in 0..20 {
            breathe().await;
        }
    });
    drop(home);
    abroad.block_on(async {
        for (what, call) in [("wait", wait), ("write", write), ("stop", stop), ("spawn", spawn)] {
            let result = watchdog(call).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let fits = matches!(
                result,
                Ok(()) | Err(Error::Cancelled | Error::Closed | Error::NoSuchProcess)
            );
            assert!(fits, "{what}: {result:?}");
        }
        for pid in pids {
            until("none runs", || !runs(pid)).await;
        }
        // Later calls get an answer too.
        let scope = host.scope();
        for id in &ids {
            let wait = watchdog(scope.wait(id, Duration::from_secs(100))).await;
            assert!(
                matches!(wait, Ok(_) | Err(Error::Cancelled | Error::NoSuchProcess)),
                "{wait:?}"
            );
            let stop = watchdog(scope.stop(id, None)).await;
            assert!(
                matches!(stop, Ok(_) | Err(Error::Cancelled | Error::NoSuchProcess)),
                "{stop:?}"
            );
            let write = watchdog(scope.write_stdin(id, b"x".to_vec())).await;
            assert!(
                matches!(write, Err(Error::Closed | Error::Cancelled | Error::NoSuchProcess)),
                "{write:?}"
            );
        }
        assert_eq!(host.run(request()).await, Err(Error::Cancelled));
        assert_eq!(host.try_start(request()).await.map(drop), Err(Error::Cancelled));
        watchdog(host.registry.shutdown()).await;
    });
}

/// This includes writes that wait behind another one, and a later write by a handle, which still exists when no id
/// does.
#[test]
fn b3_n3_every_write_to_stdin_ends_with_the_runtime() {
    let (home, abroad) = (runtime(), runtime());
    let host = home.block_on(async { Host::new() });
    let scope = host.scope();
    let request = SpawnRequest {
        keep_stdin_open: true,
        ..forever()
    };
    let spawned = home.block_on(scope.spawn_background(request, &host.workspace, &mut AllowAll));
    let handle = Arc::new(spawned.expect("it runs"));
    let write = || {
        let handle = Arc::clone(&handle);
        async move { handle.write_stdin(vec![0; 1 << 20]).await }
    };
    // More than a pipe holds, and nothing reads it: the first write is in progress, and the others wait for it.
    let writes: Vec<_> = (0..3).map(|_| Box::pin(write())).collect();
    let mut writes = abroad.block_on(async {
        let mut begun = Vec::new();
        for mut write in writes {
            assert_eq!(polled(0, &mut write).await, None);
            begun.push(write);
        }
        begun
    });
    drop(home);
    abroad.block_on(async {
        for write in &mut writes {
            assert_eq!(watchdog(write).await, Err(Error::Closed));
        }
        assert_eq!(watchdog(write()).await, Err(Error::Closed));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_shutdown_whose_caller_goes_away_goes_on() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(sh("echo $$; exec sleep 1000")).await;
    let pid = printed_pid(&scope, &id).await;
    polled(0, host.registry.shutdown()).await.unwrap_or_default();
    until("it is gone", || !runs(pid)).await;
    until("its id too", || scope.status(&id).is_err()).await;
    assert_eq!(host.try_start(forever()).await.map(drop), Err(Error::Cancelled));
    let both = async { tokio::join!(host.registry.shutdown(), host.registry.shutdown()) };
    watchdog(both).await;
    assert_eq!(host.registry.tasks(), 0);
}

/// One thread for everything is enough.
#[tokio::test(flavor = "current_thread")]
async fn x3_one_thread_serves_a_host() {
    let host = Host::new();
    let scope = host.scope();
    let request = SpawnRequest {
        stdin: Some(numbers(0, 100_000)),
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(4096),
        ..command("/bin/cat", &[])
    };
    let id = host.start(request.clone()).await;
    let (read, dropped) = follow(&scope, &id, LogStream::Stdout, u32::MAX).await;
    assert!(read == numbers(0, 100_000) && dropped == 0);
    assert!(host.run(request).await.expect("it runs").stdout == numbers(0, 100_000));
    let id = host.start(forever()).await;
    watchdog(scope.stop(&id, None)).await.expect("it runs");
    watchdog(host.registry.shutdown()).await;
    assert_eq!(host.registry.tasks(), 0);
}
