//! Tests the table and the rules as data, for both architectures on any machine, and the answers of the compiled programs, with
//! an interpreter of their instructions.

use std::collections::BTreeSet;
use std::ffi::c_long;

use capsule_init::Instruction;

use super::program::{Arch, Settings, calls, compile};
use super::rules::RULES;
use super::table::{ABSENT, ALLOWED, Aarch64, Call, DENIED};

const ARCHS: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;

const fn errno(errno: i32) -> u32 {
    0x0005_0000 | errno.unsigned_abs()
}

/// The kernel's result for a call under this program.
fn run(program: &[Instruction], arch: u32, number: u32, arguments: &[u64]) -> u32 {
    let word = |at: u32| match at {
        0 => number,
        4 => arch,
        _ => {
            let argument = arguments
                .get((at as usize - 16) / 8)
                .copied()
                .unwrap_or_default()
                .to_le_bytes();
            let half = if at.is_multiple_of(8) { 0..4 } else { 4..8 };
            u32::from_le_bytes(argument[half].try_into().expect("four bytes"))
        }
    };
    let (mut at, mut a) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let branch = |is| usize::from(if is { jt } else { jf });
        at += 1;
        match code {
            0x20 => a = word(k),
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(a == k),
            0x25 => at += branch(a > k),
            0x35 => at += branch(a >= k),
            0x45 => at += branch(a & k != 0),
            0x06 => return k,
            _ => panic!("no such instruction: {code}"),
        }
    }
}

fn all_settings() -> impl Iterator<Item = Settings> {
    (0..8_u8).map(|bits| Settings {
        network: bits & 1 != 0,
        memory_is_sampled: bits & 2 != 0,
        workspace_is_mapped: bits & 4 != 0,
    })
}

fn everything() -> impl Iterator<Item = Call> {
    [ALLOWED, DENIED, ABSENT].into_iter().flat_map(calls)
}

/// The number of a call.
fn number_of(arch: Arch, name: &str) -> Option<u32> {
    let call = everything().find(|call| call.name == name);
    arch.number(call.unwrap_or_else(|| panic!("{name} is in no table")))
}

/// One call of this machine's kind.
fn asked(settings: Settings, name: &str, arguments: &[u64]) -> u32 {
    let mut answers = ARCHS.iter().filter_map(|&arch| {
        let program = compile(arch, settings);
        Some(run(&program, arch.audit(), number_of(arch, name)?, arguments))
    });
    let answer = answers.next().expect("one has it");
    assert!(answers.all(|other| other == answer), "{name}: the same for both");
    answer
}

const PLAIN: Settings = Settings {
    network: false,
    memory_is_sampled: false,
    workspace_is_mapped: false,
};

#[test]
fn b7_every_call_stands_once_and_every_number_too() {
    let names: Vec<_> = everything().map(|call| call.name).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "a name twice");
    for arch in ARCHS {
        let numbers: Vec<_> = everything().filter_map(|call| arch.number(call)).collect();
        assert_eq!(
            numbers.len(),
            numbers.iter().collect::<BTreeSet<_>>().len(),
            "{arch:?}: a number twice"
        );
    }
    for group in [ALLOWED, DENIED, ABSENT].into_iter().flatten() {
        for family in group.families {
            assert!(!family.calls.is_empty() && family.why.ends_with('.'), "{family:?}");
        }
    }
}

#[test]
fn b7_what_one_architecture_lacks_has_its_reason() {
    for call in everything() {
        match call.aarch64 {
            Aarch64::Number(number) => {
                // From here on both have the same numbers.
                assert!(call.x86_64 < 424 || call.x86_64 == number, "{call:?}");
                assert!(!(300..424).contains(&number), "{call:?}");
            }
            Aarch64::Newer(name) => {
                let newer = calls(ALLOWED).find(|call| call.name == name);
                assert!(
                    newer.is_some_and(|call| matches!(call.aarch64, Aarch64::Number(_))),
                    "{call:?}"
                );
            }
            Aarch64::None(why) => assert!(!why.is_empty(), "{call:?}"),
        }
    }
}

#[test]
fn b7_every_rule_is_about_a_call_that_is_allowed() {
    let mut seen = BTreeSet::new();
    for rule in RULES {
        for name in rule.calls {
            assert!(seen.insert(name), "{name}: two rules");
            assert!(calls(ALLOWED).any(|call| call.name == *name), "{name}");
        }
        assert!(rule.text.ends_with('.'), "{rule:?}");
    }
}

/// The numbers of `libc`, by name.
macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), libc::$name)),*]
    };
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn b7_the_numbers_are_those_of_this_machine() {
    let own = Arch::own().expect("one of the two");
    #[cfg(target_arch = "x86_64")]
    let older: Vec<(&str, c_long)> = numbers![
        SYS__sysctl,
        SYS_access,
        SYS_alarm,
        SYS_arch_prctl,
        SYS_chmod,
        SYS_chown,
        SYS_creat,
        SYS_dup2,
        SYS_epoll_create,
        SYS_epoll_wait,
        SYS_eventfd,
        SYS_fchmodat2,
        SYS_fork,
        SYS_futimesat,
        SYS_get_thread_area,
        SYS_getdents,
        SYS_getpgrp,
        SYS_getrlimit,
        SYS_inotify_init,
        SYS_ioperm,
        SYS_iopl,
        SYS_lchown,
        SYS_link,
        SYS_lstat,
        SYS_mkdir,
        SYS_mknod,
        SYS_modify_ldt,
        SYS_open,
        SYS_pause,
        SYS_pipe,
        SYS_poll,
        SYS_readlink,
        SYS_rename,
        SYS_renameat,
        SYS_rmdir,
        SYS_select,
        SYS_set_thread_area,
        SYS_setrlimit,
        SYS_signalfd,
        SYS_stat,
        SYS_symlink,
        SYS_sync_file_range,
        SYS_sysfs,
        SYS_time,
        SYS_unlink,
        SYS_uselib,
        SYS_ustat,
        SYS_utime,
        SYS_utimes,
        SYS_vfork,
    ]
    .into();
    #[cfg(not(target_arch = "x86_64"))]
    let older: Vec<(&str, c_long)> = Vec::new();
    let common: [(&str, c_long); 302] = numbers![
        SYS_accept,
        SYS_accept4,
        SYS_acct,
        SYS_add_key,
        SYS_adjtimex,
        SYS_bind,
        SYS_bpf,
        SYS_brk,
        SYS_capget,
        SYS_capset,
        SYS_chdir,
        SYS_chroot,
        SYS_clock_adjtime,
        SYS_clock_getres,
        SYS_clock_gettime,
        SYS_clock_nanosleep,
        SYS_clock_settime,
        SYS_clone,
        SYS_clone3,
        SYS_close,
        SYS_close_range,
        SYS_connect,
        SYS_copy_file_range,
        SYS_delete_module,
        SYS_dup,
        SYS_dup3,
        SYS_epoll_create1,
        SYS_epoll_ctl,
        SYS_epoll_pwait,
        SYS_epoll_pwait2,
        SYS_eventfd2,
        SYS_execve,
        SYS_execveat,
        SYS_exit,
        SYS_exit_group,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_fadvise64,
        SYS_fallocate,
        SYS_fanotify_init,
        SYS_fanotify_mark,
        SYS_fchdir,
        SYS_fchmod,
        SYS_fchmodat,
        SYS_fchown,
        SYS_fchownat,
        SYS_fcntl,
        SYS_fdatasync,
        SYS_fgetxattr,
        SYS_finit_module,
        SYS_flistxattr,
        SYS_flock,
        SYS_fremovexattr,
        SYS_fsconfig,
        SYS_fsetxattr,
        SYS_fsmount,
        SYS_fsopen,
        SYS_fspick,
        SYS_fstat,
        SYS_fstatfs,
        SYS_fsync,
        SYS_ftruncate,
        SYS_futex,
        SYS_futex_waitv,
        SYS_get_mempolicy,
        SYS_get_robust_list,
        SYS_getcpu,
        SYS_getcwd,
        SYS_getdents64,
        SYS_getegid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getgroups,
        SYS_getitimer,
        SYS_getpeername,
        SYS_getpgid,
        SYS_getpid,
        SYS_getppid,
        SYS_getpriority,
        SYS_getrandom,
        SYS_getresgid,
        SYS_getresuid,
        SYS_getrusage,
        SYS_getsid,
        SYS_getsockname,
        SYS_getsockopt,
        SYS_gettid,
        SYS_gettimeofday,
        SYS_getuid,
        SYS_getxattr,
        SYS_init_module,
        SYS_inotify_add_watch,
        SYS_inotify_init1,
        SYS_inotify_rm_watch,
        SYS_io_cancel,
        SYS_io_destroy,
        SYS_io_getevents,
        SYS_io_setup,
        SYS_io_submit,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_io_uring_setup,
        SYS_ioctl,
        SYS_ioprio_get,
        SYS_ioprio_set,
        SYS_kcmp,
        SYS_kexec_file_load,
        SYS_kexec_load,
        SYS_keyctl,
        SYS_kill,
        SYS_landlock_add_rule,
        SYS_landlock_create_ruleset,
        SYS_landlock_restrict_self,
        SYS_lgetxattr,
        SYS_linkat,
        SYS_listen,
        SYS_listxattr,
        SYS_llistxattr,
        SYS_lookup_dcookie,
        SYS_lremovexattr,
        SYS_lseek,
        SYS_lsetxattr,
        SYS_madvise,
        SYS_mbind,
        SYS_membarrier,
        SYS_memfd_create,
        SYS_memfd_secret,
        SYS_migrate_pages,
        SYS_mincore,
        SYS_mkdirat,
        SYS_mknodat,
        SYS_mlock,
        SYS_mlock2,
        SYS_mlockall,
        SYS_mmap,
        SYS_mount,
        SYS_mount_setattr,
        SYS_move_mount,
        SYS_move_pages,
        SYS_mprotect,
        SYS_mq_getsetattr,
        SYS_mq_notify,
        SYS_mq_open,
        SYS_mq_timedreceive,
        SYS_mq_timedsend,
        SYS_mq_unlink,
        SYS_mremap,
        SYS_mseal,
        SYS_msgctl,
        SYS_msgget,
        SYS_msgrcv,
        SYS_msgsnd,
        SYS_msync,
        SYS_munlock,
        SYS_munlockall,
        SYS_munmap,
        SYS_name_to_handle_at,
        SYS_nanosleep,
        SYS_newfstatat,
        SYS_nfsservctl,
        SYS_open_by_handle_at,
        SYS_open_tree,
        SYS_openat,
        SYS_openat2,
        SYS_perf_event_open,
        SYS_personality,
        SYS_pidfd_getfd,
        SYS_pidfd_open,
        SYS_pidfd_send_signal,
        SYS_pipe2,
        SYS_pivot_root,
        SYS_pkey_alloc,
        SYS_pkey_free,
        SYS_pkey_mprotect,
        SYS_ppoll,
        SYS_prctl,
        SYS_pread64,
        SYS_preadv,
        SYS_preadv2,
        SYS_prlimit64,
        SYS_process_madvise,
        SYS_process_mrelease,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pselect6,
        SYS_ptrace,
        SYS_pwrite64,
        SYS_pwritev,
        SYS_pwritev2,
        SYS_quotactl,
        SYS_quotactl_fd,
        SYS_read,
        SYS_readahead,
        SYS_readlinkat,
        SYS_readv,
        SYS_reboot,
        SYS_recvfrom,
        SYS_recvmmsg,
        SYS_recvmsg,
        SYS_remap_file_pages,
        SYS_removexattr,
        SYS_renameat2,
        SYS_request_key,
        SYS_restart_syscall,
        SYS_rseq,
        SYS_rt_sigaction,
        SYS_rt_sigpending,
        SYS_rt_sigprocmask,
        SYS_rt_sigqueueinfo,
        SYS_rt_sigreturn,
        SYS_rt_sigsuspend,
        SYS_rt_sigtimedwait,
        SYS_rt_tgsigqueueinfo,
        SYS_sched_get_priority_max,
        SYS_sched_get_priority_min,
        SYS_sched_getaffinity,
        SYS_sched_getattr,
        SYS_sched_getparam,
        SYS_sched_getscheduler,
        SYS_sched_rr_get_interval,
        SYS_sched_setaffinity,
        SYS_sched_setattr,
        SYS_sched_setparam,
        SYS_sched_setscheduler,
        SYS_sched_yield,
        SYS_seccomp,
        SYS_semctl,
        SYS_semget,
        SYS_semop,
        SYS_semtimedop,
        SYS_sendfile,
        SYS_sendmmsg,
        SYS_sendmsg,
        SYS_sendto,
        SYS_set_mempolicy,
        SYS_set_mempolicy_home_node,
        SYS_set_robust_list,
        SYS_set_tid_address,
        SYS_setdomainname,
        SYS_setfsgid,
        SYS_setfsuid,
        SYS_setgid,
        SYS_setgroups,
        SYS_sethostname,
        SYS_setitimer,
        SYS_setns,
        SYS_setpgid,
        SYS_setpriority,
        SYS_setregid,
        SYS_setresgid,
        SYS_setresuid,
        SYS_setreuid,
        SYS_setsid,
        SYS_setsockopt,
        SYS_settimeofday,
        SYS_setuid,
        SYS_setxattr,
        SYS_shmat,
        SYS_shmctl,
        SYS_shmdt,
        SYS_shmget,
        SYS_shutdown,
        SYS_sigaltstack,
        SYS_signalfd4,
        SYS_socket,
        SYS_socketpair,
        SYS_splice,
        SYS_statfs,
        SYS_statx,
        SYS_swapoff,
        SYS_swapon,
        SYS_symlinkat,
        SYS_sync,
        SYS_syncfs,
        SYS_sysinfo,
        SYS_syslog,
        SYS_tee,
        SYS_tgkill,
        SYS_timer_create,
        SYS_timer_delete,
        SYS_timer_getoverrun,
        SYS_timer_gettime,
        SYS_timer_settime,
        SYS_timerfd_create,
        SYS_timerfd_gettime,
        SYS_timerfd_settime,
        SYS_times,
        SYS_tkill,
        SYS_truncate,
        SYS_umask,
        SYS_umount2,
        SYS_uname,
        SYS_unlinkat,
        SYS_unshare,
        SYS_userfaultfd,
        SYS_utimensat,
        SYS_vhangup,
        SYS_vmsplice,
        SYS_wait4,
        SYS_waitid,
        SYS_write,
        SYS_writev,
    ];
    for (name, number) in common.into_iter().chain(older) {
        let name = name.trim_start_matches("SYS_");
        assert_eq!(number_of(own, name).map(c_long::from), Some(number), "{name}");
    }
}

#[test]
fn b7_what_is_not_listed_is_not_implemented() {
    for (arch, settings) in ARCHS
        .into_iter()
        .flat_map(|arch| all_settings().map(move |settings| (arch, settings)))
    {
        let program = compile(arch, settings);
        let listed: BTreeSet<_> = calls(ALLOWED)
            .chain(calls(DENIED))
            .filter_map(|call| arch.number(call))
            .collect();
        let denied: BTreeSet<_> = calls(DENIED).filter_map(|call| arch.number(call)).collect();
        let of_rules: BTreeSet<_> = RULES
            .iter()
            .flat_map(|rule| rule.calls)
            .filter_map(|name| number_of(arch, name))
            .collect();
        for number in (0..2000).chain([0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x7fff_ffff, u32::MAX]) {
            let answer = run(&program, arch.audit(), number, &[0; 6]);
            let expected = if denied.contains(&number) {
                errno(libc::EPERM)
            } else if !listed.contains(&number) {
                errno(libc::ENOSYS)
            } else if of_rules.contains(&number) {
                continue;
            } else {
                ALLOW
            };
            assert_eq!(answer, expected, "{arch:?} {number}");
        }
    }
}

#[test]
fn b7_a_call_of_another_architecture_ends_the_process() {
    for arch in ARCHS {
        let program = compile(arch, PLAIN);
        for other in [0x4000_0003, 0x4000_0028, 0, arch.audit() ^ 1] {
            assert_eq!(run(&program, other, 0, &[0; 6]), KILL, "{arch:?} {other:x}");
        }
    }
}

#[test]
fn b7_what_is_absent_is_answered_so() {
    for settings in all_settings() {
        for call in calls(ABSENT) {
            assert_eq!(asked(settings, call.name, &[0; 6]), errno(libc::ENOSYS), "{call:?}");
        }
    }
}

#[test]
fn b7_a_child_stays_where_it_was_made() {
    let thread = 0x003d_0f00;
    for flags in [0, 17, thread, 0x0120_0011, 0x4111, u64::from(u32::MAX) + 1 + 17] {
        assert_eq!(asked(PLAIN, "clone", &[flags]), ALLOW, "{flags:x}");
    }
    // PTRACE, PARENT, UNTRACED, and new namespaces: NS, CGROUP, UTS, IPC, USER, PID, NET.
    for bit in [13, 15, 23, 17, 25, 26, 27, 28, 29, 30] {
        assert_eq!(asked(PLAIN, "clone", &[17 | 1 << bit]), errno(libc::EPERM), "{bit}");
    }
    for bit in [7, 17, 25, 26, 27, 28, 29, 30, 33] {
        assert_eq!(asked(PLAIN, "unshare", &[1 << bit]), errno(libc::EPERM), "{bit}");
    }
    assert_eq!(asked(PLAIN, "unshare", &[0x600]), ALLOW);
}

#[test]
fn b7_set_group_id_is_denied_where_the_workspace_is_mapped() {
    let mapped = Settings {
        workspace_is_mapped: true,
        ..PLAIN
    };
    for (name, mode, flags) in [
        ("chmod", 1, None),
        ("fchmod", 1, None),
        ("creat", 1, None),
        ("mknod", 1, None),
        ("fchmodat", 2, None),
        ("fchmodat2", 2, None),
        ("mknodat", 2, None),
        ("open", 2, Some(1)),
        ("openat", 3, Some(2)),
    ] {
        // O_CREAT, and all of O_TMPFILE.
        for makes in [0x41_u64, 0x41_0002] {
            let with = |bits: u64| {
                let mut arguments = [0; 6];
                arguments[mode] = bits | 1 << 40;
                if let Some(flags) = flags {
                    arguments[flags] = makes;
                }
                arguments
            };
            for settings in [PLAIN, mapped] {
                assert_eq!(asked(settings, name, &with(0o755)), ALLOW, "{name}");
                assert_eq!(asked(settings, name, &with(0o4755)), errno(libc::EPERM), "{name}");
            }
            assert_eq!(asked(PLAIN, name, &with(0o2755)), ALLOW, "{name}");
            assert_eq!(asked(mapped, name, &with(0o2755)), errno(libc::EPERM), "{name}");
        }
    }
    // A call that makes no file has no mode, whatever file exists at its path.
    assert_eq!(asked(mapped, "openat", &[0, 0, 2, 0o6755]), ALLOW);
}

#[test]
fn b7_sockets_by_family_kind_and_protocol() {
    let network = Settings { network: true, ..PLAIN };
    let no_family = errno(libc::EAFNOSUPPORT);
    for settings in [PLAIN, network] {
        assert_eq!(asked(settings, "socket", &[1, 1, 0]), ALLOW);
        for family in (0..50).filter(|family| ![1, 2, 10, 16].contains(family)) {
            assert_eq!(asked(settings, "socket", &[family, 1, 0]), no_family, "{family}");
        }
        for family in 0..50 {
            let expected = if family == 1 { ALLOW } else { no_family };
            assert_eq!(asked(settings, "socketpair", &[family, 1, 0]), expected, "{family}");
        }
    }
    for family in [2, 10, 16] {
        assert_eq!(asked(PLAIN, "socket", &[family, 1, 0]), no_family);
    }
    let (raw, unknown) = (errno(libc::EPERM), errno(libc::EPROTONOSUPPORT));
    for family in [2, 10] {
        for (kind, protocol, expected) in [
            (1, 0, ALLOW),
            (0x8_0801, 6, ALLOW),
            (2, 0, ALLOW),
            (0x8_0002, 17, ALLOW),
            (1, 262, unknown),
            (1, 132, unknown),
            (2, 1, unknown),
            (5, 0, unknown),
            (3, 1, raw),
            (0x8_0003, 255, raw),
        ] {
            assert_eq!(
                asked(network, "socket", &[family, kind, protocol]),
                expected,
                "{kind} {protocol}"
            );
        }
    }
    assert_eq!(asked(network, "socket", &[16, 3, 0]), ALLOW);
    for protocol in 1..23 {
        assert_eq!(asked(network, "socket", &[16, 3, protocol]), unknown);
    }
}

#[test]
fn b7_arguments_with_two_faces() {
    let (eperm, einval, enosys, success) = (errno(libc::EPERM), errno(libc::EINVAL), errno(libc::ENOSYS), errno(0));
    let sampled = Settings {
        memory_is_sampled: true,
        ..PLAIN
    };
    for (name, arguments, expected) in [
        ("setrlimit", &[4, 9][..], success),
        ("setrlimit", &[7, 9], ALLOW),
        ("prlimit64", &[0, 4, 0, 9], ALLOW),
        ("prlimit64", &[0, 4, 9, 0], success),
        ("prlimit64", &[0, 4, 1 << 32, 0], success),
        ("prlimit64", &[0, 4, 9, 9], eperm),
        ("prlimit64", &[0, 7, 9, 9], ALLOW),
        ("prlimit64", &[1, 7, 9, 9], eperm),
        ("setsockopt", &[3, 1, 7], success),
        ("setsockopt", &[3, 1, 33], success),
        ("setsockopt", &[3, 6, 7], ALLOW),
        ("setsockopt", &[3, 1, 2], ALLOW),
        ("ioctl", &[0, 0x5412], eperm),
        ("ioctl", &[0, 0x5412 | 1 << 35], eperm),
        ("ioctl", &[0, 0x5401], ALLOW),
        ("fcntl", &[0, 1024], einval),
        ("fcntl", &[0, 1031], ALLOW),
        ("seccomp", &[1, 8], einval),
        ("seccomp", &[1, 1], ALLOW),
        ("personality", &[0xffff_ffff], ALLOW),
        ("personality", &[0x4_0000], ALLOW),
        ("personality", &[0x10_0000], eperm),
        ("prctl", &[38, 1], ALLOW),
        ("prctl", &[62], einval),
        ("prctl", &[67], einval),
        ("prctl", &[0x5356_4d41], ALLOW),
        ("prctl", &[100_000], einval),
        ("sched_setscheduler", &[0, 1], eperm),
        ("sched_setscheduler", &[0, 0x4000_0002], eperm),
        ("sched_setscheduler", &[0, 5], ALLOW),
        ("sched_setscheduler", &[1, 5], eperm),
        ("setpriority", &[0, 1], eperm),
        ("setpriority", &[1, 1], eperm),
        ("setpriority", &[2, 77], eperm),
        ("setpriority", &[0, 0], ALLOW),
        ("ioprio_set", &[2, 1], eperm),
        ("ioprio_set", &[3, 0], eperm),
        ("ioprio_set", &[1, 0], ALLOW),
        ("mmap", &[0, 0, 3, 0x22], ALLOW),
        ("mmap", &[0, 0, 3, 0x4_0022], errno(libc::ENOMEM)),
        ("madvise", &[0, 0, 12], einval),
        ("madvise", &[0, 0, 4], ALLOW),
        ("memfd_create", &[9, 3], ALLOW),
        ("memfd_create", &[9, 4], einval),
        ("shmget", &[0, 1 << 30], ALLOW),
        ("shmget", &[0, 56, 0o4600], eperm),
        ("semget", &[0, 1], ALLOW),
        ("msgget", &[0, 1], ALLOW),
    ] {
        assert_eq!(asked(PLAIN, name, arguments), expected, "{name} {arguments:x?}");
    }
    for (name, arguments, expected) in [
        ("memfd_create", &[9, 3][..], eperm),
        ("shmget", &[0, 56], ALLOW),
        ("shmget", &[0, 4096], ALLOW),
        ("shmget", &[0, 4097], eperm),
        ("shmget", &[0, 1 << 32], eperm),
        ("semget", &[0, 1], enosys),
        ("msgget", &[0, 1], enosys),
    ] {
        assert_eq!(asked(sampled, name, arguments), expected, "{name} {arguments:x?}");
    }
}

#[test]
fn b7_a_filter_is_short_enough_for_the_kernel() {
    for (arch, settings) in ARCHS
        .into_iter()
        .flat_map(|arch| all_settings().map(move |settings| (arch, settings)))
    {
        let length = compile(arch, settings).len();
        assert!(length < 4096 / 4, "{arch:?}: {length}");
    }
}
