//! Finds out which parts of the default confinement this machine and this user support, by a trial.
//!
//! The trial confines a real command like any other. A list of kernel features would not be enough, because seccomp profiles,
//! security modules, sysctls and mounts decide whether they may be used. The price is that the state of the layers after the first
//! missing one is unknown.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use capsule_init as init;
use rustix::io::Errno;

use super::cgroup::{self, Cgroup};
use super::confined::{Attempt, Confined};
use super::filter;
use super::launcher::{LaunchError, Launcher};
use super::limits::Enforcements;
use super::policy::Policy;
use super::unavailable::{self, UnavailableLayer};
use super::workspace::Workspace;
use crate::network::NetworkSupport;

/// Every layer, what it is for, and its turn for a host that is an ordinary user and for a host that is root. Layers of the same
/// turn are set up together, in alternating steps. So when one of them is missing, the state of the others is unknown.
const LAYERS: [(init::Layer, &str, [u8; 2]); 16] = [
    (
        init::Layer::Protocol,
        "the program that confines commands belongs to this version of the host",
        [0, 0],
    ),
    (init::Layer::Process, "processes can be started", [0, 0]),
    (
        init::Layer::UserNamespace,
        "no rights of the host's user or of root; processes are counted for each tree",
        [1, 8],
    ),
    (
        init::Layer::PidNamespace,
        "a tree cannot see or signal other processes, and ends as a whole",
        [2, 2],
    ),
    (init::Layer::MountNamespace, "a file system of its own", [3, 3]),
    (
        init::Layer::NetworkNamespace,
        "a network of the owner's own, from which nothing else is reached unless it is granted",
        [4, 4],
    ),
    (
        init::Layer::IpcNamespace,
        "no access to shared memory or message queues of others",
        [5, 5],
    ),
    (init::Layer::UtsNamespace, "a machine name of its own", [6, 6]),
    (
        init::Layer::CgroupNamespace,
        "no view of the host's control groups",
        [7, 7],
    ),
    (
        init::Layer::Mounts,
        "only the system's programs and the workspace are visible",
        [8, 8],
    ),
    (
        init::Layer::Overlay,
        "no access to the host's sockets, FIFOs, locks and file events in read-only folders",
        [8, 8],
    ),
    (init::Layer::Workspace, "the workspace can be written to", [8, 8]),
    (
        init::Layer::Identity,
        "an unprivileged user, without capabilities",
        [9, 8],
    ),
    (init::Layer::Limits, "limits of resources", [10, 10]),
    (
        init::Layer::Landlock,
        "with the host's network: no abstract socket of the host",
        [11, 11],
    ),
    (
        init::Layer::Seccomp,
        "no system call that could undo the other layers",
        [12, 12],
    ),
];

/// The parts of the default confinement that this machine and this user support: facts for a status page, or before a host is set
/// up.
///
/// ```
/// use capsule_supervisor::sandbox::ConfinementSupport;
///
/// let facts = ConfinementSupport::probe();
/// if !facts.is_sufficient() {
///     for missing in facts.missing() {
///         eprintln!("{missing}");
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfinementSupport {
    /// The layers, in the order in which they are set up.
    pub layers: Vec<Layer>,
    /// How each resource limit would be enforced.
    pub limits: Enforcements,
    /// Whether the kernel counts the CPU time of a whole tree while it runs; otherwise its processes are sampled one by one, and a
    /// process that starts and ends between two samples is counted only at the end. `None` if no tree could be started.
    pub live_cpu: Option<bool>,
    /// The user that commands run as.
    pub runs_as: RunsAs,
    /// The range of kernel users, first and last, that the epoll watches of commands are counted for if commands run as the host's
    /// user; or the reason why the watches are counted together with all other watches of this user. `None` if commands run as
    /// other users.
    pub counted_for: Option<Result<(u32, u32), UnavailableLayer>>,
    /// What the machine can do for private networks, found by a connection within one; or why it can do nothing. `None` if no tree
    /// could be started, or the policy has another network.
    pub network: Option<Result<NetworkSupport, UnavailableLayer>>,
    /// Control groups, version 2; `None` if none are mounted.
    pub cgroup: Option<Cgroup>,
    /// The control group in which a group is made for each command, or the reason why there is none. The kernel limits the memory
    /// of commands only with such a group, and only if the group has the memory controller.
    pub groups: Result<PathBuf, UnavailableLayer>,
    sufficient: bool,
}

/// One layer of the confinement.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layer {
    /// Its name, as in [`UnavailableLayer::layer`].
    pub name: &'static str,
    /// The purpose of the layer, in a few words.
    pub purpose: &'static str,
    /// Whether the default confinement needs the layer.
    pub needed: bool,
    /// Whether the layer is available.
    pub state: State,
    /// Further facts, such as a version.
    pub detail: Option<String>,
}

/// Whether a layer is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The trial used it.
    Available,
    /// The trial failed at it.
    Unavailable(UnavailableLayer),
    /// It was not tried, because an earlier layer is missing.
    Unknown,
}

/// The user that confined commands run as, unless a policy names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsAs {
    /// The user of the host.
    Host {
        /// The number of the user.
        uid: u32,
    },
    /// The host is root, and each command runs, with all that it starts, as a user of its own.
    OwnUser {
        /// The first of the numbers that are lent to commands.
        first: u32,
        /// The count of these numbers.
        count: u32,
    },
    /// The host is root, and the file system of the workspace cannot show files as another user's (id-mapped mounts).
    /// Commands run as the workspace's owner. Only [`ConfinementSupport::probe_workspace`] returns this.
    Owner {
        /// The number of the owner.
        uid: u32,
    },
    /// The host is root, and the policy names one user for all commands.
    Named {
        /// The number of the user.
        uid: u32,
    },
}

impl RunsAs {
    fn by(policy: &Policy) -> Self {
        let host = rustix::process::geteuid();
        if !host.is_root() {
            return Self::Host { uid: host.as_raw() };
        }
        if let Some(identity) = policy.named_identity() {
            return Self::Named { uid: identity.uid };
        }
        let users = policy.user_range();
        Self::OwnUser {
            first: users.start,
            count: users.end.saturating_sub(users.start),
        }
    }
}

impl ConfinementSupport {
    /// Tries the confinement with a command that does nothing, in a folder made for it.
    ///
    /// Blocks for some milliseconds, or half a minute on a machine that hangs. Works on any thread, with or without a tokio
    /// runtime; within a runtime, call it by `spawn_blocking`.
    #[must_use]
    pub fn probe() -> Self {
        Self::probe_for(Policy::new())
    }

    /// The same for a policy of the embedder's, such as one that names a control group. If the policy cannot be used,
    /// [`ConfinementSupport::is_sufficient`] is false.
    #[must_use]
    pub fn probe_for(policy: Policy) -> Self {
        let uid = rustix::process::geteuid();
        let groups = cgroup::groups(policy.named_cgroup()).map(|groups| groups.given().to_owned());
        let named_and_missing = policy.named_cgroup().is_some() && groups.is_err();
        // The other results hold without the group too.
        let policy = if named_and_missing {
            policy.without_cgroup()
        } else {
            policy
        };
        let runs_as = RunsAs::by(&policy);
        let (limits, attempt, counted_for, network) = match Confined::new(policy) {
            Ok(launcher) => {
                let tried = attempt(&launcher);
                let counted = tried.as_ref().ok().map(|tried| counted_for(&launcher, tried));
                let network = tried.as_ref().ok().and_then(|_| launcher.try_network());
                (
                    launcher.enforcements(),
                    tried,
                    counted,
                    network.map(|tried| tried.map_err(missing)),
                )
            }
            Err(error) => (Enforcements::default(), Err(missing(error)), None, None),
        };
        let live_cpu = attempt.as_ref().ok().map(|tried| tried.live_cpu);
        let overlay = attempt
            .as_ref()
            .ok()
            .and_then(|tried| tried.bound.as_ref())
            .map(overlay);
        Self {
            sufficient: attempt.is_ok() && !named_and_missing && !matches!(network, Some(Err(_))),
            layers: layers(attempt.err().as_ref(), &landlock(), overlay.as_ref(), uid.is_root()),
            limits,
            live_cpu,
            runs_as,
            counted_for: counted_for.filter(|_| !uid.is_root()),
            network,
            cgroup: Cgroup::of_this_process(),
            groups,
        }
    }

    /// The user that commands run as in one workspace, found by a trial with a command that does nothing there. The answer is
    /// [`RunsAs::Owner`] if that is not the user that commands usually run as. Blocks as [`ConfinementSupport::probe`] does.
    ///
    /// # Errors
    /// Commands cannot be confined there.
    pub fn probe_workspace(policy: Policy, workspace: &Workspace) -> Result<RunsAs, UnavailableLayer> {
        let runs_as = RunsAs::by(&policy);
        let launcher = Confined::new(policy).map_err(missing)?;
        if attempt_in(&launcher, workspace)?.as_owner {
            let owner = rustix::fs::fstat(workspace.handle());
            let uid = owner.map_err(|errno| UnavailableLayer::by_kernel(init::Layer::Workspace, "fstat", errno))?;
            return Ok(RunsAs::Owner { uid: uid.st_uid });
        }
        Ok(runs_as)
    }

    /// Whether the default confinement works here.
    #[must_use]
    pub const fn is_sufficient(&self) -> bool {
        self.sufficient
    }

    /// The missing layers, whether needed or not, each with its reason and remedy.
    pub fn missing(&self) -> impl Iterator<Item = &UnavailableLayer> {
        let layers = self.layers.iter().filter_map(|layer| match &layer.state {
            State::Unavailable(missing) => Some(missing),
            State::Available | State::Unknown => None,
        });
        let network = self.network.as_ref().and_then(|network| network.as_ref().err());
        layers.chain(network).chain(self.groups.as_ref().err())
    }
}

/// Confines a command and reports the result.
fn attempt(launcher: &Confined) -> Result<Attempt, UnavailableLayer> {
    let place = TestFolder::new().map_err(|error| {
        let reason = format!(
            "cannot make a folder for the trial in {:?}: {error}",
            std::env::temp_dir()
        );
        let remedy = "set TMPDIR to a folder that this user may write to";
        UnavailableLayer::new(init::Layer::Workspace, reason, Some(remedy))
    })?;
    let workspace = Workspace::open(place.workspace())
        .map_err(|error| UnavailableLayer::new(init::Layer::Workspace, error.to_string(), None))?;
    attempt_in(launcher, &workspace)
}

fn attempt_in(launcher: &Confined, workspace: &Workspace) -> Result<Attempt, UnavailableLayer> {
    // A runtime of this function's own, so that the caller needs none. It drives no task: this thread waits for the end of the
    // command.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| missing(LaunchError::Host(error)))?;
    let tried = {
        let _within = runtime.enter();
        launcher.try_out(workspace)
    };
    // Any other end would wait, which a thread that runs other tasks may not do.
    runtime.shutdown_background();
    tried.map_err(missing)
}

/// The users for which the watches of the tried command were counted.
fn counted_for(launcher: &Confined, tried: &Attempt) -> Result<(u32, u32), UnavailableLayer> {
    let subordinate = launcher.subordinate().map_err(Clone::clone)?;
    if tried.is_counted_apart {
        let range = subordinate.range();
        return Ok((range.start, range.end.saturating_sub(1)));
    }
    // A second attempt, to get the reason.
    subordinate.try_lease()?;
    let reason = "the kernel does not let one process answer another's calls (seccomp), or that is done already around this host";
    Err(UnavailableLayer::new(
        init::Layer::Identity,
        reason,
        Some("a kernel of 5.14 or later"),
    ))
}

/// The layer that an error shows to be missing.
fn missing(error: LaunchError) -> UnavailableLayer {
    match error {
        LaunchError::Confinement(missing) => missing,
        LaunchError::Host(error) => match Errno::from_io_error(&error) {
            Some(errno) => UnavailableLayer::by_kernel(init::Layer::Process, "start", errno),
            None => UnavailableLayer::new(init::Layer::Process, error.to_string(), None),
        },
        // The program of the trial certainly exists, and no file is injected, so these errors are the machine's.
        error @ (LaunchError::NotFound(_)
        | LaunchError::PermissionDenied(_)
        | LaunchError::ExecFailed(_)
        | LaunchError::WorkingDirectory { .. }
        | LaunchError::Injection(_)
        | LaunchError::Limit(_)
        | LaunchError::Network(_)) => UnavailableLayer::new(init::Layer::Process, error.to_string(), None),
    }
}

fn layers(
    failed: Option<&UnavailableLayer>,
    landlock: &Result<&'static str, UnavailableLayer>,
    overlay: Option<&UnavailableLayer>,
    host_is_root: bool,
) -> Vec<Layer> {
    let turn = |[user, root]: [u8; 2]| if host_is_root { root } else { user };
    let mut table = LAYERS;
    table.sort_by_key(|(.., turns)| turn(*turns));
    let reached = failed.map(|missing| {
        let failed = table.iter().find(|(layer, ..)| *layer == missing.which());
        failed.map_or(0, |(.., turns)| turn(*turns))
    });
    let status = |(layer, purpose, turns): (init::Layer, _, _)| {
        let failed = failed.filter(|missing| missing.which() == layer);
        let optional = if layer == init::Layer::Landlock {
            Some(landlock.as_ref().map(|detail| Some(*detail)))
        } else if layer == init::Layer::Overlay {
            Some(overlay.map_or(Ok(None), Err))
        } else {
            None
        };
        let state = match (failed, optional) {
            (Some(missing), _) | (None, Some(Err(missing))) => State::Unavailable(missing.clone()),
            (None, _) if reached.is_some_and(|reached| turn(turns) >= reached) => State::Unknown,
            (None, _) => State::Available,
        };
        Layer {
            name: unavailable::name(layer),
            purpose,
            needed: optional.is_none() || failed.is_some(),
            state,
            detail: optional.and_then(|optional| Some(optional.ok()??.into())),
        }
    };
    table.into_iter().map(status).collect()
}

/// A resource that commands share with the host against the policy's intention.
fn overlay(bound: &init::Bound) -> UnavailableLayer {
    let source = String::from_utf8_lossy(&bound.source);
    UnavailableLayer::by_kernel(init::Layer::Overlay, &source, Errno::from_raw_os_error(bound.errno))
}

/// The support for Landlock. Only its scopes are used, and only if the kernel has them.
fn landlock() -> Result<&'static str, UnavailableLayer> {
    if filter::scopes().is_some() {
        return Ok("ABI 6 or later");
    }
    let (reason, remedy) = if filter::has_landlock() {
        ("an ABI before 6, without scopes", "a kernel of 6.12 or later")
    } else {
        (
            "not in the kernel, or not enabled",
            "a kernel of 6.12 or later, with landlock among its security modules (lsm= on its command line)",
        )
    };
    Err(UnavailableLayer::new(init::Layer::Landlock, reason, Some(remedy)))
}

/// A folder for the attempt. Root's commands may write to it as any user, and no other process can reach it. It is
/// removed when this is dropped.
struct TestFolder(PathBuf);

impl TestFolder {
    fn new() -> io::Result<Self> {
        let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("capsule-probe-{number:016x}");
        let place = Self(std::env::temp_dir().join(name));
        DirBuilder::new().mode(0o700).create(&place.0)?;
        fs::create_dir(place.workspace())?;
        // Set separately, because the umask affects the mode at the creation.
        fs::set_permissions(place.workspace(), Permissions::from_mode(0o777))?;
        Ok(place)
    }

    fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        // A folder that cannot be removed is empty, and lies in the folder for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(layer: init::Layer) -> UnavailableLayer {
        UnavailableLayer::by_kernel(layer, "unshare", Errno::NOSPC)
    }

    fn states(failed: &UnavailableLayer, host_is_root: bool) -> Vec<(&'static str, &'static str)> {
        let state = |state| match state {
            State::Available => "available",
            State::Unavailable(_) => "missing",
            State::Unknown => "unknown",
        };
        layers(Some(failed), &Ok("ABI 6 or later"), None, host_is_root)
            .into_iter()
            .map(|layer| (layer.name, state(layer.state)))
            .collect()
    }

    #[test]
    fn b2_this_machine_has_all_that_is_needed() {
        let facts = ConfinementSupport::probe();
        if !facts.is_sufficient() {
            let missing: Vec<_> = facts.missing().map(ToString::to_string).collect();
            assert!(std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(), "{missing:?}");
            println!("skipped: commands cannot be confined here: {missing:?}");
            return;
        }
        assert!(
            facts
                .layers
                .iter()
                .all(|layer| !layer.needed || layer.state == State::Available)
        );
        assert!(facts.live_cpu.is_some());
        assert!(matches!(facts.network, Some(Ok(_))), "{:?}", facts.network);
    }

    #[tokio::test]
    async fn b2_a_probe_says_what_a_start_says_also_within_a_runtime() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let verified = Confined::new(Policy::new()).unwrap().verify(&workspace);
        assert_eq!(
            ConfinementSupport::probe().is_sufficient(),
            verified.is_ok(),
            "{verified:?}"
        );
    }

    #[test]
    fn b2_what_comes_after_the_layer_that_is_missing_is_unknown() {
        let states = states(&missing(init::Layer::NetworkNamespace), false);
        let at = states
            .iter()
            .position(|state| *state == ("network namespace", "missing"))
            .unwrap();
        assert!(
            states[..at].iter().all(|(_, state)| *state == "available"),
            "{states:?}"
        );
        assert!(
            states[at + 1..].iter().all(|(_, state)| *state == "unknown"),
            "{states:?}"
        );
    }

    #[test]
    fn b2_root_gets_its_user_namespace_late() {
        let user_namespace = missing(init::Layer::UserNamespace);
        assert_eq!(
            states(&user_namespace, false)[2..4],
            [("user namespace", "missing"), ("pid namespace", "unknown")]
        );
        let root = states(&user_namespace, true);
        assert!(root.contains(&("network namespace", "available")), "{root:?}");
        // Each layer needs the other, so none is known to work.
        assert!(root.contains(&("mounts", "unknown")), "{root:?}");
        assert!(root.contains(&("identity", "unknown")), "{root:?}");
    }

    #[test]
    fn b2_a_layer_that_can_be_done_without_is_reported_all_the_same() {
        let none = Err(missing(init::Layer::Landlock));
        let layer = layers(None, &none, None, false)
            .into_iter()
            .find(|layer| layer.name == "landlock");
        let layer = layer.unwrap();
        assert!(
            !layer.needed && matches!(layer.state, State::Unavailable(_)),
            "{layer:?}"
        );
        // A ruleset that can be made but not applied makes every start fail.
        let failed = missing(init::Layer::Landlock);
        let layers = layers(Some(&failed), &Ok("ABI 6 or later"), None, false);
        assert!(
            layers.iter().any(|layer| layer.name == "landlock" && layer.needed),
            "{layers:?}"
        );
    }

    #[test]
    fn b9_an_overlay_that_cannot_be_had_is_reported_and_not_needed() {
        let bound = overlay(&init::Bound {
            source: b"/opt".to_vec(),
            errno: Errno::BUSY.raw_os_error(),
        });
        let layers = layers(None, &Ok("ABI 6 or later"), Some(&bound), false);
        let layer = layers.iter().find(|layer| layer.name == "overlay").unwrap();
        assert!(!layer.needed, "{layer:?}");
        assert!(
            matches!(&layer.state, State::Unavailable(missing) if missing.reason().starts_with("/opt: ")),
            "{layer:?}"
        );
    }
}
