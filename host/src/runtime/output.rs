//! A guest's stdout and stderr: written line by line to the log, with the last part kept for an error message.
//!
//! The length of a line, the total of a call and the kept part are bounded here, and the log bounds the rate.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use capsule_supervisor::{Owner, Registry};

/// The longest line, in bytes. A longer line is logged in pieces.
const MAX_LINE: usize = 8 * 1024;
/// The most bytes of one stream that are logged in one call. The rest is dropped, and the log says so.
const MAX_TOTAL: usize = 1024 * 1024;
/// The most bytes that are kept for an error.
const TAIL: usize = 2 * 1024;
/// The most bytes that a guest may write at once.
const PERMIT: usize = 64 * 1024;

/// The two streams of a guest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Logged as `info`.
    Stdout,
    /// Logged as `warn`.
    Stderr,
}

/// The owner and the destination of the output. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) registry: Registry,
    pub(super) owner: Arc<Owner>,
}

impl Origin {
    fn log(&self, level: Level, stream: Option<&'static str>, text: &str) {
        self.registry.guest_log().line(&self.owner, level, stream, text);
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origin").field(&self.owner).finish()
    }
}

/// One stream of one instance. Clones are the same stream.
#[derive(Clone, Debug)]
pub(super) struct Output(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    origin: Origin,
    stream: Stream,
    line: Vec<u8>,
    total: usize,
    tail: Vec<u8>,
}

impl Output {
    pub(super) fn new(origin: Origin, stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            origin,
            stream,
            line: Vec::new(),
            total: 0,
            tail: Vec::new(),
        })))
    }

    /// The end of the written output, at most 2 KiB.
    pub(super) fn tail(&self) -> String {
        String::from_utf8_lossy(&self.lock().tail).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        keep_end(&mut self.tail, bytes);
        let room = MAX_TOTAL.saturating_sub(self.total);
        let taken = bytes.get(..room).unwrap_or(bytes);
        let full = room > 0 && taken.len() < bytes.len();
        self.total = self.total.saturating_add(bytes.len());
        for piece in taken.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(MAX_LINE) {
                if self.line.len() + part.len() > MAX_LINE {
                    self.pass_on();
                }
                self.line.extend_from_slice(part);
            }
            if piece.ends_with(b"\n") {
                self.pass_on();
            }
        }
        if full {
            self.pass_on();
            let words = "the call wrote more than 1 MiB of output; the rest is dropped";
            self.origin.log(Level::WARN, None, words);
        }
    }

    fn pass_on(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        match self.stream {
            Stream::Stdout => self.origin.log(Level::INFO, Some("stdout"), line),
            Stream::Stderr => self.origin.log(Level::WARN, Some("stderr"), line),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.pass_on();
        }
    }
}

/// Appends to the tail, and drops bytes beyond [`TAIL`] from its front.
fn keep_end(tail: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes);
    let excess = (tail.len() + bytes.len()).saturating_sub(TAIL);
    tail.drain(..excess.min(tail.len()));
    tail.extend_from_slice(bytes);
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lock().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capsule_supervisor::sandbox::Unconfined;
    use capsule_supervisor::{Limits, Principal};

    #[test]
    fn the_tail_is_the_end_of_everything_written() {
        let mut whole = Vec::new();
        let mut tail = Vec::new();
        for size in [0, 1, TAIL - 1, 3, TAIL, 2 * TAIL + 5, 7] {
            let bytes: Vec<u8> = (0..=250).cycle().skip(size % 7).take(size).collect();
            whole.extend_from_slice(&bytes);
            keep_end(&mut tail, &bytes);
            assert_eq!(tail, whole[whole.len().saturating_sub(TAIL)..]);
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_held_to_its_limit() {
        let runtime = tokio::runtime::Handle::current();
        let origin = Origin {
            registry: Registry::new(runtime, Arc::new(Unconfined::new()), Limits::default()).unwrap(),
            owner: Arc::new(Owner {
                principal: Principal::Anonymous,
                capsule: "c".into(),
            }),
        };
        let output = Output::new(origin, Stream::Stdout);
        for _ in 0..40 {
            output.lock().write(&[b'a'; 1000]);
            assert!(output.lock().line.len() <= MAX_LINE);
        }
        output.lock().write(&[b'a'; 3 * MAX_LINE]);
        assert!(output.lock().line.len() <= MAX_LINE);
    }
}
