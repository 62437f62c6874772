//! Rules about the arguments of calls that have both harmless and harmful uses, as data.
//!
//! A filter sees the arguments as numbers, and not the memory that they point to. A rule is a list of cases. The first case that
//! holds gives the answer; if no case holds, the rule's default is the answer. A call without a rule is allowed with any
//! arguments.
//!
//! The kernel takes an `int` from the lower half of an argument, and so do most tests here.

use Answer::{Allow, Errno, Success};
use Setting::{Always, MemoryIsSampled, Network, WorkspaceIsMapped};
use Test::{Any, Given, Is, Masked, Over, UpTo};

/// The rule of some calls.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) calls: &'static [&'static str],
    /// For the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page"))]
    pub(super) text: &'static str,
    pub(super) cases: &'static [Case],
    pub(super) otherwise: Answer,
}

/// All of `when` must hold.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) setting: Setting,
    pub(super) when: &'static [Test],
    pub(super) then: Answer,
}

/// About an argument, which comes first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// The lower half is this.
    Is(u8, u32),
    /// The lower half has this value under a mask.
    Masked(u8, u32, u32),
    /// The lower half has any of these bits.
    Any(u8, u32),
    /// The lower half is not above this.
    UpTo(u8, u32),
    /// The whole is above this.
    Over(u8, u32),
    /// The whole is not zero.
    Given(u8),
}

/// The condition under which a case applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Always,
    /// The tree has a network: its owner's private network, or the host's.
    Network,
    /// Memory is limited and measured process by process, so all of it must belong to a process.
    MemoryIsSampled,
    /// Files that the tree makes in the workspace belong to another user on the disk.
    WorkspaceIsMapped,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// Success, without any effect.
    Success,
    Errno(i32),
}

const fn case(when: &'static [Test], then: Answer) -> Case {
    Case {
        setting: Always,
        when,
        then,
    }
}

const fn only(setting: Setting, when: &'static [Test], then: Answer) -> Case {
    Case { setting, when, then }
}

const EPERM: Answer = Errno(libc::EPERM);
const EINVAL: Answer = Errno(libc::EINVAL);
const ENOSYS: Answer = Errno(libc::ENOSYS);

/// The flags of a child or thread that stays in its tree and whose parent is its maker. The mask excludes new namespaces, a child
/// that a tracer does not see, and `CLONE_PARENT`, by which a process makes children of init's faster than init can reap them. The
/// lowest byte is the signal at the child's end.
const CLONE: u32 = 0xff
    | 0x100 // VM
    | 0x200 // FS
    | 0x400 // FILES
    | 0x800 // SIGHAND
    | 0x1000 // PIDFD
    | 0x4000 // VFORK
    | 0x1_0000 // THREAD
    | 0x4_0000 // SYSVSEM
    | 0x8_0000 // SETTLS
    | 0x10_0000 // PARENT_SETTID
    | 0x20_0000 // CHILD_CLEARTID
    | 0x40_0000 // DETACHED
    | 0x100_0000 // CHILD_SETTID
    | 0x8000_0000; // IO

/// The resources that a thread may unshare: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
const UNSHARE: u32 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
/// `O_CREAT`, and the bit of `O_TMPFILE` that is its own: with one of them a call that opens makes the file.
const MAKES: u32 = 0x40 | 0x40_0000;

const MAP_HUGETLB: u32 = 0x4_0000;
const MFD_HUGETLB: u32 = 4;
const SHM_HUGETLB: u32 = 0o4000;
const MADV_MERGEABLE: u32 = 12;
/// The one size of a page that both architectures have.
const PAGE: u32 = 4096;

/// Programs for 32 bits of the same processor, an older form of the release, and addresses that are the same each time.
const PERSONALITIES: u32 = 0x8 | 0x2_0000 | 0x4_0000;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, and `WAIT_KILLABLE_RECV`, which is only valid with it.
const LISTENER: u32 = 0x8 | 0x20;

const PR_SCHED_CORE: u32 = 62;
/// The last of those that are older than `PR_SET_MEMORY_MERGE`.
const PR_GET_MDWE: u32 = 66;
const PR_SET_VMA: u32 = 0x5356_4d41;
const PR_SET_PTRACER: u32 = 0x5961_6d61;

const RLIMIT_CORE: u32 = 4;
/// Pid 1 of the tree, which has the same user as the tree.
const INIT: u32 = 1;
const PRIO_USER: u32 = 2;
const IOPRIO_WHO_USER: u32 = 3;
/// All but `SCHED_RESET_ON_FORK`.
const POLICY: u32 = !0x4000_0000;

const SOL_SOCKET: u32 = 1;
const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
/// The bits of a socket's type without its flags.
const KIND: u32 = 0xf;
const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const RAW: u32 = 3;
const TCP: u32 = 6;
const UDP: u32 = 17;
const NO_FAMILY: Answer = Errno(libc::EAFNOSUPPORT);

const SET_ID: &str = "No set-user-id bit: the workspace is also a folder of the host, which is seldom mounted `nosuid`, and a \
    program with that bit there runs as the workspace's owner for any other user of the machine. No set-group-id bit where \
    what is made belongs to root or to its group on the disk; elsewhere it gives the owner's own group, and shared folders \
    need it.";

/// In the order of the table.
pub(super) const RULES: &[Rule] = &[
    Rule {
        calls: &["fcntl"],
        text: "No leases (`F_SETLEASE`), which delay processes outside that open the file.",
        cases: &[case(&[Is(1, 1024)], EINVAL)],
        otherwise: Allow,
    },
    Rule {
        calls: &["ioctl"],
        text: "No input put into a terminal (`TIOCSTI`, `TIOCLINUX`), and no other line discipline (`TIOCSETD`), for which \
            the kernel loads modules.",
        cases: &[
            case(&[Is(1, 0x5412)], EPERM),
            case(&[Is(1, 0x541c)], EPERM),
            case(&[Is(1, 0x5423)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["chmod", "fchmod", "creat", "mknod"],
        text: SET_ID,
        cases: &[
            case(&[Any(1, SET_USER_ID)], EPERM),
            only(WorkspaceIsMapped, &[Any(1, SET_GROUP_ID)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["fchmodat", "fchmodat2", "mknodat"],
        text: SET_ID,
        cases: &[
            case(&[Any(2, SET_USER_ID)], EPERM),
            only(WorkspaceIsMapped, &[Any(2, SET_GROUP_ID)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["open"],
        text: SET_ID,
        cases: &[
            case(&[Any(1, MAKES), Any(2, SET_USER_ID)], EPERM),
            only(WorkspaceIsMapped, &[Any(1, MAKES), Any(2, SET_GROUP_ID)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["openat"],
        text: SET_ID,
        cases: &[
            case(&[Any(2, MAKES), Any(3, SET_USER_ID)], EPERM),
            only(WorkspaceIsMapped, &[Any(2, MAKES), Any(3, SET_GROUP_ID)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["mmap"],
        text: "No huge pages of the machine's own pool (`MAP_HUGETLB`), which no limit counts.",
        cases: &[case(&[Any(3, MAP_HUGETLB)], Errno(libc::ENOMEM))],
        otherwise: Allow,
    },
    Rule {
        calls: &["madvise"],
        text: "No merging with the pages of others (`MADV_MERGEABLE`), whose content could be guessed by the time it takes.",
        cases: &[case(&[Is(2, MADV_MERGEABLE)], EINVAL)],
        otherwise: Allow,
    },
    Rule {
        calls: &["memfd_create"],
        text: "Denied where memory is sampled, because it belongs to no process; huge pages are always denied.",
        cases: &[only(MemoryIsSampled, &[], EPERM), case(&[Any(1, MFD_HUGETLB)], EINVAL)],
        otherwise: Allow,
    },
    Rule {
        calls: &["shmget"],
        text: "Where memory is sampled, one page at most, which is enough for PostgreSQL: the kernel bounds their number, \
            and so they hold 16 MiB at most. Never of huge pages.",
        cases: &[
            only(MemoryIsSampled, &[Over(1, PAGE)], EPERM),
            case(&[Any(2, SHM_HUGETLB)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["clone"],
        text: "No new namespaces, no `CLONE_UNTRACED` and no `CLONE_PARENT`, with which children become init's.",
        cases: &[case(&[Any(0, !CLONE)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["unshare"],
        text: "No new namespaces.",
        cases: &[case(&[Any(0, !UNSHARE)], EPERM), case(&[Over(0, u32::MAX)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["prctl"],
        text: "Not `PR_SCHED_CORE`, by which a tree keeps others from a processor's second thread, nor what is newer than \
            `PR_GET_MDWE`, merging of memory among it.",
        cases: &[
            case(&[Is(0, PR_SCHED_CORE)], EINVAL),
            case(&[UpTo(0, PR_GET_MDWE)], Allow),
            case(&[Is(0, PR_SET_VMA)], Allow),
            case(&[Is(0, PR_SET_PTRACER)], Allow),
        ],
        otherwise: EINVAL,
    },
    Rule {
        calls: &["personality"],
        text: "Asking, `PER_LINUX32`, `UNAME26` and `ADDR_NO_RANDOMIZE`; not those that make old faults of the kernel easier \
            to use.",
        cases: &[case(&[Is(0, u32::MAX)], Allow), case(&[Any(0, !PERSONALITIES)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["seccomp"],
        text: "No listener, with which one process answers the calls of another.",
        cases: &[case(&[Any(1, LISTENER)], EINVAL)],
        otherwise: Allow,
    },
    Rule {
        calls: &["setrlimit"],
        text: "A limit of core dumps is not changed, and the answer is success: it is 1, and the kernel starts the helper of \
            the machine for 0.",
        cases: &[case(&[Is(0, RLIMIT_CORE)], Success)],
        otherwise: Allow,
    },
    Rule {
        calls: &["prlimit64"],
        text: "Not of init. A limit of core dumps is not changed, as by `setrlimit`; with a place for the old one, which \
            would stay empty, the answer is EPERM.",
        cases: &[
            case(&[Is(0, INIT)], EPERM),
            case(&[Is(1, RLIMIT_CORE), Given(2), Given(3)], EPERM),
            case(&[Is(1, RLIMIT_CORE), Given(2)], Success),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["setpriority"],
        text: "Not for init, nor for all processes of its user.",
        cases: &[case(&[Is(1, INIT)], EPERM), case(&[Is(0, PRIO_USER)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["ioprio_set"],
        text: "Not for init, nor for all processes of its user.",
        cases: &[case(&[Is(1, INIT)], EPERM), case(&[Is(0, IOPRIO_WHO_USER)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["sched_setaffinity", "sched_setparam"],
        text: "Not of init.",
        cases: &[case(&[Is(0, INIT)], EPERM)],
        otherwise: Allow,
    },
    Rule {
        calls: &["sched_setscheduler"],
        text: "Not of init, and no policy that goes before all others (`SCHED_FIFO`, `SCHED_RR`, `SCHED_DEADLINE`).",
        cases: &[
            case(&[Is(0, INIT)], EPERM),
            case(&[Masked(1, POLICY, 1)], EPERM),
            case(&[Masked(1, POLICY, 2)], EPERM),
            case(&[Masked(1, POLICY, 6)], EPERM),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["socket"],
        text: "Unix sockets. Unless the command has no network (`none`), also TCP, UDP and routing netlink, by which libraries \
            list interfaces. No raw sockets.",
        cases: &[
            case(&[Is(0, UNIX)], Allow),
            only(Network, &[Is(0, INET), Masked(1, KIND, STREAM), Is(2, 0)], Allow),
            only(Network, &[Is(0, INET), Masked(1, KIND, STREAM), Is(2, TCP)], Allow),
            only(Network, &[Is(0, INET), Masked(1, KIND, DATAGRAM), Is(2, 0)], Allow),
            only(Network, &[Is(0, INET), Masked(1, KIND, DATAGRAM), Is(2, UDP)], Allow),
            only(Network, &[Is(0, INET), Masked(1, KIND, RAW)], EPERM),
            only(Network, &[Is(0, INET)], Errno(libc::EPROTONOSUPPORT)),
            only(Network, &[Is(0, INET6), Masked(1, KIND, STREAM), Is(2, 0)], Allow),
            only(Network, &[Is(0, INET6), Masked(1, KIND, STREAM), Is(2, TCP)], Allow),
            only(Network, &[Is(0, INET6), Masked(1, KIND, DATAGRAM), Is(2, 0)], Allow),
            only(Network, &[Is(0, INET6), Masked(1, KIND, DATAGRAM), Is(2, UDP)], Allow),
            only(Network, &[Is(0, INET6), Masked(1, KIND, RAW)], EPERM),
            only(Network, &[Is(0, INET6)], Errno(libc::EPROTONOSUPPORT)),
            only(Network, &[Is(0, NETLINK), Is(2, NETLINK_ROUTE)], Allow),
            only(Network, &[Is(0, NETLINK)], Errno(libc::EPROTONOSUPPORT)),
        ],
        otherwise: NO_FAMILY,
    },
    Rule {
        calls: &["socketpair"],
        text: "Unix sockets, the only ones that the kernel makes pairs of for every program.",
        cases: &[case(&[Is(0, UNIX)], Allow)],
        otherwise: NO_FAMILY,
    },
    Rule {
        calls: &["setsockopt"],
        text: "The sizes of buffers (`SO_SNDBUF`, `SO_RCVBUF`, and by force) stay as they are, and the answer is success: \
            what is in them is not counted as memory where that is sampled.",
        cases: &[
            case(&[Is(1, SOL_SOCKET), Is(2, 7)], Success),
            case(&[Is(1, SOL_SOCKET), Is(2, 8)], Success),
            case(&[Is(1, SOL_SOCKET), Is(2, 32)], Success),
            case(&[Is(1, SOL_SOCKET), Is(2, 33)], Success),
        ],
        otherwise: Allow,
    },
    Rule {
        calls: &["semget", "msgget"],
        text: "Denied where memory is sampled, because the objects' memory belongs to no process.",
        cases: &[only(MemoryIsSampled, &[], ENOSYS)],
        otherwise: Allow,
    },
];
