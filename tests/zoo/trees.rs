//! Processes that multiply, hide, or refuse to go.

use std::fs::File;
use std::io::Read;

use crate::say;
use crate::sys::{self, int, just};

/// The last argument of each is a marker for the tests to find the processes by; it is not looked at.
pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match behaviour {
        // Nothing but being there, deaf to everything.
        "stay" => {
            sys::deaf();
            say("up");
            sys::pause()
        }
        // Keeps every process that opens a file waiting, and says when one does.
        "lease" => {
            let file = args.first().and_then(|path| File::open(path).ok()).expect("a file");
            let leased = sys::lease(&file);
            say(&format!("leased {leased:?}"));
            sys::wanted();
            say("wanted");
            sys::pause()
        }
        // The command and a daemon, neither of which goes by itself.
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
        // The command goes, and a deaf daemon stays.
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
        // As a host that a service manager or a container engine has put under a filter.
        "without-clone3" => {
            sys::hide(libc::SYS_clone3).expect("a filter");
            let (program, args) = args.split_first().expect("a program");
            #[expect(clippy::disallowed_methods, reason = "nothing here is confined yet")]
            let mut program = std::process::Command::new(program);
            panic!("{}", std::os::unix::process::CommandExt::exec(program.args(args)))
        }
        "bomb" => bomb(),
        "siblings" => siblings(),
        // Goes with a code, and leaves a storm behind.
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

/// Double-forked, in a session of its own; returns once the one in between is gone.
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

/// A pipe by which a daemon tells its grandparent that it is up.
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

/// Leaves its init no descriptor to its name, and little of the processor, and stays.
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
    // An orphan for it to reap: whatever it waits for, it begins to wait anew.
    daemon(|| ());
    say(&done.join(" "));
    up();
    sys::pause()
}

/// Says so, also where what is printed is not read.
fn up() {
    drop(File::create("./up"));
    say("up");
}

/// As many processes as there can be, and a new one for each that goes.
fn bomb() -> ! {
    sys::deaf();
    say("up");
    loop {
        if sys::fork().is_err() {
            just(libc::SYS_sched_yield, &[]);
        }
    }
}

/// Dead children for init, by sixteen processes that make nothing else: more than it can reap, for as long as they live.
/// Each makes its own as init's, or, where that is not to be had, leaves it an orphan.
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

/// Processes that are gone before they are looked for, each leaving another; the command itself stays, and says so once
/// there have been a hundred.
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

/// Says how often something can be done, up to far more than a process should.
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

/// The command, a child in its group and a daemon: each says which signals it heard, and goes at TERM.
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
    // The others have their say first, for what the command leaves behind is ended with it.
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
