//! `capsule run`: has the calls made, and ends every process that they started.
//!
//! These constraints shape it:
//! - Every path out of [`run`] after the capsule may have started a process goes through `Registry::shutdown`, even after a panic:
//!   the work is a task of its own, and a panic of a task is a value to the task that waits for it.
//! - An interrupt is received at every moment: during a build, a load, a call, and while a line waits for a reader that
//!   does not read. So a blocking task writes the lines, and the command never waits only for that task.
//! - Lines appear as calls end (`calls::make`). A call that failed does not stop the calls after it, so that a `stop` at the end of
//!   the command line still runs.

use std::sync::Arc;
use std::time::Duration;

use capsule_host::supervisor::Registry;

use crate::args::RunArgs;
use crate::calls::{Making, Principals, Source as Calls, Stopped, print};
use crate::denials::Denials;
use crate::exit_code::FAILED;
use crate::failure::Failure;
use crate::hosting::{Denied, Loading, Plan, Prepared, Settings};
use crate::interrupt::Interrupts;
use crate::trial::Trial;
use crate::until_exit::{exits_handled, until_exit};
use crate::{audit, console, left_running};

/// How long messages that wait for the capsule when the last call has ended are still delivered.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// Runs the command and returns its exit code. By then an error outside of a call is on standard error, and every process
/// that was started has ended.
pub(crate) async fn run(args: RunArgs) -> u8 {
    match try_run(args).await {
        Ok(code) => code,
        Err(failure) => {
            if let Some(message) = failure.message() {
                console::error(&message);
            }
            failure.exit_code()
        }
    }
}

async fn try_run(args: RunArgs) -> Result<u8, Failure> {
    let calls = Calls::open(args.calls, args.of_calls.calls_file.as_deref())?;
    let is_only = args.host.principal.is_some();
    let plan = Plan::of(args.host, &args.capsule, args.capsule_id)?;
    let log = plan.args().audit.as_deref();
    let log = log.map(|path| audit::open(path, plan.workspace())).transpose()?;
    let mut interrupts = Interrupts::new().map_err(Failure::Signals)?;
    let denials = Arc::new(Denials::default());
    let denied: Denied = {
        let denials = Arc::clone(&denials);
        Arc::new(move |_, denial, omitted| denials.tell(denial, omitted))
    };
    let settings = Settings {
        config: args.of_calls.config.into_iter().collect(),
        call_time: args.of_calls.timeout,
    };
    let Prepared {
        host,
        loading,
        trial,
        principal,
    } = plan.prepare(settings, log.clone(), &denied, &mut interrupts).await?;
    let session = Session {
        registry: host.registry().clone(),
        loading,
        principals: Principals {
            default: principal.clone(),
            is_only,
        },
        trial,
        calls,
        jobs: args.of_calls.jobs.into(),
        until_exit: args.of_calls.until_exit,
        denials,
        interrupts,
    };
    let ended = tokio::spawn(session.run()).await;
    left_running::tell(host.registry(), host.capsule(), &principal);
    host.end().await;
    let is_recorded = match log {
        Some(log) => audit::finish(log).await,
        None => true,
    };
    let code = ended.map_err(Failure::Panic)??;
    Ok(if is_recorded { code } else { FAILED })
}

/// The calls of one command line to one capsule.
struct Session {
    registry: Registry,
    loading: Loading,
    principals: Principals,
    trial: Trial,
    calls: Calls,
    jobs: usize,
    until_exit: bool,
    denials: Arc<Denials>,
    interrupts: Interrupts,
}

impl Session {
    /// Loads the capsule and makes the calls. Leaves processes behind: the caller shuts the registry down.
    async fn run(mut self) -> Result<u8, Failure> {
        let capsule = tokio::select! {
            loaded = self.loading.load(&mut self.trial) => loaded?,
            interrupt = self.interrupts.next() => return Err(Failure::Interrupted(interrupt)),
        };

        let making = Making {
            capsule: &capsule,
            principals: &self.principals,
            jobs: self.jobs,
            denials: &self.denials,
            trial: &mut self.trial,
            interrupts: &mut self.interrupts,
        };
        let principal = &self.principals.default;
        let code = match making.make(self.calls).await {
            Ok(code) => code,
            Err(stopped) => {
                left_running::tell(&self.registry, capsule.id(), principal);
                // This completes the records of the calls in flight before the log ends.
                capsule.unload().await;
                if let Stopped::Interrupted { lines, .. } = &stopped {
                    // Before the lines are printed: a reader that does not read must not keep processes alive.
                    self.registry.shutdown().await;
                    for line in lines {
                        print(line.clone(), &mut self.interrupts).await?;
                    }
                }
                return Err(stopped.into());
            }
        };
        let last = async {
            if self.until_exit {
                until_exit(&self.registry, &capsule, principal).await;
            // Events of processes that the last call ended may still be on their way.
            } else if tokio::time::timeout(LAST_MESSAGES, exits_handled(&self.registry, &capsule))
                .await
                .is_err()
            {
                tracing::warn!("messages still wait for the capsule; they are not delivered any more");
            }
        };
        tokio::select! {
            biased;
            error = self.trial.failed_late() => Err(error.into()),
            () = last => Ok(code),
            interrupt = self.interrupts.next() => Err(Failure::Interrupted(interrupt)),
        }
    }
}
