//! The signals that ask the command to end: HUP, INT and TERM.
//!
//! Their default action would end this process at once and leave the capsule's processes behind. So they are received
//! here for as long as the command lives, and a second signal does not interrupt the orderly end. A signal that
//! was ignored when the command started stays ignored: `nohup` and a shell's background jobs rely on that.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks the command to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Hup,
    Int,
    Term,
}

impl Interrupt {
    /// Its name, as `kill -l` gives it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
        }
    }

    /// The exit code by which shells know that a signal ended a command: 128 and the signal's number.
    pub(crate) const fn exit_code(self) -> u8 {
        128 + match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Term => 15,
        }
    }
}

/// Receives [`Interrupt`]s. Once it exists, no such signal ends the process by its default action, even after it is dropped.
#[derive(Debug)]
pub(crate) struct Interrupts {
    hup: Option<Signal>,
    int: Option<Signal>,
    term: Option<Signal>,
}

impl Interrupts {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let receive = |kind: SignalKind| {
            if is_ignored(&status, kind) {
                Ok(None)
            } else {
                signal(kind).map(Some)
            }
        };
        Ok(Self {
            hup: receive(SignalKind::hangup())?,
            int: receive(SignalKind::interrupt())?,
            term: receive(SignalKind::terminate())?,
        })
    }

    /// Waits for the next interrupt. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            () = received(self.hup.as_mut()) => Interrupt::Hup,
            () = received(self.int.as_mut()) => Interrupt::Int,
            () = received(self.term.as_mut()) => Interrupt::Term,
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => match signal.recv().await {
            Some(()) => {}
            None => pending().await,
        },
        None => pending().await,
    }
}

/// Reads the mask of ignored signals from `/proc/self/status`, because `sigaction` would be an unsafe call.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(0);
    mask >> bit & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mask_of_ignored_signals() {
        // nohup: HUP (1) ignored, and PIPE (13), as Rust programs have it.
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        assert!(is_ignored(status, SignalKind::hangup()));
        assert!(!is_ignored(status, SignalKind::interrupt()));
        assert!(!is_ignored(status, SignalKind::terminate()));
        assert!(is_ignored(status, SignalKind::pipe()));
        assert!(!is_ignored("", SignalKind::hangup()));
    }
}
