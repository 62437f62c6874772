//! A sink that writes a chain, and never delays the caller that records.
//!
//! Records wait in a queue, which a separate thread writes out. A full disk, or a pipe without a reader, stops only that
//! thread. Records that do not fit into the queue meanwhile are counted, and the count is a line of the chain, in the place of
//! the missing lines.
//!
//! ```text
//! record() ──▶ rate ──▶ queue, at most QUEUE_MAX bytes ──▶ thread: number, hash, write ──▶ file
//!               │          └─ full: count ─▶ `lost` line, after those that were in the queue
//!               └─ over it: count ─▶ `lost` line of the owner, within about a second
//! ```
//!
//! - After the first record that does not fit, all records are dropped until the thread takes the queue. So the count is exact and
//!   stands in the right place.
//! - A failed write is tried again from the byte where it stopped, with each new record and once at the end.
//! - A host that is killed loses the records in the queue. With a disk that keeps up, these are the records of a moment. Written
//!   lines are in the system's cache, so a machine that loses its power may lose more.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::Instant as Now;

use super::chain::{Chain, Entry, Head};
use super::file::{self, OpenError, Opened};
use super::rated::{AuditRate, Over, Rated};
use super::record::Record;
use capsule_supervisor::printable::Printable;

/// The most bytes that wait in the queue. As many again may be in the thread, to be written to the file.
const QUEUE_MAX: usize = 4 * 1024 * 1024;
/// The time for which a dropped sink waits for its thread.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// A receiver of records.
pub trait AuditSink: Send + Sync {
    /// Keeps a record, or drops and counts it. It is called during every call of a guest, so it must not block.
    fn record(&self, record: &Record);
}

/// Why records are missing at the end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The time passed, and the thread still waits for the disk or for a reader.
    #[error("the audit log is incomplete: its file or pipe accepts no more data")]
    Blocked,
    /// The log cannot be written.
    #[error("the audit log is incomplete: {0}")]
    Write(Arc<io::Error>),
}

/// Writes records as JSON lines, each with a hash over the one before.
///
/// If it is dropped, it writes the waiting records, for a second at most. [`Self::finish`] reports whether all of them
/// were written.
pub struct ChainSink(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread when it has work.
    work: Condvar,
    /// Wakes [`ChainSink::finish`] when the thread has ended.
    ended: Condvar,
}

struct Queue {
    bodies: Vec<String>,
    bytes: usize,
    /// The number of records that did not fit, after those in `bodies`.
    lost: u64,
    rated: Rated,
    /// Whether a record came since the thread last checked.
    pending: bool,
    finishing: bool,
    end: Option<Result<Head, FinishError>>,
    /// The head of the written chain.
    head: Head,
}

/// The records that the thread takes at once.
struct Batch {
    bodies: Vec<String>,
    lost: u64,
    over: Vec<(u64, Over)>,
    last: bool,
}

impl ChainSink {
    /// Writes to this file. A file that does not exist is made, with access for its owner only. A file that contains a
    /// chain is continued. No other sink can open the file until this sink has ended. Each owner has the default
    /// [`AuditRate`].
    ///
    /// # Errors
    /// [`OpenError`], and then the file is unchanged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, AuditRate::default())
    }

    /// As [`Self::open`], with another rate for each owner.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, rate: AuditRate) -> Result<Self, OpenError> {
        let Opened { file, chain, torn } = file::open(path.as_ref())?;
        let time = SystemTime::now();
        let mut first = vec![];
        if chain.next == 0 {
            first.push(Entry::begin().map_err(OpenError::Random)?);
        }
        if chain.next > 0 || torn > 0 {
            first.push(Entry::Resume { time, torn_bytes: torn });
        }
        Ok(Self::start(Target::File(file), chain, &first, rate)?)
    }

    /// Writes a new chain to `writer`, from a thread of its own. The writer may block. Each owner has the default
    /// [`AuditRate`].
    ///
    /// # Errors
    /// [`OpenError::Random`]; [`OpenError::Io`] if the thread cannot be started.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Result<Self, OpenError> {
        Self::to_writer_with(writer, AuditRate::default())
    }

    /// As [`Self::to_writer`], with another rate for each owner.
    ///
    /// # Errors
    /// As for [`Self::to_writer`].
    pub fn to_writer_with(writer: impl Write + Send + 'static, rate: AuditRate) -> Result<Self, OpenError> {
        let begin = Entry::begin().map_err(OpenError::Random)?;
        Ok(Self::start(
            Target::Other(Box::new(writer)),
            Chain::NEW,
            &[begin],
            rate,
        )?)
    }

    fn start(target: Target, mut chain: Chain, first: &[Entry<'_>], rate: AuditRate) -> io::Result<Self> {
        let mut text = Vec::new();
        let head = chain.head;
        for body in first.iter().filter_map(Entry::body) {
            chain.append(&body, &mut text);
        }
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                bodies: Vec::new(),
                bytes: 0,
                lost: 0,
                rated: Rated::new(rate),
                // The first lines are written at once.
                pending: true,
                finishing: false,
                end: None,
                head,
            }),
            work: Condvar::new(),
            ended: Condvar::new(),
        });
        let writer = Writer {
            target,
            chain,
            text,
            written: 0,
            failing: false,
        };
        let for_thread = Arc::clone(&shared);
        // Not joined: a thread that hangs in a write must not hang its host.
        drop(
            std::thread::Builder::new()
                .name("audit".into())
                .spawn(move || writer.run(&for_thread))?,
        );
        Ok(Self(shared))
    }

    /// The hash of the last written line.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.lock().head
    }

    /// Writes the waiting records and an `end` line, and waits for at most `patience` until they are on the disk.
    /// Records that come later are dropped. It may be called again, to wait longer.
    ///
    /// It blocks the thread. It returns the hash of the last line, which should be kept elsewhere.
    ///
    /// # Errors
    /// [`FinishError`], and then records are missing at the end of the file.
    pub fn finish(&self, patience: Duration) -> Result<Head, FinishError> {
        let until = Instant::now().checked_add(patience);
        let mut queue = self.0.lock();
        queue.finishing = true;
        self.0.work.notify_one();
        loop {
            if let Some(end) = &queue.end {
                return end.clone();
            }
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(FinishError::Blocked),
                Some(left) => {
                    self.0
                        .ended
                        .wait_timeout(queue, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.0.ended.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl AuditSink for ChainSink {
    fn record(&self, record: &Record) {
        // Before the lock is taken, so that no caller waits for the text of another.
        let body = Entry::Call(record).body();
        let mut queue = self.0.lock();
        if queue.finishing {
            return;
        }
        let bytes = body.as_ref().map_or(0, String::len);
        let told_before = queue.rated.is_counting();
        let admitted = queue.rated.admit(record, bytes, Now::now());
        if admitted {
            queue.take_in(body);
        }
        drop(queue);
        // The thread is woken once for records over the rate, so that it knows when to write the count.
        if admitted || !told_before {
            self.0.work.notify_one();
        }
    }
}

impl Queue {
    fn take_in(&mut self, body: Option<String>) {
        self.pending = true;
        match body {
            Some(body) if self.lost == 0 && self.bytes + body.len() <= QUEUE_MAX => {
                self.bytes += body.len();
                self.bodies.push(body);
            }
            _ => self.lost = self.lost.saturating_add(1),
        }
    }
}

impl Drop for ChainSink {
    fn drop(&mut self) {
        if let Err(error) = self.finish(DROP_TIMEOUT) {
            tracing::error!("{error}");
        }
    }
}

impl fmt::Debug for ChainSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainSink")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a record, for the end, or for a count to report. Returns whether it is the end. It takes no records.
    /// While writing fails, a count alone causes no further attempt: it is written with the next record.
    fn wait(&self, is_failing: bool) -> bool {
        let mut queue = self.lock();
        while !queue.pending && !queue.finishing {
            let due = queue.rated.due().filter(|_| !is_failing);
            queue = match due.map(|due| due.saturating_duration_since(Now::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = self.work.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queue.pending = false;
        queue.finishing
    }

    /// Takes everything that waits.
    fn take(&self) -> Batch {
        let mut queue = self.lock();
        queue.bytes = 0;
        let last = queue.finishing;
        Batch {
            bodies: std::mem::take(&mut queue.bodies),
            lost: std::mem::take(&mut queue.lost),
            over: queue.rated.take(Now::now(), last),
            last,
        }
    }
}

enum Target {
    File(File),
    Other(Box<dyn Write + Send>),
}

impl Target {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::File(file) => file,
            Self::Other(writer) => writer,
        }
    }
}

/// The state of the thread.
struct Writer {
    target: Target,
    chain: Chain,
    /// The lines that are being written, and how much of them is written.
    text: Vec<u8>,
    written: usize,
    failing: bool,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        loop {
            let mut last = shared.wait(self.failing);
            let mut result = self.write();
            if result.is_ok() {
                let batch = shared.take();
                last = batch.last;
                self.append(batch);
                result = self.write();
            }
            self.report(&result);
            let head = self.chain.head;
            if !last {
                if result.is_ok() {
                    shared.lock().head = head;
                }
                continue;
            }
            let end = result.and_then(|()| self.sync());
            // Before the end is announced, because a waiter may then open the file again.
            drop(self);
            let mut queue = shared.lock();
            if end.is_ok() {
                queue.head = head;
            }
            queue.end = Some(end.map(|()| head).map_err(|error| FinishError::Write(Arc::new(error))));
            drop(queue);
            shared.ended.notify_all();
            return;
        }
    }

    /// Makes lines of the taken records.
    fn append(&mut self, batch: Batch) {
        self.text.clear();
        self.written = 0;
        for body in &batch.bodies {
            self.chain.append(body, &mut self.text);
        }
        let time = SystemTime::now();
        let lost = (batch.lost > 0).then_some(Entry::Lost {
            time,
            records: batch.lost,
        });
        let over = batch.over.iter().map(|(records, over)| Entry::Over {
            time,
            records: *records,
            over,
        });
        let end = batch.last.then_some(Entry::End { time });
        for body in lost.into_iter().chain(over).chain(end).filter_map(|entry| entry.body()) {
            self.chain.append(&body, &mut self.text);
        }
        if batch.lost > 0 {
            tracing::warn!(
                records = batch.lost,
                "records did not fit into the audit's queue; the audit log counts them"
            );
        }
        for (records, over) in &batch.over {
            tracing::warn!(
                capsule = %Printable(&over.capsule),
                records,
                "a capsule makes more calls than its rate of records; the audit log counts the rest by operation"
            );
        }
    }

    /// Continues to write where the last attempt stopped.
    fn write(&mut self) -> io::Result<()> {
        let writer = self.target.writer();
        while let Some(rest) = self.text.get(self.written..).filter(|rest| !rest.is_empty()) {
            match writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        writer.flush()
    }

    fn sync(&self) -> io::Result<()> {
        match &self.target {
            Target::File(file) => file.sync_data(),
            Target::Other(_) => Ok(()),
        }
    }

    /// Logs once when writing begins to fail, and once when it succeeds again.
    fn report(&mut self, result: &io::Result<()>) {
        match result {
            Ok(()) if self.failing => tracing::warn!("the audit log can be written again"),
            Err(error) if !self.failing => {
                tracing::error!(%error, "the audit log cannot be written; records wait, and are lost once too many do");
            }
            _ => {}
        }
        self.failing = result.is_err();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read as _};
    use std::sync::mpsc;

    use super::super::verify::{Flaw, Verified, VerifyError, verify};
    use super::*;
    use capsule_supervisor::{Owner, Principal};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn record() -> Record {
        let owner = Owner {
            principal: Principal::Named("alice".into()),
            capsule: "editor".into(),
        };
        Record::new(&owner, "status")
    }

    fn verified(path: &Path) -> Verified {
        verify(BufReader::new(File::open(path).unwrap()), None).unwrap()
    }

    fn write(path: &Path, records: usize) -> Head {
        let sink = ChainSink::open(path).unwrap();
        for _ in 0..records {
            sink.record(&record());
        }
        sink.finish(PATIENCE).unwrap()
    }

    #[test]
    fn u1_a_file_is_continued_and_each_writer_leaves_a_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let heads = [write(&path, 3), write(&path, 0), write(&path, 2)];
        let seen = verified(&path);
        assert_eq!((seen.calls, seen.resumed, seen.lost, seen.finished), (5, 2, 0, true));
        assert_eq!(seen.head, heads[2]);
        for head in &heads {
            verify(BufReader::new(File::open(&path).unwrap()), Some(head)).unwrap();
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn u1_a_line_torn_by_a_crash_is_taken_off_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&path, 2);
        let whole = std::fs::read(&path).unwrap();
        // At each end of a line, and at some places within lines.
        let near = |end: usize| (end.saturating_sub(2)..=end).any(|at| whole.get(at) == Some(&b'\n'));
        for end in (0..whole.len()).filter(|end| end % 61 == 0 || near(*end)) {
            std::fs::write(&path, &whole[..end]).unwrap();
            write(&path, 1);
            let seen = verified(&path);
            let lines_left = whole[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
            let torn = end
                - whole[..end]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(
                text.contains(&format!("\"torn_bytes\":{torn}}}")),
                end > 0,
                "{end}: {text}"
            );
            // The whole lines, then a new beginning or none, the line about the cut, the record and the end.
            let beginning = u64::from(lines_left == 0);
            let resumed = u64::from(end > 0);
            assert_eq!(seen.lines, lines_left + beginning + resumed + 2, "{end}: {text}");
        }
    }

    #[test]
    fn u3_nuls_after_a_loss_of_power_are_taken_off_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&path, 2);
        let whole = std::fs::read(&path).unwrap();
        // After a whole line and after a part of one; within one block of the search, at its border, and beyond it.
        for part in [0, 30] {
            let kept = &whole[..whole.len() - part];
            let torn_line = if part == 0 {
                0
            } else {
                kept.len() - kept.iter().rposition(|byte| *byte == b'\n').unwrap() - 1
            };
            for nuls in [1, 4096, 65_536, 1 << 20] {
                std::fs::write(&path, [kept, &vec![0; nuls]].concat()).unwrap();
                write(&path, 1);
                let seen = verified(&path);
                assert_eq!((seen.calls, seen.resumed), (3, 1), "{part} {nuls}");
                let text = std::fs::read_to_string(&path).unwrap();
                let told = format!("\"torn_bytes\":{}}}", torn_line + nuls);
                assert!(text.contains(&told), "{part} {nuls}: {text:.2000}");
                assert!(!text.contains('\0'));
            }
        }
    }

    #[test]
    fn u1_what_is_no_audit_log_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&path, 2);
        let log = std::fs::read(&path).unwrap();
        let mut altered = log.clone();
        let at = altered.len() - 10;
        altered[at] ^= 1;
        let second = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for content in [
            &b"my diary\n"[..],
            b"my diary",
            b"my diary\0\0",
            &[0; 4096],
            b"\n",
            b"{\"hash\":\"\n",
            &altered,
            &[b"a line before\n", &log[..second]].concat(),
            &log[second..][..log[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1],
            &[&log[..], b"and more"].concat(),
            &vec![b'x'; 1 << 20],
        ] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(ChainSink::open(&path), Err(OpenError::NotALog)));
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        assert!(matches!(ChainSink::open(dir.path()), Err(OpenError::Io(_))));
        assert!(matches!(ChainSink::open("/dev/full"), Err(OpenError::NotAFile)));
    }

    #[test]
    fn u1_a_file_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let sink = ChainSink::open(&path).unwrap();
        assert!(matches!(ChainSink::open(&path), Err(OpenError::InUse)));
        sink.finish(PATIENCE).unwrap();
        drop(sink);
        assert_eq!(verified(&path).resumed, 0);
    }

    #[test]
    fn u1_an_unread_pipe_blocks_no_caller_and_the_loss_is_recorded() {
        let (reader, writer) = io::pipe().unwrap();
        let sink = ChainSink::to_writer_with(writer, AuditRate::UNLIMITED).unwrap();
        let body = Entry::Call(&record()).body().unwrap().len();
        // More than the pipe, the thread and the queue hold together.
        let count = (4 * QUEUE_MAX / body) as u64;
        for _ in 0..count {
            sink.record(&record());
        }
        let lost = sink.0.lock().lost;
        assert!(lost > 0, "the queue is bounded");
        assert!(sink.0.lock().bytes <= QUEUE_MAX);
        assert!(matches!(sink.finish(Duration::ZERO), Err(FinishError::Blocked)));

        // Then the pipe is read.
        let (send, receive) = mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut reader = reader;
            reader.read_to_end(&mut text).unwrap();
            send.send(verify(&*text, None).unwrap()).unwrap();
        });
        let head = sink.finish(PATIENCE).unwrap();
        drop(sink);
        reading.join().unwrap();
        let seen = receive.recv().unwrap();
        assert_eq!((seen.lost, seen.calls + seen.lost), (lost, count));
        assert_eq!(seen.head, head);
    }

    #[test]
    fn u3_a_flood_of_calls_is_written_at_its_rate_and_the_rest_is_told_of_while_it_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let rate = AuditRate {
            per_second: 1,
            burst: 10,
        };
        let sink = ChainSink::open_with(&path, rate).unwrap();
        let lines = || std::fs::read_to_string(&path).unwrap();
        for _ in 0..50_000 {
            sink.record(&record());
        }
        // Reported without another record, and before the end.
        let start = Instant::now();
        while !lines().contains("\"lost\"") {
            assert!(start.elapsed() < PATIENCE, "{}", lines());
            std::thread::yield_now();
        }
        for _ in 0..50_000 {
            sink.record(&record());
        }
        let mut denied = record();
        denied.outcome = super::super::Outcome::error("capability-denied");
        sink.record(&denied);
        let head = sink.finish(PATIENCE).unwrap();
        let seen = verify(BufReader::new(File::open(&path).unwrap()), Some(&head)).unwrap();
        assert_eq!(seen.calls + seen.lost, 100_001);
        assert_eq!(seen.over_rate, seen.lost);
        assert!(lines().contains("capability-denied"), "it is dropped last");
        let most = 10 + start.elapsed().as_secs() + 20;
        assert!(seen.calls <= most && seen.lines <= seen.calls + most, "{seen:?}");
        let told: Vec<_> = lines()
            .lines()
            .filter(|line| line.contains("\"lost\""))
            .map(str::to_owned)
            .collect();
        let told: serde_json::Value = serde_json::from_str(&told[0]).unwrap();
        assert_eq!(
            (&told["principal"], &told["capsule"]),
            (&"alice".into(), &"editor".into())
        );
        assert_eq!(told["operations"]["status"], told["records"]);
        assert_eq!(told["outcomes"]["dropped"], told["records"]);
        assert!(told["from"].as_str().unwrap() <= told["to"].as_str().unwrap(), "{told}");
    }

    /// A disk that takes half of the bytes and is then full, until it is emptied.
    #[derive(Clone, Default)]
    struct Moody(Arc<Mutex<Disk>>);

    #[derive(Default)]
    struct Disk {
        taken: Vec<u8>,
        is_full: bool,
        refused: usize,
        cleaned_up: bool,
    }

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            if disk.cleaned_up {
                disk.taken.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            disk.is_full = !disk.is_full;
            if disk.is_full {
                let half = &bytes[..bytes.len().div_ceil(2)];
                disk.taken.extend_from_slice(half);
                return Ok(half.len());
            }
            disk.refused += 1;
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn u1_a_write_that_failed_half_way_goes_on_from_there() {
        let disk = Moody::default();
        let sink = ChainSink::to_writer(disk.clone()).unwrap();
        for round in 1..=5 {
            sink.record(&record());
            // Each record causes an attempt, and each attempt fails because the disk is full.
            while disk.0.lock().unwrap().refused < round {
                std::thread::yield_now();
            }
        }
        disk.0.lock().unwrap().cleaned_up = true;
        let head = sink.finish(PATIENCE).unwrap();
        let seen = verify(&*disk.0.lock().unwrap().taken, Some(&head)).unwrap();
        assert_eq!((seen.lost, seen.calls, seen.finished), (0, 5, true));
    }

    #[test]
    fn u1_a_disk_that_stays_full_is_reported_at_the_end() {
        let sink = ChainSink::to_writer(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        for _ in 0..1000 {
            sink.record(&record());
        }
        let error = sink.finish(PATIENCE).unwrap_err();
        assert!(
            matches!(&error, FinishError::Write(error) if error.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
    }

    #[test]
    fn u1_dropping_a_sink_writes_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let sink = ChainSink::open_with(&path, AuditRate::UNLIMITED).unwrap();
        for _ in 0..1000 {
            sink.record(&record());
        }
        drop(sink);
        let seen = verified(&path);
        assert_eq!((seen.calls, seen.finished), (1000, true));
    }

    #[test]
    fn u1_a_killed_host_leaves_a_chain_without_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("log"), dir.path().join("copy"));
        let sink = ChainSink::open(&path).unwrap();
        sink.record(&record());
        // A kill at any moment leaves the content that the file has at that moment.
        loop {
            std::fs::copy(&path, &copy).unwrap();
            match verify(BufReader::new(File::open(&copy).unwrap()), None) {
                Ok(seen) if seen.calls == 1 => {
                    assert!(!seen.finished);
                    break;
                }
                Ok(_) => {}
                Err(VerifyError::Broken { flaw, .. }) => assert!(matches!(flaw, Flaw::Empty | Flaw::Unfinished)),
                Err(error) => panic!("{error}"),
            }
        }
        write(&copy, 1);
        let seen = verified(&copy);
        assert_eq!((seen.calls, seen.resumed, seen.finished), (2, 1, true));
    }
}
