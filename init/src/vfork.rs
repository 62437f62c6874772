//! Starts a process that shares this process's memory until it executes a program.
//!
//! This works like vfork, but init continues meanwhile, because a suspended init would not see the end of its channel. A copy
//! of the memory would cost a tenth of a small command's whole life: for page tables, and then for each page that either process
//! writes to.
//!
//! Two processes in one memory are like two threads, and the new process has no thread-local storage of
//! its own. So it must not allocate, and both share the C library's `errno`. Until the new process has executed its program or
//! exited, init makes no call that may fail, except to kill it, and frees no memory, because that may write `errno` too.
#![expect(
    unsafe_code,
    reason = "a stack, a clone that runs on it, and a memory that comes free when the kernel says so"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::sys;

/// More than the calls before exec need, most of all a limit that is read and set. The kernel allocates pages as they are touched.
const STACK: usize = 64 << 10;
/// The guard below the stack, which may not be touched: a page of the largest size that the kernel is built with.
const GUARD: usize = 64 << 10;

/// The longest report of a process before it executes its program, in bytes.
const LAST_WORDS: usize = 256;

/// A process, while it may still use this one's memory.
pub(crate) struct Started<T: Sync> {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// It ends when the other end closes. Only the new process has that end, and the kernel closes it after the process has another
    /// memory or has ended.
    pipe: OwnedFd,
    said: Vec<u8>,
    /// Made by a box, and owned by this value. It is freed only after that end.
    task: NonNull<Task<T>>,
    /// Freed only after that end, too.
    stack: ManuallyDrop<Stack>,
}

pub(crate) struct Task<T> {
    work: T,
    run: fn(&T, RawFd),
    words: RawFd,
}

/// Runs `run` in a new process, with the number of a descriptor for its report: [`LAST_WORDS`] bytes at most, in one write. `run`
/// must not allocate, and has the descriptors of this process, by number. If it returns, the process ends.
pub(crate) fn start<T: Sync>(
    work: T,
    run: fn(&T, RawFd),
    stack: Stack,
    group: Option<BorrowedFd<'_>>,
) -> Result<Started<T>, (Errno, &'static str)> {
    let (pipe, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| (errno, "pipe"))?;
    let task = Box::new(Task {
        work,
        run,
        words: theirs.as_raw_fd(),
    });
    // From here on two processes read the task. A box must have only one owner.
    let task = NonNull::from(Box::leak(task));
    let cloned = match group {
        None => share(task, &stack),
        // The C library has no function for the call that names a group, so the new process gets a copy of the memory.
        Some(group) => match sys::clone(0, Some(group)) {
            Ok(None) => {
                begin::<T>(task.as_ptr().cast());
                sys::exit(GONE)
            }
            Ok(Some(cloned)) => Ok(cloned),
            Err(errno) => Err(errno),
        },
    };
    let (pid, pidfd) = cloned.map_err(|errno| (errno, "clone"))?;
    Ok(Started {
        pid,
        pidfd,
        pipe,
        said: Vec::new(),
        task,
        stack: ManuallyDrop::new(stack),
    })
}

/// The resources of a process that has left this memory. Dropping it frees the memory that the process used.
pub(crate) struct Left<T> {
    pub(crate) pidfd: OwnedFd,
    /// The report why it did not execute its program; empty if it did.
    pub(crate) words: Vec<u8>,
    _shared: (Box<Task<T>>, Stack),
}

impl<T: Sync> Started<T> {
    /// Readable once the process has reported, or has left the memory.
    pub(crate) fn words(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes the report of the process; blocks until the process has written one or has left the memory. Returns none if the
    /// process has not left yet.
    pub(crate) fn hear(started: &mut Option<Self>) -> Result<Option<Left<T>>, Errno> {
        let Some(mut it) = started.take() else { return Ok(None) };
        let mut buffer = [0; LAST_WORDS];
        match read(&it.pipe, &mut buffer) {
            Ok(0) => {
                // SAFETY: made by a box in `start`. The process that also read it has another memory now, or has ended.
                let task = unsafe { Box::from_raw(it.task.as_ptr()) };
                return Ok(Some(Left {
                    pidfd: it.pidfd,
                    words: it.said,
                    _shared: (task, ManuallyDrop::into_inner(it.stack)),
                }));
            }
            Ok(read) => it.said.extend(buffer.iter().take(read)),
            Err(Errno::INTR) => {}
            // The shared memory stays, because the process may still use it.
            Err(errno) => return Err(errno),
        }
        *started = Some(it);
        Ok(None)
    }
}

/// The exit code of a process that does not become a program.
const GONE: c_int = 127;

/// The entry function of the new process.
extern "C" fn begin<T: Sync>(task: *mut c_void) -> c_int {
    // SAFETY: `start` made it from a task of this type. The task stays until this process has left the memory, and nothing writes
    // to it.
    let task = unsafe { &*task.cast_const().cast::<Task<T>>() };
    (task.run)(&task.work, task.words);
    GONE
}

fn share<T: Sync>(task: NonNull<Task<T>>, stack: &Stack) -> Result<(Pid, OwnedFd), Errno> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the new process runs on memory that nothing else uses, reads a task that may be read by several (`Sync`), and both
    // stay where they are until it has left. The function that it runs does not unwind, because this program aborts on a panic. The
    // pidfd has a place to be written to.
    let pid = unsafe { libc::clone(begin::<T>, stack.top(), flags, task.as_ptr().cast(), &raw mut pidfd) };
    // The kernel may have written a pidfd before it refused.
    sys::cloned(sys::check(pid.into())?, pidfd)?.ok_or(Errno::CHILD)
}

/// Memory for the calls of one process.
pub(crate) struct Stack(NonNull<c_void>);

impl Stack {
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: new memory, where the kernel likes.
        let memory = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
            libc::mmap(ptr::null_mut(), GUARD + STACK, libc::PROT_NONE, flags, -1, 0)
        };
        let failed = || Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOMEM);
        let stack = match NonNull::new(memory) {
            Some(memory) if memory.as_ptr() != libc::MAP_FAILED => Self(memory),
            _ => return Err(failed()),
        };
        // SAFETY: the range lies within the new mapping, which no other code knows.
        let opened = unsafe {
            let usable = stack.0.as_ptr().byte_add(GUARD);
            libc::mprotect(usable, STACK, libc::PROT_READ | libc::PROT_WRITE)
        };
        if opened == 0 { Ok(stack) } else { Err(failed()) }
    }

    /// Stacks grow downwards, and begin at a multiple of 16.
    fn top(&self) -> *mut c_void {
        // SAFETY: one behind the end of the mapping.
        unsafe { self.0.as_ptr().byte_add(GUARD + STACK) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the whole mapping that `new` made. `Started` drops it only when no process runs on it any more.
        unsafe {
            libc::munmap(self.0.as_ptr(), GUARD + STACK);
        }
    }
}
