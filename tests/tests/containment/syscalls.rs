//! The system calls that a confined command may make (B7): only listed ones, and of those with harmless and dangerous
//! uses only the harmless. The attempts are by number, with arguments to which the kernel itself would answer
//! differently.

use std::sync::Arc;

use capsule_host::sandbox::{Confined, Enforcement, Launcher, Network, Policy, ResourceLimits};
use capsule_host::supervisor::Limits;

use crate::harness::{Host, command, limited, sh, zoo};
use crate::who::{is_root, skip};

const EPERM: &[i32] = &[libc::EPERM];
const ENOSYS: &[i32] = &[libc::ENOSYS];
const EINVAL: &[i32] = &[libc::EINVAL];

/// An attempt at a call.
fn by_number(number: libc::c_long, arguments: &[i64]) -> String {
    let arguments: String = arguments.iter().map(|argument| format!(",{argument}")).collect();
    format!("call={number}{arguments}")
}

async fn refused(host: &Host, attempts: &[(libc::c_long, &[i64], &'static [i32])]) {
    let attempts: Vec<_> = attempts
        .iter()
        .map(|(number, arguments, answers)| (by_number(*number, arguments), *answers))
        .collect();
    let attempts: Vec<_> = attempts
        .iter()
        .map(|(attempt, answers)| (attempt.as_str(), *answers))
        .collect();
    host.refused(&attempts).await;
}

/// Calls for which `libc` has no name. They have the same number on every architecture.
const QUOTACTL_FD: libc::c_long = 443;
const CACHESTAT: libc::c_long = 451;
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;
const LSM: [libc::c_long; 3] = [459, 460, 461];
const XATTR_AT: [libc::c_long; 4] = [463, 464, 465, 466];
const OPEN_TREE_ATTR: libc::c_long = 467;
const FILE_ATTR: [libc::c_long; 2] = [468, 469];
/// The number of a call that no kernel has.
const INVENTED: libc::c_long = 1000;

async fn b7_what_is_not_listed_is_not_implemented() {
    let host = Host::new();
    let mut numbers = vec![
        CACHESTAT,
        STATMOUNT,
        LISTMOUNT,
        OPEN_TREE_ATTR,
        INVENTED,
        libc::SYS_io_setup,
        libc::SYS_io_submit,
        libc::SYS_mq_open,
        libc::SYS_mq_unlink,
        libc::SYS_memfd_secret,
        libc::SYS_vmsplice,
        libc::SYS_mbind,
        libc::SYS_set_mempolicy,
        libc::SYS_move_pages,
        libc::SYS_clone3,
    ];
    numbers.extend(LSM.into_iter().chain(XATTR_AT).chain(FILE_ATTR));
    #[cfg(target_arch = "x86_64")]
    numbers.extend([libc::SYS_modify_ldt, libc::SYS_sysfs, libc::SYS_ustat]);
    let attempts: Vec<(libc::c_long, &[i64], &[i32])> =
        numbers.into_iter().map(|number| (number, &[][..], ENOSYS)).collect();
    refused(&host, &attempts).await;
}

async fn b7_what_programs_expect_to_be_denied_is_denied() {
    refused(
        &Host::new(),
        &[
            (QUOTACTL_FD, &[-1], EPERM),
            (libc::SYS_ptrace, &[16, 1], EPERM),
            (libc::SYS_setns, &[-1], EPERM),
            (libc::SYS_bpf, &[], EPERM),
            (libc::SYS_keyctl, &[], EPERM),
            (libc::SYS_process_madvise, &[-1], EPERM),
            (libc::SYS_fanotify_mark, &[-1], EPERM),
            // The policy of that process cannot be read.
            (libc::SYS_sched_setattr, &[], EPERM),
        ],
    )
    .await;
}

async fn b7_calls_with_two_faces() {
    const MMAP_PAGE_ZERO: i64 = 0x10_0000;
    const PR_SCHED_CORE: i64 = 62;
    const PR_SET_MEMORY_MERGE: i64 = 67;
    let host = Host::new();
    refused(
        &host,
        &[
            (libc::SYS_personality, &[MMAP_PAGE_ZERO], EPERM),
            // A listener.
            (libc::SYS_seccomp, &[1, 8], EINVAL),
            (libc::SYS_prctl, &[PR_SCHED_CORE, 1, 0, 0], EINVAL),
            (libc::SYS_prctl, &[PR_SET_MEMORY_MERGE, 1, 0, 0, 0], EINVAL),
            (libc::SYS_prctl, &[100_000], EINVAL),
            // FIFO, round robin and deadline, with arguments that the kernel would not read.
            (libc::SYS_sched_setscheduler, &[0, 1], EPERM),
            (libc::SYS_sched_setscheduler, &[0, 2], EPERM),
            (libc::SYS_sched_setscheduler, &[0, 6], EPERM),
            (libc::SYS_sched_setscheduler, &[0, 0x4000_0001], EPERM),
            // For the process group of init.
            (libc::SYS_setpriority, &[1, 1, 0], EPERM),
            (libc::SYS_ioctl, &[0, 0x5412], EPERM),
            (libc::SYS_ioctl, &[0, 0x541c], EPERM),
            (libc::SYS_ioctl, &[0, 0x5423], EPERM),
            (libc::SYS_socketpair, &[2, 1, 0, 0], &[libc::EAFNOSUPPORT]),
            (libc::SYS_socketpair, &[16, 3, 0, 0], &[libc::EAFNOSUPPORT]),
        ],
    )
    .await;
    let children = [libc::CLONE_PARENT, libc::CLONE_PTRACE, libc::CLONE_UNTRACED].map(|flag| format!("clone={flag}"));
    host.refused(&children.each_ref().map(|attempt| (attempt.as_str(), EPERM)))
        .await;
    host.allowed(&[
        // The harmless uses of the same calls.
        "clone=0",
        &by_number(libc::SYS_personality, &[0xffff_ffff]),
        &by_number(libc::SYS_personality, &[0x4_0000]),
    ])
    .await;
}

async fn b7_a_network_is_tcp_udp_and_the_list_of_interfaces() {
    let host = Host::with(Policy::new().network(Network::Host));
    let unknown: &[i32] = &[libc::EPROTONOSUPPORT];
    let netlink: Vec<i64> = (1..23).collect();
    let mut attempts = Vec::new();
    for protocol in netlink {
        attempts.push((by_number(libc::SYS_socket, &[16, 3, protocol]), unknown));
    }
    for family in [2, 10] {
        attempts.extend([
            (by_number(libc::SYS_socket, &[family, 3, 1]), EPERM),
            (by_number(libc::SYS_socket, &[family, 3, 255]), EPERM),
            // ICMP, MPTCP, SCTP, UDP-Lite.
            (by_number(libc::SYS_socket, &[family, 2, 1]), unknown),
            (by_number(libc::SYS_socket, &[family, 1, 262]), unknown),
            (by_number(libc::SYS_socket, &[family, 1, 132]), unknown),
            (by_number(libc::SYS_socket, &[family, 2, 136]), unknown),
        ]);
    }
    let attempts: Vec<_> = attempts
        .iter()
        .map(|(attempt, answers)| (attempt.as_str(), *answers))
        .collect();
    host.refused(&attempts).await;
    let made = [
        [2, 1, 0],
        [2, 1, 6],
        [2, 2, 17],
        [2, 0x8_0801, 0],
        [1, 5, 0],
        [16, 3, 0],
    ]
    .map(|arguments| by_number(libc::SYS_socket, &arguments));
    host.allowed(&made.each_ref().map(String::as_str)).await;
}

async fn b7_the_limit_of_core_dumps_cannot_be_lowered() {
    let host = Host::new();
    host.allowed(&["core"]).await;
    // The command as a user would write it.
    let limits = host.printed(sh("ulimit -c 0 && cat /proc/self/limits")).await;
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    let fields: Vec<_> = line.unwrap_or_default().split_whitespace().skip(4).collect();
    assert_eq!(fields, ["1", "1", "bytes"], "{limits}");
}

async fn b7_the_buffers_of_sockets_keep_their_size() {
    let buffers = [
        libc::SO_SNDBUF,
        libc::SO_RCVBUF,
        libc::SO_SNDBUFFORCE,
        libc::SO_RCVBUFFORCE,
    ]
    .map(|option| format!("buffer={option}"));
    Host::new().allowed(&buffers.each_ref().map(String::as_str)).await;
}

async fn b7_sampled_memory_belongs_to_processes() {
    let launcher = Arc::new(Confined::new(Policy::new()).expect("a confinement"));
    if launcher.enforcements().memory != Some(Enforcement::Sampled) {
        skip("a machine where memory is sampled");
        return;
    }
    let unlimited = Limits {
        resource_defaults: ResourceLimits::default(),
        ..Limits::default()
    };
    let host = Host::launching_within(launcher, unlimited);
    let attempts = [
        (by_number(libc::SYS_semget, &[0, 1, 0o600]), libc::ENOSYS),
        (by_number(libc::SYS_msgget, &[0, 0o600]), libc::ENOSYS),
        (by_number(libc::SYS_shmget, &[0, 4097, 0o600]), libc::EPERM),
        (by_number(libc::SYS_memfd_create, &[0, 0]), libc::EPERM),
        // The call that PostgreSQL makes.
        (by_number(libc::SYS_shmget, &[0, 56, 0o600]), 0),
    ];
    let mut args = vec!["try"];
    args.extend(attempts.iter().map(|(attempt, _)| attempt.as_str()));
    let limits = ResourceLimits {
        max_memory_bytes: Some(64 << 20),
        ..ResourceLimits::default()
    };
    let printed = host.printed(limited(zoo(&args), limits)).await;
    let answers: Vec<_> = printed.lines().collect();
    let expected: Vec<_> = attempts
        .iter()
        .map(|(attempt, answer)| format!("{attempt} {answer}"))
        .collect();
    assert_eq!(answers, expected);
    // Without a limit nothing is counted.
    let unlimited = Limits {
        resource_defaults: ResourceLimits::default(),
        ..Limits::default()
    };
    let launcher = Arc::new(Confined::new(Policy::new()).expect("a confinement"));
    let host = Host::launching_within(launcher, unlimited);
    host.allowed(&[&attempts[0].0, &attempts[1].0, &attempts[2].0]).await;
}

async fn b7_set_group_id_is_denied_where_it_gives_another_group() {
    let host = Host::new();
    if is_root() {
        for path in [host.dir(), &host.dir().join("zoo")] {
            std::os::unix::fs::chown(path, Some(0), Some(0)).expect("root's own");
        }
        host.refused(&[("sgid-chmod=./zoo", EPERM)]).await;
        return;
    }
    host.allowed(&["sgid-chmod=./zoo"]).await;
    let mode = host.printed(sh("mkdir -m 2775 shared && stat -c %a shared")).await;
    assert_eq!(mode.trim(), "2775");
    if std::path::Path::new("/usr/bin/git").exists() {
        host.printed(command("/usr/bin/git", &["init", "-q", "--shared", "repository"]))
            .await;
    }
}

crate::who::each_user!(
    b7_what_is_not_listed_is_not_implemented,
    b7_what_programs_expect_to_be_denied_is_denied,
    b7_calls_with_two_faces,
    b7_a_network_is_tcp_udp_and_the_list_of_interfaces,
    b7_the_limit_of_core_dumps_cannot_be_lowered,
    b7_the_buffers_of_sockets_keep_their_size,
    b7_sampled_memory_belongs_to_processes,
    b7_set_group_id_is_denied_where_it_gives_another_group,
);
