//! Output to standard error: a bounded queue, which a separate thread writes out.
//!
//! Standard error may be a pipe without a reader, or a terminal that is stopped, and a write to it then never returns. So
//! only this thread writes to it, and only the end of the command waits for the thread, for a moment. Lines that do not
//! fit into the queue are counted, and the count is written in their place.
//!
//! The log has only a part of the queue, so that the command's own messages find room beside a flood of log lines.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The most bytes of the log that wait; as many again may be on their way out.
const LOG_MAX: usize = 1 << 20;
/// The most bytes that wait in all.
const QUEUE_MAX: usize = LOG_MAX + (64 << 10);

/// The text after the number of dropped lines.
const LOST: &str = " lines are missing here: standard error was not read in time";
/// How much of a long text is put into the queue at once, in bytes.
const PIECE: usize = 16 << 10;

static STDERR: LazyLock<Queue> = LazyLock::new(|| Queue::to(io::stderr()));

/// Queues a line of the log, or counts it as lost.
pub(crate) fn log(line: &[u8]) {
    STDERR.put(line, LOG_MAX);
}

/// Queues the command's own messages.
pub(crate) fn say(text: &[u8]) {
    STDERR.put(text, QUEUE_MAX);
}

/// Queues a long text piece by piece, as there is room. Dropping the future drops the rest.
pub(crate) async fn relay(text: &[u8]) {
    STDERR.put_all(text).await;
}

/// Waits until everything is written, for at most `patience`.
pub(crate) fn finish(patience: Duration) {
    STDERR.finish(patience);
}

struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Tells the thread that text waits, and [`Queue::finish`] that text was written.
    changed: Condvar,
    /// Tells [`Queue::put_all`] that there is room.
    room: Notify,
}

#[derive(Default)]
struct State {
    text: Vec<u8>,
    /// Lines that did not fit, after `text`.
    lost: u64,
    is_writing: bool,
}

impl State {
    const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.lost == 0
    }
}

impl Queue {
    fn to(target: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        // Without a thread all messages are lost, and this cannot be reported. The thread is not joined: it may hang in a write.
        drop(
            std::thread::Builder::new()
                .name("stderr".into())
                .spawn(move || for_thread.write_to(target)),
        );
        Self(shared)
    }

    /// Queues the text, or counts it. After the first line that does not fit, all lines of the log are counted until the thread
    /// takes the queue. So the count stands where the lines are missing.
    fn put(&self, text: &[u8], max: usize) {
        let mut state = self.0.lock();
        let is_log = max < QUEUE_MAX;
        if state.text.len() + text.len() > max || is_log && state.lost > 0 {
            state.lost += 1;
        } else {
            state.text.extend_from_slice(text);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    async fn put_all(&self, text: &[u8]) {
        for piece in text.chunks(PIECE) {
            loop {
                let mut room = std::pin::pin!(self.0.room.notified());
                room.as_mut().enable();
                if self.0.lock().text.len() + piece.len() <= LOG_MAX {
                    self.put(piece, QUEUE_MAX);
                    break;
                }
                room.await;
            }
        }
    }

    fn finish(&self, patience: Duration) {
        let busy = |state: &mut State| state.is_writing || !state.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), patience, busy));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut target: impl Write) {
        loop {
            let idle = |state: &mut State| state.is_empty();
            let mut state = self
                .changed
                .wait_while(self.lock(), idle)
                .unwrap_or_else(PoisonError::into_inner);
            let mut text = std::mem::take(&mut state.text);
            let lost = std::mem::take(&mut state.lost);
            state.is_writing = true;
            drop(state);
            self.room.notify_waiters();
            if lost > 0 {
                // A write to a vector does not fail.
                drop(writeln!(text, "{lost}{LOST}"));
            }
            // If standard error is closed, no reader is left to miss the text.
            drop(target.write_all(&text));
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn u3_a_standard_error_that_is_not_read_holds_nothing_up_and_the_loss_is_told() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Queue::to(writer);
        let line = [&[b'x'; 127][..], b"\n"].concat();
        let count = 4 * LOG_MAX / line.len();
        for _ in 0..count {
            queue.put(&line, LOG_MAX);
        }
        // The log has filled its part of the queue, and the command's own message finds room.
        queue.put(b"error: the end\n", QUEUE_MAX);
        assert!(queue.0.lock().text.len() <= QUEUE_MAX);
        assert!(queue.0.lock().lost > 0);
        queue.finish(Duration::ZERO);

        // The number of reports depends on how often the thread takes the queue, so only their sum is compared.
        let lost = |text: &str| -> usize {
            let told = text.lines().filter_map(|line| line.strip_suffix(LOST));
            told.map(|count| count.trim().parse::<usize>().unwrap()).sum()
        };
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            while !text.contains("error: the end\n") || text.matches("xx\n").count() + lost(&text) < count {
                let mut bytes = [0; 4096];
                let read = reader.read(&mut bytes).unwrap();
                text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            send.send(text).unwrap();
        });
        let text = receive.recv_timeout(PATIENCE).unwrap();
        assert_eq!(text.matches("xx\n").count() + lost(&text), count);
        queue.finish(PATIENCE);
        assert!(queue.0.lock().is_empty());
    }

    #[tokio::test]
    async fn u3_a_long_text_waits_for_its_reader_and_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Queue::to(writer);
        let long = b"0123456789abcdef".repeat(3 * LOG_MAX / 16);
        // No process reads, so the future waits, and it can be dropped.
        tokio::time::timeout(Duration::from_millis(1), queue.put_all(&long))
            .await
            .unwrap_err();
        let reading = tokio::task::spawn_blocking(move || {
            let mut read = 0;
            let mut bytes = [0; 4096];
            while read < LOG_MAX {
                read += reader.read(&mut bytes).unwrap();
            }
            (reader, bytes)
        });
        let _open = tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert_eq!(queue.0.lock().lost, 0);
    }
}
