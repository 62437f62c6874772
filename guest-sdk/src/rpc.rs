//! JSON-RPC 2.0 over JSON lines, with a process that outlives the instance.
//!
//! Several instances may talk to one process at the same time, and each sees the answers to all. So the ids of an instance
//! begin with a random text of its own, and an answer with another id is left for the instance that waits for it: its reader
//! has a cursor of its own, from before its request.

use crate::{
    Error as Host, ErrorKind, Tail,
    jsonl::{Frame, Reader, Writer, line_of},
    sys,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    io,
    time::Duration,
};

/// How many messages that are no answers are kept for [`Client::take_incoming`].
pub(crate) const MOST_INCOMING: usize = 1024;

/// The result of a request.
///
/// ```no_run
/// fn name(answer: capsule_sdk::rpc::Result<serde_json::Value>) -> Option<String> {
///     answer.ok()?["name"].as_str().map(str::to_owned)
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request has no result.
///
/// ```
/// let error = capsule_sdk::rpc::Error::Refused { code: -32601, message: "no such method".to_owned(), data: None };
/// assert_eq!(error.to_string(), "refused: no such method (-32601)");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process answered with an error.
    #[error("refused: {message} ({code})")]
    Refused {
        /// Its number, by JSON-RPC or by the protocol.
        code: i64,
        /// What it says.
        message: String,
        /// More about it.
        data: Option<Value>,
    },
    /// The output of the process ended before the answer.
    #[error("ended: the process ended its output without an answer")]
    Ended,
    /// The host, or the stream. After [`WaitTimeout`](Host::WaitTimeout), [`Lost`](Host::Lost) and
    /// [`LineTooLong`](Host::LineTooLong) the request can be waited for again; after the last two its answer may be
    /// what is missing.
    #[error(transparent)]
    Host(#[from] Host),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::rpc::Error::Ended.kind().as_str(), "ended");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } => ErrorKind::Refused,
            Self::Ended => ErrorKind::Ended,
            Self::Host(error) => error.kind(),
        }
    }

    /// Whether the given time passed; the answer can be waited for again.
    ///
    /// ```
    /// assert!(capsule_sdk::rpc::Error::Host(capsule_sdk::Error::WaitTimeout).is_timeout());
    /// ```
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Host(Host::WaitTimeout))
    }
}

/// A request that was sent. Its text is unique among all instances.
///
/// ```no_run
/// # let server = capsule_sdk::Process::find("server")?.unwrap();
/// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
/// let (one, two) = (client.send("one", &())?, client.send("two", &())?);
/// let second = client.wait(&two, std::time::Duration::from_secs(10))?;
/// let first = client.wait(&one, std::time::Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// The id in the message.
    ///
    /// ```no_run
    /// fn cancel(id: &capsule_sdk::rpc::RequestId) -> serde_json::Value {
    ///     serde_json::json!({ "requestId": id.as_str() })
    /// }
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a look for an answer came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Look {
    /// The result of the request.
    Answer(Value),
    /// All that was here was read.
    Nothing,
    /// There may be more to read at once.
    More,
}

/// Sends requests to a process and sorts its answers, in whichever order they come. Dropping it gives up what is open.
///
/// It reads from where the stream stands when it is made, which must be before the first request: a fresh
/// [`Log`](crate::Log) after [`skip_available`](crate::Log::skip_available), or one that resumes at a kept cursor.
///
/// ```no_run
/// use capsule_sdk::{Process, rpc::Client};
/// use std::{error::Error, time::Duration};
///
/// fn tools() -> Result<serde_json::Value, Box<dyn Error>> {
///     let server = Process::find("mcp")?.ok_or("no server is running")?;
///     let mut output = server.stdout();
///     output.skip_available()?;
///     let mut client = Client::new(&mut output, server.stdin())?;
///     Ok(client.request("tools/list", &serde_json::json!({}), Duration::from_secs(30))?)
/// }
/// ```
#[derive(Debug)]
pub struct Client<T, W> {
    reader: Reader<T>,
    writer: Writer<W>,
    /// What the ids of this instance begin with.
    nonce: String,
    count: u64,
    /// The open requests, and the answers that have come.
    open: HashMap<String, Option<Value>>,
    incoming: VecDeque<Frame>,
}

impl<T: Tail, W: io::Write> Client<T, W> {
    /// Talks over these two, with a limit of 16 MiB for a message received and 1 MiB for one sent.
    ///
    /// # Errors
    /// Those of [`sys::random_bytes`].
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(output: T, input: W) -> Result<Self> {
        Self::over(Reader::new(output), Writer::new(input))
    }

    /// Talks over a reader and a writer with limits of their own.
    ///
    /// # Errors
    /// Those of [`sys::random_bytes`].
    ///
    /// ```no_run
    /// # use capsule_sdk::{jsonl::{Reader, Writer}, rpc::Client};
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// let reader = Reader::new(server.stdout()).max_length(64 << 20);
    /// let client = Client::over(reader, Writer::new(server.stdin()))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(reader: Reader<T>, writer: Writer<W>) -> Result<Self> {
        let random = sys::random_bytes(12).map_err(Host::from)?;
        Ok(Self {
            reader,
            writer,
            nonce: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            count: 0,
            open: HashMap::new(),
            incoming: VecDeque::new(),
        })
    }

    /// Sends a request and waits for its answer. Others may be open.
    ///
    /// # Errors
    /// [`Error::Refused`] if the process answers with an error, [`Error::Ended`] if its output ends. After a timeout or
    /// another error its answer is no longer waited for. The time does not limit the write: see [`Writer`].
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// let pong = client.request("ping", &serde_json::json!({}), std::time::Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&mut self, method: &str, params: &impl Serialize, timeout: Duration) -> Result<Value> {
        let deadline = sys::monotonic().saturating_add(timeout);
        let id = self.send(method, params)?;
        let answer = self.wait(&id, deadline.saturating_sub(sys::monotonic()));
        self.forget(&id);
        answer
    }

    /// Sends a request. What the process has written so far is taken in first, so that one which waits for its reader goes on.
    ///
    /// # Errors
    /// Those of [`Writer::write`] and, while requests are open, [`Reader::try_read`].
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// let id = client.send("ping", &serde_json::json!({}))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, method: &str, params: &impl Serialize) -> Result<RequestId> {
        self.take_in_available()?;
        let id = format!("{}-{}", self.nonce, self.count);
        self.count += 1;
        let params = serde_json::to_value(params).map_err(|_| Host::InvalidInput)?;
        self.writer.write(&message(method, params, Some(&id)))?;
        self.open.insert(id.clone(), None);
        Ok(RequestId(id))
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// As [`request`](Self::request), but that the request stays open after a timeout and a gap.
    /// [`InvalidInput`](Host::InvalidInput) for a request that is not open.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// # let id = client.send("ping", &serde_json::json!({}))?;
    /// let pong = client.wait(&id, std::time::Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&mut self, id: &RequestId, timeout: Duration) -> Result<Value> {
        let deadline = sys::monotonic().saturating_add(timeout);
        loop {
            match self.open.get(&id.0) {
                None => return Err(Host::InvalidInput.into()),
                Some(None) => {}
                Some(Some(_)) => {
                    let answer = self.open.remove(&id.0).flatten();
                    return result(answer.unwrap_or_default());
                }
            }
            let left = deadline.saturating_sub(sys::monotonic());
            match self.reader.read(left)? {
                Some(frame) => self.take_in(frame),
                None => return Err(Error::Ended),
            }
        }
    }

    /// Gives up a request: its answer is skipped.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// # let id = client.send("ping", &serde_json::json!({}))?;
    /// client.forget(&id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&mut self, id: &RequestId) {
        self.open.remove(&id.0);
    }

    /// Sends a notification, which has no answer.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// client.notify("notifications/initialized", &serde_json::json!({}))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notify(&mut self, method: &str, params: &impl Serialize) -> Result<()> {
        self.take_in_available()?;
        let params = serde_json::to_value(params).map_err(|_| Host::InvalidInput)?;
        Ok(self.writer.write(&message(method, params, None))?)
    }

    /// Answers a request of the process, of which [`take_incoming`](Self::take_incoming) gave the id. Every instance that
    /// reads sees that request, and one of them should answer.
    ///
    /// # Errors
    /// Those of [`Writer::write`].
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// client.respond(&serde_json::json!(7), &serde_json::json!({ "roots": [] }))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn respond(&mut self, id: &Value, result: &impl Serialize) -> Result<()> {
        let result = serde_json::to_value(result).map_err(|_| Host::InvalidInput)?;
        self.write_line(&response(id, result)?)
    }

    /// Refuses a request of the process, with a number of JSON-RPC or of the protocol (-32601: there is no such method), and a text. As
    /// [`respond`](Self::respond) otherwise.
    ///
    /// # Errors
    /// Those of [`Writer::write`].
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// client.refuse(&serde_json::json!(7), -32601, "no such method")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse(&mut self, id: &Value, code: i64, message: &str) -> Result<()> {
        self.write_line(&refusal(id, code, message)?)
    }

    /// What came besides answers: notifications and requests of the process, and lines that are no messages. The newest
    /// 1,024 are kept.
    ///
    /// ```no_run
    /// # let server = capsule_sdk::Process::find("server")?.unwrap();
    /// # let mut client = capsule_sdk::rpc::Client::new(server.stdout(), server.stdin())?;
    /// for frame in client.take_incoming() {
    ///     println!("{frame:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_incoming(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.incoming).into()
    }

    /// A request as a line, for [`write_line`](Self::write_line). It is open from now on. Unlike [`send`](Self::send) this reads nothing,
    /// which an instance may have no right to at the moment.
    pub(crate) fn prepare(&mut self, method: &str, params: Value) -> Result<(RequestId, Vec<u8>)> {
        let id = format!("{}-{}", self.nonce, self.count);
        self.count += 1;
        let line = line_of(&message(method, params, Some(&id)))?;
        self.open.insert(id.clone(), None);
        Ok((RequestId(id), line))
    }

    /// Writes a line, and reads nothing.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> Result<()> {
        Ok(self.writer.write_line(line)?)
    }

    /// Looks for an answer in at most so many frames, and reads at most so many times. So it ends, however fast the process writes.
    pub(crate) fn look(&mut self, id: &RequestId, mut frames: u32, mut reads: u32) -> Result<Look> {
        loop {
            match self.open.get(&id.0) {
                None => return Err(Host::InvalidInput.into()),
                Some(None) => {}
                Some(Some(_)) => {
                    let answer = self.open.remove(&id.0).flatten();
                    return result(answer.unwrap_or_default()).map(Look::Answer);
                }
            }
            if frames == 0 {
                return Ok(Look::More);
            }
            if let Some(frame) = self.reader.take_read()? {
                frames -= 1;
                self.take_in(frame);
            } else if self.reader.is_over() {
                return Err(Error::Ended);
            } else if reads == 0 {
                return Ok(Look::More);
            } else {
                reads -= 1;
                // The last read, which is empty, may tell the end.
                if !self.reader.read_once()? && !self.reader.is_over() {
                    return Ok(Look::Nothing);
                }
            }
        }
    }

    fn take_in_available(&mut self) -> Result<()> {
        loop {
            match self.reader.try_read() {
                Ok(Some(frame)) => self.take_in(frame),
                Ok(None) => return Ok(()),
                // What was lost before a request is no answer to it.
                Err(error) if error.is_gap() && self.open.is_empty() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_in(&mut self, frame: Frame) {
        let value = match frame {
            // A batch.
            Frame::Json(Value::Array(values)) => {
                for value in values {
                    self.take_in(Frame::Json(value));
                }
                return;
            }
            Frame::Json(value) if value.get("method").is_none() && value.get("id").is_some() => value,
            other @ (Frame::Json(_) | Frame::Text(_)) => {
                if self.incoming.len() == MOST_INCOMING {
                    self.incoming.pop_front();
                }
                self.incoming.push_back(other);
                return;
            }
        };
        // Answers to requests of other instances have other ids.
        let id = value.get("id").and_then(Value::as_str);
        if let Some(answer) = id.and_then(|id| self.open.get_mut(id)) {
            *answer = Some(value);
        }
    }
}

/// A notification as a line.
pub(crate) fn notification(method: &str, params: Value) -> Result<Vec<u8>> {
    Ok(line_of(&message(method, params, None))?)
}

/// An answer as a line.
pub(crate) fn response(id: &Value, result: Value) -> Result<Vec<u8>> {
    Ok(line_of(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))?)
}

/// A refusal as a line.
pub(crate) fn refusal(id: &Value, code: i64, message: &str) -> Result<Vec<u8>> {
    let error = json!({ "code": code, "message": message });
    Ok(line_of(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))?)
}

fn message(method: &str, params: Value, id: Option<&str>) -> Value {
    let mut message = json!({ "jsonrpc": "2.0", "method": method });
    if let Some(fields) = message.as_object_mut() {
        fields.extend(id.map(|id| ("id".to_owned(), json!(id))));
        // `()` stands for none.
        fields.extend((!params.is_null()).then(|| ("params".to_owned(), params)));
    }
    message
}

fn result(mut answer: Value) -> Result<Value> {
    let Some(error) = answer.get_mut("error").filter(|error| !error.is_null()) else {
        return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default());
    };
    Err(Error::Refused {
        code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
        message: error
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        data: error.get_mut("data").map(Value::take),
    })
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::{
        Command,
        mock::{Host, Script},
    };

    #[test]
    fn a_look_ends_after_so_many_frames_and_so_many_reads() {
        let host = Host::new();
        host.command("server", |_| {
            Script::new()
                .stdout("{\"method\":\"m\"}\n".repeat(100) + &"\n".repeat(1 << 20))
                .on_input(|line| {
                    let request: Value = serde_json::from_slice(line).unwrap();
                    format!("{}\n", json!({ "id": request["id"], "result": 2 })).into_bytes()
                })
        });
        let mut command = Command::new("server");
        command.keep_stdin_open(true).log_ring_bytes(4 << 20);
        let server = command.spawn_persistent().unwrap();
        let mut client = Client::new(server.stdout(), server.stdin()).unwrap();
        let (id, line) = client.prepare("m", Value::Null).unwrap();
        client.write_line(&line).unwrap();
        assert_eq!(client.take_incoming().len(), 0, "a write reads nothing");
        assert_eq!(client.look(&id, 10, 100), Ok(Look::More));
        assert_eq!(client.take_incoming().len(), 10);
        // The rest is empty lines, which are no frames.
        assert_eq!(client.look(&id, 1000, 3), Ok(Look::More));
        assert_eq!(client.take_incoming().len(), 90);
        assert_eq!(client.look(&id, 1000, 100), Ok(Look::Answer(json!(2))));
        let (other, _) = client.prepare("m", Value::Null).unwrap();
        assert_eq!(client.look(&other, 1000, 100), Ok(Look::Nothing));
    }
}
