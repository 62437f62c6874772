//! What becomes of the answers that several functions give: an exit, a process's facts, its output.

use std::fs::File;
use std::sync::OnceLock;

use capsule_host::bindings::astrid::process1_1_0::host::{ExitInfo, ProcessInfo, ProcessResult, ReadLogsResult};
use capsule_host::supervisor::Error;
use rustix::fs::{FlockOperation, flock};

use super::errors::{Answer, invalid, is};
use super::served::Served;

impl Served<'_> {
    pub(super) fn exit(&self, exit: &mut ExitInfo) {
        match self.shared.change {
            "an end by a signal is a code" => {
                if let Some(signal) = exit.signal.take() {
                    exit.exit_code = Some(128 + signal);
                }
            }
            "the code of an exit is lost" => exit.exit_code = exit.exit_code.and(Some(0)),
            _ => {}
        }
    }

    pub(super) fn info(&self, info: &mut ProcessInfo) {
        if let Some(exit) = &mut info.exit {
            self.exit(exit);
        }
        match self.shared.change {
            "a label is cut to 64 bytes" => info.label.truncate(64),
            "a command stands without its arguments" => info.command = "sh".into(),
            "only one stream is buffered" => info.buffered_bytes /= 2,
            "evicted bytes are not counted" => info.bytes_dropped = 0,
            "the last byte comes after the exit" => info.buffered_bytes = info.buffered_bytes.saturating_sub(1),
            "nothing touches a process" => info.idle_ms = info.age_ms,
            "an exited process has no account" if info.exit.is_some() => {
                (info.cpu_ms, info.mem_bytes_peak) = (None, None);
            }
            "every process has the same account" => {
                (info.cpu_ms, info.mem_bytes_peak) = (Some(1000), Some(50_000_000));
            }
            "nothing is accounted" => (info.cpu_ms, info.mem_bytes_peak) = (None, None),
            "a pid is another process's" => info.os_pid = info.os_pid.and(Some(std::process::id())),
            "a pid stays after the exit" => info.os_pid = info.os_pid.or(Some(1)),
            "a pid is that of a zombie" => info.os_pid = info.os_pid.and(Some(zombie())),
            "stdin is open for ever" => info.stdin_open = true,
            _ => {}
        }
    }

    pub(super) fn output(&self, output: &mut ProcessResult) {
        self.exit(&mut output.exit);
        match self.shared.change {
            "captured output is cut" => output.stdout.truncate(1_000_000),
            "standard error is lost" => output.stderr.clear(),
            _ => {}
        }
    }

    pub(super) fn logs(&self, logs: &mut ReadLogsResult) {
        if let Some(exit) = &mut logs.exit {
            self.exit(exit);
        }
        match self.shared.change {
            "read-logs does not drain" => {
                let mut memory = self.shared.memory();
                memory.output.push_str(&logs.stdout);
                logs.stdout.clone_from(&memory.output);
            }
            "read-logs confuses the streams" => std::mem::swap(&mut logs.stdout, &mut logs.stderr),
            "invalid bytes are left out" => logs.stdout.retain(|letter| letter != '\u{fffd}'),
            "characters are torn" if logs.stdout == "a" => logs.stdout.push('\u{fffd}'),
            "a process runs after its exit" => logs.running = true,
            _ => {}
        }
    }

    /// What becomes of the answer to a write of so many bytes.
    pub(super) fn written(&self, wanted: usize, answer: Answer<u32>) -> Answer<u32> {
        match answer {
            Ok(count) if self.is("a write is counted short") => Ok(count.saturating_sub(1)),
            Err(error)
                if is(&error, "closed")
                    && (self.is("a write to a closed stdin succeeds")
                        || self.is("only the first write to a closed stdin fails")
                            && std::mem::replace(&mut self.shared.memory().answered, true)) =>
            {
                Ok(u32::try_from(wanted).unwrap_or(u32::MAX))
            }
            Err(error) if self.is("a write that is cancelled is closed") && is(&error, "cancelled") => {
                Err(Error::Closed.into())
            }
            answer => answer,
        }
    }

    /// What becomes of the answer to a wait, and of what is left when it is over.
    pub(super) fn waited(&self, mut answer: Answer<ExitInfo>) -> Answer<ExitInfo> {
        let mut memory = self.shared.memory();
        match &mut answer {
            Ok(exit) => {
                self.exit(exit);
                memory.waited = true;
                match self.shared.change {
                    "what a command leaves behind runs on" => {
                        memory.lock = File::open(self.shared.workspace.join("lock")).ok();
                        if let Some(lock) = &memory.lock {
                            // Held by another: then it runs on indeed.
                            flock(lock, FlockOperation::NonBlockingLockExclusive).ok();
                        }
                    }
                    "only one waiter gets the exit" if memory.answered => return Err(Error::WaitTimeout.into()),
                    _ => {}
                }
                memory.answered = true;
            }
            Err(error) if self.is("a wait that is cancelled has timed out") && is(error, "cancelled") => {
                return Err(Error::WaitTimeout.into());
            }
            Err(_) => {}
        }
        answer
    }

    /// The time of a wait.
    pub(super) fn wait_ms(&self, ms: u64) -> u64 {
        match self.shared.change {
            "a wait is half as long" => ms.min(200) / 2,
            _ => ms,
        }
    }

    /// The shape of an id is checked first.
    pub(super) fn known(&self, id: &str) -> Answer<()> {
        if self.is("a malformed id is invalid") && id.len() != 52 {
            return Err(invalid());
        }
        Ok(())
    }
}

/// A pid of this program's own children that has ended, and was not waited for.
fn zombie() -> u32 {
    static ZOMBIE: OnceLock<u32> = OnceLock::new();
    *ZOMBIE.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            clippy::zombie_processes,
            reason = "the supervisor leaves no zombies"
        )]
        let mut child = std::process::Command::new("true")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a program starts");
        // Ends when the program has closed it.
        if let Some(mut output) = child.stdout.take() {
            std::io::copy(&mut output, &mut std::io::sink()).expect("a pipe can be read");
        }
        child.id()
    })
}
