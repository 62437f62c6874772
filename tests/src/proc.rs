//! Reads the state of other processes from `/proc`.

/// The state letter of a process in `/proc`; none if it does not exist.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether a process with another parent still executes. Its new parent may reap it late.
pub fn runs(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}
