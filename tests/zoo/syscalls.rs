//! Calls by their numbers, and attempts that check whether an answer was true.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::sys::{Answer, at, at_mut, call, int};

/// `NUMBER,ARGUMENT…`: makes any call, with numbers as arguments.
pub(crate) fn any(arguments: &str) -> Answer {
    let numbers: Vec<i64> = arguments
        .split(',')
        .map(|number| number.parse().expect("a number"))
        .collect();
    let (number, arguments) = numbers.split_first().expect("the number of the call");
    let arguments: Vec<usize> = arguments
        .iter()
        .map(|&number| isize::try_from(number).expect("64 bits fit").cast_unsigned())
        .collect();
    call(*number, &arguments)
}

/// Succeeds if no way to lower the limit of core dumps is refused, and none has an effect.
pub(crate) fn core() -> Answer {
    let (zero, mut found) = ([0_u64; 2], [0_u64; 2]);
    let limit = usize::try_from(libc::RLIMIT_CORE).expect("a small number");
    call(libc::SYS_setrlimit, &[limit, at(&zero)])?;
    call(libc::SYS_prlimit64, &[0, limit, at(&zero), 0])?;
    call(libc::SYS_prlimit64, &[0, limit, 0, at_mut(&mut found)])?;
    same(found, [1, 1])
}

/// Succeeds if a larger buffer is not refused, and the buffer keeps its size.
pub(crate) fn buffer(option: i32) -> Answer {
    let (socket, _peer) = UnixStream::pair().map_err(|error| error.raw_os_error().unwrap_or_default())?;
    let socket = int(socket.as_raw_fd());
    // A forced size is read in the same way as any other.
    let read = match option {
        libc::SO_SNDBUFFORCE => libc::SO_SNDBUF,
        libc::SO_RCVBUFFORCE => libc::SO_RCVBUF,
        option => option,
    };
    let size = || {
        let (mut size, mut length) = (0_i32, 4_u32);
        let arguments = [
            socket,
            int(libc::SOL_SOCKET),
            int(read),
            at_mut(&mut size),
            at_mut(&mut length),
        ];
        call(libc::SYS_getsockopt, &arguments).map(|_| size)
    };
    let before = size()?;
    // A small one, which every machine allows.
    let wanted = 8192_i32;
    call(
        libc::SYS_setsockopt,
        &[socket, int(libc::SOL_SOCKET), int(option), at(&wanted), 4],
    )?;
    same(size()?, before)
}

fn same<T: PartialEq>(found: T, expected: T) -> Answer {
    if found == expected { Ok(0) } else { Err(libc::EBADE) }
}
