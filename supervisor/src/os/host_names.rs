//! The system's resolver, `getaddrinfo(3)`.
//!
//! The standard library's way to it tells a name that does not exist from a name server that does not answer only by the text of
//! the error, which depends on the C library and its locale.
#![expect(unsafe_code, reason = "the standard library does not return the code of an error")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// The most addresses of a name that are used.
const MOST: usize = 64;

/// `EAI_NODATA`: the name exists and has no address. A C library may define it without its header doing so.
const NO_DATA: libc::c_int = -5;

/// The addresses of a name, in the order in which they are to be tried; none if it does not exist, or has none. Blocks for as long
/// as a name server does not answer.
///
/// # Errors
/// It could not be found out now, for example because no name server answers.
pub(crate) fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let Ok(name) = CString::new(name) else {
        return Ok(Vec::new());
    };
    // SAFETY: all fields are numbers or pointers, for which zero is a value: no family, no flags, no pointer.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    // Otherwise each address is returned once for each protocol.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: the name ends with NUL and lives for the call, as do the hints and the place for the list.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    match outcome(code) {
        None => {}
        Some(Failure::Absent) => return Ok(Vec::new()),
        Some(Failure::System) => return Err(io::Error::last_os_error()),
        Some(Failure::Other) => return Err(io::Error::other(format!("getaddrinfo failed with code {code}"))),
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() && found.len() < MOST {
        // SAFETY: it is an entry of the list, which is not freed yet.
        let entry = unsafe { &*next };
        found.extend(address(entry));
        next = entry.ai_next;
    }
    // SAFETY: getaddrinfo made the list, and nothing points into it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

/// Why there are no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// There are none.
    Absent,
    /// `errno` says why.
    System,
    /// It could not be found out.
    Other,
}

/// None: there are addresses.
const fn outcome(code: libc::c_int) -> Option<Failure> {
    Some(match code {
        0 => return None,
        libc::EAI_NONAME | NO_DATA => Failure::Absent,
        libc::EAI_SYSTEM => Failure::System,
        _ => Failure::Other,
    })
}

fn address(entry: &libc::addrinfo) -> Option<IpAddr> {
    if entry.ai_addr.is_null() {
        return None;
    }
    let length = usize::try_from(entry.ai_addrlen).ok()?;
    match entry.ai_family {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family and the length say what it points to. It need not be aligned for it.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_only_a_name_that_does_not_exist_is_absent() {
        assert_eq!(outcome(0), None);
        for code in [libc::EAI_NONAME, NO_DATA] {
            assert_eq!(outcome(code), Some(Failure::Absent));
        }
        for code in [libc::EAI_AGAIN, libc::EAI_FAIL, libc::EAI_MEMORY, libc::EAI_FAMILY] {
            assert_eq!(outcome(code), Some(Failure::Other), "{code}");
        }
        assert_eq!(outcome(libc::EAI_SYSTEM), Some(Failure::System));
    }

    #[test]
    fn w3_addresses_are_read_of_both_families() {
        for text in ["127.0.0.1", "::1", "2001:db8::7"] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(addresses(text).expect("an address"), [address]);
        }
        assert_eq!(addresses("a\0b").expect("no name"), Vec::<IpAddr>::new());
    }

    /// In a network namespace without interfaces no name server can be reached. Not where this user may not make one.
    #[test]
    fn w3_a_name_server_that_cannot_be_reached_is_an_error_and_not_an_absent_name() {
        use rustix::thread::{UnshareFlags, unshare_unsafe};

        let looked_up = std::thread::spawn(|| {
            // SAFETY: the thread is new and shares nothing that this changes for others.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.ok()?;
            Some(addresses("name.example."))
        });
        match looked_up.join().expect("no panic") {
            None => println!("skipped: this user may not make a network namespace"),
            Some(looked_up) => assert!(looked_up.is_err(), "{looked_up:?}"),
        }
    }
}
