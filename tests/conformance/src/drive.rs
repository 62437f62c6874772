//! Runs one case against one host.
//!
//! The driver only carries out the plan and passes data from step to step. The guest decides what is right. The driver
//! decides only what no guest can see: that a call was ended, and when; what a pid is; and that a file of the workspace is no
//! longer locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinSet;

use crate::case::Case;
use crate::host::{Answer, CallFailure, Description, Host, Load, Refusal, Running, Start};
use crate::plan::{Call, Do, Ends, Need, Plan, Step, What};
use crate::report::Verdict;

/// The time after which a case has failed unless the caller names another, because a host that hangs must not hang the suite.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(150);

/// The time from a request to unload a capsule until a call of it must have ended. Calls have longer deadlines of their own.
const PROMPT: Duration = Duration::from_secs(10);

/// Locked for writing while a case runs that must be alone.
static ALONE: RwLock<()> = RwLock::const_new(());

/// How a case is run.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The time after which it has failed.
    pub(crate) time: Duration,
    /// The folder in which its workspace is made; the system's folder for temporary files if there is none.
    pub(crate) workspaces: Option<PathBuf>,
    pub(crate) others: Others,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            time: GIVE_UP,
            workspaces: None,
            others: Others::InThisProcess,
        }
    }
}

/// Where other cases run at the same time, which a case that must be alone has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// In this process. The case waits for them, and they wait for it.
    InThisProcess,
    /// In processes that this one does not know. A case that must be alone does not run.
    #[cfg_attr(
        not(feature = "command-line"),
        expect(dead_code, reason = "only a command line has processes")
    )]
    Elsewhere,
    /// Nowhere.
    #[cfg_attr(
        not(feature = "command-line"),
        expect(dead_code, reason = "only a command line has processes")
    )]
    Nowhere,
}

/// The case must be alone, other cases may run ([`Others::Elsewhere`]), and so it was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct MustBeAlone;

/// Runs `case` against a host of its own, in a workspace of its own.
pub(crate) async fn drive<H: Host>(host: &H, case: Case, terms: &Terms) -> Result<Verdict, MustBeAlone> {
    match tokio::time::timeout(terms.time, try_drive(host, case, terms)).await {
        Ok(Ok(seen)) => Ok(Verdict::Passed(seen)),
        Ok(Err(Stop::Failed(why))) => Ok(Verdict::Failed(why)),
        Ok(Err(Stop::NotApplicable(reason))) => Ok(Verdict::NotApplicable(reason)),
        Ok(Err(Stop::MustBeAlone)) => Err(MustBeAlone),
        Err(_) => Ok(Verdict::Failed(format!("did not end within {:?}", terms.time))),
    }
}

/// The reason for which a case did not pass.
enum Stop {
    Failed(String),
    NotApplicable(String),
    MustBeAlone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotOffered(reason) => Self::NotApplicable(reason),
            Refusal::Failed(why) => Self::Failed(why),
        }
    }
}

async fn try_drive<H: Host>(host: &H, case: Case, terms: &Terms) -> Result<String, Stop> {
    let failed = |error: std::io::Error| Stop::Failed(format!("no workspace: {error}"));
    let workspaces = terms.workspaces.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new()
        .prefix("conformance-")
        .tempdir_in(workspaces)
        .map_err(failed)?;
    let workspace = folder.path().canonicalize().map_err(failed)?;
    let plan = plan(host, case, &workspace).await?;
    applies(&plan, &host.describe())?;
    let start = plan
        .start(workspace.clone())
        .map_err(|error| Stop::Failed(format!("its plan cannot be read: {error}")))?;
    // Held to the end: a case that must be alone waits for all others, and they wait for it.
    let (_alone, _among_others);
    match (plan.needs.contains(&Need::Alone), terms.others) {
        (true, Others::InThisProcess) => _alone = ALONE.write().await,
        (false, Others::InThisProcess) => _among_others = ALONE.read().await,
        (true, Others::Elsewhere) => return Err(Stop::MustBeAlone),
        (false, Others::Elsewhere) | (_, Others::Nowhere) => {}
    }
    let session = Arc::new(Session {
        host: host.start(start).await?,
        description: host.describe(),
        case,
        plan,
        workspace,
        loaded: Mutex::default(),
        ending: std::sync::Mutex::default(),
    });
    let result = Arc::clone(&session).steps(None, String::new()).await;
    session.host.shutdown().await;
    // Not before that, because running processes may write there.
    drop(folder);
    result
}

/// Asks the component itself for the plan, on a host with default settings that is used for nothing else.
async fn plan<H: Host>(host: &H, case: Case, workspace: &Path) -> Result<Plan, Stop> {
    let running = host
        .start(Start {
            workspace: workspace.to_owned(),
            ..Start::default()
        })
        .await?;
    let answer = async {
        running
            .load(Load {
                capsule: case.name.into(),
                component: case.component(),
                grants: crate::host::Grants {
                    commands: Vec::new(),
                    persistent: false,
                    ..Default::default()
                },
            })
            .await?;
        let answer = running.call(case.name, None, "plan", Vec::new()).await;
        answer.map_err(|failure| failed_call(failure, "does not say its plan"))
    };
    let answer = answer.await;
    running.shutdown().await;
    serde_json::from_str(&verdict(case, "plan", answer?)?)
        .map_err(|error| Stop::Failed(format!("its plan cannot be read: {error}")))
}

/// The data of a step, by the verdict of the case itself. A host may answer an action that it does not know, or may not have called
/// the case at all; then this is no verdict.
fn verdict(case: Case, action: &str, answer: Answer) -> Result<String, Stop> {
    #[derive(Deserialize)]
    struct Said {
        case: String,
        verdict: String,
        data: String,
    }
    let data = answer.data.unwrap_or_default();
    let said = serde_json::from_str::<Said>(&data)
        .ok()
        .filter(|said| said.case == case.name);
    match said {
        Some(said) if said.verdict == "passed" => Ok(said.data),
        Some(said) if said.verdict == "not-applicable" => Err(Stop::NotApplicable(said.data)),
        Some(said) => Err(Stop::Failed(format!("{action}: {}", said.data))),
        None => Err(Stop::Failed(format!(
            "{action}: the answer is not the case's: {:?} with {data:?}",
            answer.action
        ))),
    }
}

fn failed_call(failure: CallFailure, what: &str) -> Stop {
    match failure {
        CallFailure::NotOffered(reason) => Stop::NotApplicable(reason),
        CallFailure::Cancelled | CallFailure::Trapped(_) | CallFailure::Host(_) => {
            Stop::Failed(format!("{what}: {failure}"))
        }
    }
}

fn applies(plan: &Plan, host: &Description) -> Result<(), Stop> {
    if plan.has_concurrent_calls() && !host.concurrent_calls {
        return Err(Stop::NotApplicable(
            "the host does not run two calls of one capsule and principal at once".into(),
        ));
    }
    for need in &plan.needs {
        match need {
            Need::Confined(layer) if !host.confinement.contains(layer) => {
                return Err(Stop::NotApplicable(format!(
                    "the host runs processes unconfined: without the layer {layer:?}"
                )));
            }
            Need::Unconfined if !host.confinement.is_empty() => {
                return Err(Stop::NotApplicable("about hosts that run processes unconfined".into()));
            }
            Need::Confined(_) | Need::Unconfined | Need::Alone => {}
        }
    }
    Ok(())
}

struct Session<R> {
    host: R,
    description: Description,
    case: Case,
    plan: Plan,
    workspace: PathBuf,
    loaded: Mutex<BTreeSet<String>>,
    /// When the host was asked to unload a capsule, or to shut down.
    ending: std::sync::Mutex<BTreeMap<String, Instant>>,
}

/// A list of steps in the plan: the whole plan, or a branch (the second number) of a parallel step (the first number).
type Branch = Option<(usize, usize)>;

impl<R: Running> Session<R> {
    /// Boxed, because a step may contain further steps.
    fn steps(
        self: Arc<Self>,
        branch: Branch,
        mut payload: String,
    ) -> Pin<Box<dyn Future<Output = Result<String, Stop>> + Send>> {
        Box::pin(async move {
            let steps = match branch {
                None => self.plan.steps.len(),
                Some(at) => self.branch(at).len(),
            };
            for index in 0..steps {
                let step = match branch {
                    None => self.plan.steps.get(index),
                    Some(at) => self.branch(at).get(index),
                };
                let Some(step) = step else { break };
                payload = match step {
                    Step::Run(action) => {
                        let call = Call::of(action);
                        self.call(&call, payload).await?
                    }
                    Step::Call(call) => self.call(call, payload).await?,
                    Step::Do(what) => self.tell(what, payload).await?,
                    Step::Unlocked { unlocked } => self.lock(unlocked, false).map(|()| payload)?,
                    Step::Locked { locked } => self.lock(locked, true).map(|()| payload)?,
                    Step::Runs { runs } => is_program(&payload, runs).map(|()| payload)?,
                    Step::NoZombies { .. } => no_zombies(&payload).map(|()| payload)?,
                    Step::Parallel { .. } if branch.is_some() => {
                        return Err(Stop::Failed("its plan has branches within branches".into()));
                    }
                    Step::Parallel { parallel } => Arc::clone(&self).parallel(index, parallel.len(), payload).await?,
                };
            }
            Ok(payload)
        })
    }

    fn branch(&self, (step, branch): (usize, usize)) -> &[Step] {
        match self.plan.steps.get(step) {
            Some(Step::Parallel { parallel }) => parallel.get(branch).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    async fn parallel(self: Arc<Self>, step: usize, branches: usize, payload: String) -> Result<String, Stop> {
        let mut tasks = JoinSet::new();
        for branch in 0..branches {
            let steps = Arc::clone(&self).steps(Some((step, branch)), payload.clone());
            tasks.spawn(async move { (branch, steps.await) });
        }
        let mut data = vec![String::new(); branches];
        while let Some(ended) = tasks.join_next().await {
            let (branch, result) = ended.map_err(|error| Stop::Failed(error.to_string()))?;
            if let Some(place) = data.get_mut(branch) {
                *place = result?;
            }
        }
        Ok(data.join("\n"))
    }

    async fn call(&self, call: &Call, payload: String) -> Result<String, Stop> {
        let Call {
            call: action,
            principal,
            capsule,
            ends,
        } = call;
        let id = self.capsule(capsule).await?;
        let principal = (!principal.is_empty()).then_some(principal.as_str());
        let result = self
            .host
            .call(&id, principal, action, payload.clone().into_bytes())
            .await;
        let ended = match (ends, result) {
            (Ends::Answered | Ends::Cancelled, Ok(answer)) => return verdict(self.case, action, answer),
            (Ends::Trapped, Err(CallFailure::Trapped(_))) => return Ok(payload),
            (Ends::Cancelled | Ends::Interrupted, Err(CallFailure::Cancelled))
            | (Ends::Interrupted, Err(CallFailure::Trapped(_))) => Instant::now(),
            (Ends::Interrupted | Ends::Trapped, Ok(answer)) => {
                return Err(Stop::Failed(format!(
                    "{action}: was to be ended, and answered {answer:?}"
                )));
            }
            (_, Err(failure)) => return Err(failed_call(failure, action)),
        };
        // A call that reached its own deadline was not ended by the unloading.
        match self.ending().get(&id) {
            Some(asked) if ended.saturating_duration_since(*asked) < PROMPT => Ok(payload),
            Some(asked) => Err(Stop::Failed(format!(
                "{action}: ended {} s after its capsule was to be unloaded",
                ended.saturating_duration_since(*asked).as_secs()
            ))),
            None => Err(Stop::Failed(format!(
                "{action}: ended before its capsule was to be unloaded"
            ))),
        }
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The capsule's name, after it is loaded. A call that comes during the loading waits.
    async fn capsule(&self, capsule: &str) -> Result<String, Stop> {
        let name = self.name(capsule);
        let mut loaded = self.loaded.lock().await;
        if !loaded.contains(&name) {
            self.load(capsule).await?;
            loaded.insert(name.clone());
        }
        Ok(name)
    }

    fn name(&self, capsule: &str) -> String {
        format!("{}-{capsule}", self.case.name)
    }

    async fn load(&self, capsule: &str) -> Result<(), Stop> {
        let grants = self.plan.capsules.get(capsule).unwrap_or(&self.plan.grants);
        let load = Load {
            capsule: self.name(capsule),
            component: self.case.component(),
            grants: grants.clone(),
        };
        Ok(self.host.load(load).await?)
    }

    async fn tell(&self, step: &Do, mut payload: String) -> Result<String, Stop> {
        let name = self.name(&step.capsule);
        match step.what {
            What::Reload => self.host.reload(&name).await?,
            What::Unload => {
                self.ending().insert(name.clone(), Instant::now());
                self.host.unload(&name).await?;
            }
            What::Load => {
                self.ending().remove(&name);
                let mut loaded = self.loaded.lock().await;
                self.load(&step.capsule).await?;
                loaded.insert(name);
            }
            What::Shutdown => {
                let now = Instant::now();
                let loaded = self.loaded.lock().await.clone();
                self.ending().extend(loaded.into_iter().map(|name| (name, now)));
                self.host.shutdown().await;
            }
            What::Describe => {
                payload.push_str("\n\n");
                payload.push_str(&json(&self.description)?);
            }
            What::Audit => {
                payload.push('\n');
                for record in self.host.audit().await? {
                    payload.push('\n');
                    payload.push_str(&json(&record)?);
                }
            }
            What::Metrics => {
                payload.push_str("\n\n");
                payload.push_str(&json(&self.host.metrics().await?)?);
            }
        }
        Ok(payload)
    }

    fn lock(&self, file: &str, expected: bool) -> Result<(), Stop> {
        let path = self.workspace.join(file);
        let opened = File::open(&path).map_err(|error| Stop::Failed(format!("{file} cannot be opened: {error}")))?;
        let locked = match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => false,
            Err(rustix::io::Errno::WOULDBLOCK) => true,
            Err(error) => return Err(Stop::Failed(format!("{file} cannot be locked: {error}"))),
        };
        match (locked, expected) {
            (true, false) => Err(Stop::Failed(format!("a process still holds {file}"))),
            (false, true) => Err(Stop::Failed(format!("no process holds {file}"))),
            _ => Ok(()),
        }
    }
}

/// Checks that a pid is that of a program with these arguments, and not of another that starts it and has them among its own.
fn is_program(payload: &str, arguments: &[String]) -> Result<(), Stop> {
    let pid = payload.split_whitespace().next().unwrap_or_default();
    let line = std::fs::read(format!("/proc/{pid}/cmdline"))
        .map_err(|error| Stop::Failed(format!("process {pid}, by its os-pid: {error}")))?;
    let line = String::from_utf8_lossy(&line);
    let mut words: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
    if let Some(program) = words.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default();
    }
    if words == arguments {
        Ok(())
    } else {
        Err(Stop::Failed(format!(
            "process {pid}, by its os-pid, is {words:?}, and not {arguments:?}"
        )))
    }
}

fn no_zombies(pids: &str) -> Result<(), Stop> {
    for pid in pids.lines() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
            return Err(Stop::Failed(format!("process {pid} is a zombie")));
        }
    }
    Ok(())
}

impl Call {
    fn of(action: &str) -> Self {
        Self {
            call: action.to_owned(),
            principal: "alice".into(),
            capsule: crate::plan::first(),
            ends: Ends::Answered,
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string(value).map_err(|error| Stop::Failed(error.to_string()))
}
