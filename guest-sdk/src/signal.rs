//! The signals of the interface.

use crate::wit::generated::astrid::process1_1_0::host::ProcessSignal;

/// A signal that a capsule may send. SIGKILL is not among them: [`Process::kill`](crate::Process::kill) sends it, and
/// [`Process::stop`](crate::Process::stop) does after its grace.
///
/// ```no_run
/// # fn main() -> capsule_sdk::Result<()> {
/// # let process = capsule_sdk::Process::find("server")?.unwrap();
/// process.signal(capsule_sdk::Signal::Int)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: asks for an orderly end.
    Term,
    /// SIGHUP: by convention, reload the configuration.
    Hup,
    /// SIGUSR1: the program gives it a meaning.
    Usr1,
    /// SIGUSR2: the program gives it a meaning.
    Usr2,
    /// SIGINT: what Ctrl-C sends.
    Int,
    /// SIGSTOP: freezes it.
    Stop,
    /// SIGCONT: lets it go on.
    Cont,
}

impl From<Signal> for ProcessSignal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Term => Self::Term,
            Signal::Hup => Self::Hup,
            Signal::Usr1 => Self::Usr1,
            Signal::Usr2 => Self::Usr2,
            Signal::Int => Self::Int,
            Signal::Stop => Self::Stop,
            Signal::Cont => Self::Cont,
        }
    }
}
