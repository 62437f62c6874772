//! What a capsule does with processes that belong to its instance, and with handles of others.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use capsule_sdk::{Child, Command, Error, Ready, Source, Timer, block_on, select, sys};
use serde::{Deserialize, Serialize};

use crate::{Answer, Ran, Spawn, Target, answer};

fn ran(output: capsule_sdk::Output) -> Ran {
    Ran {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: output.stdout_lossy().into_owned(),
        stderr: output.stderr_lossy().into_owned(),
    }
}

#[derive(Deserialize)]
pub(crate) struct Talk {
    spawn: Spawn,
    /// Written one after the other, each after the previous one came back.
    words: Vec<String>,
}

/// A dialogue with a child that echoes: its answer to each word, then its exit.
pub(crate) fn talk(talk: Talk) -> Answer<(Vec<String>, Ran)> {
    answer((|| {
        let mut child = talk.spawn.command().spawn()?;
        let mut said = Vec::new();
        for word in &talk.words {
            let stdin = child.stdin.as_mut().ok_or(Error::Closed)?;
            stdin
                .write_all(word.as_bytes())
                .map_err(|error| Error::Unknown(error.to_string()))?;
            let stdout = child.stdout.as_mut().ok_or(Error::Closed)?;
            said.push(stdout.wait_for_output(word, Duration::from_secs(30))?);
        }
        Ok((said, ran(child.wait_with_output()?)))
    })())
}

/// All lines of both streams, each read to its end through a reader of its own.
pub(crate) fn child_lines(spawn: Spawn) -> Answer<(Vec<String>, String)> {
    answer((|| {
        let mut child = spawn.command().spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (stdout.ok_or(Error::Closed)?, stderr.ok_or(Error::Closed)?);
        let lines = stdout.follow().lines().collect::<Result<_, _>>()?;
        let mut rest = String::new();
        stderr
            .read_to_string(&mut rest)
            .map_err(|error| Error::Unknown(error.to_string()))?;
        Ok((lines, rest))
    })())
}

/// Starts a child, waits until it has printed `ready`, drops it, and returns its pid.
pub(crate) fn drop_child(spawn: Spawn) -> Answer<Option<u32>> {
    answer((|| {
        let mut child = spawn.command().spawn()?;
        wait_until_ready(&mut child)?;
        let id = child.id();
        // These must not keep it alive.
        let readers = (child.stdin.take(), child.stdout.take(), child.exit_ready());
        drop(child);
        drop(readers);
        Ok(id)
    })())
}

/// Leaves a child to the end of the instance, and returns its pid.
pub(crate) fn leave_child(spawn: Spawn) -> Answer<Option<u32>> {
    answer((|| {
        let mut child = spawn.command().spawn()?;
        wait_until_ready(&mut child)?;
        let id = child.id();
        std::mem::forget(child);
        Ok(id)
    })())
}

fn wait_until_ready(child: &mut Child) -> Result<(), Error> {
    let stdout = child.stdout.as_mut().ok_or(Error::Closed)?;
    stdout.wait_for_output("ready", Duration::from_secs(30)).map(drop)
}

#[derive(Serialize)]
pub(crate) struct Killed {
    killed: bool,
    signal: Option<i32>,
    stdout: String,
}

impl From<capsule_sdk::Killed> for Killed {
    fn from(killed: capsule_sdk::Killed) -> Self {
        Self {
            killed: killed.killed,
            signal: killed.exit.and_then(|exit| exit.signal()),
            stdout: killed.stdout_lossy().into_owned(),
        }
    }
}

/// Kills a child that has printed `ready`, twice. Returns its pid then.
pub(crate) fn kill_child(spawn: Spawn) -> Answer<(Killed, Killed, Option<u32>)> {
    answer((|| {
        let mut child = spawn.command().spawn()?;
        wait_until_ready(&mut child)?;
        Ok((child.kill()?.into(), child.kill()?.into(), child.id()))
    })())
}

/// Kills a persistent process.
pub(crate) fn kill(target: Target) -> Answer<Killed> {
    answer(target.process().and_then(|process| Ok(process.kill()?.into())))
}

pub(crate) fn wait_with_output(target: Target) -> Answer<Ran> {
    answer(
        target
            .process()
            .and_then(|process| process.wait_with_output(target.time()))
            .map(ran),
    )
}

#[derive(Deserialize)]
pub(crate) struct Race {
    /// Scripts for `sh`.
    scripts: Vec<String>,
    /// The timer; none if absent. With a timer the first event is enough.
    ms: Option<u64>,
    #[serde(default)]
    first: bool,
    #[serde(default)]
    futures: bool,
}

#[derive(Serialize)]
pub(crate) struct Raced {
    /// The indices in the order in which they became ready. The timer has the last index.
    ready: Vec<usize>,
    /// The time until the first.
    ms: u128,
}

/// Starts all children, and waits for them in the order in which they end, or for the first and the timer.
pub(crate) fn race(race: Race) -> Answer<Raced> {
    answer((|| {
        let children: Vec<_> = race
            .scripts
            .iter()
            .map(|script| Command::new("sh").args(["-c", script]).spawn())
            .collect::<Result<_, _>>()?;
        let exits: Vec<_> = children.iter().map(Child::exit_ready).collect();
        let begin = sys::monotonic();
        let timer = race.ms.map(|ms| Timer::after(Duration::from_millis(ms)));
        let mut waiting: Vec<usize> = (0..exits.len()).chain(timer.map(|_| exits.len())).collect();
        let (mut ready, mut ms) = (Vec::new(), None);
        let enough = race.first || timer.is_some();
        while !(waiting.is_empty() || enough && !ready.is_empty()) {
            let now = if race.futures {
                let futures = waiting.iter().filter_map(|at| match exits.get(*at) {
                    Some(exit) => Some(exit.into_future()),
                    None => timer.map(Timer::into_future),
                });
                vec![block_on(first(futures.collect()))?]
            } else {
                let sources = waiting.iter().filter_map(|at| match exits.get(*at) {
                    Some(exit) => Some(exit as &dyn Source),
                    None => timer.as_ref().map(|timer| timer as &dyn Source),
                });
                select(&sources.collect::<Vec<_>>())?
            };
            ms.get_or_insert((sys::monotonic() - begin).as_millis());
            let now: Vec<_> = now.iter().filter_map(|at| waiting.get(*at).copied()).collect();
            waiting.retain(|at| !now.contains(at));
            ready.extend(now);
        }
        Ok(Raced {
            ready,
            ms: ms.unwrap_or_default(),
        })
    })())
}

/// The index of the first that is ready.
async fn first(mut futures: Vec<Ready>) -> usize {
    poll_fn(|context| {
        let mut futures = futures.iter_mut().map(Pin::new).enumerate();
        let done = futures.find_map(|(index, future)| future.poll(context).is_ready().then_some(index));
        done.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct Inject {
    by_variable: String,
    path: String,
    at_path: String,
}

/// What a command finds in two files, and whether it could change one.
pub(crate) fn inject(files: Inject) -> Answer<Ran> {
    let script = format!(
        "cat \"$GIVEN\" {path}; echo x 2>/dev/null >\"$GIVEN\" && echo changed",
        path = files.path
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .file_env("GIVEN", files.by_variable)
        .file_at(files.path, files.at_path);
    answer(command.output().map(ran))
}
