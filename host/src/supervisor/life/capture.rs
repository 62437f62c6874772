//! Running a command to its end and taking all of its output (contract S8).

use std::sync::Arc;
use std::time::Duration;

use super::lifecycle::{End, Reason};
use super::process::Process;
use crate::supervisor::{Error, RunOutput};

/// Waits for the end of `process`, which ends when it prints more than its rings hold. Dropped, it ends the process.
pub(crate) async fn run(process: Arc<Process>) -> Result<RunOutput, Error> {
    let process = Owned(process);
    let (exit, reason) = process.0.exited().await?;
    match reason {
        // A command that hit a limit has printed what it has printed, and its exit says that it was killed.
        Reason::SelfExit | Reason::Ended(End::LimitMemory | End::LimitCpu) => {}
        Reason::Ended(End::Overflow) => return Err(Error::TooLarge),
        Reason::Ended(End::Stop | End::Lifetime | End::Idle | End::Shutdown | End::Abandoned) => {
            return Err(Error::Cancelled);
        }
    }
    let stdout = process.0.stdout.drain().into_bytes();
    let stderr = process.0.stderr.drain().into_bytes();
    Ok(RunOutput { stdout, stderr, exit })
}

/// A process that ends with its owner.
struct Owned(Arc<Process>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.end(End::Abandoned, Duration::ZERO);
    }
}
