//! The system calls for which `rustix` has no safe form. Only this file and `vfork` contain `unsafe`.
//!
//! Init has one thread and installs no signal handler, so a copy of it may continue in ordinary code: no other thread can hold a
//! lock. The functions that take a descriptor by its number are for a process that shares init's memory and has
//! descriptors of its own (see `vfork`). They do not allocate.
#![expect(
    unsafe_code,
    reason = "calls that no library wraps safely; each says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use capsule_init::Instruction;
use libc::{c_char, c_int, c_long, c_ulong};
use rustix::io::Errno;
use rustix::process::Pid;

type Result<T> = std::result::Result<T, Errno>;

/// The signals of Linux; the C library hides two of them.
const SIGNALS: c_int = 64;

/// The size of the kernel's signal set.
const SET_BYTES: usize = size_of::<u64>();

fn errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

pub(crate) fn check(returned: c_long) -> Result<c_long> {
    if returned < 0 { Err(errno()) } else { Ok(returned) }
}

/// Blocks every signal, or none.
///
/// Calls the kernel directly, because the C library leaves out the two signals that it uses itself.
pub(crate) fn block_signals(every: bool) {
    let set: u64 = if every { u64::MAX } else { 0 };
    // SAFETY: the set is read only, and as long as is said. The call cannot fail on a valid pointer.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            ptr::null_mut::<u64>(),
            SET_BYTES,
        );
    }
}

/// Gives every signal its default disposition. Ignored ones would stay ignored across exec.
pub(crate) fn default_signals() {
    // Handler, flags, restorer (on some architectures) and mask: all zero is SIG_DFL.
    let action = [0_u64; 4];
    for signal in 1..=SIGNALS {
        // SAFETY: the action is read only and at least as long as the kernel's on every 64-bit machine. Refused for
        // SIGKILL and SIGSTOP, which are never anything but the default.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action.as_ptr(),
                ptr::null_mut::<u64>(),
                SET_BYTES,
            );
        }
    }
}

/// Lets the kernel reap this process's children as they end, or keep them until they are waited for.
pub(crate) fn forget_children(forget: bool) {
    // SAFETY: plain integers, for which zero is valid: the default disposition. The action is read only, and cannot be
    // refused for this signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_flags = if forget { libc::SA_NOCLDWAIT } else { 0 };
        libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
    }
}

/// A descriptor that becomes readable when a child changes its state. The signal has to be blocked.
pub(crate) fn child_signals() -> Result<OwnedFd> {
    // SAFETY: a zeroed set is valid memory for `sigemptyset` and `sigaddset` to fill, and is read only afterwards.
    let fd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    own(c_long::from(fd))
}

fn own(returned: c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(check(returned)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel just made this descriptor for the caller, and no other code knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts a process with a copy of this process's memory, in a control group if one is given. Returns `None` in the new process.
pub(crate) fn clone(flags: c_int, group: Option<BorrowedFd<'_>>) -> Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: RawFd = -1;
    if let Some(group) = group {
        return clone_into(flags, group, &mut pidfd);
    }
    let flags = c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the child has its own copy of everything. The third argument
    // is the place of the pidfd (on every architecture but s390, for which this is not built); the last two are unused without
    // their flags.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) })?;
    cloned(pid, pidfd)
}

/// Lets a child make a descriptor for this process and end. Other changes that the child makes to itself, such as its namespaces,
/// end with it. `None` if the child could not be started or made no descriptor.
pub(crate) fn by_a_child(make: impl FnOnce() -> Option<OwnedFd>) -> Option<OwnedFd> {
    let Some((child, _pidfd)) = clone(libc::CLONE_FILES, None).ok()? else {
        // Both processes share one descriptor table, so the number identifies the descriptor. The child drops none of the parent's
        // values.
        let number = make().map_or(0, IntoRawFd::into_raw_fd);
        exit(if number <= 255 { number } else { 0 })
    };
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    let Some(status) = ended.ok().flatten().and_then(|(_, status)| status.exit_status()) else {
        // The child was killed, and the descriptors that it had opened stay open in this process.
        exit(0)
    };
    // The result is never one of the standard streams.
    (status > 2).then(|| own(c_long::from(status)).ok()).flatten()
}

/// As [`clone`], by `clone3`, because only that call can name a control group. A seccomp profile may hide it.
fn clone_into(flags: c_int, group: BorrowedFd<'_>, pidfd: &mut RawFd) -> Result<Option<(Pid, OwnedFd)>> {
    /// The C library's constant has a type that is too small for the value.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let number = |flag: c_int| u64::from(flag.cast_unsigned());
    // SAFETY: plain integers, for which zero is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = number(flags | libc::CLONE_PIDFD) | CLONE_INTO_CGROUP;
    arguments.pidfd = u64::try_from(ptr::from_mut(pidfd).expose_provenance()).map_err(|_| Errno::FAULT)?;
    // With CLONE_PARENT the new process has the exit signal of this process, and the call refuses another signal.
    arguments.exit_signal = if flags & libc::CLONE_PARENT == 0 {
        number(libc::SIGCHLD)
    } else {
        0
    };
    arguments.cgroup = number(group.as_raw_fd());
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the child has its own copy of everything. The kernel only
    // reads the arguments, and no more bytes than the size says; the caller holds the place of the pidfd.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) })?;
    cloned(pid, *pidfd)
}

/// The result of a clone: none in the new process.
pub(crate) fn cloned(pid: c_long, pidfd: RawFd) -> Result<Option<(Pid, OwnedFd)>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    Ok(Some((pid, own(c_long::from(pidfd))?)))
}

/// The file that kills every process of a control group when "1" is written to it (since Linux 5.14).
pub(crate) fn group_killer(group: &OwnedFd) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    openat(group, "cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: no flag that init passes affects memory or descriptors.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Sends a signal by number, including real-time signals. A negative pid is a group; -1 is every process that may be signalled.
pub(crate) fn kill(pid: c_int, signal: c_int) -> Result<()> {
    // SAFETY: touches no memory of this process, which is never the target of its own signals.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// The same through a pidfd, which always refers to the same process.
pub(crate) fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: no siginfo is passed, and the descriptor is open.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) }).map(drop)
}

/// The usage of the children that were waited for.
pub(crate) fn children_usage() -> libc::rusage {
    // SAFETY: plain integers, for which zero is valid; the call fills them in and cannot fail on these arguments.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    }
}

/// Changes a mount: `fd` itself if `path` is empty.
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    set: u64,
    propagation: c_ulong,
) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    set_attributes(fd, path, flags, &attributes)
}

fn set_attributes(fd: BorrowedFd<'_>, path: &CStr, flags: c_int, attributes: &libc::mount_attr) -> Result<()> {
    // SAFETY: path and attributes outlive the call, which only reads them; the size is theirs.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Makes a detached mount show its files as other owners', by the maps of a user namespace.
pub(crate) fn map_mount(fd: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(|_| Errno::BADF)?,
    };
    set_attributes(fd, c"", libc::AT_EMPTY_PATH, &attributes)
}

/// Leaves the session's keyring, which is the host's and holds the host's keys, for a new one.
pub(crate) fn new_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: no name is passed: a keyring that others could join by it.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<c_char>()) };
    check(joined).map(drop)
}

/// Gives this process the usual scheduling policy and the usual priority for disks, if the host has given itself higher ones. The
/// kernel never refuses a lower priority.
pub(crate) fn usual_scheduling() {
    const THIS_PROCESS: c_int = 1;
    const IOPRIO_REAL_TIME: c_long = 1;
    const CLASS_SHIFT: c_int = 13;
    // Every field that the kernel reads as the parameters. The C libraries' structures differ.
    let usual_priority: c_int = 0;
    // SAFETY: the parameters are read only, and the rest are numbers. Bare calls: some C libraries leave out the first.
    unsafe {
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0) & !c_long::from(libc::SCHED_RESET_ON_FORK);
        if policy == c_long::from(libc::SCHED_FIFO) || policy == c_long::from(libc::SCHED_RR) {
            libc::syscall(
                libc::SYS_sched_setscheduler,
                0,
                libc::SCHED_OTHER,
                &raw const usual_priority,
            );
        }
        if libc::syscall(libc::SYS_ioprio_get, THIS_PROCESS, 0) >> CLASS_SHIFT == IOPRIO_REAL_TIME {
            libc::syscall(libc::SYS_ioprio_set, THIS_PROCESS, 0, 0);
        }
    }
}

/// Closes every descriptor from `first` on, or marks it to be closed by exec.
pub(crate) fn close_from(first: RawFd, on_exec: bool) -> Result<()> {
    let flags = if on_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: called to close only before this program owns a descriptor above its standard streams.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, flags) }).map(drop)
}

/// Takes every capability out of the bounding set.
pub(crate) fn clear_bounding_set() {
    for capability in 0..64 {
        // SAFETY: takes numbers only. The first that the kernel does not know is behind the last.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
}

/// Restricts this process by a Landlock ruleset, for good.
pub(crate) fn landlock(ruleset: RawFd) -> Result<()> {
    // SAFETY: takes a number and no flags.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(drop)
}

/// A filter of system calls, as the kernel takes it.
pub(crate) struct Filter(Vec<libc::sock_filter>);

impl Filter {
    pub(crate) fn of(program: &[Instruction]) -> Self {
        let instructions = program.iter();
        Self(
            instructions
                .map(|&Instruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k })
                .collect(),
        )
    }

    /// Filters this process's calls, for good; an empty filter filters none.
    pub(crate) fn install(&self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| Errno::TOOBIG)?,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: the program points to as many instructions as it says. The kernel copies and verifies them, and does not write to
        // them.
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
            .map(drop)
    }
}

/// Makes `to`, one of the standard streams, a duplicate of `from`.
pub(crate) fn dup2(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: takes numbers only. No value owns a standard stream.
    check(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// Writes once: all bytes, a part of them, or none.
pub(crate) fn write(to: RawFd, bytes: &[u8]) {
    // SAFETY: the bytes are read only.
    unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
}

/// The first version of the kernel's description of a counter; later fields default to zero.
#[repr(C)]
#[derive(Default)]
struct CounterAttributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config1: u64,
}

/// Counts the CPU time of this process and all processes that it starts from now on, whether they are waited for or not.
///
/// A guest that ignores SIGCHLD hides its children from every other account. An ordinary user may do this because of the flag that
/// excludes the kernel; the clock counts the kernel's time all the same.
pub(crate) fn cpu_counter() -> Result<OwnedFd> {
    const SOFTWARE: u32 = 1;
    const TASK_CLOCK: u64 = 1;
    const INHERIT: u64 = 1 << 1;
    const EXCLUDE_KERNEL: u64 = 1 << 5;
    const CLOEXEC: c_ulong = 1 << 3;
    let attributes = CounterAttributes {
        kind: SOFTWARE,
        size: u32::try_from(size_of::<CounterAttributes>()).map_err(|_| Errno::INVAL)?,
        config: TASK_CLOCK,
        flags: INHERIT | EXCLUDE_KERNEL,
        ..CounterAttributes::default()
    };
    // SAFETY: the attributes are read only and as long as they say. This process, any processor, no group.
    own(unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, CLOEXEC) })
}

/// Resets a counter to zero.
pub(crate) fn restart(counter: &OwnedFd) -> Result<()> {
    use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};
    /// `PERF_EVENT_IOC_RESET`.
    const RESET: Opcode = opcode::none(b'$', 3);
    // SAFETY: the call of this number takes no argument, and no flags.
    unsafe { ioctl(counter, NoArg::<RESET>::new()) }
}

/// Strings in the form that exec takes.
pub(crate) struct Strings {
    /// The pointers to the strings, and a null at the end.
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

// SAFETY: nothing writes to the strings that the pointers point to; the value owns them, and they do not move.
unsafe impl Sync for Strings {}

impl Strings {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr());
        Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _strings: strings,
        }
    }
}

/// Becomes another program; returns only if it cannot.
pub(crate) fn exec(path: &CStr, args: &Strings, env: &Strings) -> Errno {
    // SAFETY: strings with a NUL at the end each, and lists of such with a null.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    errno()
}

/// Brings a network interface up, by any socket of its network.
pub(crate) fn bring_up(socket: &OwnedFd, interface: &CStr) -> Result<()> {
    let mut request = interface_request(interface);
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(up).map_err(|_| Errno::INVAL)?;
    configure(socket, libc::SIOCSIFFLAGS, &request)
}

/// Gives a network interface one more IPv4 address, with the prefix of its range. `alias` is the name of the interface, a colon and
/// a label.
pub(crate) fn add_address(socket: &OwnedFd, alias: &CStr, address: u32, prefix: u32) -> Result<()> {
    let mask = u32::MAX.checked_shl(u32::BITS.saturating_sub(prefix)).unwrap_or(0);
    for (number, call) in [(address, libc::SIOCSIFADDR), (mask, libc::SIOCSIFNETMASK)] {
        let mut request = interface_request(alias);
        let address = libc::sockaddr_in {
            sin_family: libc::sa_family_t::try_from(libc::AF_INET).map_err(|_| Errno::INVAL)?,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: number.to_be() },
            sin_zero: [0; 8],
        };
        // SAFETY: both types are plain bytes of the same size, which the kernel tells apart by the family.
        request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
        configure(socket, call, &request)?;
    }
    Ok(())
}

fn interface_request(interface: &CStr) -> libc::ifreq {
    // SAFETY: plain integers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte of its place stays zero.
    let place = request.ifr_name.split_last_mut().map(|(_, place)| place);
    for (to, from) in place.into_iter().flatten().zip(interface.to_bytes()) {
        // Whether `c_char` is signed depends on the architecture.
        *to = c_char::from_ne_bytes([*from]);
    }
    request
}

fn configure(socket: &OwnedFd, call: c_ulong, request: &libc::ifreq) -> Result<()> {
    // Called by its number, because the C libraries differ in the type of the second argument.
    // SAFETY: the calls that are made here only read the request, which outlives them; its name ends with a NUL.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), call, &raw const *request) };
    check(result).map(drop)
}

/// Ends this process at once, without the C library's work at exit.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: ends the process. This program has registered nothing to run at exit.
    unsafe { libc::_exit(code) }
}
