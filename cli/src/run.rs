//! `capsule run`: has the calls made, and ends every process that they started.
//!
//! These constraints shape it:
//! - Every path out of [`run`] after the capsule may have started a process goes through `Registry::shutdown`, even after a panic:
//!   the work is a task of its own, and a panic of a task is a value to the task that waits for it.
//! - An interrupt is received at every moment: during a build, a load, a call, and while a line waits for a reader that
//!   does not read. So a blocking task writes the lines, and the command never waits only for that task.
//! - Lines appear as calls end (`calls::make`). A call that failed does not stop the calls after it, so that a `stop` at the end of
//!   the command line still runs.
//! - The launcher is tried while the component is read and loaded, because each takes some milliseconds. No code of the capsule is
//!   built or runs before the trial has succeeded, and a failed trial is reported rather than a failed load. A trial that succeeded
//!   in an earlier run is left out (`trial`), but not before a build or where ports are published: they take longer than the trial,
//!   and a failure is then told before either has begun.
//! - The engine is made on the first thread, whose memory grows in larger steps than another thread's: that saves a hundred system
//!   calls before the first line.
//! - Ports are published before a crate is built and before any code of the capsule runs, because a port that is in use fails the
//!   command. A network without published ports is left to the first process that needs it.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::audit::{AuditSink, ChainSink, network_observer};
use capsule_host::keyvalue::Store;
use capsule_host::runtime::{self, Capsule, Grants, LoadError, LoadOptions, Runtime, Topics};
use capsule_host::sandbox::{
    Confined, LaunchError, Launcher, Network, NetworkError, OwnerNetwork, Policy, Prestart, PublishedPort, Unconfined,
    Workspace, WorkspaceError, executed_unasked,
};
use capsule_host::supervisor::{Owner, Principal, Registry, RegistryError};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

use crate::args::RunArgs;
use crate::asks::Asks;
use crate::audit::{self, LogError};
use crate::build_capsule::build;
use crate::calls::{Making, Principals, Source as Calls, SourceError, Stopped, print};
use crate::capsule_file::{BadCapsule, ComponentFile, Source, examine};
use crate::cargo::BuildError;
use crate::console::{self, Spinner};
use crate::exit_code::{BAD_USAGE, FAILED};
use crate::grants::{BadGrants, GrantFile, Key, Saved};
use crate::interrupt::{Interrupt, Interrupts};
use crate::manifest::{BadManifest, Manifest};
use crate::network::BadNetwork;
use crate::store::store_of;
use crate::trial::{Trial, TrialError};
use crate::until_exit::until_exit;
use crate::user::login_name;
use crate::user_dirs::{code_dir, config_dir, protected};
use crate::visible::{self, NotVisible};
use crate::{build_confined, denials, left_running, never_called};

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

/// Why the command ended before it had made all its calls.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}; `capsule doctor` reports what this machine lacks, --unconfined runs processes without confinement")]
    Confinement(LaunchError),
    #[error("--workspace: {0}")]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Visible(#[from] NotVisible),
    #[error(transparent)]
    Grants(#[from] BadGrants),
    #[error(transparent)]
    Network(#[from] BadNetwork),
    #[error("--publish: {0}")]
    Publish(NetworkError),
    #[error("--audit: {0}")]
    Audit(#[from] LogError),
    #[error(transparent)]
    Calls(#[from] SourceError),
    #[error(transparent)]
    Capsule(BadCapsule),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the component that cargo built cannot be run: {0}")]
    Built(BadCapsule),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Runtime(#[from] runtime::BuildError),
    #[error("cannot load {id}: {error}")]
    Load { id: String, error: LoadError },
    #[error("ended by {}", .0.name())]
    Interrupted(Interrupt),
    #[error("cannot write to standard output: {0}; the calls after this one did not run")]
    Output(io::Error),
    #[error("a bug in this program ended it: {0}; please report it")]
    Panic(JoinError),
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Confinement(error) => Self::Confinement(error),
            TrialError::Panic(error) => Self::Panic(error),
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Trial(error) => error.into(),
            Stopped::Interrupted { by, .. } => Self::Interrupted(by),
            Stopped::Source(error) => Self::Calls(error),
            Stopped::Output(error) => Self::Output(error),
            Stopped::Panic(error) => Self::Panic(error),
        }
    }
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Workspace(_)
            | Self::Visible(_)
            | Self::Grants(_)
            | Self::Network(_)
            | Self::Audit(_)
            | Self::Calls(SourceError::Open { .. })
            | Self::Capsule(_)
            | Self::Manifest(_) => BAD_USAGE,
            Self::Confinement(_)
            | Self::Publish(_)
            | Self::Signals(_)
            | Self::Build(_)
            | Self::Built(_)
            | Self::Registry(_)
            | Self::Runtime(_)
            | Self::Load { .. }
            | Self::Calls(SourceError::Read { .. } | SourceError::Panic(_))
            | Self::Output(_)
            | Self::Panic(_) => FAILED,
            Self::Interrupted(interrupt) => interrupt.exit_code(),
        }
    }

    /// The message for the user; none if the reader of the output closed it, as `| head` does.
    fn message(&self) -> Option<String> {
        let by_choice = matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        (!by_choice).then(|| self.to_string())
    }
}

async fn try_run(args: RunArgs) -> Result<u8, Failure> {
    // Begun first, because the trial or the first process waits for it. With a group that the user names, inits cannot be made before
    // the group exists.
    let prestart = (!args.unconfined && args.cgroup.is_none()).then(|| Prestart::begin(&args.network.likely()));
    let calls = Calls::open(args.calls.clone(), args.of_calls.calls_file.as_deref())?;
    let store = store_of(&args.capsule);
    let workspace = Workspace::open_apart_from(&args.workspace, &protected())?;
    let source = examine(&args.capsule).map_err(Failure::Capsule)?;
    let manifest = match &source {
        Source::Component { file, .. } => Manifest::of_component(file.path())?,
        Source::Crate { folder } => Manifest::of_crate(folder)?,
    };
    manifest.tell_of_reports();
    never_called::tell(&manifest.interceptors(), &manifest.publish);
    let args = with_grants(args, &source, &manifest, &workspace)?;
    let was_there = executed_unasked(&workspace);
    let log = args.audit.as_deref();
    let log = log.map(|path| audit::open(path, &workspace)).transpose()?;
    let (launcher, mut trial) = launcher(&args, &source, &manifest, &workspace, log.clone(), prestart)?;
    // Before any code of the capsule runs, and after everything was found to be possible.
    if args.save_grants {
        save_grants(&args, &source, &manifest)?;
    }
    let principal = Principal::Named(args.principal.clone().unwrap_or_else(login_name));
    let principals = Principals {
        default: principal.clone(),
        is_only: args.principal.is_some(),
    };
    let mut interrupts = Interrupts::new().map_err(Failure::Signals)?;
    let prepared = async {
        let id = args.capsule_id.clone().or_else(|| named(&source, &manifest));
        let published = launcher.publish(principal.clone(), id.clone(), &mut trial).await?;
        let (name, component) = component(source, args.trust_build, &mut trial).await?;
        Ok::<_, Failure>((published, id.unwrap_or(name), component))
    };
    // Kept to the end, so that the ports stay published between two processes.
    let (published, id, component) = tokio::select! {
        prepared = prepared => prepared?,
        interrupt = interrupts.next() => return Err(Failure::Interrupted(interrupt)),
    };
    // Unconfined processes have this machine's network without a grant.
    let network = launcher.confined.as_ref().map(|_| launcher.network.clone());

    let registry = Registry::new(
        Handle::current(),
        launcher.launcher,
        args.ceilings.limits(&manifest.limits),
    )?;
    let runtime = runtime(&registry, log.clone(), store, args.of_calls.timeout);
    let session = runtime.map(|runtime| Session {
        registry: registry.clone(),
        runtime,
        options: LoadOptions {
            grants: Grants {
                commands: args.allow,
                persistent: args.allow_persistent,
                network,
                topics: Topics {
                    publish: manifest.publish.clone(),
                    subscribe: manifest.subscribe.clone(),
                    ..Topics::default()
                },
            },
            // A value of the command line replaces the manifest's.
            config: manifest.mcp_config().into_iter().chain(args.of_calls.config).collect(),
            interceptors: manifest.interceptors(),
            background: manifest.background.then(|| principal.clone()),
            ..LoadOptions::new(id.clone(), workspace.clone())
        },
        principals,
        trial,
        component,
        calls,
        jobs: args.of_calls.jobs.into(),
        until_exit: args.of_calls.until_exit,
        interrupts,
    });
    let ended = match session {
        Ok(session) => tokio::spawn(session.run()).await,
        Err(error) => Ok(Err(error.into())),
    };
    // Dropped before the last process ends, so that its end also ends the network: the shutdown waits for the network's records.
    drop(published);
    left_running::tell(&registry, &id, &principal);
    registry.shutdown().await;
    for name in executed_unasked(&workspace)
        .iter()
        .filter(|name| !was_there.contains(name))
    {
        tracing::warn!(
            "{name} was made while the processes ran: examine it before you use a tool there, because the tool may execute it"
        );
    }
    let is_recorded = match log {
        Some(log) => audit::finish(log).await,
        None => true,
    };
    let code = ended.map_err(Failure::Panic)??;
    Ok(if is_recorded { code } else { FAILED })
}

/// The command line with the grants that were saved, and with those that the manifest asks for where the user said so. Tells what
/// is used and what is missing.
fn with_grants(
    mut args: RunArgs,
    source: &Source,
    manifest: &Manifest,
    workspace: &Workspace,
) -> Result<RunArgs, Failure> {
    if !args.unconfined
        && !args.no_saved_grants
        && let Some(folder) = config_dir()
        && let Ok(key) = key(&args, source, manifest)
    {
        let file = GrantFile::new(folder);
        let added = file.read(&key)?.map(|saved| saved.add_to(&mut args, &manifest.network));
        let options = added.map(|added| added.options()).unwrap_or_default();
        if !options.is_empty() {
            let path = file.path();
            console::tell(&format!("granted before, in {}: {}", path.display(), options.join(" ")));
        }
    }
    let mut asks = Asks::of(manifest, &args, workspace);
    if args.grant_all_asked {
        asks.grant(&mut args);
    }
    asks.tell();
    Ok(args)
}

fn key(args: &RunArgs, source: &Source, manifest: &Manifest) -> Result<Key, BadGrants> {
    let id = args.capsule_id.clone().or_else(|| named(source, manifest));
    let id = id.ok_or(BadGrants::NoName)?;
    match source {
        Source::Component { file, .. } => Key::new(file.path(), &id),
        Source::Crate { folder } => Key::new(folder, &id),
    }
}

fn save_grants(args: &RunArgs, source: &Source, manifest: &Manifest) -> Result<(), BadGrants> {
    let file = GrantFile::new(config_dir().ok_or(BadGrants::NoFolder)?);
    let saved = Saved::of(key(args, source, manifest)?, args);
    let options = saved.options();
    file.save(saved)?;
    let path = file.path();
    console::tell(&if options.is_empty() {
        format!(
            "this run was granted nothing, so no grant of the capsule is in {}",
            path.display()
        )
    } else {
        format!("saved in {}: {}", path.display(), options.join(" "))
    });
    Ok(())
}

/// The launcher of the capsule's processes.
struct Launching {
    launcher: Arc<dyn Launcher>,
    /// The same launcher, if it confines them.
    confined: Option<Arc<Confined>>,
    network: Network,
}

impl Launching {
    /// Publishes the ports, and prints the address of each. They stay published until the returned value is dropped.
    async fn publish(
        &self,
        principal: Principal,
        capsule: Option<String>,
        trial: &mut Trial,
    ) -> Result<Option<Arc<OwnerNetwork>>, Failure> {
        let (Some(confined), Network::Private(private), Some(capsule)) = (&self.confined, &self.network, capsule)
        else {
            return Ok(None);
        };
        if !publishes(&self.network) {
            return Ok(None);
        }
        // The trial's error says more about what this machine lacks.
        trial.succeeded().await?;
        let (confined, private) = (Arc::clone(confined), private.clone());
        let owner = Owner { principal, capsule };
        let opened = spawn_blocking(move || confined.open_network(&owner, &private));
        let network = match opened.await.map_err(Failure::Panic)? {
            Ok(network) => network,
            Err(LaunchError::Network(error)) => return Err(Failure::Publish(error)),
            Err(error) => return Err(Failure::Confinement(error)),
        };
        for PublishedPort { guest, at } in network.published() {
            console::tell(&format!("published http://{at} -> {guest}"));
        }
        Ok(Some(network))
    }
}

/// Whether a port is reached from outside of the network.
fn publishes(network: &Network) -> bool {
    matches!(network, Network::Private(private) if !private.published().is_empty())
}

/// The name that the capsule will have without `--capsule-id`. A crate's is known before it is built.
fn named(source: &Source, manifest: &Manifest) -> Option<String> {
    match source {
        Source::Component { name, .. } => Some(manifest.id.as_ref().unwrap_or(name).clone()),
        Source::Crate { .. } => manifest.id.clone(),
    }
}

/// Makes the launcher of the capsule's processes and starts its trial.
fn launcher(
    args: &RunArgs,
    source: &Source,
    manifest: &Manifest,
    workspace: &Workspace,
    log: Option<Arc<ChainSink>>,
    prestart: Option<Prestart>,
) -> Result<(Launching, Trial), Failure> {
    if args.unconfined {
        tracing::warn!("unconfined: the capsule's processes run with all rights of this user");
        let launcher = match &args.cgroup {
            Some(group) => Unconfined::new().cgroup(group).map_err(Failure::Confinement)?,
            None => Unconfined::new(),
        };
        let launcher = if args.allow_persistent {
            launcher.allow_persistent()
        } else {
            launcher
        };
        let launching = Launching {
            launcher: Arc::new(launcher),
            confined: None,
            network: Network::Host,
        };
        return Ok((launching, Trial::none()));
    }
    let network = args
        .network
        .network(&manifest.network, args.ceilings.network(&manifest.limits))?;
    args.network.tell_of_mode(&manifest.network);
    if network == Network::Host {
        tracing::warn!(
            "the capsule's processes have this machine's network: they reach what it reaches, and may listen there"
        );
    }
    let tmp_bytes = args.ceilings.tmp_bytes(&manifest.limits, Policy::TMP_BYTES);
    let policy = Policy::new()
        .network(network.clone())
        .commits(args.commits)
        .tmp_bytes(tmp_bytes);
    let policy = match log {
        Some(log) => policy.observe_network(network_observer(log)),
        None => policy,
    };
    let mut policy = visible::grant(policy, &args.visible, workspace)?;
    for path in &args.unprotect {
        policy = policy.unprotect(path);
    }
    for path in trusted(source, manifest) {
        policy = policy.protect(path);
    }
    if let Some(group) = &args.cgroup {
        policy = policy.cgroup(group);
    }
    let confined = match prestart {
        Some(prestart) => Confined::prestarted(policy, prestart),
        None => Confined::new(policy),
    };
    let confined = Arc::new(confined.map_err(Failure::Confinement)?);
    let is_loaded_at_once = matches!(source, Source::Component { .. }) && !publishes(&network);
    let (trial, launcher) = Trial::begin(confined.clone(), workspace.clone(), is_loaded_at_once);
    let launching = Launching {
        launcher,
        confined: Some(confined),
        network,
    };
    Ok((launching, trial))
}

/// The files that this command reads and trusts, now or the next time: by their own paths and by the targets of links.
fn trusted(source: &Source, manifest: &Manifest) -> Vec<PathBuf> {
    let of_source = match source {
        Source::Crate { folder } => build_confined::trusted(folder),
        Source::Component { file, .. } => vec![file.path().to_owned()],
    };
    let paths = of_source.iter().chain(&manifest.files);
    paths
        .flat_map(|path| [std::path::absolute(path), path.canonicalize()])
        .filter_map(Result::ok)
        .collect()
}

/// The component to run and the name that it suggests. Builds only after the `trial`. Dropping the future ends a build.
async fn component(source: Source, trust: bool, trial: &mut Trial) -> Result<(String, Vec<u8>), Failure> {
    match source {
        Source::Component { name, file } => Ok((name, file.read().map_err(Failure::Capsule)?)),
        Source::Crate { folder } => {
            trial.succeeded().await?;
            let built = build(&folder, trust).await?;
            let component = ComponentFile::open(&built.wasm).and_then(ComponentFile::read);
            Ok((built.package, component.map_err(Failure::Built)?))
        }
    }
}

/// The calls of one command line to one capsule.
struct Session {
    registry: Registry,
    runtime: Runtime,
    principals: Principals,
    options: LoadOptions,
    trial: Trial,
    component: Vec<u8>,
    calls: Calls,
    jobs: usize,
    until_exit: bool,
    interrupts: Interrupts,
}

impl Session {
    /// Loads the capsule and makes the calls. Leaves processes behind: the caller shuts the registry down.
    async fn run(mut self) -> Result<u8, Failure> {
        let spinner = Spinner::start(format!("loading {}", self.options.capsule_id));
        let started = Instant::now();
        let capsule = tokio::select! {
            loaded = load(&self.runtime, self.options, &self.component, &mut self.trial) => loaded?,
            interrupt = self.interrupts.next() => return Err(Failure::Interrupted(interrupt)),
        };
        drop(spinner);
        tracing::info!(capsule = capsule.id(), ms = started.elapsed().as_millis(), "loaded");

        let making = Making {
            capsule: &capsule,
            principals: &self.principals,
            jobs: self.jobs,
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
            } else if tokio::time::timeout(LAST_MESSAGES, capsule.interceptors_idle())
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

/// Loads the capsule while the `trial` goes on. A `run` would start at the end of the load, and so waits for the trial.
async fn load(
    runtime: &Runtime,
    options: LoadOptions,
    component: &[u8],
    trial: &mut Trial,
) -> Result<Capsule, Failure> {
    if options.background.is_some() {
        trial.succeeded().await?;
    }
    let id = options.capsule_id.clone();
    let mut loading = pin!(runtime.load(options, component));
    let loaded = tokio::select! {
        biased;
        succeeded = trial.succeeded() => {
            succeeded?;
            loading.await
        }
        loaded = &mut loading => {
            trial.succeeded().await?;
            loaded
        }
    };
    loaded.map_err(|error| Failure::Load { id, error })
}

/// A runtime with a cache of compiled code, or without one where its folder cannot be used.
fn runtime(
    registry: &Registry,
    log: Option<Arc<ChainSink>>,
    store: Option<Store>,
    call_time: Option<Duration>,
) -> Result<Runtime, runtime::BuildError> {
    let log = log.map(|log| log as Arc<dyn AuditSink>);
    // The user decides how many calls run at once, so no principal needs a share of its own.
    let builder = || {
        let builder = Runtime::builder(registry.clone());
        let builder = match call_time {
            Some(_) => builder.call_time(call_time),
            None => builder,
        };
        builder
            .audit(log.clone())
            .store(store.clone())
            .on_denial(denials::tell)
            .instances_per_principal(Some(u32::MAX))
    };
    match builder().cache_dir(code_dir()).build() {
        Err(error @ runtime::BuildError::Cache { .. }) => {
            tracing::info!("{error}; compiled code is not kept");
            builder().build()
        }
        built => built,
    }
}
