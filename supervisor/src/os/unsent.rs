//! Commands that an init's channel did not take at once.
//!
//! The channel takes a few hundred commands, and an init without processor time reads none. A signal succeeds all the same
//! (contract K1), and what waits must stay bounded. So what waits is a set, as the kernel's own pending signals are: the same signal
//! twice is one, a CONT removes a STOP that waits, and a STOP a CONT. It is sent when the channel can be written to.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use capsule_init::Command;
use rustix::process::Signal;
use tokio::io::Interest;

use super::channel::Channel;
use super::readiness::{self, Watched};

/// The bytes of [`Command`] that wait are its bits. Only the monitor's task changes it.
#[derive(Debug)]
pub(super) struct Unsent {
    /// A duplicate, because the monitor watches the channel for reports only.
    channel: Watched<Channel>,
    waiting: AtomicU64,
}

impl Unsent {
    /// # Errors
    /// The host has no descriptor left, or the runtime is ending.
    pub(super) fn new(channel: &Channel) -> io::Result<Self> {
        Ok(Self {
            channel: readiness::watch(channel.try_clone()?, Interest::WRITABLE)?,
            waiting: AtomicU64::new(0),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Adds a command, which is sent after those that the channel has taken.
    pub(super) fn add(&self, command: Command) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        self.waiting.store(with(waiting, command), Ordering::Relaxed);
    }

    /// Sends what waits, as soon as the channel takes it. Completes when nothing waits.
    ///
    /// # Errors
    /// The runtime is ending.
    pub(super) async fn send(&self) -> io::Result<()> {
        loop {
            let mut ready = self.channel.writable().await?;
            let waiting = self.waiting.load(Ordering::Relaxed);
            let Some(command) = first(waiting) else { return Ok(()) };
            match self.channel.get_ref().command(command) {
                Ok(()) => self.waiting.store(waiting & !bit(command), Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                // The tree has ended.
                Err(_) => self.waiting.store(0, Ordering::Relaxed),
            }
        }
    }
}

/// A set with a command more. The lowest byte is sent first: a STOP comes after TERM, as it does if it was asked for last.
fn with(waiting: u64, command: Command) -> u64 {
    let of = |signal: Signal| u64::try_from(signal.as_raw()).map_or(0, |number| 1 << number);
    let removed = match command {
        // With its TERM it sends CONT.
        Command::Terminate => of(Signal::STOP) | of(Signal::CONT),
        Command::Signal(_) if bit(command) == of(Signal::CONT) => of(Signal::STOP),
        Command::Signal(_) if bit(command) == of(Signal::STOP) => of(Signal::CONT),
        Command::Signal(_) => 0,
    };
    waiting & !removed | bit(command)
}

/// None of the last signal, which no interface has.
fn bit(command: Command) -> u64 {
    1_u64.checked_shl(command.to_byte().into()).unwrap_or(0)
}

fn first(waiting: u64) -> Option<Command> {
    u8::try_from(waiting.trailing_zeros())
        .ok()
        .filter(|_| waiting != 0)
        .and_then(Command::from_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k1_signals_that_wait_are_a_set_without_contradictions() {
        let signal = |signal: Signal| Command::Signal(signal.as_raw().try_into().expect("a number"));
        let sent = |asked: &[Command]| {
            let mut waiting = asked.iter().fold(0, |waiting, command| with(waiting, *command));
            std::iter::from_fn(|| {
                let command = first(waiting)?;
                waiting &= !bit(command);
                Some(command)
            })
            .collect::<Vec<_>>()
        };
        let [stop, cont, term, user] = [Signal::STOP, Signal::CONT, Signal::TERM, Signal::USR1].map(signal);
        assert_eq!(sent(&[]), []);
        assert_eq!(sent(&[user, term, user, term]), [user, term]);
        assert_eq!(sent(&[stop, cont]), [cont]);
        assert_eq!(sent(&[cont, stop]), [stop]);
        assert_eq!(sent(&[stop, Command::Terminate]), [Command::Terminate]);
        assert_eq!(sent(&[Command::Terminate, stop]), [Command::Terminate, stop]);
    }
}
