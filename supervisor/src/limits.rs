//! Every default and ceiling of the supervisor, in one place (contract Q4).

use std::sync::OnceLock;
use std::time::Duration;

use super::Error;
use crate::os::machine;
use crate::sandbox::{Enforcement, Enforcements, ResourceLimits};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The longest time; a longer one is treated as this. The delay queue and the clock have an end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The limits of what guests may request, and the values that hold without a request. The embedder can set each of
/// them:
///
/// ```
/// use capsule_supervisor::Limits;
///
/// let limits = Limits { processes_per_principal: 64, ..Limits::default() };
/// assert_eq!(limits.ring_default, 1024 * 1024);
/// ```
///
/// Sizes are in bytes. A number of a guest's that is above a ceiling is treated as the ceiling, unless a field says
/// otherwise. A time above a year is treated as a year. Each description ends with the default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The processes of one principal that run at once, over all capsules and all tiers (`quota` beyond it). 8.
    pub processes_per_principal: usize,
    /// The ids, live and exited, that one capsule retains for one principal (`registry-full` beyond it). 32.
    pub retained_per_owner: usize,
    /// The ids that the whole registry retains (`registry-full` beyond it). 4096.
    pub retained_total: usize,
    /// The memory that the log rings of one principal could take: both streams of each process at their full size
    /// (`quota` beyond it). 64 MiB.
    pub ring_memory_per_principal: usize,
    /// The size of each stream's ring if the request names none. 1 MiB.
    pub ring_default: usize,
    /// The size of the smallest ring. 4 KiB.
    pub ring_min: usize,
    /// The size of the largest ring. 8 MiB.
    pub ring_max: usize,
    /// The output of each stream that `spawn` captures. A command that prints more is ended (`too-large`). 16 MiB.
    pub capture_max: usize,
    /// The length of the longest stdin prelude (`too-large` beyond it). 4 MiB.
    pub prelude_max: usize,
    /// The size of the largest file that is injected (`too-large` beyond it). 8 MiB.
    pub injection_max: usize,
    /// The most bytes that the files injected for one process have together (`too-large` beyond it). The files take
    /// memory until the process ends, in addition to what the process's memory limit counts. 16 MiB.
    pub injected_bytes_max: usize,
    /// The most files that are injected for one process (`too-large` beyond it). 128.
    pub injections_max: usize,
    /// The most bytes of one `write-stdin` (`too-large` beyond it). 1 MiB.
    pub write_max: usize,
    /// The most bytes that one `read-since` returns. 4 MiB.
    pub read_max: usize,
    /// The most bytes that wait to be written to one process's stdin after the calls that wrote them were dropped.
    /// Beyond it, the whole write of a call that is dropped before its turn is withdrawn. 4 MiB.
    pub abandoned_writes_max: usize,
    /// The longest `wait` on an id. 5 minutes.
    pub wait_max: Duration,
    /// The time between TERM and KILL if the call names none. 5 seconds.
    pub grace_default: Duration,
    /// The longest time between TERM and KILL. 30 seconds.
    pub grace_max: Duration,
    /// The time between TERM and KILL when the registry shuts down; at most `grace_max`. 1 second.
    pub grace_shutdown: Duration,
    /// The longest lifetime of a persistent process, and its lifetime if the request names none. 6 hours.
    pub lifetime_max: Duration,
    /// The idle timeout of a persistent process if the request names none; at most `lifetime_max`. 30 minutes.
    pub idle_default: Duration,
    /// The time for which an exited process keeps its id and output if the request names none. 5 minutes.
    pub retention_default: Duration,
    /// The longest time for which an exited process keeps its id and output. 1 hour.
    pub retention_max: Duration,
    /// The time after which the host closes an empty pipe that a process outside of an ended tree still holds. 1
    /// second.
    pub drain_time: Duration,
    /// The resource limits of a process whose request names none: [`ResourceLimits::standard`].
    ///
    /// A value that is equal to the standard one is enforced where that is possible: a launcher that cannot enforce it
    /// omits it, and strict mode accepts that it is sampled. Any other value is a demand of yours, as a ceiling is: if
    /// it cannot be enforced, the spawn is refused.
    pub resource_defaults: ResourceLimits,
    /// The highest resource limits. A request above a ceiling gets the ceiling, and so does a request without a value.
    /// If a ceiling cannot be enforced, the spawn is refused. No ceilings.
    pub resource_ceilings: ResourceLimits,
    /// The most bytes that the host logs in a second, in the long run, for one capsule and one principal: the guest's
    /// standard output and error, and its calls of `log`. Bytes beyond it are dropped, counted, and the count is
    /// logged. Zero drops all. 64 KiB.
    pub guest_output_per_second: u32,
    /// The most bytes of these that may arrive at once. 1 MiB.
    pub guest_output_burst: u32,
    /// Refuses resource limits that are enforced by sampling and not by the kernel, except those that neither the guest
    /// nor you requested. Not set.
    pub strict_resource_limits: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes_per_principal: 8,
            retained_per_owner: 32,
            retained_total: 4096,
            ring_memory_per_principal: 64 * MIB,
            ring_default: MIB,
            ring_min: 4 * KIB,
            ring_max: 8 * MIB,
            capture_max: 16 * MIB,
            prelude_max: 4 * MIB,
            injection_max: 8 * MIB,
            injected_bytes_max: 16 * MIB,
            injections_max: 128,
            write_max: MIB,
            read_max: 4 * MIB,
            abandoned_writes_max: 4 * MIB,
            wait_max: Duration::from_secs(5 * 60),
            grace_default: Duration::from_secs(5),
            grace_max: Duration::from_secs(30),
            grace_shutdown: Duration::from_secs(1),
            lifetime_max: Duration::from_secs(6 * 60 * 60),
            idle_default: Duration::from_secs(30 * 60),
            retention_default: Duration::from_secs(5 * 60),
            retention_max: Duration::from_secs(60 * 60),
            drain_time: Duration::from_secs(1),
            resource_defaults: ResourceLimits::standard(),
            resource_ceilings: ResourceLimits::default(),
            guest_output_per_second: 64 << 10,
            guest_output_burst: 1 << 20,
            strict_resource_limits: false,
        }
    }
}

impl Limits {
    pub(crate) fn ring_size(&self, asked: Option<u32>) -> usize {
        asked
            .map_or(self.ring_default, |asked| usize::try_from(asked).unwrap_or(usize::MAX))
            .clamp(self.ring_min.min(self.ring_max), self.ring_max)
            .max(1)
    }

    pub(crate) fn wait(&self, asked: Duration) -> Duration {
        asked.min(self.wait_max).min(LONGEST)
    }

    /// Of a wait that has no ceiling.
    pub(crate) fn longest(&self, asked: Duration) -> Duration {
        asked.min(LONGEST)
    }

    pub(crate) fn grace(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.grace_default).min(self.grace_max).min(LONGEST)
    }

    pub(crate) fn lifetime(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.lifetime_max).min(self.lifetime_max).min(LONGEST)
    }

    pub(crate) fn idle(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.idle_default).min(self.lifetime_max).min(LONGEST)
    }

    /// The resource limits of a process that asked for `asked`, where all of them can be held (contract R1).
    pub(crate) fn resources(&self, asked: Option<ResourceLimits>, held: Enforcements) -> Result<ResourceLimits, Error> {
        let asked = asked.unwrap_or_default();
        let (defaults, ceilings) = (self.resource_defaults, self.resource_ceilings);
        let standard = ResourceLimits::standard();
        macro_rules! limit {
            ($field:ident, $name:literal, $held:expr) => {
                self.resource(
                    $name,
                    Wanted {
                        asked: asked.$field,
                        default: defaults.$field,
                        standard: standard.$field,
                        ceiling: ceilings.$field,
                    },
                    $held,
                )?
            };
        }
        Ok(ResourceLimits {
            max_memory_bytes: limit!(max_memory_bytes, "max-memory-bytes", held.memory),
            max_cpu_secs: limit!(max_cpu_secs, "max-cpu-secs", held.cpu),
            max_pids: limit!(max_pids, "max-pids", held.pids),
            max_open_files: limit!(max_open_files, "max-open-files", held.open_files),
        })
    }

    fn resource<T: Copy + Ord + Default>(
        &self,
        name: &str,
        wanted: Wanted<T>,
        held: Option<Enforcement>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = wanted.value() else { return Ok(None) };
        if value == T::default() {
            return Err(Error::InvalidInput(format!("{name} is 0: no process could run")));
        }
        let refuse = |reason: &str| Err(Error::LimitUnenforceable(format!("{name}: {reason}")));
        match held {
            None if wanted.is_standard() => Ok(None),
            None => refuse("this host cannot enforce it"),
            Some(Enforcement::Sampled) if self.strict_resource_limits && !wanted.is_standard() => {
                refuse("the kernel does not enforce it on this host")
            }
            Some(_) => Ok(Some(value)),
        }
    }

    pub(crate) fn drain(&self) -> Duration {
        self.drain_time.min(LONGEST)
    }

    pub(crate) fn retention(&self, asked: Option<Duration>) -> Duration {
        asked
            .unwrap_or(self.retention_default)
            .min(self.retention_max)
            .min(LONGEST)
    }
}

/// The values from which one limit is decided.
#[derive(Clone, Copy)]
struct Wanted<T> {
    asked: Option<T>,
    default: Option<T>,
    standard: Option<T>,
    ceiling: Option<T>,
}

impl<T: Copy + Ord> Wanted<T> {
    /// The requested value, or else the default, and never above the ceiling.
    fn value(&self) -> Option<T> {
        let wanted = self.asked.or(self.default);
        match (wanted, self.ceiling) {
            (Some(wanted), Some(ceiling)) => Some(wanted.min(ceiling)),
            (wanted, ceiling) => wanted.or(ceiling),
        }
    }

    /// Whether neither the guest nor the embedder has asked for a limit.
    fn is_standard(&self) -> bool {
        self.asked.is_none() && self.ceiling.is_none() && self.default == self.standard
    }
}

impl ResourceLimits {
    /// The limits of a process for which neither the guest nor the embedder requested limits (contract R3):
    ///
    /// * processes and threads: 512. A parallel build, a browser or a Java program has some 200. The trees that a
    ///   principal may have at once (8) have an eighth of the pids of the smallest machine (32,768) at this limit.
    /// * open files of each process: 4,096. This is four times the usual limit of a program, and a fifth of the usual
    ///   limit of a host. The kernel counts files that are in transit in sockets for its user, and the host may share
    ///   its user with the trees. It refuses further files above the *sender's* limit, so a tree must reach its own
    ///   limit before the host does. A host that itself may have fewer than some 5,000 gives its trees three quarters
    ///   of its own limit.
    /// * memory: half of the machine's memory, or of the memory that a container allows the host. A tree that uses all
    ///   of it leaves the same amount for everything else, and most builds and data sets fit.
    /// * processor time: none. A server may run for ever, and shares the processors with the others.
    ///
    /// Temporary files are bounded by [`Policy::tmp_bytes`](crate::sandbox::Policy::tmp_bytes), 256 MiB.
    #[must_use]
    pub fn standard() -> Self {
        // It does not change while a program runs.
        static MEMORY: OnceLock<Option<u64>> = OnceLock::new();
        Self {
            max_memory_bytes: *MEMORY.get_or_init(|| machine::memory().map(|bytes| (bytes / 2).max(1))),
            max_cpu_secs: None,
            max_pids: Some(512),
            max_open_files: Some(4096),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Enforcements = Enforcements {
        memory: Some(Enforcement::Sampled),
        cpu: Some(Enforcement::Kernel),
        pids: None,
        open_files: Some(Enforcement::PerProcess),
    };

    #[test]
    fn r1_a_limit_is_clamped_to_its_ceiling_and_held_or_refused() {
        let ceilings = ResourceLimits {
            max_cpu_secs: Some(10),
            ..ResourceLimits::default()
        };
        let defaults = ResourceLimits {
            max_open_files: Some(64),
            ..ResourceLimits::default()
        };
        let limits = Limits {
            resource_ceilings: ceilings,
            resource_defaults: defaults,
            ..Limits::default()
        };
        let expected = ResourceLimits {
            max_cpu_secs: Some(10),
            max_open_files: Some(64),
            ..ResourceLimits::default()
        };
        assert_eq!(limits.resources(None, HELD), Ok(expected));
        let asked = ResourceLimits {
            max_cpu_secs: Some(99),
            max_memory_bytes: Some(1),
            ..ResourceLimits::default()
        };
        assert_eq!(
            limits.resources(Some(asked), HELD),
            Ok(ResourceLimits {
                max_memory_bytes: Some(1),
                ..expected
            })
        );

        let pids = ResourceLimits {
            max_pids: Some(1),
            ..ResourceLimits::default()
        };
        assert!(matches!(
            limits.resources(Some(pids), HELD),
            Err(Error::LimitUnenforceable(_))
        ));
        let none = ResourceLimits {
            max_memory_bytes: Some(0),
            ..ResourceLimits::default()
        };
        assert!(matches!(
            limits.resources(Some(none), HELD),
            Err(Error::InvalidInput(_))
        ));
        let strict = Limits {
            strict_resource_limits: true,
            ..limits
        };
        assert!(matches!(
            strict.resources(Some(asked), HELD),
            Err(Error::LimitUnenforceable(_))
        ));
        assert!(strict.resources(Some(ceilings), HELD).is_ok());
    }

    #[test]
    fn r3_a_default_limit_refuses_no_start() {
        let nothing = Enforcements {
            memory: None,
            pids: None,
            ..HELD
        };
        let limits = Limits::default();
        let files = ResourceLimits {
            max_open_files: Some(4096),
            ..ResourceLimits::default()
        };
        assert_eq!(limits.resources(None, nothing), Ok(files));
        let strict = Limits {
            strict_resource_limits: true,
            ..Limits::default()
        };
        let got = strict.resources(None, HELD).expect("no request");
        assert!(got.max_memory_bytes.is_some(), "held by looking: {got:?}");

        // The same by the embedder's word.
        let memory = ResourceLimits {
            max_memory_bytes: Some(77 << 20),
            ..ResourceLimits::default()
        };
        for limits in [
            Limits {
                resource_defaults: memory,
                ..Limits::default()
            },
            Limits {
                resource_ceilings: memory,
                ..Limits::default()
            },
        ] {
            let refused = limits.resources(None, nothing);
            assert!(matches!(refused, Err(Error::LimitUnenforceable(_))), "{refused:?}");
        }
    }

    #[test]
    fn r3_the_defaults_are_as_documented() {
        let standard = Limits::default().resource_defaults;
        assert_eq!((standard.max_pids, standard.max_open_files), (Some(512), Some(4096)));
        let memory = standard.max_memory_bytes.expect("the machine has some");
        assert!(
            memory >= 64 << 20 && memory <= machine::memory().expect("it has") / 2,
            "{memory}"
        );
    }

    #[test]
    fn l5_ring_sizes_are_clamped() {
        let limits = Limits::default();
        assert_eq!(limits.ring_size(None), MIB);
        assert_eq!(limits.ring_size(Some(0)), 4 * KIB);
        assert_eq!(limits.ring_size(Some(5000)), 5000);
        assert_eq!(limits.ring_size(Some(u32::MAX)), 8 * MIB);
    }

    #[test]
    fn t1_a_ceiling_of_for_ever_is_a_year() {
        let limits = Limits {
            lifetime_max: Duration::MAX,
            wait_max: Duration::MAX,
            ..Limits::default()
        };
        assert_eq!((limits.lifetime(None), limits.wait(Duration::MAX)), (LONGEST, LONGEST));
    }

    #[test]
    fn x4_k2_t1_t2_t3_times_are_clamped_to_their_ceilings() {
        let limits = Limits::default();
        assert_eq!(limits.wait(Duration::MAX), limits.wait_max);
        assert_eq!(limits.wait(Duration::ZERO), Duration::ZERO);
        assert_eq!(limits.grace(None), limits.grace_default);
        assert_eq!(limits.grace(Some(Duration::MAX)), limits.grace_max);
        assert_eq!(limits.grace(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(limits.lifetime(None), limits.lifetime_max);
        assert_eq!(limits.lifetime(Some(Duration::MAX)), limits.lifetime_max);
        assert_eq!(limits.idle(None), limits.idle_default);
        assert_eq!(limits.idle(Some(Duration::MAX)), limits.lifetime_max);
        assert_eq!(limits.retention(None), limits.retention_default);
        assert_eq!(limits.retention(Some(Duration::MAX)), limits.retention_max);
    }
}
