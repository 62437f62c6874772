//! `capsule conformance`: runs the suite against this host. It prints a line for each case when the case ends, and can write a
//! report for programs.

use std::io;
use std::path::Path;

use capsule_conformance::{CASES, CapsuleHost, Outcome, Report, Selection, run};
use capsule_host::printable::{Printable, printable_json};

use crate::args::ConformanceArgs;
use crate::exit_code::{BAD_USAGE, FAILED, SUCCEEDED};
use crate::user_dirs::code_dir;
use crate::{console, report};

/// Runs the cases, prints, and returns the exit code.
pub(crate) async fn conformance(args: ConformanceArgs) -> u8 {
    if let Some(filter) = &args.filter
        && !CASES.iter().any(|case| case.name.contains(filter.as_str()))
    {
        console::error(&format!("--filter: no case has a name that holds {filter:?}"));
        return BAD_USAGE;
    }
    // Checked before the cases run, because they take a while.
    if let Some(path) = &args.report
        && let Err(error) = std::fs::write(path, "")
    {
        console::error(&format!("--report: cannot write {}: {error}", path.display()));
        return BAD_USAGE;
    }
    let host = if args.unconfined {
        CapsuleHost::unconfined(args.allow_persistent)
    } else {
        match CapsuleHost::confined() {
            Ok(host) => host,
            Err(error) => {
                console::error(&format!("{error}; `capsule doctor` reports what this machine lacks"));
                return FAILED;
            }
        }
    };
    let selection = Selection {
        filter: args.filter,
        jobs: args.jobs.into(),
    };
    let mut printed = Ok(());
    let done = run(host.cache_dir(code_dir()), selection, |outcome| {
        if printed.is_ok() {
            printed = print(outcome);
        }
    })
    .await;
    let written = printed.and_then(|()| report::write(format!("\n{}\n", done.summary()).as_bytes()));
    let written = written.and_then(|()| args.report.map_or(Ok(()), |path| save(&done, &path)));
    if let Err(error) = written {
        console::error(&format!("cannot write: {error}"));
        return FAILED;
    }
    if done.failed() == 0 { SUCCEEDED } else { FAILED }
}

fn print(outcome: &Outcome) -> io::Result<()> {
    // The text may come from the tested host, so its control characters are escaped.
    report::write(format!("{}\n", Printable(&outcome.to_string())).as_bytes())
}

fn save(report: &Report, path: &Path) -> io::Result<()> {
    std::fs::write(path, printable_json(report.to_json()) + "\n")
}
