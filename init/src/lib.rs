//! The protocol between the host and its inits.
//!
//! The host starts the program `capsule-init` once: this process is the *spawner*. At the host's order it makes inits, which are
//! copies of it, one for every command. An init sets up the confinement, starts the command, reports how it ended, and
//! ends every process that the command left behind. This library is the protocol between the host and these processes, and the
//! only part of this crate that the host uses. The program does not depend on the host.
//!
//! ```
//! use capsule_init::{HEADER, Report, decode, encode, payload_length};
//!
//! // Init reports that the program cannot be executed, with the kernel's ENOENT.
//! let frame = encode(&Report::ExecFailed { errno: 2 })?;
//!
//! // The host reads a header, and then as many bytes as the header says.
//! let (header, payload) = frame.split_first_chunk::<HEADER>().unwrap();
//! assert_eq!(payload_length(*header)?, payload.len());
//! assert!(matches!(decode(payload)?, Report::ExecFailed { errno: 2 }));
//! # Ok::<(), capsule_init::Malformed>(())
//! ```
//!
//! # The spawner
//!
//! Its standard input is one end of a close-on-exec `AF_UNIX` socket pair of kind `SOCK_SEQPACKET`, its stdout and stderr
//! are `/dev/null`. Each message is one byte: an [`InitKind`], [`NETWORK`] or [`SOCKETS`]. One end of a new channel is attached,
//! followed by the namespaces of a private network if [`INSIDE`] says so, and by the
//! directory of the init's control group, if it has one. The spawner makes an init (or a process that makes a network or sockets)
//! with this channel, or reports on the channel why it could not. It ends when its own channel ends. No process has to wait for its
//! children: the kernel removes them as they exit.
//!
//! # The channel
//!
//! Init's standard input is one end of a close-on-exec `AF_UNIX` stream socket pair. The host keeps the other end, which is
//! also the *lifeline*: when it is closed, or shut down for writing, init ends the whole tree. So no tree outlives its host,
//! however the host died.
//!
//! 1. The host sends one [`Config`] in a frame ([`encode`]), with the descriptors of [`Config`] attached to the first byte. It
//!    may send it at once or later: an init can wait for its configuration for any time.
//! 2. The first report is [`Report::Ready`], or a [`Report::SetupFailed`] of the spawner. Init then answers with exactly one
//!    of [`Report::Started`] (descriptors attached), [`Report::ExecFailed`], [`Report::WorkingDirectory`],
//!    [`Report::Injection`] or [`Report::SetupFailed`], or closes the channel without a report if it was killed.
//! 3. After `Started` the host may send [`Command`]s at any time, a byte each, and shut down its writing side.
//! 4. If the end of the tree takes time, init first reports how the command ended ([`Report::CommandEnded`]).
//! 5. Init's last report is [`Report::Exited`]: at that moment every process of the tree except init has ended and was
//!    reaped. Init exits once it sees the end of the channel. If the channel closes without this report, the tree has ended when
//!    init has exited.
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Increases whenever a type of this file changes. An init that reads another number refuses.
pub const PROTOCOL: u32 = 11;

/// The longest payload of a frame, in bytes: more than the longest request (1 MiB of arguments and environment) together with a
/// policy.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// The bytes before a payload: its length, little-endian.
pub const HEADER: usize = 4;

/// The argument with which the program makes epoll instances, counted for another user, instead of inits.
///
/// Its standard input is as the spawner's. It makes a user namespace and sends a byte; the host has that namespace mapped,
/// each number to itself, and sends a byte. After that each message is a user's number, of four bytes, little-endian, with
/// the descriptor attached that came with [`Report::Started`] because of [`Confinement::epolls`].
pub const EPOLLS: &str = "epolls";

/// A path, argument or variable: bytes without NUL, as the kernel sees them.
pub type Bytes = Vec<u8>;

/// The configuration of an init.
///
/// Descriptors that travel with it, in this order: the command's stdin, stdout and stderr, the workspace directory, the Landlock
/// ruleset if [`Config::landlock`] says so, the network namespace if [`Config::joins`] says so, the content of [`Confinement::injections`] if there are any, the user namespace if
/// [`Confinement::mapping`] says so, and, for an unconfined tree, the control group's directory if [`Config::group`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The paths to execute, the first that exists and may be executed; each holds a slash.
    pub programs: Vec<Bytes>,
    /// The arguments, the name of the program first.
    pub args: Vec<Bytes>,
    /// The whole environment, as `KEY=value`.
    pub env: Vec<Bytes>,
    /// The working directory, relative to the workspace; `.` for the workspace itself. Resolved beneath it.
    pub cwd: Bytes,
    /// Limits of every process of the tree.
    pub limits: Limits,
    /// Whether a Landlock ruleset comes with the configuration, to be applied to the command.
    pub landlock: bool,
    /// Whether a network namespace comes along, which the tree joins.
    pub joins: bool,
    /// The seccomp filter; none if it is empty.
    pub seccomp: Vec<Instruction>,
    /// Whether to open a counter of the CPU time of the tree and send it with [`Report::Started`].
    pub count_cpu: bool,
    /// Whether the tree is in a control group (version 2) from its start on: pid 1, which was started there, and all that it
    /// starts; or, unconfined, the command and all that it starts.
    pub group: bool,
    /// The confinement; without one the command sees the same files as the host.
    pub confinement: Option<Confinement>,
}

/// The limits that the kernel enforces; `None` keeps the host's own limit. Limits are lowered for good, never raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space of each process, in bytes.
    pub address_space: Option<u64>,
    /// CPU time of each process, in seconds: SIGXCPU, and SIGKILL a second later.
    pub cpu_seconds: Option<u64>,
    /// Processes and threads of the whole tree. Counted for the tree alone only inside of a confinement.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
}

/// One instruction of a classic BPF program; the fields of the kernel's `sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// The confinement of a tree: its user, its view and its rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The user that the command runs as, to the kernel. Required of a host that is root, and not zero: no limit on processes holds
    /// for root, and files of `/proc/sys` are its own. `None` for an ordinary user's host, whose commands run as that user.
    pub identity: Option<Identity>,
    /// The user that the tree sees itself as; not zero, and set if the identity is.
    pub seen_as: Option<Identity>,
    /// The network that the tree has. For [`NetworkMode::Private`] a root host sends the namespace with the configuration; an
    /// ordinary user's host has sent it to the spawner ([`INSIDE`]).
    pub network: NetworkMode,
    /// The user whose files in the workspace the tree sees as its own, and who owns on the disk the files that the tree makes
    /// there. Set only with an identity. The host's filter must then deny set-user-id bits, because the tree's files belong to the
    /// owner on the disk. If the file system cannot map owners, the tree runs as the owner instead, unless that is root. Other
    /// writable parts of the view are mapped in the same way, unless the owner is root.
    pub workspace_owner: Option<Identity>,
    /// Whether the configuration comes with the user namespace that maps the owner to the identity. It takes time to make and is the
    /// same for all commands with these two users, so an init that had to make it sends it to the host.
    pub mapping: bool,
    /// Whether another process makes the tree's epoll instances, see [`EPOLLS`], if the kernel allows it.
    pub epolls: bool,
    /// The absolute path of the workspace, to the directory whose descriptor was sent; it appears there too.
    pub workspace: Bytes,
    /// Paths in the workspace that the tree may not change: relative to it, without `..`. A path that does not exist is left out.
    pub protected: Vec<Bytes>,
    /// The only paths in the workspace that the tree may change, if set: paths as in `protected`, which must exist.
    pub writable: Option<Vec<Bytes>>,
    /// The other visible parts, mounted in this order. Init itself makes `/dev`, `/proc` and `/tmp`.
    pub view: Vec<View>,
    /// Files that are put into the view, over existing files. Their content travels as one file in memory, one after the other.
    pub injections: Vec<Injection>,
    /// The size of `/tmp` and `/dev/shm` together, in bytes.
    pub tmp_bytes: u64,
    /// The name of the machine that the tree sees.
    pub hostname: Bytes,
}

/// A file that the tree can only read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// The path at which the tree sees it: absolute, without `..`, and not inside of another injected file's path.
    pub at: Bytes,
    /// The length of this file's part of the content, in bytes.
    pub bytes: u64,
}

/// A user that owns nothing but the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are their names")]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
}

/// The network that a tree has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// An empty network namespace of the tree alone, in which the loopback interface is down.
    None,
    /// A network namespace that the host had made ([`NETWORK`]), which several trees may share.
    #[default]
    Private,
    /// The host's network.
    Host,
}

/// One thing made visible. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// A file, or a directory with everything mounted beneath it; left out if it does not exist. Set-user-id programs and devices
    /// have no effect there.
    Bind {
        /// Its path in the host's view; symbolic links are followed.
        source: Bytes,
        /// Its path in the tree's view.
        at: Bytes,
        /// Whether the tree may write there.
        writable: bool,
    },
    /// A symbolic link.
    Link {
        /// The path of the link.
        at: Bytes,
        /// The target of the link.
        target: Bytes,
    },
    /// An empty folder of the tree's own, which it cannot write to; an existing folder stays.
    Folder {
        /// The path of the folder.
        at: Bytes,
    },
    /// A file of the tree's own, which it can only read. All of them together are at most some 500 KiB.
    File {
        /// The path of the file.
        at: Bytes,
        /// The content of the file.
        content: Bytes,
    },
}

/// The kind of an init, which cannot be changed later: what the host asks of the spawner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitKind {
    /// For a tree that is not confined.
    Unconfined,
    /// Pid 1 of new namespaces. The mount namespace is made later, so that it contains everything mounted by the time the
    /// configuration arrives.
    Confined {
        /// As [`Confinement::network`].
        network: NetworkMode,
    },
}

impl InitKind {
    /// The byte that stands for this value in the protocol.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Unconfined => 0,
            Self::Confined {
                network: NetworkMode::None,
            } => 1,
            Self::Confined {
                network: NetworkMode::Private,
            } => 2,
            Self::Confined {
                network: NetworkMode::Host,
            } => 3,
        }
    }

    /// The kind that a byte stands for; `None` for a byte that a host never sends.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Unconfined),
            1 => Some(Self::Confined {
                network: NetworkMode::None,
            }),
            2 => Some(Self::Confined {
                network: NetworkMode::Private,
            }),
            3 => Some(Self::Confined {
                network: NetworkMode::Host,
            }),
            _ => None,
        }
    }
}

/// A flag in the byte of an [`InitKind`]: no command waits for the init yet, so the init prepares as much as it can. If the host has
/// started a confined command before, it attaches a sealed file that holds an [`Expected`], as [`encode`] writes it.
pub const AHEAD: u8 = 0x40;

/// A flag in the byte of an [`InitKind`], which an ordinary user's host sets for a tree in a private network. Two descriptors follow
/// the channel: the user namespace and the network namespace in which the spawner makes the init.
pub const INSIDE: u8 = 0x20;

/// The order for a private network, in place of an [`InitKind`]. A helper process makes the network, answers with
/// [`Report::Network`], and ends.
pub const NETWORK: u8 = 0x10;

/// The order for more sockets in a private network. Its namespaces follow the channel: the user namespace if the host is an
/// ordinary user, and the network namespace. A helper process answers with [`Report::Sockets`], and ends.
pub const SOCKETS: u8 = 0x11;

/// The address of the name server of a private network, 198.18.0.1, as a number.
pub const DNS_SERVER: u32 = 0xC612_0001;

/// The length of the prefix of the range around [`DNS_SERVER`] whose addresses are all local to a private network.
pub const SYNTHETIC_PREFIX: u32 = 15;

/// How many sockets come with [`Report::Network`].
pub const FIRST_SOCKETS: usize = 8;

/// How many sockets come with [`Report::Sockets`].
pub const MORE_SOCKETS: usize = 32;

/// The view of the next command, if that command is like the last one. A waiting init prepares this root, and makes another root if
/// the configuration differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// As [`Confinement::view`].
    pub view: Vec<View>,
    /// As [`Confinement::workspace`].
    pub workspace: Bytes,
    /// As [`Confinement::tmp_bytes`].
    pub tmp_bytes: u64,
}

impl Expected {
    /// The view of a command with this confinement, without its workspace and the injected files.
    #[must_use]
    pub fn of(confinement: &Confinement) -> Self {
        let Confinement {
            view,
            workspace,
            tmp_bytes,
            ..
        } = confinement;
        Self {
            view: view.clone(),
            workspace: workspace.clone(),
            tmp_bytes: *tmp_bytes,
        }
    }

    /// Whether a command with this confinement has this view.
    #[must_use]
    pub fn is_of(&self, confinement: &Confinement) -> bool {
        self.view == confinement.view
            && self.workspace == confinement.workspace
            && self.tmp_bytes == confinement.tmp_bytes
    }
}

/// The order that replaces an [`InitKind`] for a spawner that its host may not kill, because the host has become another user: the
/// spawner ends, and the inits that it has made stay.
pub const LEAVE: u8 = u8::MAX;

/// The reports of init, and of the spawner in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Init is ready for its configuration. Its pid comes with the credentials that the kernel attaches.
    Ready {
        /// Init's start time, as in `/proc/PID/stat`. The pid and the start time together identify one process.
        start: u64,
    },
    /// The command runs. Descriptors, in this order: the pidfd of the command if `command`; the counter of its CPU time (a perf
    /// event in nanoseconds, live, and final with [`Report::Exited`]) if `counter`; a user namespace if `mapping`; the listener for
    /// calls that make epoll instances if `epolls`.
    Started {
        /// Whether the pidfd is attached. It is missing if this user has too many descriptors in flight, so that the kernel refuses
        /// further ones. The command runs all the same, and is the first child of init.
        command: bool,
        /// Whether a counter is attached. If the host asked for one and it is missing, the kernel does not let this user count.
        counter: bool,
        /// Whether init had to make the namespace of [`Confinement::mapping`], which is attached for the next command.
        mapping: bool,
        /// Whether the tree waits for another process to make its epoll instances. If this was asked for and is false, the kernel
        /// does not let calls be answered, or the descriptor could not be sent. In the latter case the tree has no epoll instances.
        epolls: bool,
        /// Whether the tree runs as the owner of its workspace instead of as its [`Confinement::identity`], because the file system
        /// cannot map owners.
        as_owner: bool,
        /// The first read-only part of the view that is a bind mount of the host's own folder, because no overlay could show it. An
        /// overlay separates trees that read the same part.
        bound: Option<Bound>,
    },
    /// A private network is made. Descriptors, in this order: its namespace; the user namespace that owns it if the host is an
    /// ordinary user; the name server's sockets, UDP and listening TCP, bound to [`DNS_SERVER`]; a netlink socket by which
    /// the kernel lists the sockets of the network if `has_list`; [`FIRST_SOCKETS`] unbound TCP sockets.
    Network {
        /// Whether the kernel's buffers of its TCP sockets could be bounded.
        is_bounded: bool,
        /// Whether the netlink socket is attached. Kernels may be built without it.
        has_list: bool,
    },
    /// [`MORE_SOCKETS`] unbound TCP sockets of a private network are attached.
    Sockets,
    /// No program could be executed; nothing ran.
    ExecFailed {
        /// The kernel's reason, for the first program that exists, if any does.
        errno: i32,
    },
    /// The working directory cannot be entered; nothing ran.
    WorkingDirectory {
        /// The kernel's reason. `EXDEV`: it leads out of the workspace.
        errno: i32,
    },
    /// A file could not be put in its place; nothing ran.
    Injection {
        /// The path of the file.
        at: Bytes,
        /// The kernel's reason. `EXDEV`: the path is in a folder of the host. `ENOTDIR`, `EEXIST`: the path leads through a file or
        /// a link, or names an existing folder or link.
        errno: i32,
    },
    /// The confinement could not be set up; nothing ran.
    SetupFailed {
        /// The layer that was missing.
        layer: Layer,
        /// The kernel's reason.
        errno: i32,
        /// The path or call that failed, for the message.
        subject: String,
    },
    /// The command has ended, and init is ending the rest of the tree. Sent only if that takes time.
    CommandEnded {
        /// As [`Exit::status`].
        status: i32,
    },
    /// The command has ended, and every other process of the tree with it.
    Exited(Exit),
}

/// A part of the view in which sockets, FIFOs, locks and watches are shared with the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its [`View::Bind::source`].
    pub source: Bytes,
    /// The kernel's reason. `EBUSY`, `EINVAL`: something is mounted beneath it, perhaps.
    pub errno: i32,
}

/// How a command ended, and what its tree used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The status as `waitpid` gives it: an exit code and a signal are never confused.
    pub status: i32,
    /// CPU time in user mode of every process that was waited for, in microseconds.
    pub user_micros: u64,
    /// The same in the kernel.
    pub system_micros: u64,
    /// The largest resident size that a process of the tree had, in bytes.
    pub peak_bytes: u64,
}

/// A layer of the confinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// The configuration itself, or the descriptors that belong to it.
    Protocol,
    /// Starting a process.
    Process,
    /// A user namespace.
    UserNamespace,
    /// A mount namespace.
    MountNamespace,
    /// A process namespace.
    PidNamespace,
    /// A network namespace.
    NetworkNamespace,
    /// A namespace for System V objects and message queues.
    IpcNamespace,
    /// A namespace for the name of the machine.
    UtsNamespace,
    /// A namespace for control groups.
    CgroupNamespace,
    /// The file system that the tree sees.
    Mounts,
    /// Keeps trees from meeting each other in the parts that they only read.
    Overlay,
    /// Whether the identity may write to the workspace.
    Workspace,
    /// The user that the command runs as, and that the command cannot change it.
    Identity,
    /// Resource limits.
    Limits,
    /// Landlock.
    Landlock,
    /// System call filters.
    Seccomp,
}

/// The host's commands for a running tree, in one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A signal, by the kernel's number, to the command's process group.
    Signal(u8),
    /// TERM to every process of the tree, then CONT, so that a stopped process can act on it.
    Terminate,
}

impl Command {
    /// The byte that stands for this value in the protocol.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Signal(signal) => signal,
            // No signal has this number.
            Self::Terminate => 0,
        }
    }

    /// The command that a byte stands for; `None` for a byte that a host never sends.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Terminate),
            // Those that the kernel has.
            1..=64 => Some(Self::Signal(byte)),
            _ => None,
        }
    }
}

/// A frame or its payload does not have the form of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a message between host and init that this version does not understand")
    }
}

impl core::error::Error for Malformed {}

/// A message in its frame, ready to be written.
///
/// # Errors
/// If it is longer than [`MAX_PAYLOAD`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Malformed> {
    let mut frame = postcard::to_extend(message, [0; HEADER].to_vec()).map_err(|_| Malformed)?;
    let length = frame.len() - HEADER;
    if length > MAX_PAYLOAD {
        return Err(Malformed);
    }
    let length = u32::try_from(length).map_err(|_| Malformed)?;
    if let Some(header) = frame.first_chunk_mut() {
        *header = length.to_le_bytes();
    }
    Ok(frame)
}

/// The same, for a message that fits into `frame` with its header; returns the part that was written.
///
/// # Errors
/// If it does not.
pub fn encode_short<'a, T: Serialize>(message: &T, frame: &'a mut [u8]) -> Result<&'a [u8], Malformed> {
    let (header, payload) = frame.split_first_chunk_mut::<HEADER>().ok_or(Malformed)?;
    let length = postcard::to_slice(message, payload).map_err(|_| Malformed)?.len();
    *header = u32::try_from(length).map_err(|_| Malformed)?.to_le_bytes();
    frame.get(..HEADER + length).ok_or(Malformed)
}

/// The length of the payload that follows a header.
///
/// # Errors
/// If it is above [`MAX_PAYLOAD`].
pub fn payload_length(header: [u8; HEADER]) -> Result<usize, Malformed> {
    usize::try_from(u32::from_le_bytes(header))
        .ok()
        .filter(|&length| length <= MAX_PAYLOAD)
        .ok_or(Malformed)
}

/// The message in a payload.
///
/// # Errors
/// If the payload is no such message, or longer than one.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(message: &T) {
        let frame = encode(message).unwrap();
        let mut room = vec![0; frame.len()];
        assert_eq!(encode_short(message, &mut room), Ok(&frame[..]));
        assert_eq!(encode_short(message, &mut room[1..]), Err(Malformed));
        let (header, payload) = frame.split_first_chunk().unwrap();
        assert_eq!(payload_length(*header).unwrap(), payload.len());
        assert_eq!(decode::<T>(payload).as_ref(), Ok(message));
        // A frame cut short, or with something behind it, is refused rather than understood in part.
        assert_eq!(decode::<T>(&payload[..payload.len() - 1]), Err(Malformed));
        assert_eq!(decode::<T>(&[payload, &[0]].concat()), Err(Malformed));
    }

    #[test]
    fn messages_survive_the_way() {
        round_trip(&Config {
            protocol: PROTOCOL,
            programs: vec![b"/bin/true".to_vec()],
            args: vec![b"true".to_vec(), vec![0xff]],
            env: vec![b"A=1".to_vec()],
            cwd: b".".to_vec(),
            limits: Limits {
                processes: Some(u64::MAX),
                ..Limits::default()
            },
            landlock: true,
            joins: false,
            seccomp: vec![Instruction {
                code: 6,
                jt: 0,
                jf: 0,
                k: 0x7fff_0000,
            }],
            count_cpu: true,
            group: true,
            confinement: Some(Confinement {
                identity: Some(Identity { uid: 7, gid: 8 }),
                seen_as: Some(Identity { uid: 9, gid: 9 }),
                network: NetworkMode::Private,
                workspace_owner: None,
                mapping: false,
                epolls: true,
                workspace: b"/w".to_vec(),
                protected: vec![b".git".to_vec()],
                writable: Some(vec![b"target".to_vec()]),
                view: vec![
                    View::Link {
                        at: b"/bin".to_vec(),
                        target: b"usr/bin".to_vec(),
                    },
                    View::Folder { at: b"/run".to_vec() },
                    View::File {
                        at: b"/etc/hosts".to_vec(),
                        content: b"::1 localhost".to_vec(),
                    },
                ],
                injections: vec![Injection {
                    at: b"/etc/x".to_vec(),
                    bytes: 3,
                }],
                tmp_bytes: 1,
                hostname: b"h".to_vec(),
            }),
        });
        round_trip(&Report::SetupFailed {
            layer: Layer::Mounts,
            errno: 13,
            subject: "/etc".into(),
        });
    }

    #[test]
    fn commands_survive_the_way_and_nothing_else_is_one() {
        let signals = (1..=64).map(Command::Signal);
        let all: Vec<_> = [Command::Terminate].into_iter().chain(signals).collect();
        let travelled = all.iter().map(|command| Command::from_byte(command.to_byte()));
        assert_eq!(travelled.collect::<Option<Vec<_>>>(), Some(all));
        assert!((65..=u8::MAX).all(|byte| Command::from_byte(byte).is_none()));
    }

    #[test]
    fn kinds_of_inits_survive_the_way_and_nothing_else_is_one() {
        let kinds = (0..=u8::MAX).filter_map(InitKind::from_byte);
        assert!(
            kinds
                .clone()
                .enumerate()
                .all(|(byte, kind)| usize::from(kind.to_byte()) == byte)
        );
        assert_eq!(kinds.count(), 4);
    }

    #[test]
    fn a_length_above_the_limit_is_refused() {
        assert_eq!(payload_length([0xff; 4]), Err(Malformed));
        assert_eq!(payload_length([0, 0, 64, 0]), Ok(MAX_PAYLOAD));
    }
}
