//! The system calls for a confined command, with their numbers and the reason for each, as data.
//!
//! Calls in [`ALLOWED`] are allowed unless [`super::rules`] denies their arguments. Calls in [`DENIED`] are answered
//! with `EPERM`, because programs are prepared for that error and for no other. All other calls, including future ones, are
//! answered with `ENOSYS`, as by a kernel without them, so that libraries fall back to what they did before the call
//! existed. [`ABSENT`] names the present calls of this kind, and has no effect on the filter.
//!
//! The numbers of both architectures are written out here and not taken from `libc`, so that either table can
//! be tested on any machine. `docs/syscalls.md` is generated from this file.

/// Calls of one kind of use.
#[derive(Debug)]
pub(super) struct Group {
    /// Only the page uses it, and only the tests write the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page"))]
    pub(super) title: &'static str,
    pub(super) families: &'static [Family],
}

/// Calls with one reason.
#[derive(Debug)]
pub(super) struct Family {
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page"))]
    pub(super) why: &'static str,
    pub(super) calls: &'static [Call],
}

/// A call, and its number if it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) x86_64: u32,
    pub(super) aarch64: Aarch64,
}

/// The newer architecture's form of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aarch64 {
    Number(u32),
    /// Only this call, which does the same.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page"))]
    Newer(&'static str),
    /// The newer architecture does not have the call, for this reason.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page"))]
    None(&'static str),
}

const fn both(name: &'static str, x86_64: u32, aarch64: u32) -> Call {
    Call {
        name,
        x86_64,
        aarch64: Aarch64::Number(aarch64),
    }
}

const fn older(name: &'static str, x86_64: u32, newer: &'static str) -> Call {
    Call {
        name,
        x86_64,
        aarch64: Aarch64::Newer(newer),
    }
}

const fn x86(name: &'static str, x86_64: u32, why: &'static str) -> Call {
    Call {
        name,
        x86_64,
        aarch64: Aarch64::None(why),
    }
}

/// Let through.
pub(super) const ALLOWED: &[Group] = &[
    Group {
        title: "Files that are open",
        families: &[
            Family {
                why: "Data in and out of a descriptor that the process holds.",
                calls: &[
                    both("read", 0, 63),
                    both("write", 1, 64),
                    both("readv", 19, 65),
                    both("writev", 20, 66),
                    both("pread64", 17, 67),
                    both("pwrite64", 18, 68),
                    both("preadv", 295, 69),
                    both("pwritev", 296, 70),
                    both("preadv2", 327, 286),
                    both("pwritev2", 328, 287),
                    both("lseek", 8, 62),
                ],
            },
            Family {
                why: "Operations on a descriptor itself. Locks are the process's own.",
                calls: &[
                    both("close", 3, 57),
                    both("close_range", 436, 436),
                    both("dup", 32, 23),
                    older("dup2", 33, "dup3"),
                    both("dup3", 292, 24),
                    both("fcntl", 72, 25),
                    both("flock", 73, 32),
                ],
            },
            Family {
                why: "Databases and package managers must know that data is on the disk.",
                calls: &[
                    both("fsync", 74, 82),
                    both("fdatasync", 75, 83),
                    both("sync", 162, 81),
                    both("syncfs", 306, 267),
                    both("sync_file_range", 277, 84),
                ],
            },
            Family {
                why: "Changes the size of a file that the process may write to anyhow.",
                calls: &[
                    both("truncate", 76, 45),
                    both("ftruncate", 77, 46),
                    both("fallocate", 285, 47),
                ],
            },
            Family {
                why: "Copies in the kernel, which web servers, cp and tar use, and advice about reading.",
                calls: &[
                    both("sendfile", 40, 71),
                    both("splice", 275, 76),
                    both("tee", 276, 77),
                    both("copy_file_range", 326, 285),
                    both("readahead", 187, 213),
                    both("fadvise64", 221, 223),
                ],
            },
            Family {
                why: "Terminals, sockets and file systems cannot be used without it.",
                calls: &[both("ioctl", 16, 29)],
            },
            Family {
                why: "Every event loop waits with one of these.",
                calls: &[
                    older("poll", 7, "ppoll"),
                    both("ppoll", 271, 73),
                    older("select", 23, "pselect6"),
                    both("pselect6", 270, 72),
                    older("epoll_create", 213, "epoll_create1"),
                    both("epoll_create1", 291, 20),
                    both("epoll_ctl", 233, 21),
                    older("epoll_wait", 232, "epoll_pwait"),
                    both("epoll_pwait", 281, 22),
                    both("epoll_pwait2", 441, 441),
                ],
            },
            Family {
                why: "Events as descriptors, for event loops.",
                calls: &[
                    older("eventfd", 284, "eventfd2"),
                    both("eventfd2", 290, 19),
                    older("signalfd", 282, "signalfd4"),
                    both("signalfd4", 289, 74),
                    both("timerfd_create", 283, 85),
                    both("timerfd_settime", 286, 86),
                    both("timerfd_gettime", 287, 87),
                ],
            },
            Family {
                why: "Shells and all programs that run another program need pipes.",
                calls: &[older("pipe", 22, "pipe2"), both("pipe2", 293, 59)],
            },
            Family {
                why: "Build tools and editors watch files for changes.",
                calls: &[
                    older("inotify_init", 253, "inotify_init1"),
                    both("inotify_init1", 294, 26),
                    both("inotify_add_watch", 254, 27),
                    both("inotify_rm_watch", 255, 28),
                ],
            },
        ],
    },
    Group {
        title: "Files by name",
        families: &[
            Family {
                why: "Every program needs files. The mounts decide which file a path leads to.",
                calls: &[
                    older("open", 2, "openat"),
                    both("openat", 257, 56),
                    older("creat", 85, "openat"),
                ],
            },
            Family {
                why: "Reads the type and attributes of a file.",
                calls: &[
                    older("stat", 4, "newfstatat"),
                    older("lstat", 6, "newfstatat"),
                    both("fstat", 5, 80),
                    both("newfstatat", 262, 79),
                    both("statx", 332, 291),
                    older("access", 21, "faccessat"),
                    both("faccessat", 269, 48),
                    both("faccessat2", 439, 439),
                    older("readlink", 89, "readlinkat"),
                    both("readlinkat", 267, 78),
                    both("statfs", 137, 43),
                    both("fstatfs", 138, 44),
                ],
            },
            Family {
                why: "Reads folders, and the working directory.",
                calls: &[
                    older("getdents", 78, "getdents64"),
                    both("getdents64", 217, 61),
                    both("getcwd", 79, 17),
                    both("chdir", 80, 49),
                    both("fchdir", 81, 50),
                ],
            },
            Family {
                why: "Changes names in folders that may be written to. The kernel takes no set-id bits from mkdir.",
                calls: &[
                    older("mkdir", 83, "mkdirat"),
                    both("mkdirat", 258, 34),
                    older("rmdir", 84, "unlinkat"),
                    older("unlink", 87, "unlinkat"),
                    both("unlinkat", 263, 35),
                    older("rename", 82, "renameat"),
                    both("renameat", 264, 38),
                    both("renameat2", 316, 276),
                    older("link", 86, "linkat"),
                    both("linkat", 265, 37),
                    older("symlink", 88, "symlinkat"),
                    both("symlinkat", 266, 36),
                ],
            },
            Family {
                why: "Modes of the process's own files, FIFOs and sockets; the kernel refuses devices without a capability.",
                calls: &[
                    older("chmod", 90, "fchmodat"),
                    both("fchmod", 91, 52),
                    both("fchmodat", 268, 53),
                    both("fchmodat2", 452, 452),
                    both("umask", 95, 166),
                    older("mknod", 133, "mknodat"),
                    both("mknodat", 259, 33),
                ],
            },
            Family {
                why: "tar and cp call it; without a capability the kernel allows only calls that change nothing.",
                calls: &[
                    older("chown", 92, "fchownat"),
                    both("fchown", 93, 55),
                    older("lchown", 94, "fchownat"),
                    both("fchownat", 260, 54),
                ],
            },
            Family {
                why: "make, tar and git set times.",
                calls: &[
                    older("utime", 132, "utimensat"),
                    older("utimes", 235, "utimensat"),
                    older("futimesat", 261, "utimensat"),
                    both("utimensat", 280, 88),
                ],
            },
            Family {
                why: "cp and tar keep extended attributes; the kernel requires a capability for attributes that give rights.",
                calls: &[
                    both("setxattr", 188, 5),
                    both("lsetxattr", 189, 6),
                    both("fsetxattr", 190, 7),
                    both("getxattr", 191, 8),
                    both("lgetxattr", 192, 9),
                    both("fgetxattr", 193, 10),
                    both("listxattr", 194, 11),
                    both("llistxattr", 195, 12),
                    both("flistxattr", 196, 13),
                    both("removexattr", 197, 14),
                    both("lremovexattr", 198, 15),
                    both("fremovexattr", 199, 16),
                ],
            },
        ],
    },
    Group {
        title: "Memory",
        families: &[
            Family {
                why: "Every allocator and the dynamic linker need them. mincore answers for a file only if the process could write to it.",
                calls: &[
                    both("mmap", 9, 222),
                    both("mprotect", 10, 226),
                    both("munmap", 11, 215),
                    both("mremap", 25, 216),
                    both("brk", 12, 214),
                    both("madvise", 28, 233),
                    both("msync", 26, 227),
                    both("mincore", 27, 232),
                ],
            },
            Family {
                why: "Keeps keys out of swap; RLIMIT_MEMLOCK bounds it.",
                calls: &[
                    both("mlock", 149, 228),
                    both("mlock2", 325, 284),
                    both("mlockall", 151, 230),
                    both("munlock", 150, 229),
                    both("munlockall", 152, 231),
                ],
            },
            Family {
                why: "A process protects its own memory from itself, as glibc and V8 do.",
                calls: &[
                    both("pkey_alloc", 330, 289),
                    both("pkey_free", 331, 290),
                    both("pkey_mprotect", 329, 288),
                    both("mseal", 462, 462),
                    both("map_shadow_stack", 453, 453),
                ],
            },
            Family {
                why: "Compilers at run time, Wayland and Python use files without a name.",
                calls: &[both("memfd_create", 319, 279)],
            },
            Family {
                why: "PostgreSQL holds its lock in a segment of 56 bytes. They belong to the tree's own IPC namespace and go with it.",
                calls: &[
                    both("shmget", 29, 194),
                    both("shmat", 30, 196),
                    both("shmctl", 31, 195),
                    both("shmdt", 67, 197),
                ],
            },
            Family {
                why: "Fast paths of glibc and of runtimes, in the process alone.",
                calls: &[both("membarrier", 324, 283), both("rseq", 334, 293)],
            },
        ],
    },
    Group {
        title: "Processes and threads",
        families: &[
            Family {
                why: "Starts, replaces and ends processes and threads.",
                calls: &[
                    both("clone", 56, 220),
                    older("fork", 57, "clone"),
                    older("vfork", 58, "clone"),
                    both("execve", 59, 221),
                    both("execveat", 322, 281),
                    both("exit", 60, 93),
                    both("exit_group", 231, 94),
                    both("wait4", 61, 260),
                    both("waitid", 247, 95),
                ],
            },
            Family {
                why: "A thread may unshare the files that it shares with others. New namespaces are denied by their flags.",
                calls: &[both("unshare", 272, 97)],
            },
            Family {
                why: "Identifies processes, groups and sessions; shells control jobs with these.",
                calls: &[
                    both("getpid", 39, 172),
                    both("gettid", 186, 178),
                    both("getppid", 110, 173),
                    both("getpgid", 121, 155),
                    older("getpgrp", 111, "getpgid"),
                    both("setpgid", 109, 154),
                    both("getsid", 124, 156),
                    both("setsid", 112, 157),
                ],
            },
            Family {
                why: "Signals reach only processes in the tree's own pid namespace.",
                calls: &[
                    both("kill", 62, 129),
                    both("tkill", 200, 130),
                    both("tgkill", 234, 131),
                    both("pidfd_open", 434, 434),
                    both("pidfd_send_signal", 424, 424),
                ],
            },
            Family {
                why: "The same with a value, for POSIX timers and runtimes.",
                calls: &[both("rt_sigqueueinfo", 129, 138), both("rt_tgsigqueueinfo", 297, 240)],
            },
            Family {
                why: "Signal handling.",
                calls: &[
                    both("rt_sigaction", 13, 134),
                    both("rt_sigprocmask", 14, 135),
                    both("rt_sigreturn", 15, 139),
                    both("rt_sigpending", 127, 136),
                    both("rt_sigsuspend", 130, 133),
                    both("rt_sigtimedwait", 128, 137),
                    both("sigaltstack", 131, 132),
                    both("restart_syscall", 219, 128),
                    older("pause", 34, "ppoll"),
                ],
            },
            Family {
                why: "The C library registers each thread.",
                calls: &[
                    both("set_tid_address", 218, 96),
                    both("set_robust_list", 273, 99),
                    both("get_robust_list", 274, 100),
                ],
            },
            Family {
                why: "Every lock and every condition variable needs them.",
                calls: &[
                    both("futex", 202, 98),
                    both("futex_waitv", 449, 449),
                    both("futex_wake", 454, 454),
                    both("futex_wait", 455, 455),
                    both("futex_requeue", 456, 456),
                ],
            },
            Family {
                why: "The C library sets the thread pointer with it.",
                calls: &[x86("arch_prctl", 158, "the registers are of x86 alone")],
            },
            Family {
                why: "Names threads, and drops rights of the process.",
                calls: &[both("prctl", 157, 167)],
            },
            Family {
                why: "setarch, gdb and sanitizers switch off the randomisation of their own addresses.",
                calls: &[both("personality", 135, 92)],
            },
            Family {
                why: "Programs confine themselves further, as ssh, file and browsers do.",
                calls: &[
                    both("seccomp", 317, 277),
                    both("landlock_create_ruleset", 444, 444),
                    both("landlock_add_rule", 445, 445),
                    both("landlock_restrict_self", 446, 446),
                ],
            },
        ],
    },
    Group {
        title: "Users and limits",
        families: &[
            Family {
                why: "Reads the ids of the process.",
                calls: &[
                    both("getuid", 102, 174),
                    both("geteuid", 107, 175),
                    both("getgid", 104, 176),
                    both("getegid", 108, 177),
                    both("getresuid", 118, 148),
                    both("getresgid", 120, 150),
                    both("getgroups", 115, 158),
                    both("capget", 125, 90),
                ],
            },
            Family {
                why: "Servers drop privileges at their start. There are none, and the kernel refuses what the user namespace does not hold.",
                calls: &[
                    both("setuid", 105, 146),
                    both("setgid", 106, 144),
                    both("setreuid", 113, 145),
                    both("setregid", 114, 143),
                    both("setresuid", 117, 147),
                    both("setresgid", 119, 149),
                    both("setfsuid", 122, 151),
                    both("setfsgid", 123, 152),
                    both("setgroups", 116, 159),
                    both("capset", 126, 91),
                ],
            },
            Family {
                why: "Limits can be lowered and read.",
                calls: &[
                    both("getrlimit", 97, 163),
                    both("setrlimit", 160, 164),
                    both("prlimit64", 302, 261),
                    both("getrusage", 98, 165),
                    both("times", 100, 153),
                ],
            },
            Family {
                why: "nice and ionice; without a capability only downwards.",
                calls: &[
                    both("getpriority", 140, 141),
                    both("setpriority", 141, 140),
                    both("ioprio_get", 252, 31),
                    both("ioprio_set", 251, 30),
                ],
            },
            Family {
                why: "Thread pools count their processors and pin threads to some of them.",
                calls: &[
                    both("sched_yield", 24, 124),
                    both("sched_getaffinity", 204, 123),
                    both("sched_setaffinity", 203, 122),
                    both("sched_getparam", 143, 121),
                    both("sched_setparam", 142, 118),
                    both("sched_getscheduler", 145, 120),
                    both("sched_setscheduler", 144, 119),
                    both("sched_getattr", 315, 275),
                    both("sched_get_priority_max", 146, 125),
                    both("sched_get_priority_min", 147, 126),
                    both("sched_rr_get_interval", 148, 127),
                    both("getcpu", 309, 168),
                ],
            },
        ],
    },
    Group {
        title: "Time",
        families: &[
            Family {
                why: "Reads clocks and sleeps.",
                calls: &[
                    both("clock_gettime", 228, 113),
                    both("clock_getres", 229, 114),
                    both("clock_nanosleep", 230, 115),
                    both("nanosleep", 35, 101),
                    both("gettimeofday", 96, 169),
                    older("time", 201, "clock_gettime"),
                ],
            },
            Family {
                why: "Timers of the process.",
                calls: &[
                    both("getitimer", 36, 102),
                    both("setitimer", 38, 103),
                    older("alarm", 37, "setitimer"),
                    both("timer_create", 222, 107),
                    both("timer_settime", 223, 110),
                    both("timer_gettime", 224, 108),
                    both("timer_getoverrun", 225, 109),
                    both("timer_delete", 226, 111),
                ],
            },
        ],
    },
    Group {
        title: "Sockets",
        families: &[
            Family {
                why: "Unix sockets, and Internet sockets unless the command has no network (`none`).",
                calls: &[both("socket", 41, 198), both("socketpair", 53, 199)],
            },
            Family {
                why: "Operations on a socket. The network namespace decides which addresses can be reached.",
                calls: &[
                    both("bind", 49, 200),
                    both("connect", 42, 203),
                    both("listen", 50, 201),
                    both("accept", 43, 202),
                    both("accept4", 288, 242),
                    both("shutdown", 48, 210),
                    both("getsockname", 51, 204),
                    both("getpeername", 52, 205),
                    both("getsockopt", 55, 209),
                    both("setsockopt", 54, 208),
                ],
            },
            Family {
                why: "Data in and out of sockets.",
                calls: &[
                    both("sendto", 44, 206),
                    both("recvfrom", 45, 207),
                    both("sendmsg", 46, 211),
                    both("recvmsg", 47, 212),
                    both("sendmmsg", 307, 269),
                    both("recvmmsg", 299, 243),
                ],
            },
        ],
    },
    Group {
        title: "System V semaphores and messages",
        families: &[
            Family {
                why: "Apache and fakeroot. They belong to the tree's own IPC namespace and go with it.",
                calls: &[
                    both("semget", 64, 190),
                    both("semop", 65, 193),
                    both("semtimedop", 220, 192),
                    both("semctl", 66, 191),
                ],
            },
            Family {
                why: "fakeroot talks to its daemon with them. They belong to the tree's own IPC namespace and go with it.",
                calls: &[
                    both("msgget", 68, 186),
                    both("msgsnd", 69, 189),
                    both("msgrcv", 70, 188),
                    both("msgctl", 71, 187),
                ],
            },
        ],
    },
    Group {
        title: "The system",
        families: &[
            Family {
                why: "Reads the kernel's release and the amount of memory, which /proc shows as well.",
                calls: &[both("uname", 63, 160), both("sysinfo", 99, 179)],
            },
            Family {
                why: "Random numbers.",
                calls: &[both("getrandom", 318, 278)],
            },
        ],
    },
];

/// Answered with `EPERM`.
pub(super) const DENIED: &[Group] = &[
    Group {
        title: "Mounts and roots",
        families: &[
            Family {
                why: "The host decides what a tree sees. Programs expect this answer without a capability.",
                calls: &[
                    both("mount", 165, 40),
                    both("umount2", 166, 39),
                    both("pivot_root", 155, 41),
                    both("chroot", 161, 51),
                    both("open_tree", 428, 428),
                    both("move_mount", 429, 429),
                    both("fsopen", 430, 430),
                    both("fsconfig", 431, 431),
                    both("fsmount", 432, 432),
                    both("fspick", 433, 433),
                    both("mount_setattr", 442, 442),
                ],
            },
            Family {
                why: "Enters namespaces of others.",
                calls: &[both("setns", 308, 268)],
            },
            Family {
                why: "Handles reach files without going through the mounts.",
                calls: &[both("name_to_handle_at", 303, 264), both("open_by_handle_at", 304, 265)],
            },
            Family {
                why: "Quotas belong to the machine's file systems.",
                calls: &[both("quotactl", 179, 60), both("quotactl_fd", 443, 443)],
            },
            Family {
                why: "Swap belongs to the machine.",
                calls: &[both("swapon", 167, 224), both("swapoff", 168, 225)],
            },
        ],
    },
    Group {
        title: "Other processes",
        families: &[
            Family {
                why: "A tracer can bypass the filters of its processes. Debuggers expect this answer.",
                calls: &[both("ptrace", 101, 117)],
            },
            Family {
                why: "Memory and descriptors of other processes.",
                calls: &[
                    both("process_vm_readv", 310, 270),
                    both("process_vm_writev", 311, 271),
                    both("process_madvise", 440, 440),
                    both("kcmp", 312, 272),
                    both("pidfd_getfd", 438, 438),
                ],
            },
            Family {
                why: "The policy is in memory, so a filter cannot see whether it is a real-time policy.",
                calls: &[both("sched_setattr", 314, 274)],
            },
        ],
    },
    Group {
        title: "The kernel's machinery",
        families: &[
            Family {
                why: "Programs in the kernel, counters and watches beyond the tree.",
                calls: &[
                    both("bpf", 321, 280),
                    both("perf_event_open", 298, 241),
                    both("fanotify_init", 300, 262),
                    both("fanotify_mark", 301, 263),
                ],
            },
            Family {
                why: "Can suspend the kernel wherever it touches a page; the machine's own setting gives this answer too.",
                calls: &[both("userfaultfd", 323, 282)],
            },
            Family {
                why: "A second way to make calls, which bypasses this filter. A machine that disables it gives this answer too, and programs fall back.",
                calls: &[
                    both("io_uring_setup", 425, 425),
                    both("io_uring_enter", 426, 426),
                    both("io_uring_register", 427, 427),
                ],
            },
            Family {
                why: "Keys are shared with the session of the host.",
                calls: &[
                    both("add_key", 248, 217),
                    both("request_key", 249, 218),
                    both("keyctl", 250, 219),
                ],
            },
            Family {
                why: "Loads code into the kernel.",
                calls: &[
                    both("init_module", 175, 105),
                    both("finit_module", 313, 273),
                    both("delete_module", 176, 106),
                    both("kexec_load", 246, 104),
                    both("kexec_file_load", 320, 294),
                ],
            },
            Family {
                why: "Gives access to the machine's I/O ports.",
                calls: &[
                    x86("iopl", 172, "ports are of x86 alone"),
                    x86("ioperm", 173, "ports are of x86 alone"),
                ],
            },
        ],
    },
    Group {
        title: "The machine",
        families: &[
            Family {
                why: "Belongs to the whole machine.",
                calls: &[
                    both("reboot", 169, 142),
                    both("acct", 163, 89),
                    both("syslog", 103, 116),
                    both("sethostname", 170, 161),
                    both("setdomainname", 171, 162),
                    both("vhangup", 153, 58),
                ],
            },
            Family {
                why: "The machine's clock.",
                calls: &[
                    both("settimeofday", 164, 170),
                    both("clock_settime", 227, 112),
                    both("clock_adjtime", 305, 266),
                    both("adjtimex", 159, 171),
                ],
            },
        ],
    },
];

/// Calls that are answered with `ENOSYS`, like every call outside of these lists.
#[cfg(test)]
pub(super) const ABSENT: &[Group] = &[
    Group {
        title: "Arguments in memory",
        families: &[
            Family {
                why: "The flags are in memory, where a filter cannot see them. C libraries fall back to clone.",
                calls: &[both("clone3", 435, 435)],
            },
            Family {
                why: "The mode is in memory. Programs fall back to openat.",
                calls: &[both("openat2", 437, 437)],
            },
            Family {
                why: "The arguments are in memory. tar and cp fall back to the older calls.",
                calls: &[both("file_setattr", 469, 469), both("setxattrat", 463, 463)],
            },
        ],
    },
    Group {
        title: "What is shared by the whole machine",
        families: &[
            Family {
                why: "The limit of these contexts holds for the whole machine, and one tree could take them all. Databases and nginx fall back to threads.",
                calls: &[
                    both("io_setup", 206, 0),
                    both("io_destroy", 207, 1),
                    both("io_getevents", 208, 4),
                    both("io_pgetevents", 333, 292),
                    both("io_submit", 209, 2),
                    both("io_cancel", 210, 3),
                ],
            },
            Family {
                why: "The bytes of message queues are counted for the user, and one tree could take those of all others.",
                calls: &[
                    both("mq_open", 240, 180),
                    both("mq_unlink", 241, 181),
                    both("mq_timedsend", 242, 182),
                    both("mq_timedreceive", 243, 183),
                    both("mq_notify", 244, 184),
                    both("mq_getsetattr", 245, 185),
                ],
            },
            Family {
                why: "The machine decides where memory lies. Without get_mempolicy libnuma reports no NUMA support, and programs continue.",
                calls: &[
                    both("mbind", 237, 235),
                    both("set_mempolicy", 238, 237),
                    both("get_mempolicy", 239, 236),
                    both("set_mempolicy_home_node", 450, 450),
                    both("migrate_pages", 256, 238),
                    both("move_pages", 279, 239),
                ],
            },
            Family {
                why: "Reveals which files others have read.",
                calls: &[both("cachestat", 451, 451)],
            },
        ],
    },
    Group {
        title: "Memory that belongs to no process",
        families: &[
            Family {
                why: "The memory cannot be inspected, and memory counts do not include it.",
                calls: &[both("memfd_secret", 447, 447)],
            },
            Family {
                why: "Moves pages of a process into a pipe, where they are not counted. Programs fall back to write.",
                calls: &[both("vmsplice", 278, 75)],
            },
        ],
    },
    Group {
        title: "Of no use to a confined program",
        families: &[
            Family {
                why: "The host decides about mounts and namespaces.",
                calls: &[
                    both("open_tree_attr", 467, 467),
                    both("listmount", 458, 458),
                    both("statmount", 457, 457),
                    both("listns", 470, 470),
                ],
            },
            Family {
                why: "Reveals the machine's security modules.",
                calls: &[
                    both("lsm_get_self_attr", 459, 459),
                    both("lsm_set_self_attr", 460, 460),
                    both("lsm_list_modules", 461, 461),
                ],
            },
            Family {
                why: "Newer than what programs need, which fall back to the older calls.",
                calls: &[
                    both("file_getattr", 468, 468),
                    both("getxattrat", 464, 464),
                    both("listxattrat", 465, 465),
                    both("removexattrat", 466, 466),
                ],
            },
            Family {
                why: "Only system-wide process killers need it.",
                calls: &[both("process_mrelease", 448, 448)],
            },
            Family {
                why: "Segments for programs of 16 and 32 bits, which cannot run here, and a part of the kernel that has had many faults.",
                calls: &[
                    x86("modify_ldt", 154, "segments are of x86 alone"),
                    x86("get_thread_area", 211, "segments are of x86 alone"),
                    x86("set_thread_area", 205, "segments are of x86 alone"),
                ],
            },
            Family {
                why: "Only the kernel's own trampolines make them.",
                calls: &[
                    x86("uprobe", 336, "a trampoline of x86 alone"),
                    x86("uretprobe", 335, "a trampoline of x86 alone"),
                ],
            },
            Family {
                why: "The kernel emulates them, or no longer has them.",
                calls: &[
                    both("remap_file_pages", 216, 234),
                    both("lookup_dcookie", 212, 18),
                    both("nfsservctl", 180, 42),
                ],
            },
            Family {
                why: "They were replaced long ago, and no current program needs them.",
                calls: &[
                    x86("sysfs", 139, "older than aarch64"),
                    x86("ustat", 136, "older than aarch64"),
                    x86("uselib", 134, "older than aarch64"),
                    x86("_sysctl", 156, "older than aarch64"),
                ],
            },
        ],
    },
];
