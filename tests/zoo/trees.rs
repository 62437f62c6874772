//! Processes that multiply, hide, or do not end.

use std::fs::File;
use std::io::Read;

use crate::say;
use crate::sys::{self, int, just};

/// The last argument of each is a marker by which the tests find the processes. The programs ignore it.
pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match behaviour {
        // Only exists, and ignores every signal.
        "stay" => {
            sys::deaf();
            say("up");
            sys::pause()
        }
        // Blocks every process that opens a file, and prints when one does.
        "lease" => {
            let file = args.first().and_then(|path| File::open(path).ok()).expect("a file");
            let leased = sys::lease(&file);
            say(&format!("leased {leased:?}"));
            sys::wanted();
            say("wanted");
            sys::pause()
        }
        // The command and a daemon. Neither ends by itself.
        "deaf-tree" => {
            daemon(|| {
                sys::deaf();
                say("daemon");
                sys::pause()
            });
            sys::deaf();
            up();
            sys::pause()
        }
        // The command ends, and a daemon that ignores signals stays.
        "leave-daemon" => {
            let up = Up::new();
            daemon(move || {
                sys::deaf();
                up.now();
                sys::pause()
            });
            sys::exit(0)
        }
        "crippled-init" => crippled_init(args),
        // Like a host that a service manager or a container engine has put under a filter.
        "without-clone3" => {
            sys::hide(libc::SYS_clone3).expect("a filter");
            let (program, args) = args.split_first().expect("a program");
            #[expect(clippy::disallowed_methods, reason = "nothing here is confined yet")]
            let mut program = std::process::Command::new(program);
            panic!("{}", std::os::unix::process::CommandExt::exec(program.args(args)))
        }
        "bomb" => bomb(),
        "siblings" => siblings(),
        // Exits with a code, and leaves a storm behind.
        "leave-storm" => {
            let up = Up::new();
            daemon(move || {
                up.now();
                siblings()
            });
            sys::exit(3)
        }
        "comets" => comets(),
        "forks" => count("forks", || match sys::fork() {
            Ok(None) => sys::pause(),
            Ok(Some(_)) => Ok(()),
            Err(errno) => Err(errno),
        }),
        "threads" => count("threads", || {
            let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(|| sys::pause());
            thread
                .map(drop)
                .map_err(|error| error.raw_os_error().unwrap_or_default())
        }),
        "hear" => hear(),
        "stopped" => {
            say("up");
            just(
                libc::SYS_kill,
                &[int(std::process::id().cast_signed()), int(libc::SIGSTOP)],
            );
            sys::pause()
        }
        _ => false,
    }
}

/// A daemon that forks twice and has a session of its own. Returns when the process between is gone.
pub(crate) fn daemon(run: impl FnOnce()) {
    match sys::fork() {
        Ok(None) => {
            just(libc::SYS_setsid, &[]);
            if let Ok(None) = sys::fork() {
                run();
            }
            sys::exit(0)
        }
        Ok(Some(pid)) => {
            sys::wait(pid);
        }
        Err(errno) => say(&format!("no fork: {errno}")),
    }
}

/// A pipe by which a daemon tells its grandparent that it runs.
struct Up {
    told: File,
    tell: File,
}

impl Up {
    fn new() -> Self {
        let (told, tell) = std::io::pipe().expect("a pipe");
        Self {
            told: std::os::fd::OwnedFd::from(told).into(),
            tell: std::os::fd::OwnedFd::from(tell).into(),
        }
    }

    fn now(self) {
        drop((self.told, self.tell));
    }
}

/// Uses up init's descriptors and most of the processor, and stays.
fn crippled_init(args: &[&str]) -> ! {
    daemon(|| {
        sys::deaf();
        sys::pause()
    });
    sys::deaf();
    let done: Vec<String> = args
        .iter()
        .filter(|arg| arg.contains('='))
        .map(|spec| crate::attempts::line(spec))
        .collect();
    // An orphan for init to reap. It interrupts every wait of init's.
    daemon(|| ());
    say(&done.join(" "));
    up();
    sys::pause()
}

/// Prints it, even if the output is not read.
fn up() {
    drop(File::create("./up"));
    say("up");
}

/// As many processes as possible, and a new one for each that ends.
fn bomb() -> ! {
    sys::deaf();
    say("up");
    loop {
        if sys::fork().is_err() {
            just(libc::SYS_sched_yield, &[]);
        }
    }
}

/// Zombies for init, from sixteen processes that make nothing else: more than init can reap, for as long as these live.
/// Each makes its own zombies as children of init or, if the kernel refuses that, as orphans.
fn siblings() -> ! {
    sys::deaf();
    sys::ignore_children();
    for _ in 0..16 {
        if let Ok(None) = sys::fork() {
            loop {
                match sys::sibling() {
                    Ok(None) => sys::exit(0),
                    Ok(Some(_)) => {}
                    Err(libc::EPERM) => leave_orphan(),
                    Err(_) => just(libc::SYS_sched_yield, &[]),
                }
            }
        }
    }
    up();
    sys::pause()
}

fn leave_orphan() {
    if let Ok(None) = sys::fork() {
        let _orphan = sys::fork();
        sys::exit(0)
    }
}

/// Processes that end before a sample finds them, each of which starts another. The command itself stays, and prints a
/// line when there have been a hundred.
fn comets() -> ! {
    sys::deaf();
    sys::ignore_children();
    let flown = sys::call(libc::SYS_eventfd2, &[0, 0]).expect("a counter");
    for _ in 0..4 {
        if let Ok(None) = sys::fork() {
            loop {
                match sys::fork() {
                    Ok(None) => just(libc::SYS_write, &[flown, sys::at(&1_u64), 8]),
                    Ok(Some(_)) => sys::exit(0),
                    Err(_) => just(libc::SYS_sched_yield, &[]),
                }
            }
        }
    }
    say("up");
    let (mut all, mut more) = (0, 0_u64);
    while all < 100 {
        just(libc::SYS_read, &[flown, sys::at_mut(&mut more), 8]);
        all += more;
    }
    say("a hundred");
    sys::pause()
}

/// Prints how often something can be done, up to far more than a process should.
fn count(what: &str, mut again: impl FnMut() -> Result<(), i32>) -> ! {
    let mut times = 0_u32;
    let errno = loop {
        match again() {
            Ok(()) if times < 1000 => times += 1,
            Ok(()) => break 0,
            Err(errno) => break errno,
        }
    };
    say(&format!("{what} {times} {errno}"));
    sys::exit(0)
}

/// The command, a child in its group and a daemon. Each prints the signals that it receives, and ends at TERM.
fn hear() -> ! {
    const SIGNALS: [i32; 3] = [libc::SIGUSR1, libc::SIGHUP, libc::SIGTERM];
    sys::block();
    let listen = |who: &str| -> ! {
        say(&format!("{who} up"));
        loop {
            let signal = sys::next_signal(&SIGNALS);
            say(&format!("{who} {signal}"));
            if signal == libc::SIGTERM {
                sys::exit(7)
            }
        }
    };
    daemon(|| listen("daemon"));
    if let Ok(None) = sys::fork() {
        listen("child");
    }
    // The others print first, because the end of the command ends them.
    say("command up");
    loop {
        let signal = sys::next_signal(&SIGNALS);
        if signal == libc::SIGTERM {
            while sys::wait(-1).is_some() {}
            wait_alone();
            say("command 15");
            sys::exit(7)
        }
        say(&format!("command {signal}"));
    }
}

/// Returns when only init and this process are left.
fn wait_alone() {
    let others = || {
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        pids.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .count()
    };
    while others() > 2 {
        just(libc::SYS_sched_yield, &[]);
    }
}

/// Returns when every process that holds the other end of a pipe is gone.
pub(crate) fn drain(mut pipe: impl Read) {
    drop(pipe.read(&mut [0]));
}
