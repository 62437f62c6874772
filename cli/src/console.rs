//! Messages to the user: errors, the log, and a spinner if standard error is a terminal.
//!
//! - All output goes through [`stderr`], which waits for no reader. No error here may fail the command.
//! - Text that a guest can influence is shown as [`Printable`] text, so that it cannot move the cursor or start a new line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use capsule_host::printable::{Printable, printable_lines};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::stderr;

/// How long the end of the command waits until standard error is written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends the log to standard error, as much of it as `-v` (counted) or RUST_LOG asks for, and the messages of panics.
pub(crate) fn init_logging(verbosity: u8) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| {
        // `rmcp` logs the messages of an agent, with arguments and output.
        let (most, others): (_, &[_]) = match verbosity {
            0 => (LevelFilter::WARN, &[]),
            1 => (
                LevelFilter::INFO,
                &[("cranelift", LevelFilter::WARN), ("wasmtime", LevelFilter::WARN)],
            ),
            2 => (
                LevelFilter::DEBUG,
                &[
                    ("cranelift", LevelFilter::WARN),
                    ("regalloc2", LevelFilter::WARN),
                    ("wasmtime", LevelFilter::INFO),
                ],
            ),
            _ => (LevelFilter::TRACE, &[]),
        };
        let others = others.iter().copied();
        Targets::new()
            .with_default(most)
            .with_target("rmcp", LevelFilter::ERROR)
            .with_targets(others)
    });
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| LogLine)
        .with_ansi(false)
        .without_time()
        // It would report a failed write to standard error on standard error, by a macro that panics.
        .log_internal_errors(false)
        .finish()
        .with(filter)
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        say(&format!("{panic}\n{}", trace.unwrap_or_default()));
    }));
}

/// Prints the reason why the command cannot continue.
pub(crate) fn error(message: &str) {
    say(&format!("error: {message}"));
}

/// Prints a fact that the user asked for, such as the address of a published port.
pub(crate) fn tell(message: &str) {
    say(message);
}

fn say(message: &str) {
    let mut text = printable_lines(message);
    text.push('\n');
    stderr::say(text.as_bytes());
}

/// Prints the whole output of another program, as fast as standard error is read. Dropping the future drops the rest. The output
/// may repeat text of an untrusted crate, so its control characters are escaped.
pub(crate) async fn relay(text: &[u8]) {
    stderr::relay(relayed(text).as_bytes()).await;
}

fn relayed(text: &[u8]) -> String {
    let mut shown = printable_lines(&String::from_utf8_lossy(text));
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown
}

/// Waits until all messages are written, for a moment at most.
pub(crate) fn finish() {
    stderr::finish(LAST_WORDS);
}

/// Whether standard error is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The writer of one line of the log. The log writes a line in one piece, with its newline.
struct LogLine;

impl Write for LogLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = format!("{}\n", Printable(text.trim_end_matches('\n')));
        stderr::log(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A spinner with a message; invisible where standard error is not a terminal, gone when dropped.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn start(message: String) -> Self {
        let target = if is_terminal() {
            ProgressDrawTarget::term_like(Box::new(Terminal))
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let bar = bar.with_message(Printable(&message).to_string());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(crate) fn say(&self, message: String) {
        self.0.set_message(Printable(&message).to_string());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The terminal on which the spinner draws. A stopped terminal must not block the spinner, because the command waits for its end.
#[derive(Debug)]
struct Terminal;

impl Terminal {
    #[expect(clippy::unnecessary_wraps, reason = "what a terminal's methods return")]
    fn put(text: &str) -> io::Result<()> {
        stderr::log(text.as_bytes());
        Ok(())
    }

    fn turn(count: usize, direction: char) -> io::Result<()> {
        if count > 0 {
            Self::put(&format!("\x1b[{count}{direction}"))?;
        }
        Ok(())
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        // One line that every terminal has room for.
        79
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        Self::turn(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        Self::turn(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        Self::turn(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        Self::turn(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        Self::put(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        Self::put(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        Self::put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u3_what_a_build_says_is_not_for_a_terminal_to_obey() {
        for (said, shown) in [
            ("", ""),
            ("warning: unused\n", "warning: unused\n"),
            ("one\nerror: two\r\n", "one\n  error: two\n"),
            ("warning: \u{1b}[2J\r\u{202e}x", "warning: \\u{1b}[2J\\r\\u{202e}x\n"),
        ] {
            assert_eq!(relayed(said.as_bytes()), shown);
        }
        assert_eq!(relayed(b"\xff\x9b"), "\u{fffd}\u{fffd}\n");
    }
}
