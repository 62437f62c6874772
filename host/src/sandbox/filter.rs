//! What a confined command may ask of the kernel: a seccomp filter, compiled once for a launcher, and a Landlock ruleset.
//!
//! The namespaces decide what a command sees. The filter takes away what could undo that, or reach the parts of the
//! kernel that have been its weakest; it denies by name, because programs must run as they are. A set-user-id bit is
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

/// The kernel's codes for what is put together here: loading a word of what a filter is given, jumping, answering.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
#[cfg(target_arch = "x86_64")]
const RETURN: u16 = 0x06;
#[cfg(target_arch = "x86_64")]
const ERRNO: u32 = 0x0005_0000;

/// Where the call's number is in what a filter is given.
const NUMBER: u32 = 0;

/// The filters that a command may get, one or the other.
pub(crate) struct Filters {
    plain: Vec<Instruction>,
    owned_memory: Vec<Instruction>,
}

/// What is answered to which calls, where one of the rules matches or there is none.
type Rules = BTreeMap<libc::c_long, (i32, Vec<SeccompRule>)>;

impl Filters {
    pub(crate) fn new(network: bool) -> Result<Self, BackendError> {
        let plain = filter(network, &[])?;
        let owned_memory = filter(network, UNOWNED_MEMORY)?;
        Ok(Self { plain, owned_memory })
    }

    /// `memory_is_counted`: every byte that the command uses must belong to a process of it.
    pub(crate) fn of(&self, memory_is_counted: bool) -> &[Instruction] {
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

fn filter(network: bool, also_denied: &[libc::c_long]) -> Result<Vec<Instruction>, BackendError> {
    let mut rules = Rules::new();
    let mut deny = |call, when| rules.insert(call, (libc::EPERM, when));
    for call in DENIED.iter().chain(also_denied) {
        deny(*call, Vec::new());
    }
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        deny(call, any_bit(0, CLONE_DENIED)?);
    }
    for (call, mode) in [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (libc::SYS_fchmodat2, 2),
        (libc::SYS_mknodat, 2),
    ] {
        deny(call, set_id(mode, None)?);
    }
    for (call, when) in against_init()? {
        deny(call, when);
    }
    deny(libc::SYS_openat, set_id(3, Some(2))?);
    #[cfg(target_arch = "x86_64")]
    {
        for call in [libc::SYS_chmod, libc::SYS_creat, libc::SYS_mknod] {
            deny(call, set_id(1, None)?);
        }
        deny(libc::SYS_open, set_id(2, Some(1))?);
        for call in [libc::SYS_iopl, libc::SYS_ioperm] {
            deny(call, Vec::new());
        }
    }
    rules.extend(ABSENT.iter().map(|&call| (call, (libc::ENOSYS, Vec::new()))));
    let mut families: Vec<u64> = vec![libc::AF_UNIX as u64];
    if network {
        families.extend([libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64]);
    }
    let other: Result<Vec<_>, _> = families
        .iter()
        .map(|family| SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, *family))
        .collect();
    rules.insert(libc::SYS_socket, (libc::EAFNOSUPPORT, vec![SeccompRule::new(other?)?]));
    compile(rules)
}

/// Allows what no rule matches; a call of another architecture ends the process.
///
/// The library makes a chain of all calls, with one answer for all. When a filter is installed the kernel follows it to its
/// end for every call that there is, to learn which are allowed whatever their arguments: for some eighty calls that took
/// half a millisecond. So each few calls become a program, and a search by the number finds the right one.
fn compile(rules: Rules) -> Result<Vec<Instruction>, BackendError> {
    const CALLS: usize = 4;
    let rules: Vec<_> = rules.into_iter().collect();
    let programs: Result<Vec<_>, _> = rules
        .chunk_by(|(_, (errno, _)), (_, (next, _))| errno == next)
        .flat_map(|same| same.chunks(CALLS))
        .map(|rules| Ok((first_number(rules), chain(rules)?)))
        .collect();
    let mut program = vec![step(LOAD, 0, 0, NUMBER)];
    #[cfg(target_arch = "x86_64")]
    program.extend(NO_X32);
    program.extend(search(&programs?));
    Ok(program)
}

fn first_number(rules: &[(libc::c_long, (i32, Vec<SeccompRule>))]) -> u32 {
    let number = rules.first().map(|(number, _)| *number);
    number.and_then(|number| number.try_into().ok()).unwrap_or_default()
}

/// The program whose first number is the highest that a call's is not below; that number is loaded.
fn search(programs: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let (first, below, from) = match programs {
        [] => return Vec::new(),
        [(_, program)] => return program.clone(),
        _ => {
            let (below, from) = programs.split_at(programs.len() / 2);
            (from.first().map_or(0, |(first, _)| *first), search(below), search(from))
        }
    };
    let mut both = vec![
        step(JUMP_IF_GREATER_OR_EQUAL, 0, 1, first),
        step(JUMP, 0, 0, u32::try_from(below.len()).unwrap_or(u32::MAX)),
    ];
    both.extend(below);
    both.extend(from);
    both
}

/// Calls that have the same answer.
fn chain(rules: &[(libc::c_long, (i32, Vec<SeccompRule>))]) -> Result<Vec<Instruction>, BackendError> {
    let errno = rules.first().map_or(libc::EPERM, |(_, (errno, _))| *errno);
    let rules = rules.iter().map(|(call, (_, when))| (*call, when.clone())).collect();
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(program
        .into_iter()
        .map(|it| step(it.code, it.jt, it.jf, it.k))
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

/// The x32 interface has numbers of its own for every call, behind a bit, and would pass by all the others.
#[cfg(target_arch = "x86_64")]
const NO_X32: [Instruction; 2] = [
    step(JUMP_IF_GREATER_OR_EQUAL, 0, 1, 0x4000_0000),
    step(RETURN, 0, 0, ERRNO | libc::ENOSYS.unsigned_abs()),
];

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filters(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a search to the program that it ends in, which returns its own number.
    fn found(program: &[Instruction], number: u32) -> u32 {
        let mut at = 0;
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1 + match code {
                JUMP => k as usize,
                JUMP_IF_GREATER_OR_EQUAL => usize::from(if number >= k { jt } else { jf }),
                _ => return k,
            };
        }
    }

    #[test]
    fn b1_the_search_ends_where_a_call_has_its_rule() {
        for count in 1..=40 {
            let programs: Vec<_> = (0..count)
                // Longer than the shortest jump reaches.
                .map(|it| (it * 10 + 5, vec![step(0x06, 0, 0, it); 300]))
                .collect();
            let program = search(&programs);
            for number in 0..count * 10 + 20 {
                let expected = (number.saturating_sub(5) / 10).min(count - 1);
                assert_eq!(found(&program, number), expected, "{number} of {count}");
            }
        }
    }

    #[test]
    fn b1_a_filter_is_short_enough_for_the_kernel() {
        for network in [false, true] {
            let filter = filter(network, UNOWNED_MEMORY).expect("a filter");
            assert!(filter.len() < 4096 / 2, "{}", filter.len());
        }
    }
}
