//! The monitor, and callers that send it requests while a process ends (contract K1, K2, K4, S5, X3, E2).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use tokio::runtime::Handle;

use super::{ChildEnd, begin, pipe};
use crate::events::{Carriers, Events, ProcessEvent};
use crate::generation::Generations;
use crate::life::lifecycle::{End, Retention};
use crate::life::options::ProcessOptions;
use crate::life::process::Process;
use crate::life::supervise::{LaunchedProcess, Tasks};
use crate::life::timers::Timers;
use crate::os::child::{Child, RawExit, Tree};
use crate::quota::{Budget, Reservation};
use crate::sandbox::{Launched, ResourceLimits};
use crate::sync::CancellationToken;
use crate::task::TaskTracker;
use crate::watch::Topics;
use crate::{Error, ExitInfo, Overflow, Owner, Principal, ProcessId, Signal};

const GRACE: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    process: Arc<Process>,
    tree: Arc<Tree>,
    slots: Arc<Budget>,
    /// The number of retention guards.
    retained: Arc<AtomicUsize>,
    heard: Arc<Heard>,
    tasks: Tasks,
    generations: Generations,
    /// Waits until the exit is visible, and checks that the slot is free by then.
    observer: JoinHandle<()>,
}

/// The topics of all events.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn publish(&self, event: ProcessEvent) {
        self.0.lock().expect("no panic").push(event.topic);
    }
}

impl Heard {
    fn exits(&self) -> usize {
        let heard = self.0.lock().expect("no panic");
        heard
            .iter()
            .filter(|topic| topic.starts_with("astrid.process.v1.exited."))
            .count()
    }
}

/// A guard that lasts as long as the id.
struct Retained(Arc<AtomicUsize>);

impl Drop for Retained {
    fn drop(&mut self) {
        assert_eq!(self.0.fetch_sub(1, Ordering::SeqCst), 1, "given up twice");
    }
}

fn scene(retention: Retention, deaf: bool) -> Scene {
    begin();
    let ((stdout, out), (stderr, err), (input, stdin)) = (pipe(), pipe(), pipe());
    let tree = Tree::new([out, err, input].map(ChildEnd::new).into(), deaf);
    let slots = Budget::new(1);
    let retained = Arc::new(AtomicUsize::new(1));
    let heard = Arc::new(Heard::default());
    let closing = CancellationToken::new();
    let generations = Generations::new(&closing);
    let tasks = Tasks {
        runtime: Handle,
        tracker: TaskTracker::new(),
        timers: Timers,
        closing,
        events: Arc::default(),
    };
    let carriers: &Carriers = &tasks.events;
    carriers.add(Arc::clone(&heard) as Arc<dyn Events>);
    let launched = Launched {
        child: Child::new(Arc::clone(&tree)),
        stdin: Some(stdin),
        stdout,
        stderr,
        network: None,
    };
    let options = ProcessOptions {
        ring: 64,
        overflow: Overflow::DropOldest,
        stdin: None,
        keep_stdin_open: true,
        abandoned_writes_max: 0,
        ends_when_full: false,
        limits: ResourceLimits::default(),
        lifetime: None,
        idle: None,
        retention,
        grace: GRACE,
        grace_shutdown: GRACE,
        drain_time: Duration::from_secs(1),
        owner: Owner {
            principal: Principal::Anonymous,
            capsule: "c".into(),
        },
    };
    let launched = LaunchedProcess {
        launched,
        reservation: Reservation {
            slot: slots.take(1).expect("free"),
            retained: Vec::new(),
        },
        member: generations.join(Arc::new(())),
        token: tasks.tracker.token(),
    };
    let (prepared, _) = launched.prepare(options, &tasks).expect("supervised");
    let process = prepared.start(Box::new(Retained(Arc::clone(&retained))), &tasks);
    let observer = spawn({
        let (process, slots) = (Arc::clone(&process), Arc::clone(&slots));
        async move {
            process.exited().await.expect("the monitor sees it through");
            assert_eq!(slots.used(), 0, "S5: a slot is free before the exit is visible");
        }
    });
    Scene {
        process,
        tree,
        slots,
        retained,
        heard,
        tasks,
        generations,
        observer,
    }
}

impl Scene {
    fn task<F>(&self, task: impl FnOnce(Arc<Process>) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        spawn(task(Arc::clone(&self.process)))
    }

    /// The process ends by itself, at any moment.
    fn exits(&self) -> JoinHandle<()> {
        let tree = Arc::clone(&self.tree);
        spawn(async move { tree.end(OWN_RAW) })
    }

    fn stops(&self) -> JoinHandle<Result<ExitInfo, Error>> {
        self.task(|process| async move {
            process.end(End::Stop, GRACE);
            process.gone().await
        })
    }

    /// Advances the time until the id is gone.
    fn clock(&self) -> JoinHandle<()> {
        self.task(|process| async move {
            while !process.is_gone() {
                tokio::time::advance(GRACE);
                yield_now().await;
            }
        })
    }

    /// Checks that nothing of the process is left.
    async fn see_gone(self) {
        self.observer.await.expect("no panic");
        assert!(self.process.is_gone() && self.process.exit().is_some());
        assert_eq!((self.slots.used(), self.retained.load(Ordering::SeqCst)), (0, 0));
        // No task is left either. At the end of a run a task would be dropped where it stands, perhaps while it holds a
        // lock.
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}

const OWN_RAW: RawExit = RawExit {
    code: Some(3),
    signal: None,
};
const OWN: ExitInfo = ExitInfo {
    exit_code: Some(3),
    signal: None,
};

fn by(signal: i32) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: Some(signal),
    }
}

/// Two stops, a signal, a release and the process's own end, in any order: each gets an answer, and the process is
/// gone.
pub fn k1_k2_k4_every_call_to_an_ending_process_is_answered() {
    let scene = scene(Retention::For(MINUTE), true);
    let stops = [scene.stops(), scene.stops()];
    let signal = scene.task(|process| async move { process.signal(Signal::Usr1).await });
    let release = scene.task(|process| async move { process.release().await });
    let own = scene.exits();
    let clock = scene.clock();
    block_on(async {
        for stop in stops {
            let exit = stop.await.expect("no panic").expect("it ended");
            assert!([OWN, by(9)].contains(&exit), "{exit:?}");
        }
        assert_eq!(signal.await.expect("no panic"), Ok(()));
        // It is refused for a live process and done for an exited one. In both cases there is an answer.
        let _: bool = release.await.expect("no panic");
        own.await.expect("no panic");
        clock.await.expect("no panic");
        scene.see_gone().await;
    });
}

/// The watch and the exit come at any moment. The exit is published once.
pub fn e2_an_exit_is_told_once_however_late_the_subscription() {
    let scene = scene(Retention::For(MINUTE), false);
    let heard = Arc::clone(&scene.heard);
    let subscription = || Some((ProcessId("id".into()), Topics::new("a").expect("a suffix")));
    let watches = [subscription(), subscription()]
        .map(|subscription| scene.task(|process| async move { process.watch(subscription) }));
    let own = scene.exits();
    block_on(async {
        own.await.expect("no panic");
        for watch in watches {
            watch.await.expect("no panic");
        }
        let exit = scene.process.exited().await.expect("it ended").0;
        assert_eq!(exit, OWN);
        assert_eq!(scene.stops().await.expect("no panic"), Ok(OWN));
        scene.see_gone().await;
    });
    assert_eq!(heard.exits(), 1);
}

/// A caller that waited when the process ended sees the exit, although the retention is zero.
pub fn x4_t3_who_waited_sees_an_exit_that_is_not_kept() {
    let scene = scene(Retention::For(Duration::ZERO), false);
    let waits = [None, Some(MINUTE)].map(|time| {
        let retained = Arc::clone(&scene.retained);
        scene.task(|process| async move {
            let exit = process.wait(time, &Handle).await;
            assert_eq!(
                retained.load(Ordering::SeqCst),
                0,
                "T3: its id goes before its exit is visible"
            );
            exit
        })
    });
    let own = scene.exits();
    block_on(async {
        own.await.expect("no panic");
        for wait in waits {
            assert_eq!(wait.await.expect("no panic"), Ok(OWN));
        }
        assert_eq!(scene.process.gone().await, Ok(OWN));
        scene.see_gone().await;
    });
}

/// Writers to a process that ends get an answer, and a wait for the end of its output returns.
pub fn n3_a2_an_end_ends_everything_that_waits() {
    let scene = scene(Retention::Held, false);
    let writers =
        [1, 2].map(|byte| scene.task(move |process| async move { process.write_stdin(vec![byte; 5000], 5000).await }));
    let output = scene.task(|process| async move {
        let exit = process.wait(None, &Handle).await;
        (exit, process.drain_to_end().await)
    });
    let own = scene.exits();
    block_on(async {
        for writer in writers {
            assert_eq!(writer.await.expect("no panic"), Err(Error::Closed), "nothing reads");
        }
        let (exit, output) = output.await.expect("no panic");
        assert_eq!((exit, output), (Ok(OWN), (Vec::new(), Vec::new())));
        own.await.expect("no panic");
        scene.process.end(End::Abandoned, Duration::ZERO);
        assert_eq!(scene.process.gone().await, Ok(OWN));
        scene.see_gone().await;
    });
}

/// The host shuts down while a process that ignores TERM is stopped or ends by itself. The process is gone within the
/// grace.
pub fn b3_k2_a_shutdown_ends_what_is_deaf() {
    let scene = scene(Retention::For(MINUTE), true);
    let closing = scene.tasks.closing.clone();
    let shutdown = spawn(async move { closing.cancel() });
    let stop = scene.stops();
    let clock = scene.clock();
    block_on(async {
        shutdown.await.expect("no panic");
        assert_eq!(stop.await.expect("no panic"), Ok(by(9)));
        clock.await.expect("no panic");
        scene.see_gone().await;
    });
}

/// A capsule is unloaded while its process, which ignores TERM, is stopped or ends by itself. When the unload is done,
/// nothing of the process is left, and the unload ends no process that is started later.
pub fn s9_b3_an_unloaded_capsule_leaves_nothing() {
    let scene = scene(Retention::For(MINUTE), true);
    let end = spawn(scene.generations.end(&scene.tasks.closing));
    let later = scene.generations.join(Arc::new(()));
    let stop = scene.stops();
    let own = scene.exits();
    let clock = scene.clock();
    block_on(async {
        end.await.expect("no panic");
        assert!(scene.process.is_gone());
        assert_eq!((scene.slots.used(), scene.retained.load(Ordering::SeqCst)), (0, 0));
        assert!(!later.closing.is_cancelled());
        own.await.expect("no panic");
        stop.await.expect("no panic").expect("it ended");
        clock.await.expect("no panic");
        scene.see_gone().await;
    });
}
