//! The launcher that confines commands, and its trial of this machine.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use capsule_init::{Bound, Layer, NetworkMode};

use super::Workspace;
use super::cgroup;
use super::environment::Environment;
use super::etc::Etc;
use super::filter::{self, Filters};
use super::fingerprint;
use super::launcher::{Launch, LaunchError, Launched, Launcher};
use super::limits::{Enforcement, Enforcements, ResourceLimits};
use super::networks::Networks;
use super::policy::Policy;
use super::prestart::Prestart;
use super::start::{self, Constraints, no_network};
use super::subordinate::Subordinate;
use super::unavailable::UnavailableLayer;
use crate::network::usage::OwnerUsage;
use crate::network::{BoxFuture, EndedNetworks, Network, NetworkSupport, NetworkThread, OwnerNetwork, PrivateNetwork};
use crate::os::cgroup::{Controllers, Group, Groups};
use crate::os::init::Init;
use crate::os::network::Namespace;
use crate::os::users::{Lease, Users};
use crate::owner::{Owner, Principal};

/// Starts each command in a confinement of its own: namespaces, only the files that the [`Policy`] names, no capabilities,
/// filtered system calls. This is a host's default launcher.
///
/// With the first command it starts a small process, `capsule-init`, that makes the inits of all commands and keeps one init
/// ready for the next command, in namespaces of its own. Both processes end when this value is dropped and when the host dies. A
/// process that is killed is replaced. Commands inherit the host's attributes (resource limits, priority, umask, namespaces)
/// from that process, as they were at the first command. A host that changes its user gets a new process.
#[derive(Debug)]
pub struct Confined {
    environment: Environment,
    /// Read at the first command, on a thread that may block, because it takes hundreds of system calls.
    etc: OnceLock<Etc>,
    init: Arc<Init>,
    /// The start of init's program, until the first command has waited for it.
    prestart: Mutex<Option<Prestart>>,
    policy: Policy,
    filters: Filters,
    landlock: Option<OwnedFd>,
    groups: Option<Arc<Groups>>,
    /// The private networks of the owners whose trees run.
    networks: Networks,
    ended_networks: Arc<EndedNetworks>,
    network_thread: Arc<NetworkThread>,
    /// The users that trees of a root host run as.
    users: Arc<Users>,
    /// The user that trees of an ordinary user's host are counted for, or why there is none.
    subordinate: Result<Subordinate, UnavailableLayer>,
    /// The workspaces for which the log already warns that commands run as their owner.
    told: Mutex<BTreeSet<PathBuf>>,
    /// Waits for the end of the last trial's init.
    trial: Mutex<Option<JoinHandle<()>>>,
}

/// How many workspaces with such a warning are remembered.
const TOLD: usize = 1024;

/// The result of a trial with a command that does nothing.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Whether the CPU time of the tree could be counted while it ran.
    pub(crate) live_cpu: bool,
    /// A resource that it shared with the host against the intention.
    pub(crate) bound: Option<Bound>,
    /// Whether its epoll watches were counted for a user of its own, as which it did not run.
    pub(crate) is_counted_apart: bool,
    /// Whether it ran as the owner of the workspace although it should have a user of its own.
    pub(crate) as_owner: bool,
}

impl Confined {
    /// Makes a launcher with this policy. It takes the passthrough variables (`PATH`, `LANG`, `LC_*`, `TZ`) from this process now.
    ///
    /// # Errors
    /// Something that every command will need is unavailable: the reason and the remedy.
    pub fn new(policy: Policy) -> Result<Self, LaunchError> {
        Self::with_init(policy, Arc::new(Init::embedded()), None)
    }

    /// Like [`Confined::new`], with an init program that the embedder has built instead of the one in this crate.
    ///
    /// # Errors
    /// As of [`Confined::new`].
    pub fn with_init_at(policy: Policy, path: impl Into<PathBuf>) -> Result<Self, LaunchError> {
        Self::with_init(policy, Arc::new(Init::at(path.into())), None)
    }

    /// Like [`Confined::new`], with init's program as it was started before.
    ///
    /// # Errors
    /// As of [`Confined::new`].
    pub fn prestarted(policy: Policy, prestart: Prestart) -> Result<Self, LaunchError> {
        Self::with_init(policy, Arc::clone(prestart.init()), Some(prestart))
    }

    /// Confines a command that does nothing, in `workspace`, to check that this machine, this user and this folder allow
    /// everything that a command needs. Blocks for some milliseconds; needs a tokio runtime with its I/O driver.
    ///
    /// Returns as soon as that command has ended. Its init may end later, but ends before the drop of this value returns.
    ///
    /// # Errors
    /// [`LaunchError`]: the layer that is unavailable, the reason and the remedy.
    pub fn verify(&self, workspace: &Workspace) -> Result<(), LaunchError> {
        let (_, launched) = self.run_nothing(workspace)?;
        // The end of init's namespaces takes the kernel as long as the whole command, and the caller has no use for it. If there is
        // no thread, the closure is dropped here, and that waits as well.
        let ends = thread::Builder::new().name("capsule-trial".into());
        if let Ok(ends) = ends.spawn(move || drop(launched)) {
            let former = self.trial.lock().unwrap_or_else(PoisonError::into_inner).replace(ends);
            join(former);
        }
        Ok(())
    }

    /// A hash of all that the result of [`Confined::verify`] in `workspace` depends on, in 64 hexadecimal digits: the kernel and its
    /// boot, the settings that forbid namespaces, the rights, limits, namespaces and control group of this process, its program, the
    /// workspace, and the policy without its published ports and egress.
    ///
    /// A program that starts often can keep it where only its user may write, and leave out a trial that succeeded with the same
    /// hash. It is no proof: a trial could fail all the same, for instance after a mount over a part of `/proc`. Commands do not
    /// depend on it. A command for which a layer of the confinement cannot be made does not start.
    ///
    /// # Errors
    /// A file of `/proc` cannot be read.
    pub fn fingerprint(&self, workspace: &Workspace) -> io::Result<String> {
        let init = self.init.program();
        let policy = format!("{init:?} {}", self.policy.for_trial());
        fingerprint::facts(policy, workspace).map(|facts| fingerprint::hash(&facts))
    }

    /// Like [`Confined::verify`], and returns the findings when init has ended too.
    pub(crate) fn try_out(&self, workspace: &Workspace) -> Result<Attempt, LaunchError> {
        self.run_nothing(workspace).map(|(attempt, _)| attempt)
    }

    /// Confines a command that does nothing, and returns after its end. Only its init is left then, and ends with the second result.
    fn run_nothing(&self, workspace: &Workspace) -> Result<(Attempt, Launched), LaunchError> {
        // The command is init itself, which exits when it gets no configuration: the only program that surely exists.
        let launch = Launch {
            owner: None,
            scope: 0,
            network: None,
            label: None,
            cmd: "/proc/self/exe".into(),
            args: Vec::new(),
            env: Vec::new(),
            workspace: workspace.clone(),
            cwd: ".".into(),
            stdin: false,
            limits: ResourceLimits {
                max_pids: Some(1),
                ..ResourceLimits::default()
            },
            injections: Vec::new(),
        };
        // First of all: init's program starts meanwhile.
        self.etc();
        let mode = self.policy.named_network().mode();
        let network = match mode {
            NetworkMode::Private => Some(self.init.network().map_err(no_network)?),
            NetworkMode::None | NetworkMode::Host => None,
        };
        let mut launched = self.start(launch, mode, network.as_ref().map(|network| &*network.namespace))?;
        let exit = launched.child.finish().map_err(LaunchError::Host)?;
        if exit.code != Some(0) {
            let reason = format!("a command that does nothing ended with {exit:?}");
            return Err(LaunchError::Confinement(UnavailableLayer::new(
                Layer::Process,
                reason,
                None,
            )));
        }
        // Nothing of a guest has run in it.
        if let Some(network) = network {
            self.init.return_network(network);
        }
        let attempt = Attempt {
            live_cpu: launched.child.meter().is_live(),
            bound: launched.bound.take(),
            is_counted_apart: launched.is_counted_apart,
            as_owner: launched.as_owner,
        };
        Ok((attempt, launched))
    }

    /// The host's `/etc`. The first command has init's program started on another thread while it is read, because each takes a
    /// millisecond.
    fn etc(&self) -> &Etc {
        if let Some(etc) = self.etc.get() {
            return etc;
        }
        let begun = self.prestart.lock().unwrap_or_else(PoisonError::into_inner).take();
        // No init can wait for a command that is to start in a group.
        let begin = || Prestart::of(Arc::clone(&self.init), self.policy.named_network().mode());
        let begun = begun.or_else(|| self.groups.is_none().then(begin));
        let etc = self.etc.get_or_init(Etc::of_host);
        // Its end is waited for, so that the command finds the init.
        drop(begun);
        etc
    }

    /// Makes a private network, connects to itself in it, and returns what the machine can do. None: the policy has another
    /// network. Blocks for about a millisecond.
    pub(crate) fn try_network(&self) -> Option<Result<NetworkSupport, LaunchError>> {
        if self.policy.named_network().mode() != NetworkMode::Private {
            return None;
        }
        let tried = self.init.network().map_err(no_network).and_then(|network| {
            NetworkSupport::of(&network).map_err(|error| {
                let reason = format!("a connection within a private network: {error}");
                LaunchError::Confinement(UnavailableLayer::new(Layer::NetworkNamespace, reason, None))
            })
        });
        Some(tried)
    }

    /// The private network that the policy gives this owner's trees. It is made if it is not there, and stays as long as one of
    /// the owner's trees or the returned value. So a host knows where ports are published before any tree runs.
    ///
    /// Blocks for about a millisecond; needs a tokio runtime with its I/O driver.
    ///
    /// # Errors
    /// [`LaunchError::Network`]: a port is in use, for example. [`LaunchError::Confinement`]: this machine has no private networks.
    pub fn open_network(&self, owner: &Owner, policy: &PrivateNetwork) -> Result<Arc<OwnerNetwork>, LaunchError> {
        self.networks
            .of(owner, policy, |usage| self.new_network(Some(owner), policy, usage))
    }

    /// The network of one launch. A caller without a name shares it with no other caller.
    fn network_of(&self, launch: &Launch, policy: &PrivateNetwork) -> Result<Arc<OwnerNetwork>, LaunchError> {
        let new = |usage: &_| self.new_network(launch.owner.as_ref(), policy, usage);
        match &launch.owner {
            Some(owner) if owner.principal != Principal::Anonymous => self.networks.of(owner, policy, new),
            Some(_) | None => self.networks.of_scope(launch.scope, policy, new),
        }
    }

    fn new_network(
        &self,
        owner: Option<&Owner>,
        policy: &PrivateNetwork,
        usage: &Arc<OwnerUsage>,
    ) -> Result<Arc<OwnerNetwork>, LaunchError> {
        let made = self.init.network().map_err(no_network)?;
        let observer = self.policy.network_observer().cloned();
        let (owner, ended, thread) = (owner.cloned(), &self.ended_networks, &self.network_thread);
        let network = OwnerNetwork::new(made, owner, policy, observer, ended, usage, thread)?;
        Ok(Arc::new(network))
    }

    /// Starts a command in this network.
    fn start(&self, launch: Launch, mode: NetworkMode, network: Option<&Namespace>) -> Result<Launched, LaunchError> {
        let host_is_root = rustix::process::geteuid().is_root();
        let memory = launch.limits.max_memory_bytes;
        let lease = self.lease(host_is_root)?;
        let user = lease.as_ref().map(Lease::uid);
        let confinement = self
            .policy
            .confinement(&launch.workspace, host_is_root, user, memory, mode);
        let mut confinement = confinement.map_err(LaunchError::Host)?;
        self.etc().furnish(&mut confinement);
        let subordinate = self.subordinate.as_ref().ok().filter(|_| !host_is_root);
        let counted = subordinate.and_then(Subordinate::lease);
        confinement.epolls = counted.is_some();
        let is_sampled = memory.is_some() && !self.controllers().memory;
        // Files that the command makes then belong to root on the disk.
        let as_root = confinement
            .workspace_owner
            .is_some_and(|owner| owner.uid == 0 || owner.gid == 0);
        let seccomp = self.filters.of(mode != NetworkMode::None, is_sampled, as_root);
        let constraints = Constraints {
            landlock: self.landlock.as_ref().map(OwnedFd::as_fd),
            seccomp: seccomp.to_vec(),
            confinement: Some(confinement),
            limits: launch.limits.for_each_process(true),
            group: self.group(&launch.limits).map_err(LaunchError::Host)?,
            visibility: Some(self.policy.visibility()),
            lease: lease.or(counted),
            epolls: subordinate.map(|subordinate| &**subordinate.epolls()),
            network,
        };
        let workspace = launch.workspace.clone();
        let launched = start::start(&self.init, &self.environment, launch, constraints)?;
        if launched.as_owner {
            self.tell_of_owner(workspace.path());
        }
        Ok(launched)
    }

    fn controllers(&self) -> Controllers {
        self.groups
            .as_ref()
            .map(|groups| groups.controllers())
            .unwrap_or_default()
    }

    /// Makes the group of one tree, which includes its init.
    fn group(&self, limits: &ResourceLimits) -> io::Result<Option<Group>> {
        let Some(groups) = &self.groups else { return Ok(None) };
        let controllers = groups.controllers();
        let memory = limits.max_memory_bytes.filter(|_| controllers.memory);
        // The guest's limit does not include pid 1.
        let pids = limits.max_pids.map(|pids| u64::from(pids).saturating_add(1));
        groups.group(memory, pids.filter(|_| controllers.pids)).map(Some)
    }

    /// The kernel user for one tree, if the host can give it one and the policy names none.
    fn lease(&self, host_is_root: bool) -> Result<Option<Lease>, LaunchError> {
        if !host_is_root || self.policy.named_identity().is_some() {
            return Ok(None);
        }
        self.users.lease().map(Some).map_err(|error| {
            let remedy = "name a larger or another range of user ids that no other program uses (Policy::users), or one user \
                          for all commands (Policy::identity)";
            LaunchError::Confinement(UnavailableLayer::new(Layer::Identity, error.to_string(), Some(remedy)))
        })
    }

    /// Warns once for each workspace that commands run as its owner there.
    fn tell_of_owner(&self, workspace: &Path) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(workspace) {
            return;
        }
        // With this many folders, a repeated warning for one of them does no harm.
        if told.len() >= TOLD {
            told.clear();
        }
        told.insert(workspace.to_owned());
        tracing::warn!(
            "commands in {} run as the folder's owner and not as users of their own, because its file system has no id-mapped \
             mounts: they share the resources that the kernel counts for a user with each other and with all processes of this \
             user, who can also stop and read them",
            workspace.display()
        );
    }

    /// The user that trees of an ordinary user's host are counted for, or why there is none.
    pub(crate) const fn subordinate(&self) -> Result<&Subordinate, &UnavailableLayer> {
        self.subordinate.as_ref()
    }

    fn with_init(policy: Policy, init: Arc<Init>, prestart: Option<Prestart>) -> Result<Self, LaunchError> {
        let filters = Filters::new().map_err(|error| {
            LaunchError::Confinement(UnavailableLayer::new(Layer::Seccomp, error.to_string(), None))
        })?;
        let groups = match (cgroup::groups(policy.named_cgroup()), policy.named_cgroup()) {
            (Ok(groups), _) => Some(Arc::new(groups)),
            (Err(missing), Some(_)) => return Err(LaunchError::Confinement(missing)),
            // The embedder named no group, so a host without one works too.
            (Err(_), None) => None,
        };
        // The user will run this program again, so commands must not change it.
        let policy = match std::env::current_exe() {
            Ok(program) => policy.protect(program),
            Err(_) => policy,
        };
        let subordinate = if rustix::process::geteuid().is_root() {
            let reason = "the host is root, whose commands have users of their own";
            Err(UnavailableLayer::new(Layer::Identity, reason, None))
        } else {
            Subordinate::of_host(init.program().map(Path::to_owned))
        };
        Ok(Self {
            subordinate,
            told: Mutex::default(),
            networks: Networks::default(),
            ended_networks: Arc::new(EndedNetworks::new(Arc::clone(&init))),
            network_thread: Arc::default(),
            trial: Mutex::default(),
            users: Users::new(policy.user_range()),
            environment: Environment::of_host().with(policy.variables()),
            etc: OnceLock::new(),
            init,
            prestart: Mutex::new(prestart),
            policy,
            filters,
            landlock: filter::scopes(),
            groups,
        })
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        join(self.trial.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Waits for the end of a trial's init, which is bounded.
fn join(trial: Option<JoinHandle<()>>) {
    // It drops a value, and reports nothing.
    drop(trial.map(JoinHandle::join));
}

impl Launcher for Confined {
    fn launch(&self, mut launch: Launch) -> Result<Launched, LaunchError> {
        // First of all: init's program starts meanwhile.
        self.etc();
        let wanted = launch.network.clone().unwrap_or_else(|| self.policy.named_network());
        let network = match &wanted {
            Network::Private(policy) => Some(self.network_of(&launch, policy)?),
            Network::None | Network::Host => None,
        };
        let namespace = network.as_ref().map(|network| network.namespace());
        let label = launch.label.take();
        let mut launched = self.start(launch, wanted.mode(), namespace)?;
        if let (Some(network), Some(label)) = (&network, label) {
            network.add(label, launched.child.meter());
        }
        launched.network = network;
        Ok(launched)
    }

    fn prepare(&self) {
        self.init
            .prepare(matches!(self.policy.named_network(), Network::Private(_)));
    }

    fn quiesced(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ended_networks.told())
    }

    fn network(&self, owner: &Owner) -> Option<Arc<OwnerNetwork>> {
        self.networks.existing(owner)
    }

    fn supports_persistent(&self) -> bool {
        true
    }

    fn injects(&self) -> bool {
        true
    }

    fn enforcements(&self) -> Enforcements {
        Enforcements {
            memory: Some(if self.controllers().memory {
                Enforcement::Kernel
            } else {
                Enforcement::Sampled
            }),
            cpu: Some(Enforcement::Sampled),
            pids: Some(Enforcement::Kernel),
            open_files: Some(Enforcement::PerProcess),
        }
    }
}
