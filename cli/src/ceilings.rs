//! The limits of a capsule's processes: the flags of the command, the table in a manifest, and the combination of both.
//!
//! The user decides. The capsule's author can only lower the user's limits, because a manifest comes with the capsule and
//! deserves no more trust than the capsule itself.

use capsule_host::sandbox::NetworkLimits;
use capsule_host::supervisor::Limits;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The flags of `capsule run`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits of each process that the capsule starts, with all that it starts itself")]
pub(crate) struct Flags {
    /// Processes and threads [default: 512].
    ///
    /// For unconfined processes this limit needs a control group, as does the limit of memory. Without a group the process
    /// is not started.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_pids: Option<u32>,

    /// Memory: bytes, or a number with a unit such as 512MiB or 2G [default: half of this machine's].
    ///
    /// K, M, G and T stand for KiB, MiB, GiB and TiB: powers of 1024.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_memory: Option<u64>,

    /// Processor time, in seconds [default: no limit].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    max_cpu: Option<u64>,

    /// Open files of each single process [default: 4096].
    ///
    /// At most three quarters of what this command itself may open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_files: Option<u32>,

    /// Bytes in /tmp and /dev/shm together, which are memory [default: 256MiB].
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "unconfined")]
    max_tmp: Option<u64>,

    /// TCP connections at once, published and outward, of all processes together [default: 1024].
    ///
    /// At most an eighth of the files that this command itself may open. Connections beyond the limit are reset.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384), conflicts_with = "unconfined")]
    max_connections: Option<u32>,

    /// New connections outward in a second, of all processes together [default: 50].
    ///
    /// Connections beyond the limit wait.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000), conflicts_with = "unconfined")]
    max_dials: Option<u32>,
}

/// The table `limits` of a manifest, with the flags' names. `manifest` reports its other keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Declared {
    #[serde(deserialize_with = "count")]
    max_pids: Option<u32>,
    #[serde(deserialize_with = "amount")]
    max_memory: Option<u64>,
    #[serde(deserialize_with = "count")]
    max_cpu: Option<u64>,
    #[serde(deserialize_with = "count")]
    max_files: Option<u32>,
    #[serde(deserialize_with = "amount")]
    max_tmp: Option<u64>,
    #[serde(deserialize_with = "count")]
    max_connections: Option<u32>,
    #[serde(deserialize_with = "count")]
    max_dials: Option<u32>,
}

impl Flags {
    /// The limits for a capsule whose author declared this.
    pub(crate) fn limits(&self, declared: &Declared) -> Limits {
        let mut limits = Limits::default();
        let (defaults, ceilings) = (&mut limits.resource_defaults, &mut limits.resource_ceilings);
        // The user's value may be higher than the default. As a ceiling it holds for every request.
        defaults.max_pids = self.max_pids.or(defaults.max_pids);
        defaults.max_memory_bytes = self.max_memory.or(defaults.max_memory_bytes);
        defaults.max_open_files = self.max_files.or(defaults.max_open_files);
        ceilings.max_pids = lower(self.max_pids, declared.max_pids);
        ceilings.max_memory_bytes = lower(self.max_memory, declared.max_memory);
        ceilings.max_cpu_secs = lower(self.max_cpu, declared.max_cpu);
        ceilings.max_open_files = lower(self.max_files, declared.max_files);
        limits
    }

    /// The capacity of `/tmp` in bytes; `usual` where neither the user nor the author names another.
    pub(crate) fn tmp_bytes(&self, declared: &Declared, usual: u64) -> u64 {
        let allowed = self.max_tmp.unwrap_or(usual);
        declared.max_tmp.map_or(allowed, |declared| declared.min(allowed))
    }

    /// The limits of a private network.
    pub(crate) fn network(&self, declared: &Declared) -> NetworkLimits {
        let mut limits = NetworkLimits::default();
        let connections = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        limits.connections = self.max_connections.map_or(limits.connections, connections);
        limits.dials_per_second = self.max_dials.unwrap_or(limits.dials_per_second);
        if let Some(declared) = declared.max_connections {
            limits.connections = limits.connections.min(connections(declared));
        }
        if let Some(declared) = declared.max_dials {
            limits.dials_per_second = limits.dials_per_second.min(declared);
        }
        limits
    }
}

/// Raises this program's limit of open files to the hard limit. Its children always get fewer: the kernel counts descriptors in
/// flight for a user, and the children must reach that limit before this program does.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // The kernel allows every value up to the hard limit. If it did not, the children would only get fewer.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn lower<T: Ord>(allowed: Option<T>, declared: Option<T>) -> Option<T> {
    match (allowed, declared) {
        (Some(allowed), Some(declared)) => Some(allowed.min(declared)),
        (allowed, declared) => allowed.or(declared),
    }
}

/// A number of bytes, with or without a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).map(str::to_ascii_lowercase).as_deref() {
        Some("" | "b") => 0,
        Some("k" | "kib") => 10,
        Some("m" | "mib") => 20,
        Some("g" | "gib") => 30,
        Some("t" | "tib") => 40,
        _ => return Err("the units are K, M, G and T, or KiB, MiB, GiB and TiB, as in 512MiB or 2G".into()),
    };
    let number: u64 = digits
        .trim_end()
        .parse()
        .map_err(|_| "not a whole number of bytes such as 1048576, 512MiB or 2G".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("no process could run with 0".into()),
        Some(bytes) => Ok(bytes),
        None => Err("the number is too large".into()),
    }
}

fn count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Err(D::Error::custom("no process could run with 0")),
        number => T::try_from(number)
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{number} is too large"))),
    }
}

/// Text with a unit, or a plain number.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size: a number of bytes, or text such as \"512MiB\"")]
    enum Amount {
        Bytes(u64),
        Text(String),
    }
    let text = match Amount::deserialize(deserializer)? {
        Amount::Bytes(bytes) => bytes.to_string(),
        Amount::Text(text) => text,
    };
    size(&text)
        .map(Some)
        .map_err(|reason| D::Error::custom(format!("{text:?}: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_none() {
        for (text, bytes) in [
            ("1", 1),
            ("4096b", 4096),
            ("8k", 8 << 10),
            ("512MiB", 512 << 20),
            ("2G", 2 << 30),
            ("1 tib", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "1.5G", "G", "12 MB", "99999999999T", "1e9"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn r3_a_manifest_only_lowers_what_the_person_allows() {
        let declared: Declared = toml::from_str("max-pids = 64\nmax-memory = \"1G\"\nmax-tmp = 4096\n").unwrap();
        let flags = Flags {
            max_pids: Some(10),
            max_memory: Some(4 << 30),
            ..Flags::default()
        };
        let limits = flags.limits(&declared);
        assert_eq!(limits.resource_ceilings.max_pids, Some(10));
        assert_eq!(limits.resource_ceilings.max_memory_bytes, Some(1 << 30));
        assert_eq!(flags.tmp_bytes(&declared, 1 << 20), 4096);

        // The user gave no limits, so the declaration lowers the defaults.
        let more: Declared = toml::from_str("max-pids = 4000\nmax-tmp = \"1G\"").unwrap();
        let limits = Flags::default().limits(&more);
        assert_eq!(limits.resource_defaults.max_pids, Some(512));
        assert_eq!(Flags::default().tmp_bytes(&more, 1 << 20), 1 << 20);
    }

    #[test]
    fn w5_a_manifest_only_lowers_the_limits_of_a_network() {
        let declared: Declared = toml::from_str("max-connections = 64\nmax-dials = 4000").unwrap();
        let usual = Flags::default().network(&Declared::default());
        assert_eq!(usual, NetworkLimits::default());
        let limits = Flags::default().network(&declared);
        assert_eq!(
            (limits.connections, limits.dials_per_second),
            (64, usual.dials_per_second)
        );
        let flags = Flags {
            max_connections: Some(10),
            max_dials: Some(100),
            ..Flags::default()
        };
        let limits = flags.network(&declared);
        assert_eq!((limits.connections, limits.dials_per_second), (10, 100));
    }

    #[test]
    fn r3_the_person_may_allow_more_than_the_defaults() {
        let flags = Flags {
            max_pids: Some(5000),
            max_files: Some(9000),
            ..Flags::default()
        };
        let limits = flags.limits(&Declared::default());
        assert_eq!(limits.resource_defaults.max_pids, Some(5000));
        assert_eq!(limits.resource_ceilings.max_open_files, Some(9000));
        assert_eq!(limits.resource_ceilings.max_memory_bytes, None);
    }
}
