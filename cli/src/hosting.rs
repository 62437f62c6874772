//! A host of its own for one capsule: from the command line's options and a CAPSULE to a capsule that is loaded, and the end of it.
//!
//! These constraints shape it:
//! - No code of the capsule is built or runs before the trial of the confinement has succeeded, and a failed trial is reported rather
//!   than a failed load. The launcher is tried while the component is read and loaded, because each takes some milliseconds. A trial
//!   that succeeded in an earlier run is left out (`trial`), but not before a build or where ports are published: they take longer
//!   than the trial, and a failure is then told before either has begun.
//! - The engine is made on the first thread, whose memory grows in larger steps than another thread's: that saves a hundred system
//!   calls before the first line.
//! - Ports are published before a crate is built and before any code of the capsule runs, because a port that is in use fails the
//!   command. A network without published ports is left to the first process that needs it.
//! - What a user may have got wrong is found by [`Plan::of`], before anything is built and before the log is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capsule_host::Denial;
use capsule_host::audit::{AuditSink, ChainSink, network_observer};
use capsule_host::keyvalue::Store;
use capsule_host::runtime::{self, Capsule, Grants, LoadOptions, Runtime, Topics};
use capsule_host::sandbox::{
    Confined, LaunchError, Launcher, Network, OwnerNetwork, Policy, Prestart, PublishedPort, Unconfined, Workspace,
    WorkspaceError, executed_unasked,
};
use capsule_host::supervisor::{Owner, Principal, Registry};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::args::HostArgs;
use crate::asks::Asks;
use crate::build_capsule::build;
use crate::build_flags::BuildFlags;
use crate::build_inputs::{Reads, Watch};
use crate::capsule_file::{ComponentFile, Source, examine};
use crate::console::{self, Spinner};
use crate::failure::Failure;
use crate::grants::{BadGrants, GrantFile, Key, Saved};
use crate::interrupt::Interrupts;
use crate::manifest::Manifest;
use crate::store::store_of;
use crate::trial::Trial;
use crate::user::login_name;
use crate::user_dirs::{code_dir, config_dir, protected};
use crate::{build_confined, languages, never_called, visible};

/// The workspace of a command line that names none.
pub(crate) const CURRENT: &str = ".";

/// A function that is told of each denial, with the number of those that were left out before it.
pub(crate) type Denied = Arc<dyn Fn(&Owner, &Denial, u64) + Send + Sync>;

/// What a command wants of the calls of a capsule.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The capsule's configuration.
    pub(crate) config: BTreeMap<String, String>,
    /// The longest time of a call; the runtime's default if none.
    pub(crate) call_time: Option<Duration>,
}

/// What is to be run, with everything checked that can be checked without a build and without a process.
pub(crate) struct Plan {
    args: HostArgs,
    capsule_id: Option<String>,
    source: Source,
    manifest: Manifest,
    workspace: Workspace,
    store: Option<Store>,
    prestart: Option<Prestart>,
    was_there: Vec<&'static str>,
}

impl Plan {
    /// Examines the file or folder that CAPSULE names.
    pub(crate) fn of(args: HostArgs, capsule: &Path, capsule_id: Option<String>) -> Result<Self, Failure> {
        let prestart = prestart(&args);
        let store = store_of(capsule);
        let workspace = workspace(args.workspace.as_deref(), capsule)?;
        let source = examine(capsule).map_err(Failure::Capsule)?;
        let manifest = match &source {
            Source::Component { file, .. } => Manifest::of_component(file.path())?,
            Source::Crate { folder } => Manifest::of_crate(folder)?,
            Source::Declared { folder, .. } => Manifest::of_folder(folder)?,
            // No path names it.
            Source::Bundled { .. } => Manifest::default(),
        };
        manifest.tell_of_reports();
        never_called::tell(&manifest.interceptors(), &manifest.publish);
        let args = with_grants(args, capsule_id.as_deref(), &source, &manifest, &workspace)?;
        let was_there = executed_unasked(&workspace);
        Ok(Self {
            args,
            capsule_id,
            source,
            manifest,
            workspace,
            store,
            prestart,
            was_there,
        })
    }

    /// A component that is part of this program. It has the grants of the command line, and keeps no values.
    pub(crate) fn bundled(
        mut args: HostArgs,
        name: &'static str,
        component: &'static [u8],
        manifest: &'static str,
    ) -> Result<Self, Failure> {
        // What is confined ends with this program. Processes that are not confined may stay, so the user must allow them.
        args.allow_persistent |= !args.unconfined;
        let prestart = prestart(&args);
        let named = args.workspace.as_deref().unwrap_or(Path::new(CURRENT));
        let workspace = Workspace::open_apart_from(named, &protected())?;
        let was_there = executed_unasked(&workspace);
        Ok(Self {
            args,
            capsule_id: None,
            source: Source::Bundled { name, component },
            manifest: Manifest::of_bundled(manifest)?,
            workspace,
            store: None,
            prestart,
            was_there,
        })
    }

    /// The options, with the grants that were saved or asked for.
    pub(crate) const fn args(&self) -> &HostArgs {
        &self.args
    }

    /// The name that the capsule will have, if it is known before a build.
    pub(crate) fn id(&self) -> Option<String> {
        self.capsule_id.clone().or_else(|| named(&self.source, &self.manifest))
    }

    /// Whether the component is part of this program.
    pub(crate) const fn is_bundled(&self) -> bool {
        matches!(self.source, Source::Bundled { .. })
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Makes the host, and reads or builds the component. The capsule is then ready to be loaded, and none of its code has run. An
    /// interrupt ends a build.
    pub(crate) async fn prepare(
        self,
        settings: Settings,
        log: Option<Arc<ChainSink>>,
        denied: &Denied,
        interrupts: &mut Interrupts,
    ) -> Result<Prepared, Failure> {
        let Self {
            args,
            capsule_id,
            source,
            manifest,
            workspace,
            store,
            prestart,
            was_there,
        } = self;
        let (launcher, mut trial) = launcher(&args, &source, &manifest, &workspace, log.clone(), prestart)?;
        // Before any code of the capsule runs, and after everything was found to be possible.
        if args.save_grants && !matches!(source, Source::Bundled { .. }) {
            save_grants(&args, capsule_id.as_deref(), &source, &manifest)?;
        }
        let reads = reads(&args, &source, &manifest, &workspace)?;
        let principal = Principal::Named(args.principal.clone().unwrap_or_else(login_name));
        let prepared = async {
            let id = capsule_id.or_else(|| named(&source, &manifest));
            let published = launcher.publish(principal.clone(), id.clone(), &mut trial).await?;
            let (name, component) = component(source, args.build, &mut trial).await?;
            Ok::<_, Failure>((published, id.unwrap_or(name), component))
        };
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
        let runtime = match runtime(&registry, log, store, settings.call_time, denied) {
            Ok(runtime) => runtime,
            Err(error) => {
                registry.shutdown().await;
                return Err(error.into());
            }
        };
        let capsule = id.clone();
        let options = LoadOptions {
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
            config: manifest.mcp_config().into_iter().chain(settings.config).collect(),
            interceptors: manifest.interceptors(),
            background: manifest.background.then(|| principal.clone()),
            ..LoadOptions::new(id, workspace.clone())
        };
        // After the build, which writes there, and before any process of the capsule. Every path from here ends the host.
        let watch = reads.and_then(|(folder, reads)| Watch::begin(folder, reads));
        Ok(Prepared {
            host: Host {
                registry,
                capsule,
                published,
                workspace,
                was_there,
                watch,
            },
            loading: Loading {
                runtime,
                options,
                component,
            },
            trial,
            principal,
        })
    }
}

/// Inits for the first processes. Begun first, because the trial or the first process waits for it. With a group that the user names,
/// inits cannot be made before the group exists.
fn prestart(args: &HostArgs) -> Option<Prestart> {
    (!args.unconfined && args.cgroup.is_none()).then(|| Prestart::begin(&args.network.likely()))
}

/// A host, and a capsule that is ready to be loaded into it.
pub(crate) struct Prepared {
    pub(crate) host: Host,
    pub(crate) loading: Loading,
    pub(crate) trial: Trial,
    pub(crate) principal: Principal,
}

/// What is left to do when the capsule has been called. Every path that has a host ends it.
pub(crate) struct Host {
    registry: Registry,
    capsule: String,
    /// Kept to the end, so that the ports stay published between two processes.
    published: Option<Arc<OwnerNetwork>>,
    workspace: Workspace,
    was_there: Vec<&'static str>,
    /// None if no build reads where the processes write.
    watch: Option<Watch>,
}

impl Host {
    /// What owns the processes.
    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The capsule's name.
    pub(crate) fn capsule(&self) -> &str {
        &self.capsule
    }

    /// Ends every process that was started, and tells of files that a user should examine.
    pub(crate) async fn end(self) {
        // Dropped before the last process ends, so that its end also ends the network: the shutdown waits for the network's records.
        drop(self.published);
        self.registry.shutdown().await;
        for name in executed_unasked(&self.workspace)
            .iter()
            .filter(|name| !self.was_there.contains(name))
        {
            tracing::warn!(
                "{name} was made while the processes ran: examine it before you use a tool there, because the tool may execute it"
            );
        }
        if let Some(watch) = self.watch {
            watch.end();
        }
    }
}

/// A capsule that is not loaded yet.
pub(crate) struct Loading {
    runtime: Runtime,
    options: LoadOptions,
    component: Vec<u8>,
}

impl Loading {
    /// Loads the capsule while the `trial` goes on. Dropping the future gives up.
    pub(crate) async fn load(self, trial: &mut Trial) -> Result<Capsule, Failure> {
        let spinner = Spinner::start(format!("loading {}", self.options.capsule_id));
        let started = Instant::now();
        let capsule = load(&self.runtime, self.options, &self.component, trial).await?;
        drop(spinner);
        tracing::info!(capsule = capsule.id(), ms = started.elapsed().as_millis(), "loaded");
        Ok(capsule)
    }
}

/// The folder that the user named, or the current one. Where that cannot be a workspace, it is the folder of the capsule: a new author's
/// first commands work in a home folder, too.
fn workspace(named: Option<&Path>, capsule: &Path) -> Result<Workspace, WorkspaceError> {
    let open = |path: &Path| Workspace::open_apart_from(path, &protected());
    let error = match (open(named.unwrap_or(Path::new(CURRENT))), named) {
        (Err(error @ (WorkspaceError::Root | WorkspaceError::Refused { .. })), None) if capsule.is_dir() => error,
        (opened, _) => return opened,
    };
    let Ok(workspace) = open(capsule) else {
        return Err(error);
    };
    console::tell(&format!(
        "the current folder cannot be a workspace, so the processes work in {}; --workspace names another",
        workspace.path().display()
    ));
    Ok(workspace)
}

/// The command line with the grants that were saved, and with those that the manifest asks for where the user said so. Tells what
/// is used and what is missing.
fn with_grants(
    mut args: HostArgs,
    capsule_id: Option<&str>,
    source: &Source,
    manifest: &Manifest,
    workspace: &Workspace,
) -> Result<HostArgs, Failure> {
    if !args.unconfined
        && !args.no_saved_grants
        && let Some(folder) = config_dir()
        && let Ok(key) = key(capsule_id, source, manifest)
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

fn key(capsule_id: Option<&str>, source: &Source, manifest: &Manifest) -> Result<Key, BadGrants> {
    let id = capsule_id.map(str::to_owned).or_else(|| named(source, manifest));
    let id = id.ok_or(BadGrants::NoName)?;
    match source {
        Source::Component { file, .. } => Key::new(file.path(), &id),
        Source::Crate { folder } | Source::Declared { folder, .. } => Key::new(folder, &id),
        // The user's grants to it are those of the command line alone.
        Source::Bundled { .. } => Err(BadGrants::NoName),
    }
}

fn save_grants(
    args: &HostArgs,
    capsule_id: Option<&str>,
    source: &Source,
    manifest: &Manifest,
) -> Result<(), BadGrants> {
    let file = GrantFile::new(config_dir().ok_or(BadGrants::NoFolder)?);
    let saved = Saved::of(key(capsule_id, source, manifest)?, args);
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
        Source::Declared { declared, .. } => Some(declared.name.clone()),
        Source::Bundled { name, .. } => Some((*name).to_owned()),
    }
}

/// Makes the launcher of the capsule's processes and starts its trial.
fn launcher(
    args: &HostArgs,
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
    for path in trusted(source, manifest)? {
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
    let is_loaded_at_once = !matches!(source, Source::Crate { .. } | Source::Declared { .. }) && !publishes(&network);
    let (trial, launcher) = Trial::begin(confined.clone(), workspace.clone(), is_loaded_at_once);
    let launching = Launching {
        launcher,
        confined: Some(confined),
        network,
    };
    Ok((launching, trial))
}

/// The files that this command reads and trusts, now or the next time: by their own paths and by the targets of links.
fn trusted(source: &Source, manifest: &Manifest) -> Result<Vec<PathBuf>, Failure> {
    let of_source = match source {
        Source::Crate { folder } => build_confined::trusted(folder),
        Source::Declared { folder, declared } => languages::trusted(folder, declared)?,
        Source::Component { file, .. } => vec![file.path().to_owned()],
        Source::Bundled { .. } => Vec::new(),
    };
    let paths = of_source.iter().chain(&manifest.files);
    Ok(paths
        .flat_map(|path| [std::path::absolute(path), path.canonicalize()])
        .filter_map(Result::ok)
        .collect())
}

/// The folder that is built, and what its build reads, if confined processes of the capsule can write there. Unconfined processes can
/// write anywhere, also where that is kept.
fn reads(
    args: &HostArgs,
    source: &Source,
    manifest: &Manifest,
    workspace: &Workspace,
) -> Result<Option<(PathBuf, Reads)>, Failure> {
    let (folder, found) = match source {
        Source::Crate { folder } => (folder, build_confined::found(folder)),
        Source::Declared { folder, declared } => (folder, languages::found(declared)),
        Source::Component { .. } | Source::Bundled { .. } => return Ok(None),
    };
    if args.unconfined {
        return Ok(None);
    }
    let mut writable = vec![workspace.path().to_owned()];
    let mut protected = trusted(source, manifest)?;
    for visible in args.visible.iter().map(|visible| &visible.value) {
        if !visible.is_writable() {
            continue;
        }
        let place = visible.in_folder(folder).map(Path::to_owned);
        if let Some(place) = place.or_else(|| visible.shows(folder).then(|| folder.clone())) {
            writable.push(place);
            // Files are protected in the workspace alone.
            protected.clear();
        }
    }
    Ok(Reads::new(folder, found, &writable, &protected).map(|reads| (folder.clone(), reads)))
}

/// The component to run and the name that it suggests. Builds only after the `trial`. Dropping the future ends a build.
async fn component(source: Source, flags: BuildFlags, trial: &mut Trial) -> Result<(String, Vec<u8>), Failure> {
    match source {
        Source::Bundled { name, component, .. } => Ok((name.to_owned(), component.to_vec())),
        Source::Component { name, file } => Ok((name, file.read().map_err(Failure::Capsule)?)),
        Source::Crate { folder } => {
            trial.succeeded().await?;
            let built = build(&folder, flags).await?;
            let component = ComponentFile::open(&built.wasm).and_then(ComponentFile::read);
            Ok((built.package, component.map_err(Failure::Built)?))
        }
        Source::Declared { folder, declared } => {
            trial.succeeded().await?;
            let built = languages::build(&folder, &declared, flags).await?;
            let component = ComponentFile::open(&built).and_then(ComponentFile::read);
            Ok((declared.name, component.map_err(Failure::Built)?))
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
    denied: &Denied,
) -> Result<Runtime, runtime::BuildError> {
    let log = log.map(|log| log as Arc<dyn AuditSink>);
    // The user decides how many calls run at once, so no principal needs a share of its own.
    let builder = || {
        let denied = Arc::clone(denied);
        let builder = Runtime::builder(registry.clone());
        let builder = match call_time {
            Some(_) => builder.call_time(call_time),
            None => builder,
        };
        builder
            .audit(log.clone())
            .store(store.clone())
            .on_denial(move |owner, denial, omitted| denied(owner, denial, omitted))
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
