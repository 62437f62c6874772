//! Init's end of the channel to the host: descriptor 0, as long as init runs.
//!
//! After the host has ended, no call here blocks init: a read ends and a write fails.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use capsule_init::{Command, Config, HEADER, PROTOCOL, Report, decode, encode, encode_short, payload_length};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv,
    recvmsg, sendmsg,
};

use crate::sweep;

/// The most descriptors that travel in either direction.
const DESCRIPTORS: usize = 40;

/// The descriptors that come with a configuration.
pub(crate) struct Descriptors {
    pub(crate) stdio: [OwnedFd; 3],
    pub(crate) workspace: OwnedFd,
    pub(crate) landlock: Option<OwnedFd>,
    /// The network namespace to join.
    pub(crate) network: Option<OwnedFd>,
    /// The content of the injected files.
    pub(crate) injected: Option<OwnedFd>,
    /// The user namespace for the workspace.
    pub(crate) mapping: Option<OwnedFd>,
    /// The directory of a control group for the command.
    pub(crate) group: Option<OwnedFd>,
}

/// The reason why no configuration was received.
pub(crate) enum Unconfigured {
    /// The host has ended, or will soon give up this process: no host would read a report.
    Gone,
    /// The host speaks another version.
    Malformed,
}

/// Descriptor 0.
pub(crate) struct Channel;

fn socket() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

impl Channel {
    /// The descriptor to wait on.
    pub(crate) fn fd(&self) -> BorrowedFd<'static> {
        socket()
    }

    /// Reports that this process is ready. The host sends nothing before that.
    pub(crate) fn say_ready(&self) -> Result<(), Unconfigured> {
        let start = sweep::start_of_this().ok_or(Unconfigured::Gone)?;
        self.report(&Report::Ready { start }, &[]);
        Ok(())
    }

    /// Waits for the configuration.
    pub(crate) fn configuration(&self) -> Result<(Config, Descriptors), Unconfigured> {
        let mut header = [0; HEADER];
        let descriptors = receive_with_descriptors(&mut header)?;
        let length = payload_length(header).map_err(|_| Unconfigured::Malformed)?;
        let mut payload = vec![0; length];
        receive(&mut payload)?;
        let config: Config = decode(&payload).map_err(|_| Unconfigured::Malformed)?;
        let descriptors = sort(descriptors, &config).ok_or(Unconfigured::Malformed)?;
        if config.protocol != PROTOCOL {
            return Err(Unconfigured::Malformed);
        }
        Ok((config, descriptors))
    }

    /// Sends a report to the host, and returns whether the kernel took it. A failure makes no difference if the host has ended:
    /// then the channel has ended, and init ends with it.
    pub(crate) fn report(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> bool {
        tell(socket(), report, descriptors)
    }

    /// Returns when the host has closed the channel, or has ended.
    ///
    /// A process that has sent its last report waits here. The end of a process takes time, and would keep the processor from the
    /// host that has just received the report. For the same reason it waits for the end only: a process that waits to read is also
    /// woken when its report has been read.
    pub(crate) fn wait_for_end(&self) {
        let mut fds = [PollFd::from_borrowed_fd(socket(), PollFlags::RDHUP)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
    }

    /// Takes the waiting commands. `false`: the host has ended, or asks for the end.
    pub(crate) fn commands(&self, each: impl FnMut(Command)) -> bool {
        let mut buffer = [0; 64];
        let read = match recv(socket(), &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            // Reset: the host went away without reading everything.
            Err(_) => return false,
        };
        let bytes = buffer.into_iter().take(read);
        bytes.filter_map(Command::from_byte).for_each(each);
        true
    }
}

/// Sends a report to the host at the other end of `socket`, and returns whether the kernel took it. The host may have ended.
pub(crate) fn tell(socket: BorrowedFd<'_>, report: &Report, descriptors: &[BorrowedFd<'_>]) -> bool {
    // The reports that the host waits for are short. An allocation would get memory from the kernel and return it each time.
    let mut short = [0; 64];
    if let Ok(frame) = encode_short(report, &mut short) {
        send(socket, frame, descriptors)
    } else if let Ok(frame) = encode(report) {
        send(socket, &frame, descriptors)
    } else {
        false
    }
}

fn send(socket: BorrowedFd<'_>, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    // A report has a few dozen bytes, and an init sends few of them: the socket's buffer always has room for a whole report.
    sendmsg(socket, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL).is_ok()
}

fn receive_with_descriptors(header: &mut [u8; HEADER]) -> Result<Vec<OwnedFd>, Unconfigured> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut slices = [IoSliceMut::new(header)];
        match recvmsg(socket(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.map_err(|_| Unconfigured::Gone)?,
        }
    };
    let descriptors = control
        .drain()
        .filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                Some(rights)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    match header.get_mut(message.bytes..) {
        Some(rest) if message.bytes > 0 => receive(rest)?,
        _ => return Err(Unconfigured::Gone),
    }
    Ok(descriptors)
}

fn receive(mut buffer: &mut [u8]) -> Result<(), Unconfigured> {
    while !buffer.is_empty() {
        let read = match recv(socket(), &mut *buffer, RecvFlags::WAITALL) {
            Ok((0, _)) => return Err(Unconfigured::Gone),
            Ok((read, _)) => read,
            Err(Errno::INTR) => 0,
            Err(_) => return Err(Unconfigured::Gone),
        };
        buffer = buffer.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

fn sort(descriptors: Vec<OwnedFd>, config: &Config) -> Option<Descriptors> {
    let mut descriptors = descriptors.into_iter();
    let sorted = Descriptors {
        stdio: [descriptors.next()?, descriptors.next()?, descriptors.next()?],
        workspace: descriptors.next()?,
        landlock: match config.landlock {
            true => Some(descriptors.next()?),
            false => None,
        },
        network: match config.joins {
            true => Some(descriptors.next()?),
            false => None,
        },
        injected: match &config.confinement {
            Some(confinement) if !confinement.injections.is_empty() => Some(descriptors.next()?),
            Some(_) | None => None,
        },
        mapping: match &config.confinement {
            Some(confinement) if confinement.mapping => Some(descriptors.next()?),
            Some(_) | None => None,
        },
        group: match config.group && config.confinement.is_none() {
            true => Some(descriptors.next()?),
            false => None,
        },
    };
    descriptors.next().is_none().then_some(sorted)
}
