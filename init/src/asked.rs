//! System calls of a tree that another process answers: the kernel's notifications of a filter.
//!
//! The guest chooses the arguments of a call. The kernel states the number of the call and the identity of the caller. This file
//! only decodes the notification.
#![expect(
    unsafe_code,
    reason = "calls whose safe wrapper no library offers; each says why it is sound"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;

use crate::sys::check;

/// The kernel's name of this architecture.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// The calls that make an epoll instance.
#[cfg(target_arch = "x86_64")]
const CALLS: [c_long; 2] = [libc::SYS_epoll_create1, libc::SYS_epoll_create];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [c_long; 1] = [libc::SYS_epoll_create1];

/// A call that waits for an answer.
pub(crate) struct Asked {
    id: u64,
    call: c_long,
    /// The first argument. These calls read its lower half only.
    argument: u32,
}

/// The kernel's notification, with room for fields that a later kernel may add.
#[repr(C)]
struct Room {
    told: libc::seccomp_notif,
    more: [u64; 32],
}

impl Asked {
    /// The flags of the new descriptor, or the error with which the kernel itself would refuse the call.
    pub(crate) fn flags(&self) -> Result<c_int, Errno> {
        let argument = self.argument.cast_signed();
        match self.call {
            libc::SYS_epoll_create1 if argument & !libc::EPOLL_CLOEXEC == 0 => Ok(argument),
            libc::SYS_epoll_create1 => Err(Errno::INVAL),
            // The older call takes a size, which has no meaning but must be above zero.
            _ if argument > 0 => Ok(0),
            _ => Err(Errno::INVAL),
        }
    }
}

/// Installs a filter for this process and its later children. Each such call then waits for an answer. Returns the descriptor
/// that reports the calls.
pub(crate) fn listen() -> Result<OwnedFd, Errno> {
    if !answers_at_once() {
        return Err(Errno::NOSYS);
    }
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    const ALLOW: u32 = 0x7fff_0000;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let ask = CALLS.into_iter().enumerate().map(|(index, call)| {
        let above = u8::try_from(CALLS.len().saturating_sub(index)).unwrap_or_default();
        step(IF_EQUAL, above, 0, u32::try_from(call).unwrap_or(u32::MAX))
    });
    let calls = u8::try_from(CALLS.len()).unwrap_or_default();
    let filter: Vec<_> = [
        step(LOAD, 0, 0, ARCHITECTURE),
        step(IF_EQUAL, 0, calls.saturating_add(1), ARCH),
        step(LOAD, 0, 0, NUMBER),
    ]
    .into_iter()
    .chain(ask)
    .chain([
        // The tree's own filter decides about all other calls.
        step(RETURN, 0, 0, ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ])
    .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let install = |flags: c_ulong| {
        // SAFETY: the program points to as many instructions as it says. The kernel copies and verifies them, and does not write to
        // them.
        let made = check(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        })?;
        let made = RawFd::try_from(made).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel just made this descriptor for the caller, and no other code knows its number.
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    };
    // Since Linux 5.19. With it no signal interrupts a call that is being answered, just as no signal interrupts epoll_create.
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV).or_else(|errno| match errno {
        Errno::INVAL => install(listener),
        errno => Err(errno),
    })
}

/// Whether the kernel can answer a call with a descriptor in one step, as it does since Linux 5.14.
fn answers_at_once() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|byte: char| !byte.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 14),
        _ => false,
    }
}

/// The next waiting call. The caller knows that a call waits.
pub(crate) fn asked(listener: BorrowedFd<'_>) -> Result<Asked, Errno> {
    // SAFETY: plain integers, for which zero is valid. The kernel requires zeros.
    let mut room: Room = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in as many bytes as the number of the call says, and the buffer is larger than that.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut room) }.into())?;
    let told = room.told;
    Ok(Asked {
        id: told.id,
        call: told.data.nr.into(),
        argument: u32::try_from(told.data.args.first().copied().unwrap_or_default() & u64::from(u32::MAX))
            .map_err(|_| Errno::INVAL)?,
    })
}

/// Answers with a copy of a descriptor, which the calling process then has.
pub(crate) fn give(listener: BorrowedFd<'_>, asked: &Asked, what: BorrowedFd<'_>, flags: c_int) -> Result<(), Errno> {
    let given = libc::seccomp_notif_addfd {
        id: asked.id,
        flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SEND).map_err(|_| Errno::INVAL)?,
        srcfd: u32::try_from(what.as_raw_fd()).map_err(|_| Errno::BADF)?,
        newfd: 0,
        newfd_flags: flags.cast_unsigned(),
    };
    // SAFETY: read only, and as long as the number of the call says.
    check(
        unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD as _,
                &raw const given,
            )
        }
        .into(),
    )
    .map(drop)
}

/// Answers with an error.
pub(crate) fn refuse(listener: BorrowedFd<'_>, asked: &Asked, errno: Errno) {
    let answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: -errno.raw_os_error(),
        flags: 0,
    };
    // SAFETY: the kernel only reads the answer, which is as long as the number of the call says. Fails only if the process that
    // made the call has ended.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND as _,
            &raw const answer,
        );
    }
}
