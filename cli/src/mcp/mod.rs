//! `capsule mcp`: an MCP server on standard input and output, whose tools are the actions of capsules.
//!
//! These constraints shape it:
//! - Standard output carries the protocol and nothing else. All that this program and the capsules say goes to standard error.
//! - A call that waits holds no other call up: each has a task and an instance of its own, and those that may wait cannot take all
//!   places. `notifications/cancelled` drops its task, which ends the instance.
//! - A client that does not read its answers is not read from either, so that they do not grow without a bound.
//! - Whatever ends the server ends every process that it started: the end of standard input, a signal, a panic. As in `run`, the
//!   work is a task of its own, and each host is ended after it. The end of standard input is not seen while too many answers are
//!   unread (`transport`).
//! - Each capsule has a host of its own, with exactly what `capsule run` would give it, so that capsules share no process, no
//!   network and no limit.
//! - A tool that fails is a result with `isError`, which the agent reads. Only faults of the protocol are errors of the protocol.

mod input;
mod recent;
mod result;
mod server;
mod tools;
mod transport;

use std::io::IsTerminal as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use capsule_host::runtime::Capsule;
use capsule_host::supervisor::Principal;
use rmcp::RoleServer;
use rmcp::service::{ServerInitializeError, serve_server_with_ct};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::input::Input;
use self::recent::Recent;
use self::server::{Server, Target, WAITING_MAX};
use self::tools::Offer;
use self::transport::Bounded;
use crate::args::McpArgs;
use crate::exit_code::{FAILED, SUCCEEDED};
use crate::failure::Failure;
use crate::hosting::{CURRENT, Denied, Host, Loading, Plan, Prepared, Settings};
use crate::interrupt::Interrupts;
use crate::trial::Trial;
use crate::{audit, console, denials};

/// How long calls that are under way at the end of standard input may still take. A client that closes it waits for about two
/// seconds before it sends a signal.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// How long the last answers may take to be written, because the client may not read.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Runs the command and returns its exit code. By then every process that was started has ended.
pub(crate) async fn mcp(args: McpArgs) -> u8 {
    match try_mcp(args).await {
        Ok(code) => code,
        // Before the server was there. An agent's program then waits for no answer.
        Err(Failure::Interrupted(_)) => SUCCEEDED,
        Err(failure) => {
            console::error(&failure.to_string());
            failure.exit_code()
        }
    }
}

async fn try_mcp(args: McpArgs) -> Result<u8, Failure> {
    if std::io::stdin().is_terminal() {
        console::tell(
            "waiting for a client of MCP on standard input; an agent's program starts this command: see --help",
        );
    }
    let (plans, offers) = plans(&args)?;
    let log = match (&args.host.audit, plans.first()) {
        (Some(path), Some(plan)) => Some(audit::open(path, plan.workspace())?),
        _ => None,
    };
    let mut interrupts = Interrupts::new().map_err(Failure::Signals)?;
    let mut hosts = Vec::new();
    let mut parts = Vec::new();
    let mut failed = None;
    for (plan, offers) in plans.into_iter().zip(offers) {
        let recent = Arc::new(Recent::default());
        match plan
            .prepare(Settings::default(), log.clone(), &observer(&recent), &mut interrupts)
            .await
        {
            Ok(Prepared {
                host,
                loading,
                trial,
                principal,
            }) => {
                hosts.push(host);
                parts.push(Part {
                    loading,
                    trial,
                    principal,
                    recent,
                    offers,
                });
            }
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    let ended = match failed {
        None => tokio::spawn(serve(parts, interrupts)).await,
        Some(failure) => Ok(Err(failure)),
    };
    end_all(hosts).await;
    let is_recorded = match log {
        Some(log) => audit::finish(log).await,
        None => true,
    };
    ended.map_err(Failure::Panic)??;
    Ok(if is_recorded { SUCCEEDED } else { FAILED })
}

/// What is served, and the tools of each.
fn plans(args: &McpArgs) -> Result<(Vec<Plan>, Vec<Vec<Offer>>), Failure> {
    let mut plans = Vec::new();
    if !args.no_process_tools {
        plans.push(tools::process_tools(args.host.clone())?);
    }
    // All in one folder: a workspace of its own for each capsule would not be seen in an agent's program.
    let mut host = args.host.clone();
    host.workspace.get_or_insert_with(|| CURRENT.into());
    for capsule in &args.capsules {
        plans.push(Plan::of(host.clone(), capsule, None)?);
    }
    if args.host.network.publishes() && plans.len() > 1 {
        return Err(Failure::Tools(
            "--publish leads to the processes of one capsule: give it with one CAPSULE and --no-process-tools, or with none".to_owned(),
        ));
    }
    let offers = tools::offers(&plans)?;
    Ok((plans, offers))
}

/// Tells the user of a denial, and keeps it for the result of the tool.
fn observer(recent: &Arc<Recent>) -> Denied {
    let recent = Arc::clone(recent);
    Arc::new(move |owner, denial, omitted| {
        denials::tell(owner, denial, omitted);
        recent.add(denials::text(denial));
    })
}

async fn end_all(hosts: Vec<Host>) {
    let mut ending: JoinSet<()> = hosts.into_iter().map(Host::end).collect();
    while ending.join_next().await.is_some() {}
}

/// A capsule that is to be served.
struct Part {
    loading: Loading,
    trial: Trial,
    principal: Principal,
    recent: Arc<Recent>,
    offers: Vec<Offer>,
}

/// Loads the capsules and serves until the end of standard input or a signal. Leaves processes behind: the caller ends the hosts.
async fn serve(parts: Vec<Part>, mut interrupts: Interrupts) -> Result<(), Failure> {
    let calls = CancellationToken::new();
    let mut server = Server::new(calls.clone());
    let mut capsules = Vec::new();
    let mut trials = JoinSet::new();
    for Part {
        loading,
        mut trial,
        principal,
        recent,
        offers,
    } in parts
    {
        let capsule = tokio::select! {
            loaded = loading.load(&mut trial) => loaded?,
            interrupt = interrupts.next() => return Err(Failure::Interrupted(interrupt)),
        };
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        for Offer {
            tool,
            action,
            starts,
            may_wait,
        } in offers
        {
            let target = Target {
                capsule: capsule.clone(),
                principal: principal.clone(),
                action,
                recent: Arc::clone(&recent),
                starts,
                waiting: may_wait.then(|| Arc::clone(&waiting)),
            };
            server.add(tool, target);
        }
        trials.spawn(async move { trial.failed_late().await });
        capsules.push(capsule);
    }

    let input_ended = CancellationToken::new();
    let input = Input::new(tokio::io::stdin(), input_ended.clone());
    let transport = Bounded::new(AsyncRwTransport::new_server(input, tokio::io::stdout()));
    let stop = CancellationToken::new();
    let mut serving = pin!(speak(server, transport, stop.clone()));
    let patience_ended = async {
        input_ended.cancelled().await;
        sleep(LAST_CALLS).await;
    };
    let mut is_serving = true;
    let ended = tokio::select! {
        ended = &mut serving => {
            is_serving = false;
            ended
        }
        () = patience_ended => Ok(()),
        _ = interrupts.next() => Ok(()),
        Some(Ok(error)) = trials.join_next() => Err(error.into()),
    };
    calls.cancel();
    stop.cancel();
    if is_serving {
        // Calls in flight are answered. The outcome does not matter: the reason of the end is known.
        drop(timeout(LAST_ANSWERS, serving).await);
    }
    // Completes the records of calls before the log ends.
    unload_all(capsules).await;
    ended
}

async fn unload_all(capsules: Vec<Capsule>) {
    let unload = |capsule: Capsule| async move { capsule.unload().await };
    let mut unloading: JoinSet<()> = capsules.into_iter().map(unload).collect();
    while unloading.join_next().await.is_some() {}
}

/// Answers requests until the end of the input.
async fn speak<T>(server: Server, transport: T, stop: CancellationToken) -> Result<(), Failure>
where
    T: Transport<RoleServer> + 'static,
{
    match serve_server_with_ct(server, transport, stop).await {
        Ok(running) => {
            let ended = running.waiting().await.map_err(Failure::Panic)?;
            tracing::debug!(?ended, "the client is gone");
            Ok(())
        }
        Err(ServerInitializeError::Cancelled) => Ok(()),
        // The client went away before the session began, which it may.
        Err(error @ (ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::TransportError { .. })) => {
            tracing::debug!(%error, "the client is gone");
            Ok(())
        }
        Err(error) => Err(Failure::Protocol(Box::new(error))),
    }
}
