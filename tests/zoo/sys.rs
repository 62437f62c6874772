//! System calls without a library, as a hostile program makes them.
#![expect(unsafe_code, reason = "the calls that no safe wrapper offers are the ones to try")]

use std::ffi::{CString, c_long};
use std::time::Duration;

/// The result of a call, or its errno.
pub(crate) type Answer = Result<usize, i32>;

/// The value of -1 in an argument.
pub(crate) const MINUS_ONE: usize = usize::MAX;

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Makes any call, with the given arguments and zeros for the rest.
pub(crate) fn call(number: c_long, args: &[usize]) -> Answer {
    let arg = |index| args.get(index).copied().unwrap_or(0_usize);
    // SAFETY: callers pass numbers, and pointers to memory that outlives the call and is as long as they say. No call
    // changes this process's memory in another way.
    let returned = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    usize::try_from(returned).map_err(|_| errno())
}

/// The same, ignoring the answer.
pub(crate) fn just(number: c_long, args: &[usize]) {
    let _: Answer = call(number, args);
}

/// A text as an argument.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).expect("no attempt has a NUL in it")
}

/// The address of a value, as an argument.
pub(crate) fn at<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>().expose_provenance()
}

/// The address of a value that the call may write to, as an argument.
pub(crate) fn at_mut<T: ?Sized>(value: &mut T) -> usize {
    std::ptr::from_mut(value).cast::<u8>().expose_provenance()
}

/// A descriptor, pid or flag as an argument.
pub(crate) fn int(value: i32) -> usize {
    isize::try_from(value).expect("32 bits fit").cast_unsigned()
}

/// After this, the kernel answers a call with `ENOSYS`, in this process and in every program that it executes.
pub(crate) fn hide(number: c_long) -> Answer {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("a code of 16 bits"),
        jt,
        jf,
        k,
    };
    let number = u32::try_from(number).expect("a number of 32 bits");
    let mut steps = [
        // The number is the first field of the filter's input.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: steps.as_mut_ptr(),
    };
    call(libc::SYS_prctl, &[int(libc::PR_SET_NO_NEW_PRIVS), 1])?;
    call(libc::SYS_seccomp, &[1, 0, at(&program)])
}

/// Forks. Returns the child's pid, and none in the child. This program has one thread whenever it forks.
pub(crate) fn fork() -> Result<Option<i32>, i32> {
    // SAFETY: there is one thread, so no other thread holds a lock, and the child may continue freely.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid)),
        _ => Err(errno()),
    }
}

/// As [`fork`], and the child is a child of this process's parent.
pub(crate) fn sibling() -> Result<Option<i32>, i32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // Without CLONE_VM and without a stack this is a fork.
    let pid = call(libc::SYS_clone, &[int(flags)])?;
    Ok(i32::try_from(pid).ok().filter(|&pid| pid > 0))
}

/// Ends this process without running exit handlers.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: the argument is a number.
    unsafe { libc::_exit(code) }
}

/// The status of a child that ended, as `waitpid` returns it; none if there is no child.
pub(crate) fn wait(pid: i32) -> Option<i32> {
    let mut status = 0_i32;
    loop {
        match call(libc::SYS_wait4, &[int(pid), at_mut(&mut status)]) {
            Ok(_) => return Some(status),
            Err(libc::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Sleeps until a signal ends this process.
pub(crate) fn pause() -> ! {
    loop {
        just(libc::SYS_pause, &[]);
    }
}

/// Blocks and ignores every signal that can be blocked. Only KILL and STOP remain.
pub(crate) fn deaf() {
    block();
    for signal in 1..=64 {
        if ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD].contains(&signal) {
            // Handler SIG_IGN, no flags, no restorer, no mask.
            let action = [1_u64, 0, 0, 0];
            just(libc::SYS_rt_sigaction, &[int(signal), at(&action), 0, 8]);
        }
    }
}

/// Blocks every signal, so that [`next_signal`] can take it.
pub(crate) fn block() {
    let every = u64::MAX;
    just(libc::SYS_rt_sigprocmask, &[int(libc::SIG_SETMASK), at(&every), 0, 8]);
}

/// Waits for one of `signals`.
pub(crate) fn next_signal(signals: &[i32]) -> i32 {
    let set = signals.iter().fold(0_u64, |set, signal| set | 1 << (signal - 1));
    loop {
        if let Ok(signal) = call(libc::SYS_rt_sigtimedwait, &[at(&set), 0, 0, 8]) {
            return i32::try_from(signal).unwrap_or_default();
        }
    }
}

/// Lets the kernel reap children without reporting their usage.
pub(crate) fn ignore_children() {
    // Handler SIG_IGN.
    let action = [1_u64, 0, 0, 0];
    just(libc::SYS_rt_sigaction, &[int(libc::SIGCHLD), at(&action), 0, 8]);
}

/// Processor time of this process.
pub(crate) fn cpu_time() -> Duration {
    let mut time = [0_i64; 2];
    just(
        libc::SYS_clock_gettime,
        &[int(libc::CLOCK_PROCESS_CPUTIME_ID), at_mut(&mut time)],
    );
    let [seconds, nanos] = time;
    Duration::new(
        u64::try_from(seconds).unwrap_or_default(),
        u32::try_from(nanos).unwrap_or_default(),
    )
}

/// Uses up processor time.
pub(crate) fn spin(time: Duration) {
    let end = cpu_time() + time;
    while cpu_time() < end {
        std::hint::spin_loop();
    }
}

/// Memory of this process, every page touched.
#[derive(Debug)]
pub(crate) struct Memory {
    at: usize,
    bytes: usize,
}

const PAGE: usize = 4096;

impl Memory {
    /// Maps memory without touching it.
    pub(crate) fn map(bytes: usize, sharing: i32, fd: i32) -> Result<Self, i32> {
        let protection = int(libc::PROT_READ | libc::PROT_WRITE);
        let at = call(libc::SYS_mmap, &[0, bytes, protection, int(sharing), int(fd), 0])?;
        Ok(Self { at, bytes })
    }

    pub(crate) fn touch(&self) {
        for page in (0..self.bytes).step_by(PAGE) {
            let page = std::ptr::with_exposed_provenance_mut::<u8>(self.at + page);
            // SAFETY: within the mapping that `map` made, which is never unmapped.
            unsafe { page.write_volatile(1) };
        }
    }

    /// Reads a page in each part of this size. So the kernel keeps page tables for the whole mapping, but only the zero page as
    /// memory.
    pub(crate) fn look_at_every(&self, bytes: usize) {
        const POPULATE_READ: i32 = 22;
        just(libc::SYS_madvise, &[self.at, self.bytes, int(libc::MADV_NOHUGEPAGE)]);
        for part in (0..self.bytes).step_by(bytes) {
            just(libc::SYS_madvise, &[self.at + part, PAGE, int(POPULATE_READ)]);
        }
    }

    /// Removes it from this process's address space. Shared memory stays.
    pub(crate) fn forget(&self) {
        just(libc::SYS_madvise, &[self.at, self.bytes, int(libc::MADV_DONTNEED)]);
    }
}

/// Gives a pipe the first part of a large page, and unmaps the page.
pub(crate) fn splice_large(pipe: i32) -> Result<(), i32> {
    const LARGE: usize = 2 << 20;
    let memory = Memory::map(2 * LARGE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    let large = Memory {
        at: memory.at.next_multiple_of(LARGE),
        bytes: LARGE,
    };
    just(libc::SYS_madvise, &[large.at, LARGE, int(libc::MADV_HUGEPAGE)]);
    large.touch();
    let part = [large.at, 1];
    call(libc::SYS_vmsplice, &[int(pipe), at(&part), 1, 0])?;
    call(libc::SYS_munmap, &[memory.at, memory.bytes]).map(drop)
}

/// Ends this thread only, even if it is the first.
pub(crate) fn end_thread() -> ! {
    loop {
        just(libc::SYS_exit, &[0]);
    }
}

/// Asks for the pid by the interface of 32-bit programs.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int80() -> i32 {
    let mut eax = 20_i32;
    // SAFETY: `getpid` of the 32-bit interface takes no argument and changes only its result register.
    unsafe { std::arch::asm!("int 0x80", inout("eax") eax, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
    eax
}

/// After this, a process that opens this file waits until this process gives the lease up, or until the kernel's time limit (45 s
/// by default).
pub(crate) fn lease(file: &std::fs::File) -> Answer {
    block_io();
    let file = int(std::os::fd::AsRawFd::as_raw_fd(file));
    call(libc::SYS_fcntl, &[file, int(libc::F_SETLEASE), int(libc::F_WRLCK)])
}

/// Returns when a process waits for a leased file.
pub(crate) fn wanted() {
    let mut signal = 0;
    // SAFETY: the set was made before it is read, and there is room for the number.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGIO);
        libc::sigwait(&raw const set, &raw mut signal);
    }
}

/// Blocks the signal that reports this, so that it stays pending.
fn block_io() {
    // SAFETY: the set was made before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGIO);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}
