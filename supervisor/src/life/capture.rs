//! Running a command to its end and taking all of its output (contract S8).

use super::lifecycle::{End, Reason};
use super::process::KillOnDrop;
use crate::{Error, RunOutput};

/// Waits for the end of `process`, which ends when it prints more than its rings hold. If the future is dropped, the
/// process is ended.
pub(crate) async fn run(process: KillOnDrop) -> Result<RunOutput, Error> {
    let (exit, reason) = process.0.exited().await?;
    match reason {
        // A command that reached a limit returns the output that it has written, and its exit shows that it was killed.
        Reason::SelfExit | Reason::Ended(End::LimitMemory | End::LimitCpu) => {}
        Reason::Ended(End::Overflow) => return Err(Error::TooLarge),
        Reason::Ended(End::Stop | End::Lifetime | End::Idle | End::Shutdown | End::Kill | End::Abandoned) => {
            return Err(Error::Cancelled);
        }
    }
    let stdout = process.0.stdout.drain().into_bytes();
    let stderr = process.0.stderr.drain().into_bytes();
    Ok(RunOutput { stdout, stderr, exit })
}
