//! Whether processes can be made in a control group (`clone3` with `CLONE_INTO_CGROUP`).
//!
//! Filters of system calls often deny `clone3` as a whole, because they cannot see its arguments: systemd's
//! `RestrictNamespaces=` and most container engines do. Init would notice this at each start, so the host checks it once.
#![expect(unsafe_code, reason = "no library has the call, for what it makes is no safe thing")]

use rustix::io::Errno;

/// # Errors
/// The error of the kernel, or of the filter that answers in its place.
pub(crate) fn is_possible() -> rustix::io::Result<()> {
    /// The C library's constant has a type that is too small for it.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    /// The kernel gives out no descriptor as high as this.
    const NO_GROUP: u64 = i32::MAX as u64;
    // SAFETY: plain integers, for which zero is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    arguments.cgroup = NO_GROUP;
    // SAFETY: the kernel only reads the arguments, and reads no more bytes than the size says. The call never makes a process,
    // which would run on a copy of this process's memory: the kernel starts a process only after it has found its group, and this
    // group does not exist.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    match Errno::from_raw_os_error(errno.unwrap_or_default()) {
        Errno::BADF => Ok(()),
        errno => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn b2_no_process_comes_of_the_question() {
        // Whether the call is possible depends on the machine.
        let _answer = super::is_possible();
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        assert_eq!(children, "");
    }
}
