//! Spawn requests (contract S1, S7, T1, T2): what is accepted keeps the rules, and what keeps them is accepted. The rules
//! are written down here a second time, from docs/contract.md and not from the code.

#![no_main]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use arbitrary::Arbitrary;
use capsule_host::supervisor::{Error, SpawnRequest};
use capsule_supervisor::fuzzing::check;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    cmd: Text,
    args: Vec<Text>,
    env: Vec<(Key, Text)>,
    cwd: Option<Text>,
    stdin: Option<Prelude>,
    lifetime: Option<u64>,
    idle: Option<u64>,
    retention: Option<u64>,
    persistent: bool,
}

#[derive(Arbitrary, Debug)]
enum Prelude {
    Short(u8),
    /// About as long as one may be.
    Limit(i8),
}

#[derive(Arbitrary, Debug)]
enum Text {
    Any(String),
    Plain(u8),
    /// One piece, until it is so long: the limits are on lengths.
    Long(char, u16),
    /// About as long as all of a request may be, more or less by some bytes.
    Limit(i8),
}

impl Text {
    fn make(self) -> String {
        match self {
            Self::Any(text) => text,
            Self::Plain(number) => format!("a{number}"),
            Self::Long(piece, length) => {
                let piece = piece.to_string();
                piece.repeat(usize::from(length) % 5000 / piece.len() + 1)
            }
            Self::Limit(difference) => "x".repeat((1_usize << 20).saturating_add_signed(difference.into())),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Key {
    Any(String),
    Plain(u8),
    Many(u16),
    /// Reserved names, and their like.
    Near(u8, Option<char>),
}

const NEAR: [&str; 16] = [
    "PATH",
    "LD_",
    "LD_PRELOAD",
    "DYLD_X",
    "LD",
    "BASH_ENV",
    "ENV",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PYTHON",
    "PERL5OPT",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "HOME",
    "path",
    "_",
];
/// Those of them that the contract reserves by name, by prefix, or as an interpreter's start-up variable.
const RESERVED_BY_CONTRACT: [&str; 9] = [
    "PATH",
    "BASH_ENV",
    "ENV",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PERL5OPT",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "PYTHONSTARTUP",
];

impl Key {
    fn make(self) -> Vec<String> {
        match self {
            Self::Any(key) => vec![key],
            Self::Plain(number) => vec![format!("K{number}")],
            Self::Many(count) => (0..count % 300).map(|number| format!("M{number}")).collect(),
            Self::Near(which, suffix) => {
                let mut key = NEAR[usize::from(which) % NEAR.len()].to_owned();
                key.extend(suffix);
                vec![key]
            }
        }
    }
}

fn is_name(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key
            .chars()
            .all(|c| c == '_' || matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9'))
}

/// `None` where the contract leaves the choice to the documented list.
fn is_reserved(key: &str) -> Option<bool> {
    if RESERVED_BY_CONTRACT.contains(&key) || key.starts_with("LD_") || key.starts_with("DYLD_") {
        return Some(true);
    }
    // These start no interpreter, and no list of such variables has reason to hold them.
    let free = key.starts_with(['K', 'M']) || ["HOME", "LD", "PYTHON", "path", "_"].contains(&key);
    free.then_some(false)
}

fn control(text: &str) -> bool {
    // C0, DEL and C1: what Unicode calls Cc.
    text.chars().any(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}'))
}

fuzz_target!(|input: Input| {
    let env: Vec<(String, String)> = input
        .env
        .into_iter()
        .flat_map(|(key, value)| {
            let value = value.make();
            key.make().into_iter().map(move |key| (key, value.clone()))
        })
        .take(400)
        .collect();
    let time = |millis: Option<u64>| millis.map(Duration::from_millis);
    let request = SpawnRequest {
        cmd: input.cmd.make(),
        args: input.args.into_iter().take(64).map(Text::make).collect(),
        stdin: input.stdin.map(|prelude| match prelude {
            Prelude::Short(length) => vec![0; length.into()],
            Prelude::Limit(difference) => vec![0; (4_usize << 20).saturating_add_signed(difference.into())],
        }),
        env,
        cwd: input.cwd.map(Text::make),
        max_lifetime: time(input.lifetime),
        idle_timeout: time(input.idle),
        exit_retention: time(input.retention),
        ..SpawnRequest::default()
    };
    let keys: BTreeSet<&String> = request.env.iter().map(|(key, _)| key).collect();
    let bytes: usize = request.args.iter().map(String::len).sum::<usize>()
        + request
            .env
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>();
    let zero = |time: Option<Duration>| time.is_some_and(|time| time.is_zero());
    let broken = request.cmd.is_empty()
        || request.cmd.len() > 4096
        || control(&request.cmd)
        || request.args.iter().any(|arg| arg.contains('\0'))
        || request.env.iter().any(|(key, value)| !is_name(key) || value.contains('\0'))
        || keys.len() != request.env.len()
        || request.env.iter().any(|(key, _)| is_reserved(key) == Some(true))
        || request.env.len() > 256
        || bytes > 1 << 20
        // A path with NUL is none.
        || request.cwd.as_ref().is_some_and(|cwd| cwd.contains('\0'));
    let zero_time = input.persistent && (zero(request.max_lifetime) || zero(request.idle_timeout));
    let too_large = request.stdin.as_ref().is_some_and(|stdin| stdin.len() > 4 << 20);
    let open = request.env.iter().any(|(key, _)| is_reserved(key).is_none());

    match check(&request, input.persistent, Path::new("/srv/mine/space")) {
        Ok(()) => assert!(!broken && !zero_time && !too_large, "accepted: {request:?}"),
        Err(Error::TooLarge) => assert!(!broken && too_large, "too large: {request:?}"),
        Err(Error::InvalidInput(why)) => {
            assert!(broken || (zero_time && !too_large) || open, "{why}: {request:?}");
            assert!(!why.contains('\0') && why.len() < 8192);
        }
        Err(other) => panic!("{other:?}: {request:?}"),
    }
});
