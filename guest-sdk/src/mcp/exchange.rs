//! Lines to a server and its answers, from any instance.
//!
//! These constraints shape it:
//! - Every instance reads the whole output from where it stood before its request, and under back-pressure reading on gives up what
//!   came before. So instances read in turn, under a lock that goes to the one that has waited longest: none runs ahead of the others.
//! - A server also waits while its standard error is full, so an instance that waits for an answer reads that stream too.
//! - A write has no deadline in the interface, and waits while the server does not read. So no instance writes while it has the turn:
//!   what cannot be written keeps no other one from its answer.
//! - A server may write as fast as it is read, so a turn has an end: so many frames, so many reads.

use super::{
    Error, Result,
    known::{keep, known, long_write},
};
use crate::{
    Error as Host, Log, Process, Stdin,
    jsonl::{Frame, Reader, Writer},
    rpc::{self, Client, Look, RequestId},
    stdin::MOST,
    store, sync, sys,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// How soon an answer is seen, at the latest, after the first moments.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How many requests of a server are remembered as answered, and how many are answered in one turn, so that none of them is forgotten.
/// An instance sees one again only if it has waited since before its answer.
const MOST_ANSWERED: usize = 128;
/// The most bytes of the id of a server's request.
const LONGEST_ID: usize = 256;
/// The most bytes of a cursor that is kept.
const MOST_CURSOR: usize = 1024;
/// So many bytes are read again before a newer cursor is kept, because a change of the store takes as long as the disk does.
const NEWS: usize = 256 * 1024;
/// The most frames of a turn.
const TURN_FRAMES: u32 = 4096;
/// The most reads of a turn: they are of 64 KiB each, and longer ones within a long frame, of which all together have 8 MiB.
const TURN_READS: u32 = 12;

pub(super) type Session = Client<Log, Stdin>;

/// The right to read on, until it is dropped.
pub(super) fn turn(label: &str, deadline: Duration) -> Result<sync::Guard> {
    let left = deadline.saturating_sub(sys::monotonic());
    Ok(sync::lock(&format!("read {label}"), left)?)
}

/// The right to write, until it is dropped: a request may be longer than one write.
pub(super) fn writing(label: &str, deadline: Duration) -> Result<sync::Guard> {
    let left = deadline.saturating_sub(sys::monotonic());
    Ok(sync::lock(&format!("write {label}"), left)?)
}

pub(super) fn session(process: &Process, output: Log) -> Result<Session> {
    let input = Writer::new(process.stdin()).sole_writer(true);
    Ok(Client::over(Reader::new(output), input)?)
}

/// Writes a line. A longer one takes several writes, and an instance may end between two of them: then the next line would be joined to
/// what was written. So the next writer ends the fragment first, which the server refuses as no message.
pub(super) fn write(
    session: &mut Session,
    line: &[u8],
    label: &str,
    process: &Process,
    _writing: &sync::Guard,
) -> Result<()> {
    let key = long_write(label);
    let unfinished = store::get(&key)?.is_some_and(|of| of == process.id().expose().as_bytes());
    if unfinished {
        session.write_line(b"\n").map_err(ended)?;
    }
    let is_long = line.len() > MOST;
    if is_long {
        store::set(&key, process.id().expose())?;
    }
    session.write_line(line).map_err(ended)?;
    if unfinished || is_long {
        store::delete(&key)?;
    }
    Ok(())
}

/// Goes on behind what is here. The caller has the turn.
pub(super) fn skip_to_now(output: &mut Log, label: &str, process: &Process) -> Result<()> {
    let known = known(label, process.id())?;
    let place = known.as_ref().map(|known| known.place.clone()).unwrap_or_default();
    *output = process.stdout().resume(place);
    let read = match output.skip() {
        // The place may be none of this stream: the store is the capsule's.
        Err(Host::NoSuchProcess) => {
            *output = process.stdout();
            output.skip()
        }
        read => read,
    };
    if read.map_err(gone)? >= NEWS
        && let Some(mut known) = known
    {
        let place = output.cursor();
        if place.to_string().len() <= MOST_CURSOR {
            known.place = place;
            keep(label, process.id(), Some(&known))?;
        }
    }
    Ok(())
}

/// Waits for an answer, in turn with the other instances that wait for one.
pub(super) fn answer_to(
    session: &mut Session,
    id: &RequestId,
    label: &str,
    process: &Process,
    deadline: Duration,
) -> Result<Value> {
    let mut pause = Duration::from_millis(1);
    let mut missing = None;
    let mut stderr = process.stderr();
    let mut asked = VecDeque::new();
    loop {
        let turn = turn(label, deadline)?;
        let found = session.look(id, TURN_FRAMES, TURN_READS);
        let served = serve(session, &mut asked, turn, label, process);
        let is_more = match found {
            // What was asked for is here, whatever became of the server's own requests.
            Ok(Look::Answer(answer)) => return Ok(answer),
            Ok(look) => {
                served?;
                look == Look::More
            }
            // The answer may be what is missing, or come later.
            Err(rpc::Error::Host(error)) if error.is_gap() => {
                missing = Some(error);
                true
            }
            Err(error) => return Err(ended(error)),
        };
        stderr.skip_available().map_err(gone)?;
        let left = deadline.saturating_sub(sys::monotonic());
        if left.is_zero() {
            session.forget(id);
            return Err(missing.unwrap_or(Host::WaitTimeout).into());
        }
        if is_more {
            pause = Duration::from_millis(1);
        } else {
            sys::sleep(pause.min(left))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A request of the server.
struct Asked {
    id: Value,
    is_ping: bool,
}

impl Asked {
    fn of(frame: Frame) -> Option<Self> {
        let Frame::Json(mut message) = frame else { return None };
        let is_ping = message.get("method")?.as_str()? == "ping";
        let id = message.get_mut("id")?.take();
        let is_id = match &id {
            Value::Number(_) => true,
            Value::String(id) => id.len() <= LONGEST_ID,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        is_id.then_some(Self { id, is_ping })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.id.to_string().hash(&mut hasher);
        hasher.finish()
    }
}

/// Answers the server's own requests, each once. While another instance writes they stay in `asked`, for later.
///
/// Under the turn they are noted as answered, and without it they are written.
fn serve(
    session: &mut Session,
    asked: &mut VecDeque<Asked>,
    turn: sync::Guard,
    label: &str,
    process: &Process,
) -> Result<()> {
    asked.extend(session.take_incoming().into_iter().filter_map(Asked::of));
    // A server that asks without end is not answered without end.
    asked.drain(..asked.len().saturating_sub(rpc::MOST_INCOMING));
    if asked.is_empty() {
        return Ok(());
    }
    let writing = match writing(label, sys::monotonic()) {
        Err(error) if error.is_timeout() => return Ok(()),
        writing => writing?,
    };
    let mut now: Vec<_> = asked.drain(..asked.len().min(MOST_ANSWERED)).collect();
    // A process that is not ready yet has one reader, and nothing is known of it.
    if let Some(mut known) = known(label, process.id())? {
        now.retain(|asked| {
            let hash = asked.hash();
            let is_new = !known.served.contains(&hash);
            if is_new {
                known.served.push(hash);
            }
            is_new
        });
        if !now.is_empty() {
            known.served.drain(..known.served.len().saturating_sub(MOST_ANSWERED));
            keep(label, process.id(), Some(&known))?;
        }
    }
    drop(turn);
    for Asked { id, is_ping } in now {
        let line = if is_ping {
            rpc::response(&id, json!({}))
        } else {
            rpc::refusal(&id, -32601, "this client has no such method")
        };
        write(session, &line?, label, process, &writing)?;
    }
    Ok(())
}

/// A server that another instance has stopped, or whose end is no longer known, has ended.
fn ended(error: rpc::Error) -> Error {
    if matches!(error, rpc::Error::Host(Host::NoSuchProcess | Host::Closed)) {
        rpc::Error::Ended.into()
    } else {
        error.into()
    }
}

fn gone(error: Host) -> Error {
    ended(error.into())
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::{
        Command,
        mock::{Host, Script},
    };

    /// Another instance may be held up in a write, by a server that does not read.
    #[test]
    fn a_busy_writer_holds_no_instance_from_its_answer() {
        let host = Host::new();
        host.command("server", |_| {
            Script::new().on_input(|line| {
                let request: Value = serde_json::from_slice(line).unwrap();
                let ping = json!({ "id": 1, "method": "ping" });
                format!("{ping}\n{}\n", json!({ "id": request["id"], "result": 2 })).into_bytes()
            })
        });
        let server = Command::new("server").keep_stdin_open(true).spawn_persistent().unwrap();
        let mut session = session(&server, server.stdout()).unwrap();
        let (id, line) = session.prepare("m", Value::Null).unwrap();
        session.write_line(&line).unwrap();
        let busy = writing("l", Duration::ZERO).unwrap();
        let answer = answer_to(&mut session, &id, "l", &server, Duration::from_secs(60));
        assert_eq!((answer, host.now()), (Ok(json!(2)), Duration::ZERO));
        drop(busy);
    }
}
