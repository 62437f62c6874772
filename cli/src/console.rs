//! Standard error: messages to the person, the log, and a spinner where somebody is looking.
//!
//! Nothing here may fail the command: a closed standard error only means that nobody reads.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// Sends the log to standard error, as much of it as `-v` (counted) or RUST_LOG asks for.
pub(crate) fn init_logging(verbosity: u8) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse::<EnvFilter>().ok());
    let filter = filter.unwrap_or_else(|| {
        EnvFilter::new(match verbosity {
            0 => "warn",
            1 => "info,cranelift=warn,wasmtime=warn",
            2 => "debug,cranelift=warn,regalloc2=warn,wasmtime=info",
            _ => "trace",
        })
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        // It would report a failed write to standard error on standard error, by a macro that panics.
        .log_internal_errors(false)
        .init();
}

/// Says why the command cannot go on.
pub(crate) fn error(message: &str) {
    drop(writeln!(io::stderr(), "error: {message}"));
}

/// Passes on what another program wrote.
pub(crate) fn relay(text: &[u8]) {
    drop(io::stderr().write_all(text));
}

/// Whether a person looks at standard error.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A spinner with a message; invisible where standard error is not a terminal, gone when dropped.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn start(message: String) -> Self {
        let bar = ProgressBar::new_spinner().with_message(message);
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
        self.0.set_message(message);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
