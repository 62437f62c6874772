//! Locks between instances, and processes that are started at most once.

use std::time::Duration;

use capsule_sdk::{Command, Process, ProcessId, sync};
use serde::Deserialize;

use super::{Answer, answer_of};

fn answer<T>(result: sync::Result<T>) -> Answer<T> {
    answer_of(result, sync::Error::kind)
}

#[derive(Deserialize)]
pub(crate) struct Spawn {
    label: String,
    cmd: String,
    #[serde(default)]
    args: Vec<String>,
}

pub(crate) fn find_or_spawn(spawn: Spawn) -> Answer<ProcessId> {
    let mut command = Command::new(spawn.cmd);
    let found = command.args(spawn.args).find_or_spawn(&spawn.label);
    super::answer(found.map(|process| process.id().clone()))
}

#[derive(Deserialize)]
pub(crate) struct Take {
    name: String,
    ms: u64,
    /// Says `held` to this process, and holds the lock until it exits.
    #[serde(default)]
    hold: Option<ProcessId>,
}

pub(crate) fn lock(take: Take) -> Answer<()> {
    let guard = match sync::lock(&take.name, Duration::from_millis(take.ms)) {
        Ok(guard) => guard,
        Err(error) => return answer(Err(error)),
    };
    if let Some(id) = take.hold {
        let process = Process::attach(&id)?;
        process.write(b"held\n")?;
        process.wait(Duration::from_secs(300))?;
    }
    drop(guard);
    answer(Ok(()))
}

pub(crate) fn lock_then_trap(take: Take) -> Answer<()> {
    let _guard = sync::lock(&take.name, Duration::from_millis(take.ms));
    panic!("on purpose, with the lock");
}
