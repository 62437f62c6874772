//! What a confined command may ask of the kernel: seccomp filters, compiled once for a launcher, and a Landlock ruleset.
//!
//! The namespaces decide what a command sees. The filters take away what could undo that, or reach the parts of the
//! kernel that have been its weakest; they deny by name, because programs must run as they are. A set-user-id bit is
//! denied because the workspace is also a folder of the host, where nobody mounts it `nosuid`.

use std::collections::BTreeMap;

use capsule_init::Instruction;
use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::os::fd::OwnedFd;

/// Denied whatever the arguments. In turn: mounts and roots; other processes' memory, and a second look at files; the
/// kernel's own machinery; what belongs to the whole system.
const DENIED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_fanotify_init,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_acct,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Memory that belongs to no process, and so is not seen where memory is looked at process by process.
const UNOWNED_MEMORY: &[libc::c_long] = &[
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_vmsplice,
];

/// Answered as by a kernel that does not have them, for which every program is prepared: their arguments lie in memory,
/// where a filter cannot see them.
const ABSENT: &[libc::c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Flags of `clone` and `unshare` for which there is no way out of a tree: new namespaces, and a child that a tracer
/// does not see.
const CLONE_DENIED: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_UNTRACED) as u64;

/// The filters for one command.
pub(crate) struct Filters {
    plain: Vec<Vec<Instruction>>,
    owned_memory: Vec<Vec<Instruction>>,
}

impl Filters {
    pub(crate) fn new(network: bool) -> Result<Self, BackendError> {
        let plain = filters(network, &[])?;
        let owned_memory = filters(network, UNOWNED_MEMORY)?;
        Ok(Self { plain, owned_memory })
    }

    /// `memory_is_counted`: every byte that the command uses must belong to a process of it.
    pub(crate) fn of(&self, memory_is_counted: bool) -> &[Vec<Instruction>] {
        if memory_is_counted {
            &self.owned_memory
        } else {
            &self.plain
        }
    }
}

/// A ruleset that keeps signals and abstract sockets inside of the tree, or none where the kernel has no such scopes.
/// With a network of its own, and processes that see no others, a tree has neither anyhow; this is for those that share
/// the host's network.
pub(crate) fn scopes() -> Option<OwnedFd> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::from_all(ABI::V6))
        .and_then(Ruleset::create)
        .ok()?;
    ruleset.into()
}

/// Whether there is a Landlock at all, with scopes or without.
pub(crate) fn has_landlock() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1));
    ruleset.and_then(Ruleset::create).is_ok()
}

fn filters(network: bool, also_denied: &[libc::c_long]) -> Result<Vec<Vec<Instruction>>, BackendError> {
    let always = |calls: &[libc::c_long]| calls.iter().map(|&call| (call, Vec::new())).collect::<BTreeMap<_, _>>();
    let mut denied = always(DENIED);
    denied.extend(always(also_denied));
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        denied.insert(call, any_bit(0, CLONE_DENIED)?);
    }
    for (call, mode) in [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (libc::SYS_fchmodat2, 2),
        (libc::SYS_mknodat, 2),
    ] {
        denied.insert(call, set_id(mode, None)?);
    }
    denied.extend(against_init()?);
    denied.insert(libc::SYS_openat, set_id(3, Some(2))?);
    #[cfg(target_arch = "x86_64")]
    {
        for call in [libc::SYS_chmod, libc::SYS_creat, libc::SYS_mknod] {
            denied.insert(call, set_id(1, None)?);
        }
        denied.insert(libc::SYS_open, set_id(2, Some(1))?);
        denied.extend(always(&[libc::SYS_iopl, libc::SYS_ioperm]));
    }

    let mut families: Vec<u64> = vec![libc::AF_UNIX as u64];
    if network {
        families.extend([libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64]);
    }
    let other: Result<Vec<_>, _> = families
        .iter()
        .map(|family| SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, *family))
        .collect();
    let sockets = BTreeMap::from([(libc::SYS_socket, vec![SeccompRule::new(other?)?])]);

    let mut filters = vec![
        compile(denied, libc::EPERM)?,
        compile(always(ABSENT), libc::ENOSYS)?,
        compile(sockets, libc::EAFNOSUPPORT)?,
    ];
    #[cfg(target_arch = "x86_64")]
    filters.push(no_x32());
    Ok(filters)
}

/// Allows what `rules` do not match; a call of another architecture ends the process.
fn compile(rules: BTreeMap<libc::c_long, Vec<SeccompRule>>, errno: i32) -> Result<Vec<Instruction>, BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(program
        .into_iter()
        .map(|step| Instruction {
            code: step.code,
            jt: step.jt,
            jf: step.jf,
            k: step.k,
        })
        .collect())
}

/// What would leave init alive and unable to do its work: its limits, its priority, its processors. Init is the tree's own
/// user, and pid 1, which nothing else in the tree is.
fn against_init() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, BackendError> {
    const INIT: u64 = 1;
    const IOPRIO_WHO_PROCESS: u64 = 1;
    const IOPRIO_WHO_USER: u64 = 3;
    let is = |argument, value| SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value);
    let mut rules = BTreeMap::new();
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![SeccompRule::new(vec![is(0, INIT)?])?]);
    }
    let (process, user) = (u64::from(libc::PRIO_PROCESS), u64::from(libc::PRIO_USER));
    for (call, process, user) in [
        (libc::SYS_setpriority, process, user),
        (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, IOPRIO_WHO_USER),
    ] {
        let of_init = SeccompRule::new(vec![is(0, process)?, is(1, INIT)?])?;
        rules.insert(call, vec![of_init, SeccompRule::new(vec![is(0, user)?])?]);
    }
    Ok(rules)
}

/// Matches where any of `bits` is set in an argument.
fn any_bit(argument: u8, bits: u64) -> Result<Vec<SeccompRule>, BackendError> {
    each_bit(bits)
        .map(|bit| {
            SeccompRule::new(vec![SeccompCondition::new(
                argument,
                Dword,
                SeccompCmpOp::MaskedEq(bit),
                bit,
            )?])
        })
        .collect()
}

/// Matches a mode with a set-user-id or set-group-id bit; for a call that opens, only where it also makes the file.
fn set_id(mode: u8, flags: Option<u8>) -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for bit in each_bit(u64::from(libc::S_ISUID | libc::S_ISGID)) {
        let set = SeccompCondition::new(mode, Dword, SeccompCmpOp::MaskedEq(bit), bit)?;
        match flags {
            None => rules.push(SeccompRule::new(vec![set])?),
            Some(flags) => {
                // The bits of O_TMPFILE but for O_DIRECTORY, which it includes.
                for makes in [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY] {
                    let makes = u64::from(makes.unsigned_abs());
                    let made = SeccompCondition::new(flags, Dword, SeccompCmpOp::MaskedEq(makes), makes)?;
                    rules.push(SeccompRule::new(vec![set.clone(), made])?);
                }
            }
        }
    }
    Ok(rules)
}

fn each_bit(bits: u64) -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(|bit| 1 << bit).filter(move |bit| bits & bit != 0)
}

/// The x32 interface has numbers of its own for every call, behind this bit, and would pass by all the others.
#[cfg(target_arch = "x86_64")]
fn no_x32() -> Vec<Instruction> {
    const X32: u32 = 0x4000_0000;
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    vec![
        Instruction {
            code: LOAD_NUMBER,
            jt: 0,
            jf: 0,
            k: 0,
        },
        Instruction {
            code: JUMP_IF_GREATER_OR_EQUAL,
            jt: 0,
            jf: 1,
            k: X32,
        },
        Instruction {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: ERRNO | libc::ENOSYS.unsigned_abs(),
        },
        Instruction {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: ALLOW,
        },
    ]
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filters(…)")
    }
}
