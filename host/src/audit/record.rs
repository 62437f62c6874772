//! The audit record of one call, or of one decision about the network.

use std::net::SocketAddr;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::redact::redacted;
use capsule_supervisor::internals::cut;
use capsule_supervisor::sandbox::NetworkDecision;
use capsule_supervisor::{Error, FileInjection, Owner, Placement, Principal, ResourceLimits, SpawnRequest};

/// The kept length of a principal's or a capsule's name, in bytes.
const NAME_MAX: usize = 1024;
/// The kept length of a command, and of its working directory, in bytes.
const PATH_MAX: usize = 4 * 1024;
/// The kept bytes and the kept number of the arguments, and of the names of variables.
const LIST_MAX: usize = 8 * 1024;
const LIST_ITEMS_MAX: usize = 256;
/// The kept length of the path of an injected file, in bytes.
const PLACE_MAX: usize = 128;
/// The most injected files of one spawn in a record; the interface allows no more.
const INJECTIONS_MAX: usize = 128;
/// The most bytes of injected files that are hashed; the interface allows no more.
const INJECTED_BYTES_MAX: usize = 16 << 20;
/// The kept length of the name that a tree wanted to reach, in bytes: the longest name is shorter.
const HOST_NAME_MAX: usize = 256;
/// The kept length of a key or of a lock's name, in bytes: the longest is not longer.
const KEY_MAX: usize = 512;
/// The most ids that are named for one call.
const IDS_MAX: usize = 32;

/// The record of one call, or of one decision about the egress of a private network. It serialises to one JSON object, in which empty fields are omitted.
///
/// Texts that a guest influences are cut: the command and the working directory after 4 KiB; the arguments, and the
/// names of variables, after 8 KiB or 256 of them. If a part of them could be a process id (52 or more characters of an
/// id in a row), it is replaced by its name.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// The time when the call began, or when the decision was told. In JSON it is UTC, by RFC 3339, with microseconds.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// The name of the called function in its interface: `spawn-persistent`, `process-handle.kill`, `publish`. `egress` of a decision.
    pub operation: &'static str,
    /// The principal; `null` if none is authenticated. Cut after 1 KiB.
    pub principal: Option<String>,
    /// The capsule that made the call. Cut after 1 KiB.
    pub capsule: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The names of the processes that the call is about
    /// ([`Registry::audit_name`](capsule_supervisor::Registry::audit_name)), at most 32. For a spawn that returns an id
    /// it is the name of the new process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The number of further ids in the call.
    #[serde(skip_serializing_if = "is_zero")]
    pub ids_cut: usize,
    /// Why the call was refused, in more words than the guest got: what was not granted, the field or the limit. At most some 300
    /// bytes of it are the guest's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<String>,
    /// The request of a spawn.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub spawn: Option<Box<SpawnDetails>>,
    /// The key of a call of `capsule:store`, or the lock of one of `capsule:sync`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<KeyDetails>>,
    /// What a tree wanted to reach.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub network: Option<Box<NetworkDetails>>,
}

/// What a call of `capsule:store` or `capsule:sync` is about. It never contains a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyDetails {
    /// The key, the prefix of a `list`, or the name of a lock; cut after 512 bytes.
    pub key: String,
    /// The length of the value in bytes that it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_bytes: Option<usize>,
}

/// A decision about the egress of a private network. The outcome of its record says what was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NetworkDetails {
    /// The name, as far as it was a host name; cut after 256 bytes.
    pub name: String,
    /// The port; none if only the name was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address that the host reached, or tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Bytes that the tree sent.
    pub sent: u64,
    /// Bytes that the tree received.
    pub received: u64,
}

/// The request of a spawn. It never contains the value of a variable, and of stdin only the length.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SpawnDetails {
    /// The command.
    pub cmd: String,
    /// Its arguments, as many as are kept.
    pub args: Vec<String>,
    /// The number of arguments that are cut or omitted.
    #[serde(skip_serializing_if = "is_zero")]
    pub args_cut: usize,
    /// The working directory, if the request names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The names of the variables, as many as are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_keys: Vec<String>,
    /// The number of names of variables that are cut or omitted.
    #[serde(skip_serializing_if = "is_zero")]
    pub env_keys_cut: usize,
    /// The length of the stdin prelude in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_bytes: Option<usize>,
    /// The limits, as requested.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "limits")]
    pub limits: Option<ResourceLimits>,
    /// The injected files, in the order of the request, at most 128.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub injections: Vec<Injected>,
    /// The number of further files.
    #[serde(skip_serializing_if = "is_zero")]
    pub injections_cut: usize,
}

/// A file that a spawn injects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Injected {
    /// `env-pointer` or `fixed-path`.
    pub placement: &'static str,
    /// The name of the variable, or the path; cut after 128 bytes.
    pub place: String,
    /// The size of the content in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content, in hexadecimal.
    pub blake3: String,
}

/// The outcome of a call: `ok`, the name of an error in the interface, or why there was no answer.
///
/// `unknown` is followed by its documented kind in brackets, `unknown(not-found)`. The text is omitted, because it may
/// contain input of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Outcome(&'static str);

impl Record {
    /// The record of a call by `owner` that begins now. Its outcome is [`Outcome::DROPPED`] until the call returns.
    #[must_use]
    pub fn new(owner: &Owner, operation: &'static str) -> Self {
        Self {
            time: SystemTime::now(),
            operation,
            principal: match &owner.principal {
                Principal::Named(name) => Some(cut(name, NAME_MAX).to_owned()),
                Principal::Anonymous => None,
            },
            capsule: cut(&owner.capsule, NAME_MAX).to_owned(),
            outcome: Outcome::DROPPED,
            ids: Vec::new(),
            ids_cut: 0,
            denial: None,
            spawn: None,
            key: None,
            network: None,
        }
    }

    /// Adds the names of processes that the call is about.
    pub fn about(&mut self, names: impl IntoIterator<Item = String>, more: usize) {
        self.ids.extend(names);
        self.ids_cut += self.ids.len().saturating_sub(IDS_MAX) + more;
        self.ids.truncate(IDS_MAX);
    }
}

impl NetworkDetails {
    /// The recorded parts of a decision.
    #[must_use]
    pub fn of(decision: &NetworkDecision) -> Self {
        Self {
            name: cut(&decision.name, HOST_NAME_MAX).to_owned(),
            port: decision.port,
            address: decision.address,
            sent: decision.sent,
            received: decision.received,
        }
    }
}

impl KeyDetails {
    /// The recorded parts of a call about `key`. `name` replaces text that could be an id.
    #[must_use]
    pub fn of(key: &str, value_bytes: Option<usize>, name: &dyn Fn(&str) -> String) -> Self {
        Self {
            key: redacted(key, KEY_MAX, name).0,
            value_bytes,
        }
    }
}

impl SpawnDetails {
    /// The recorded parts of `request`. `name` replaces text that could be an id.
    #[must_use]
    pub fn of(request: &SpawnRequest, name: &dyn Fn(&str) -> String) -> Self {
        let (args, args_cut) = list(request.args.iter(), name);
        let (env_keys, env_keys_cut) = list(request.env.iter().map(|(key, _)| key), name);
        let mut details = Self {
            cmd: redacted(&request.cmd, PATH_MAX, name).0,
            args,
            args_cut,
            cwd: request.cwd.as_deref().map(|cwd| redacted(cwd, PATH_MAX, name).0),
            env_keys,
            env_keys_cut,
            stdin_bytes: request.stdin.as_ref().map(Vec::len),
            limits: request.limits,
            injections: Vec::new(),
            injections_cut: 0,
        };
        details.inject(&request.file_injections, name);
        details
    }

    /// Adds the files that the spawn injects. If there are more than a spawn may inject, it adds only their number and
    /// hashes none.
    fn inject(&mut self, files: &[FileInjection], name: &dyn Fn(&str) -> String) {
        let bytes = files.iter().map(FileInjection::len).fold(0, usize::saturating_add);
        if files.len() > INJECTIONS_MAX || bytes > INJECTED_BYTES_MAX {
            self.injections_cut = files.len();
            return;
        }
        self.injections = files.iter().map(|file| Injected::of(file, name)).collect();
    }
}

impl Injected {
    fn of(file: &FileInjection, name: &dyn Fn(&str) -> String) -> Self {
        let view = file.view();
        let (placement, place) = match view.placement {
            Placement::EnvPointer(variable) => ("env-pointer", variable),
            Placement::FixedPath(path) => ("fixed-path", path),
        };
        Self {
            placement,
            place: redacted(place, PLACE_MAX, name).0,
            bytes: view.bytes,
            blake3: faster_hex::hex_string(&view.hash),
        }
    }
}

/// The kept part of `texts`, and the number of texts that are omitted or cut.
fn list<'a>(texts: impl ExactSizeIterator<Item = &'a String>, name: &dyn Fn(&str) -> String) -> (Vec<String>, usize) {
    let count = texts.len();
    let (mut kept, mut room, mut shortened) = (Vec::new(), LIST_MAX, 0);
    for text in texts.take(LIST_ITEMS_MAX) {
        let (text, is_shortened) = redacted(text, room, name);
        if is_shortened && text.is_empty() {
            break;
        }
        room -= text.len();
        kept.push(text);
        if is_shortened {
            shortened = 1;
            break;
        }
    }
    let left_out = count - kept.len();
    (kept, left_out + shortened)
}

impl Outcome {
    /// The call succeeded.
    pub const OK: Self = Self("ok");
    /// The call was dropped: its instance went away before it returned.
    pub const DROPPED: Self = Self("dropped");
    /// The guest misused a handle and was ended.
    pub const TRAP: Self = Self("trap");

    /// An error of an interface, by its name there.
    #[must_use]
    pub const fn error(name: &'static str) -> Self {
        Self(name)
    }

    /// The text of the outcome in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        Self(error.kind())
    }
}

impl<T> From<&Result<T, Error>> for Outcome {
    fn from(result: &Result<T, Error>) -> Self {
        result.as_ref().map_or_else(Self::from, |_| Self::OK)
    }
}

pub(super) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

fn limits<S: Serializer>(limits: &Option<ResourceLimits>, serializer: S) -> Result<S::Ok, S::Error> {
    /// The interface's own names for them.
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Limits {
        #[serde(skip_serializing_if = "Option::is_none")]
        max_memory_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_cpu_secs: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_pids: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_open_files: Option<u32>,
    }
    let limits = limits.map(|limits| Limits {
        max_memory_bytes: limits.max_memory_bytes,
        max_cpu_secs: limits.max_cpu_secs,
        max_pids: limits.max_pids,
        max_open_files: limits.max_open_files,
    });
    limits.serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(principal: Principal) -> Owner {
        Owner {
            principal,
            capsule: "editor".into(),
        }
    }

    fn json(record: &Record) -> serde_json::Value {
        serde_json::to_value(record).unwrap()
    }

    fn spawning(request: &SpawnRequest) -> Record {
        Record {
            spawn: Some(Box::new(SpawnDetails::of(request, &|_| "NAME".into()))),
            ..Record::new(&owner(Principal::Named("alice".into())), "spawn")
        }
    }

    #[test]
    fn u1_a_record_is_one_object_with_all_that_is_asked_for() {
        let request = SpawnRequest {
            cmd: "sh".into(),
            args: vec!["-c".into(), "exit 3".into()],
            cwd: Some("sub".into()),
            env: vec![("TOKEN".into(), "s3cret".into())],
            stdin: Some(b"s3cret".to_vec()),
            limits: Some(ResourceLimits {
                max_pids: Some(5),
                ..ResourceLimits::default()
            }),
            ..SpawnRequest::default()
        };
        let mut record = spawning(&request);
        record.time = SystemTime::UNIX_EPOCH;
        record.outcome = Outcome::OK;
        assert_eq!(
            json(&record),
            serde_json::json!({
                "time": "1970-01-01T00:00:00.000000Z", "operation": "spawn", "principal": "alice", "capsule": "editor",
                "outcome": "ok", "cmd": "sh", "args": ["-c", "exit 3"], "cwd": "sub", "env_keys": ["TOKEN"],
                "stdin_bytes": 6, "limits": {"max-pids": 5},
            })
        );
        let text = format!("{record:?}{}", json(&record));
        assert!(!text.contains("s3cret"), "{text}");
        let anonymous = Record::new(&owner(Principal::Anonymous), "list-processes");
        assert_eq!(json(&anonymous)["principal"], serde_json::Value::Null);
        assert_eq!(anonymous.outcome, Outcome::DROPPED);
    }

    #[test]
    fn u1_a_guest_cannot_make_a_record_large_and_the_cut_is_counted() {
        let greedy = |args: Vec<String>| SpawnRequest {
            cmd: "\u{1}".repeat(1 << 20),
            args,
            cwd: Some("\u{1}".repeat(1 << 20)),
            env: (0..10_000).map(|i| (format!("K{i}\u{1}"), String::new())).collect(),
            file_injections: vec![
                FileInjection::new(b"x".to_vec(), Placement::FixedPath("\u{1}".repeat(5000)));
                INJECTIONS_MAX
            ],
            ..SpawnRequest::default()
        };
        for (args, kept, cut) in [
            (vec!["\u{1}".repeat(1 << 20)], 1, 1),
            (vec![String::new(); 1 << 20], 256, (1 << 20) - 256),
            (vec!["X".repeat(4096); 100], 2, 98),
            (vec!["X".repeat(4096), "X".repeat(4096)], 2, 0),
        ] {
            let mut record = spawning(&greedy(args));
            record.capsule = "\u{1}".repeat(NAME_MAX);
            record.about((0..100_000).map(|_| "n".repeat(32)), 0);
            let spawn = record.spawn.as_ref().unwrap();
            assert_eq!((spawn.args.len(), spawn.args_cut), (kept, cut));
            assert_eq!((spawn.injections.len(), spawn.injections_cut), (INJECTIONS_MAX, 0));
            assert_eq!((record.ids.len(), record.ids_cut), (32, 100_000 - 32));
            let length = serde_json::to_string(&record).unwrap().len();
            assert!(length + 200 < super::super::LINE_MAX, "{length}");
        }
    }

    #[test]
    fn u1_j1_injected_files_are_told_by_their_hash_and_too_many_only_counted() {
        let file = |content: Vec<u8>| FileInjection::new(content, Placement::EnvPointer("FILE".into()));
        let request = |files| SpawnRequest {
            file_injections: files,
            ..SpawnRequest::default()
        };
        let record = spawning(&request(vec![file(b"hush".to_vec())]));
        let told = json(&record);
        let expected = serde_json::json!([{
            "placement": "env-pointer", "place": "FILE", "bytes": 4, "blake3": blake3::hash(b"hush").to_hex().as_str(),
        }]);
        assert_eq!(told["injections"], expected);
        assert!(!format!("{record:?}{told}").contains("hush"));
        for files in [
            vec![file(Vec::new()); INJECTIONS_MAX + 1],
            vec![file(vec![0; INJECTED_BYTES_MAX + 1])],
        ] {
            let count = files.len();
            let record = spawning(&request(files));
            let spawn = record.spawn.as_ref().unwrap();
            assert_eq!((spawn.injections.len(), spawn.injections_cut), (0, count));
        }
    }

    #[test]
    fn u1_i2_a_key_is_told_without_ids_and_a_value_by_its_length() {
        let id = "a2".repeat(26);
        let record = Record {
            key: Some(Box::new(KeyDetails::of(&format!("cursor/{id}"), Some(7), &|_| {
                "NAME".into()
            }))),
            ..Record::new(&owner(Principal::Anonymous), "set")
        };
        let told = json(&record);
        assert_eq!(told["key"], "cursor/[52 characters, NAME]");
        assert_eq!(told["value_bytes"], 7);
        let long = KeyDetails::of(&"k ".repeat(1 << 20), None, &|_| "NAME".into());
        assert_eq!(long.key.len(), KEY_MAX);
    }

    #[test]
    fn u1_i2_an_outcome_is_a_name_without_what_the_guest_wrote() {
        for (error, name) in [
            (Error::InvalidInput("hush".into()), "invalid-input"),
            (Error::NotFound("hush".into()), "unknown(not-found)"),
            (Error::Host("hush".into()), "unknown(host)"),
            (Error::NoSuchProcess, "no-such-process"),
        ] {
            assert_eq!(Outcome::from(&error).as_str(), name);
            // The prefix comes from the message that the guest gets.
            let told = error.to_string();
            let prefix = told.split(':').next().unwrap();
            assert!(name == prefix || name == format!("unknown({prefix})"), "{told}");
        }
    }
}
