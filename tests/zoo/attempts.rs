//! Single attempts, `NAME` or `NAME=ARGUMENT`. The result of each is an errno, or 0 if it succeeded.

use std::fs::OpenOptions;
use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use libc::c_long;

use crate::say;
use crate::sys::{self, Answer, MINUS_ONE, at, at_mut, call, int, text};

const CWD: i32 = libc::AT_FDCWD;
const SET_ID: usize = 0o4755;
/// The interface of 64-bit programs with short pointers.
const X32: c_long = 0x4000_0000;

pub(crate) fn behave(behaviour: &str, args: &[&str]) -> bool {
    match behaviour {
        "try" => args.iter().for_each(|spec| say(&line(spec))),
        "look" => look(),
        "sysctls" => sysctls(Path::new("/proc/sys")),
        _ => return false,
    }
    true
}

/// The result of an attempt.
pub(crate) fn line(spec: &str) -> String {
    let (name, argument) = spec.split_once('=').unwrap_or((spec, ""));
    format!("{spec} {}", attempt(name, argument).err().unwrap_or(0))
}

fn attempt(name: &str, argument: &str) -> Answer {
    let path = text(argument);
    let path = path.as_ptr().expose_provenance();
    let number = || argument.parse::<i32>().map(int).expect("a number");
    let pair = || argument.split_once(',').expect("two arguments");
    let empty = text("");
    let empty = empty.as_ptr().expose_provenance();
    match name {
        // Mounts and roots.
        "mount" => {
            let kind = text("tmpfs");
            let kind = kind.as_ptr().expose_provenance();
            call(libc::SYS_mount, &[kind, path, kind, 0, 0])
        }
        "remount" => flags(libc::SYS_mount, &[0, path, 0], libc::MS_REMOUNT | libc::MS_BIND),
        "bind" => flags(libc::SYS_mount, &[path, path, 0], libc::MS_BIND),
        "umount" => call(libc::SYS_umount2, &[path, int(libc::MNT_DETACH)]),
        "pivot-root" => call(libc::SYS_pivot_root, &[path, path]),
        "chroot" => call(libc::SYS_chroot, &[path]),
        "open-tree" => call(libc::SYS_open_tree, &[int(CWD), path, 1]),
        "fsopen" => {
            let kind = text("tmpfs");
            call(libc::SYS_fsopen, &[kind.as_ptr().expose_provenance(), 0])
        }
        "mount-setattr" => {
            let attributes = [0_u64, 1, 0, 0];
            call(
                libc::SYS_mount_setattr,
                &[int(CWD), path, 0, at(&attributes), size_of_val(&attributes)],
            )
        }
        "move-mount" => call(libc::SYS_move_mount, &[int(CWD), path, int(CWD), path, 0]),
        // Namespaces.
        "unshare" => call(libc::SYS_unshare, &[number()]),
        "setns" => {
            let file = open(argument, 0)?;
            call(libc::SYS_setns, &[file, 0])
        }
        "clone" => child(call(libc::SYS_clone, &[number() | int(libc::SIGCHLD)])),
        "clone3" => {
            let mut arguments = [0_u64; 8];
            if let Some(signal) = arguments.get_mut(4) {
                *signal = u64::from(libc::SIGCHLD.unsigned_abs());
            }
            child(call(libc::SYS_clone3, &[at(&arguments), size_of_val(&arguments)]))
        }
        // Facilities of the kernel itself.
        "bpf" => {
            // A map of one element.
            let attributes = [u32::to_le(2), 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            call(libc::SYS_bpf, &[0, at(&attributes), size_of_val(&attributes)])
        }
        "perf" => {
            // A software clock of this process alone, which does not count the kernel.
            let attributes = [1_u32, 64, 1, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
            call(
                libc::SYS_perf_event_open,
                &[at(&attributes), 0, MINUS_ONE, MINUS_ONE, 0],
            )
        }
        "keyctl" => call(libc::SYS_keyctl, &[0, int(-3), 1]),
        "add-key" => {
            let (kind, name) = (text("user"), text("capsule-zoo"));
            let (kind, name) = (kind.as_ptr().expose_provenance(), name.as_ptr().expose_provenance());
            call(libc::SYS_add_key, &[kind, name, name, 4, int(-1)])
        }
        "request-key" => {
            let (kind, name) = (text("user"), text("capsule-zoo"));
            let (kind, name) = (kind.as_ptr().expose_provenance(), name.as_ptr().expose_provenance());
            call(libc::SYS_request_key, &[kind, name, 0, 0])
        }
        // Page faults of user mode only, which any process may handle.
        "userfaultfd" => call(libc::SYS_userfaultfd, &[1]),
        "io-uring" => {
            let mut parameters = [0_u8; 120];
            call(libc::SYS_io_uring_setup, &[1, at_mut(&mut parameters)])
        }
        "openat2" => {
            let how = [0_u64; 3];
            call(libc::SYS_openat2, &[int(CWD), path, at(&how), size_of_val(&how)])
        }
        "memfd" => call(libc::SYS_memfd_create, &[path, 0]),
        "shmget" => call(libc::SYS_shmget, &[0, 4096, 0o600]),
        "init-module" => call(libc::SYS_init_module, &[0, 0, empty]),
        "kexec" => call(libc::SYS_kexec_load, &[0, 0, 0, 0]),
        "reboot" => call(libc::SYS_reboot, &[0, 0, 0, 0]),
        "swapoff" => call(libc::SYS_swapoff, &[path]),
        "syslog" => call(libc::SYS_syslog, &[10, 0, 0]),
        "acct" => call(libc::SYS_acct, &[path]),
        "sethostname" => call(libc::SYS_sethostname, &[path, argument.len()]),
        "settime" => call(libc::SYS_clock_settime, &[0, 0]),
        "handle" => {
            let mut handle = [
                128_u32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0,
            ];
            let mut mount = 0_u64;
            call(
                libc::SYS_name_to_handle_at,
                &[int(CWD), path, at_mut(&mut handle), at_mut(&mut mount), 0],
            )
        }
        #[cfg(target_arch = "x86_64")]
        "x32" => call(X32 + libc::SYS_getpid, &[]),
        #[cfg(target_arch = "x86_64")]
        "x32-chmod" => call(X32 + libc::SYS_chmod, &[path, SET_ID]),
        #[cfg(target_arch = "x86_64")]
        "iopl" => call(libc::SYS_iopl, &[3]),
        // The errno is that of the child's death.
        #[cfg(target_arch = "x86_64")]
        "int80" => match sys::fork()? {
            None => sys::exit(i32::from(sys::int80() <= 0)),
            Some(pid) => match sys::wait(pid) {
                Some(0) => Ok(0),
                status => Err(status.unwrap_or_default() & 0x7f),
            },
        },
        // Init, and processes in general.
        "ptrace" => call(libc::SYS_ptrace, &[16, number(), 0, 0]),
        "ptrace-seize" => call(libc::SYS_ptrace, &[0x4206, number(), 0, 0]),
        "kill" => {
            let (pid, signal) = pair();
            let number = |text: &str| text.parse::<i32>().map(int).expect("a number");
            call(libc::SYS_kill, &[number(pid), number(signal)])
        }
        "vm-write" | "vm-read" => {
            let (mut local, number) = ([0_u8; 8], number());
            let remote = IoSlice::new(&[]);
            let write = name == "vm-write";
            let this = if write {
                at(&IoSlice::new(&local))
            } else {
                at(&IoSliceMut::new(&mut local))
            };
            let call_number = if write {
                libc::SYS_process_vm_writev
            } else {
                libc::SYS_process_vm_readv
            };
            call(call_number, &[number, this, 1, at(&remote), 1, 0])
        }
        "pidfd-getfd" => {
            let pidfd = call(libc::SYS_pidfd_open, &[number(), 0])?;
            call(libc::SYS_pidfd_getfd, &[pidfd, 0, 0])
        }
        // Leaves init no free descriptor.
        "prlimit-files" => prlimit(number(), libc::RLIMIT_NOFILE),
        "prlimit-memory" => prlimit(number(), libc::RLIMIT_AS),
        "prlimit-cpu" => prlimit(number(), libc::RLIMIT_CPU),
        "prlimit-stack" => prlimit(number(), libc::RLIMIT_STACK),
        "prlimit-data" => prlimit(number(), libc::RLIMIT_DATA),
        // Gives init the lowest priority.
        "nice" => call(libc::SYS_setpriority, &[0, number(), 19]),
        "idle" => {
            let parameters = [0_u64; 4];
            call(libc::SYS_sched_setscheduler, &[number(), 5, at(&parameters)])
        }
        "affinity" => {
            let one = [1_u64; 16];
            call(libc::SYS_sched_setaffinity, &[number(), size_of_val(&one), at(&one)])
        }
        // By number.
        "call" => crate::syscalls::any(argument),
        "core" => crate::syscalls::core(),
        "buffer" => crate::syscalls::buffer(argument.parse().expect("a number")),
        // Sockets.
        "socket" => {
            let (family, kind) = pair();
            let number = |text: &str| text.parse::<i32>().map(int).expect("a number");
            call(libc::SYS_socket, &[number(family), number(kind), 0])
        }
        "tcp" => answer(TcpStream::connect(argument)),
        "udp" => answer(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"hello", argument))),
        "abstract" => answer(SocketAddr::from_abstract_name(argument).and_then(|name| UnixStream::connect_addr(&name))),
        "unix" => answer(UnixStream::connect(argument)),
        // Only while another process has the other end open.
        "fifo" => open(argument, libc::O_WRONLY | libc::O_NONBLOCK),
        // Files.
        "read" => open(argument, libc::O_RDONLY),
        "write" => open(argument, libc::O_WRONLY),
        "read-write" => open(argument, libc::O_RDWR),
        "create" => answer(OpenOptions::new().write(true).create_new(true).open(argument)),
        "list" => answer(std::fs::read_dir(argument).and_then(|mut entries| entries.next().transpose())),
        "look-up" => answer(std::fs::metadata(argument)),
        "follow" => answer(std::fs::read_link(argument)),
        "chmod" => call(libc::SYS_chmod, &[path, 0o700]),
        "chown" => {
            let (user, path) = pair();
            let path = text(path);
            let user = user.parse::<i32>().map(int).expect("a number");
            call(libc::SYS_chown, &[path.as_ptr().expose_provenance(), user, user])
        }
        "touch" => call(libc::SYS_utimensat, &[int(CWD), path, 0, 0]),
        "xattr" => {
            let (name, path) = pair();
            let (name, path) = (text(name), text(path));
            let (name, path) = (name.as_ptr().expose_provenance(), path.as_ptr().expose_provenance());
            // What a file capability looks like; for another name, five numbers.
            let value = [0x0200_0001_u32, 1, 0, 0, 0];
            call(libc::SYS_setxattr, &[path, name, at(&value), size_of_val(&value), 0])
        }
        "remove" => answer(std::fs::remove_file(argument)),
        // The ways in which a file can be in memory: shared and writable, as a program, and without the kernel's copy.
        "map-write" => map(argument, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        "map-exec" => map(argument, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE),
        "poke" => {
            let address = map(argument, libc::PROT_READ, libc::MAP_SHARED)?;
            let memory = open("/proc/self/mem", libc::O_RDWR)?;
            call(libc::SYS_pwrite64, &[memory, at(b"x"), 1, address])
        }
        "truncate" => call(libc::SYS_truncate, &[path, 0]),
        "mkdir" => answer(std::fs::create_dir(argument)),
        "hard-link" => answer(std::fs::hard_link(pair().0, pair().1)),
        "rename" => answer(std::fs::rename(pair().0, pair().1)),
        // Makes the link, which every user may do, and opens the file through it, which is the attempt.
        "symlink-read" => {
            let (to, link) = pair();
            symlink(to, link).map_err(|error| error.raw_os_error().unwrap_or_default())?;
            open(link, libc::O_RDONLY)
        }
        "device" => call(libc::SYS_mknodat, &[int(CWD), path, flag(libc::S_IFCHR) | 0o666, 0x103]),
        "block-device" => call(
            libc::SYS_mknodat,
            &[int(CWD), path, flag(libc::S_IFBLK) | 0o666, 0xfe00],
        ),
        // A file of another user than that of the process that starts it.
        "suid-chmod" => call(libc::SYS_chmod, &[path, SET_ID]),
        "suid-fchmod" => call(libc::SYS_fchmod, &[open(argument, 0)?, SET_ID]),
        "suid-fchmodat" => call(libc::SYS_fchmodat, &[int(CWD), path, SET_ID]),
        "suid-fchmodat2" => call(libc::SYS_fchmodat2, &[int(CWD), path, SET_ID, 0]),
        "sgid-chmod" => call(libc::SYS_chmod, &[path, 0o2755]),
        // The kernel reads 16 or 32 bits of a mode, and no more.
        "suid-chmod-wide" => call(libc::SYS_chmod, &[path, SET_ID | 1 << 40 | 1 << 20]),
        "suid-creat" => call(libc::SYS_creat, &[path, SET_ID]),
        "suid-open" => call(libc::SYS_open, &[path, flag(libc::O_CREAT.unsigned_abs()) | 1, SET_ID]),
        "suid-openat" => call(
            libc::SYS_openat,
            &[int(CWD), path, flag(libc::O_CREAT.unsigned_abs()) | 1, SET_ID],
        ),
        "suid-openat2" => {
            let how = [u64::from(libc::O_CREAT.unsigned_abs()) | 1, 0o4755, 0];
            call(libc::SYS_openat2, &[int(CWD), path, at(&how), size_of_val(&how)])
        }
        "suid-tmpfile" => {
            let fd = call(
                libc::SYS_openat,
                &[int(CWD), path, flag(libc::O_TMPFILE.unsigned_abs()) | 1, SET_ID],
            )?;
            let (from, to) = (text(&format!("/proc/self/fd/{fd}")), text("./from-tmpfile"));
            let (from, to) = (from.as_ptr().expose_provenance(), to.as_ptr().expose_provenance());
            call(
                libc::SYS_linkat,
                &[int(CWD), from, int(CWD), to, int(libc::AT_SYMLINK_FOLLOW)],
            )
        }
        "suid-mknod" => call(libc::SYS_mknod, &[path, flag(libc::S_IFREG) | SET_ID, 0]),
        "suid-mknodat" => call(libc::SYS_mknodat, &[int(CWD), path, flag(libc::S_IFREG) | SET_ID, 0]),
        "sgid-mkdir" => call(libc::SYS_mkdir, &[path, 0o2755]),
        // A file of any other user.
        "setuid" => call(libc::SYS_setuid, &[number()]),
        "setgid" => call(libc::SYS_setgid, &[number()]),
        "setgroups" => {
            let none = [0_u32];
            call(libc::SYS_setgroups, &[1, at(&none)])
        }
        _ => panic!("no such attempt: {name}"),
    }
}

/// An unsigned 32-bit number as an argument.
fn flag(flag: u32) -> usize {
    usize::try_from(flag).expect("32 bits fit")
}

fn flags(number: c_long, args: &[usize], flags: u64) -> Answer {
    let mut args = args.to_vec();
    args.push(usize::try_from(flags).expect("64 bits fit"));
    call(number, &args)
}

fn open(path: &str, flags: i32) -> Answer {
    let path = text(path);
    call(
        libc::SYS_openat,
        &[int(CWD), path.as_ptr().expose_provenance(), int(flags), 0],
    )
}

fn map(path: &str, protection: i32, flags: i32) -> Answer {
    let file = open(path, libc::O_RDONLY)?;
    call(libc::SYS_mmap, &[0, 4096, int(protection), int(flags), file, 0])
}

fn answer<T>(result: std::io::Result<T>) -> Answer {
    match result {
        Ok(value) => {
            drop(value);
            Ok(0)
        }
        Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// In the child, execution ends here.
fn child(made: Answer) -> Answer {
    match made? {
        0 => sys::exit(0),
        pid => {
            sys::wait(i32::try_from(pid).unwrap_or_default());
            Ok(pid)
        }
    }
}

fn prlimit(pid: usize, limit: libc::__rlimit_resource_t) -> Answer {
    let nothing = [0_u64; 2];
    call(libc::SYS_prlimit64, &[pid, flag(limit), at(&nothing), 0])
}

/// Opens for writing every writable file of the kernel's settings, and writes back its content.
fn sysctls(beneath: &Path) {
    let mut looked = 0_u32;
    let mut folders = vec![beneath.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
                continue;
            }
            looked += 1;
            let file = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path);
            // Some of them can be opened by all users, and check the user when they are written to.
            let same = || std::fs::read(&path).unwrap_or_else(|_| b"0".to_vec());
            if file.and_then(|mut file| file.write_all(&same())).is_ok() {
                say(&format!("changed {}", path.display()));
            }
        }
    }
    say(&format!("looked {looked}"));
}

/// What there is to see.
fn look() {
    let names = |path: &str| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.join(" ")
    };
    let processes = names("/proc")
        .split(' ')
        .filter(|name| name.parse::<u32>().is_ok())
        .count();
    let mut variables: Vec<_> = std::env::vars().map(|(key, _)| key).collect();
    variables.sort();
    say(&format!("processes {processes}"));
    say(&format!("environment {}", variables.join(" ")));
    for folder in [
        "/", "/dev", "/home", "/root", "/sys", "/run", "/var", "/boot", "/mnt", "/srv", "/tmp",
    ] {
        say(&format!("{folder} {}", names(folder)));
    }
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    say(&format!("hostname {}", line("/proc/sys/kernel/hostname")));
    say(&format!(
        "uid_map {}",
        line("/proc/self/uid_map")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    ));
    say(&format!("this {}", std::process::id()));
}
