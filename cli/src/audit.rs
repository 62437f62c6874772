//! `capsule audit verify`, and the log that `capsule run --audit` writes.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use capsule_host::audit::{ChainSink, Flaw, OpenError, Verified, VerifyError, verify};
use capsule_host::sandbox::Workspace;
use serde::Serialize;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::args::{AuditArgs, AuditCommand, VerifyArgs};
use crate::exit_code::{BAD_USAGE, FAILED, SUCCEEDED};
use crate::{console, report};

/// How long the end of the command waits for the last records to be written to a disk that hangs.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the command and returns its exit code.
pub(crate) fn audit(args: &AuditArgs) -> u8 {
    match &args.command {
        AuditCommand::Verify(args) => verify_file(args),
    }
}

fn verify_file(args: &VerifyArgs) -> u8 {
    let path = args.file.display();
    let looked = match File::open(&args.file) {
        Ok(file) => verify(BufReader::new(file), args.expect_head.as_ref()),
        Err(error) => Err(VerifyError::Read(error)),
    };
    let (text, code) = match looked {
        Ok(verified) if args.json => (json(&Finding::intact(&verified)), SUCCEEDED),
        Ok(verified) => (Ok(words(&verified).into_bytes()), SUCCEEDED),
        Err(VerifyError::Broken { line, flaw }) => {
            console::error(&format!("{path}: broken at line {line}: {flaw}"));
            let text = if args.json {
                json(&Finding::broken(line, flaw))
            } else {
                Ok(Vec::new())
            };
            (text, FAILED)
        }
        Err(error) => {
            console::error(&format!("{path}: {error}"));
            return BAD_USAGE;
        }
    };
    match text.map_err(io::Error::from).and_then(|text| report::write(&text)) {
        Ok(()) => code,
        Err(error) => {
            // A reader that stops reading, such as `head`, is not worth an error message.
            if error.kind() != io::ErrorKind::BrokenPipe {
                console::error(&format!("cannot write to standard output: {error}"));
            }
            FAILED
        }
    }
}

fn words(verified: &Verified) -> String {
    let Verified {
        lines,
        calls,
        lost,
        over_rate,
        resumed,
        finished,
        head,
        ..
    } = verified;
    let end = if *finished {
        "ended by its writer"
    } else {
        "without an end: its writer still runs or was killed, or lines were cut off"
    };
    format!(
        "intact: {lines} lines, {calls} calls, {lost} records lost ({over_rate} of them over a capsule's rate), opened {} times; {end}\nhead: {head}\n",
        resumed + 1
    )
}

/// The result as JSON, on one line. Programs read the keys, so the keys never change.
#[derive(Serialize)]
#[serde(untagged)]
enum Finding {
    Intact {
        intact: bool,
        lines: u64,
        calls: u64,
        lost: u64,
        over_rate: u64,
        resumed: u64,
        finished: bool,
        head: String,
    },
    Broken {
        intact: bool,
        line: u64,
        flaw: &'static str,
        reason: String,
    },
}

impl Finding {
    fn intact(verified: &Verified) -> Self {
        Self::Intact {
            intact: true,
            lines: verified.lines,
            calls: verified.calls,
            lost: verified.lost,
            over_rate: verified.over_rate,
            resumed: verified.resumed,
            finished: verified.finished,
            head: verified.head.to_string(),
        }
    }

    fn broken(line: u64, flaw: Flaw) -> Self {
        Self::Broken {
            intact: false,
            line,
            flaw: flaw.kind(),
            reason: flaw.to_string(),
        }
    }
}

fn json(finding: &Finding) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec(finding)?;
    text.push(b'\n');
    Ok(text)
}

/// Why the log cannot be written.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error("{}: {error}", path.display())]
    Open { path: PathBuf, error: OpenError },
    #[error("{}: the file is in the workspace, where the capsule's processes could change it; name a file elsewhere", .0.display())]
    InWorkspace(PathBuf),
}

/// Opens the log, unless it is where a confined process could reach it.
pub(crate) fn open(path: &Path, workspace: &Workspace) -> Result<Arc<ChainSink>, LogError> {
    let failed = |error: OpenError| LogError::Open {
        path: path.into(),
        error,
    };
    // An existing file is resolved itself, because it may be a link; for a new one, its folder is.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let real = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder.canonicalize(),
        real => real,
    };
    if real
        .map_err(|error| failed(error.into()))?
        .starts_with(workspace.path())
    {
        return Err(LogError::InWorkspace(path.into()));
    }
    ChainSink::open(path).map(Arc::new).map_err(failed)
}

/// Writes the waiting records. Prints the reason and returns `false` if that failed.
pub(crate) async fn finish(log: Arc<ChainSink>) -> bool {
    let finished = spawn_blocking(move || log.finish(FINISH_TIMEOUT)).await;
    match finished {
        Ok(Ok(head)) => {
            tracing::info!(%head, "the audit log is written");
            true
        }
        Ok(Err(error)) => {
            console::error(&error.to_string());
            false
        }
        Err(error) => {
            console::error(&format!("the audit log is incomplete: {error}"));
            false
        }
    }
}
