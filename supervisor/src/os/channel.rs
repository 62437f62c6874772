//! The host's end of the channel to an init: frames with descriptors attached, and the lifeline.
//!
//! The socket blocks while a process is being started, which happens on a thread that may block. It has a time limit, so that
//! an init that hangs (a program on a dead network share) does not hold the thread for ever.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use capsule_init::{Command, HEADER, Malformed, Report, decode, payload_length};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_passcred, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, shutdown,
    socketpair,
};
use rustix::process::Pid;
use rustix::{cmsg_space, io::Errno};

use super::readiness::Steady;

/// The most descriptors that one message carries.
const DESCRIPTORS: usize = 40;

/// How long an init may take to answer, and the spawner to take an order.
pub(crate) const IO_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// The kinds of messages from an init.
#[derive(Debug)]
pub(crate) enum Pending {
    Nothing,
    /// A report that fits into a few bytes.
    Report(Report),
    /// A part of a report, or a longer report.
    Other,
    /// The end of the channel: no message follows.
    End,
}

/// The attachments of a report.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The sender's pid, in the pid namespace of this process.
    pub(crate) sender: Option<Pid>,
    /// Descriptors were attached and the kernel dropped them, because the host has too many open files. None of them is kept.
    pub(crate) lost: bool,
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[expect(unsafe_code, reason = "it says something of the type")]
// SAFETY: it has one descriptor, for as long as it lives.
unsafe impl Steady for Channel {}

impl Channel {
    /// A channel, and the end that becomes init's stdin.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, inits) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_passcred(&ours, true)?;
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&ours, direction, Some(IO_TIMEOUT))?;
        }
        Ok((Self(ours), inits))
    }

    /// Sends a frame, with descriptors attached to its first byte.
    pub(crate) fn send(&self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !attached.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let mut rest = frame;
        while !rest.is_empty() {
            match sendmsg(&self.0, &[IoSlice::new(rest)], &mut attached, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    attached.clear();
                    rest = rest.get(sent..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives a report and its attachments; none if init ended without a report.
    pub(crate) fn receive(&self) -> io::Result<Option<(Report, Attached)>> {
        let mut attached = Attached::default();
        let mut header = [0; HEADER];
        if !self.fill(&mut header, &mut attached)? {
            return Ok(None);
        }
        let malformed = |error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut payload = vec![0; payload_length(header).map_err(malformed)?];
        if !self.fill(&mut payload, &mut attached)? {
            return Ok(None);
        }
        Ok(Some((decode(&payload).map_err(malformed)?, attached)))
    }

    /// The kind of the next message, which stays in the channel.
    pub(crate) fn peek(&self) -> Pending {
        let mut buffer = [0; 64];
        let (_, count) = match recv(&self.0, &mut buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => return Pending::Nothing,
            Ok((_, 0)) | Err(_) => return Pending::End,
            Ok(read) => read,
        };
        let report = || {
            let (header, payload) = buffer.get(..count)?.split_first_chunk::<HEADER>()?;
            decode(payload.get(..payload_length(*header).ok()?)?).ok()
        };
        report().map_or(Pending::Other, Pending::Report)
    }

    /// Blocks until something is there, were it the end, for so long at most. Whether something is.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec::try_from(limit).unwrap_or_default();
        poll(&mut fds, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Whether the other end is there.
    pub(crate) fn is_open(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())) == Ok(0)
    }

    /// Another descriptor of the same channel.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Has init signal its tree. Does not block: an init that no longer receives is about to end.
    pub(crate) fn command(&self, command: Command) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(send(&self.0, &[command.to_byte()], flags).map(drop)?)
    }

    /// Cuts the lifeline: init kills its tree, reports, and ends.
    pub(crate) fn cut(&self) {
        // Fails only if the other end is closed, and then the tree has ended too.
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    fn fill(&self, mut buffer: &mut [u8], attached: &mut Attached) -> io::Result<bool> {
        while !buffer.is_empty() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS), ScmCredentials(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let slices = &mut [IoSliceMut::new(buffer)];
            let received = match recvmsg(self.0.as_fd(), slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => continue,
                // An init that was killed with bytes of ours unread.
                Err(Errno::CONNRESET) => return Ok(false),
                other => other?,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    attached.descriptors.extend(received);
                } else if let RecvAncillaryMessage::ScmCredentials(sender) = message {
                    attached.sender = Some(sender.pid);
                }
            }
            if received.bytes == 0 {
                return Ok(false);
            }
            if received.flags.contains(ReturnFlags::CTRUNC) {
                attached.lost = true;
                attached.descriptors.clear();
            }
            buffer = buffer.get_mut(received.bytes..).unwrap_or_default();
        }
        Ok(true)
    }
}
