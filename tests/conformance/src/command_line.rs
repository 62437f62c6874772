//! The program of an implementer: options, a line for each case, reports, and the exit code.
//!
//! The program runs itself again for each case, with its own arguments and one hidden option, as the
//! [`watcher`](crate::watcher), and that one runs it once more, with another hidden option, as the process in which the host is made and
//! the case is run.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{ArgAction, Args, Parser};

use crate::case::{CASES, Case, Level};
use crate::drive::{Others, Terms, drive};
use crate::format::Format;
use crate::host::Host;
use crate::report::{LEVELS, Report, level_name};
use crate::runner::{self, Watchers};
use crate::suite::Selection;
use crate::text::one_line;
use crate::watcher::{Bounds, Ended, leave, watch};

/// The hidden options.
const CASE: &str = "internal-case";
const ALONE: &str = "internal-alone";
const FOLDER: &str = "internal-folder";

// A parser that has no description of its own takes this one.
/// Judge a host of `astrid:process` by the conformance suite.
///
/// Prints one line for each case: `ok`, `FAIL` or `n/a`, the clause, the case and the observation. A case that cannot be tried on
/// this host is `n/a`, with the reason, and never counts as passed. Every case runs in a process of its own, with a host and a
/// workspace of its own.
///
/// Exit code: 0 if no case failed, 1 if a case failed or the host could not be made, 2 for bad usage.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Run only the cases whose name contains TEXT, such as `s1_` or `i3_no_oracle`. May be repeated.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Leave out the cases whose name contains TEXT. May be repeated.
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,

    /// Run only the cases of a level: what the interface says, what the contract adds, or what needs Linux and confinement. May be
    /// repeated.
    #[arg(long, value_name = "LEVEL", value_parser = levels())]
    level: Vec<Level>,

    /// List the selected cases, and run none: the clause, the level, the name and the behaviour.
    #[arg(long)]
    list: bool,

    /// Write a report of all cases into this file. May be repeated.
    ///
    /// The end of the name says the format: `.html` is a page, `.xml` is JUnit XML, everything else is JSON.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,

    /// The format of every report, whatever its name.
    #[arg(long, value_name = "FORMAT", requires = "report")]
    format: Option<Format>,

    /// How many cases run at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// Make the workspaces of the cases in this folder instead of the system's for temporary files.
    #[arg(long, value_name = "DIR")]
    workspaces: Option<PathBuf>,

    /// How long a case may take, such as 90s or 5m. A case that takes longer has failed.
    #[arg(long, value_name = "DURATION", default_value = "150s", value_parser = duration)]
    timeout: Duration,

    /// How much memory a case may take: the host and all its processes, in bytes, or with a unit such as 512MiB or 2G. A case that
    /// takes more has failed. The memory is sampled ten times a second.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = size)]
    max_memory: u64,

    /// Show what the host writes to its standard output and error, as it comes. Otherwise its end is in the reports.
    #[arg(long)]
    show_output: bool,

    #[arg(long = CASE, hide = true, action = ArgAction::Set)]
    internal_case: Option<String>,

    #[arg(long = ALONE, hide = true)]
    internal_alone: bool,

    #[arg(long = FOLDER, hide = true)]
    internal_folder: Option<PathBuf>,
}

/// How a run ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// 0: no case failed.
    Succeeded,
    /// 1: a case failed, or the host could not be made, or a result could not be written.
    Failed,
    /// 2: the options are not valid, and no case ran.
    BadUsage,
}

impl End {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::BadUsage => 2,
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        end.code().into()
    }
}

/// Why a run could not be made, or not be finished.
struct Stopped(End, String);

/// Judges the host that `host` makes, as the arguments of this process say: [`Options`], with `--help`. Returns the
/// [exit code](End).
///
/// `host` is called within a tokio runtime with all drivers, in the process that prints and in the process of each case.
pub fn main<H: Host, E: Display>(host: impl FnOnce() -> Result<H, E>) -> ExitCode {
    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }
    let program = std::env::args().next().unwrap_or_default();
    Program::parse().options.run(&program, host).into()
}

impl Options {
    /// Shows what the host writes, as `--show-output` does.
    pub const fn show_output(&mut self) {
        self.show_output = true;
    }

    /// Runs the cases and prints, or does what a hidden option asks for. It must be called in a process whose arguments were these
    /// options and those of the caller: the process of each case gets the same arguments and one more at the end, and so must come
    /// here, too. The caller must have no child process yet.
    ///
    /// `command` is how a user starts this program to judge the same host. Reports say with it how to run a case again.
    ///
    /// `host` is called within a tokio runtime with all drivers: here for the host's description, and in each case's process.
    ///
    /// A program with further options flattens them into its own:
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// use clap::Parser;
    ///
    /// #[derive(Parser)]
    /// struct Cli {
    ///     /// The engine of my host.
    ///     #[arg(long)]
    ///     engine: Option<String>,
    ///     #[command(flatten)]
    ///     suite: capsule_conformance::Options,
    /// }
    ///
    /// # #[cfg(feature = "capsule-host")]
    /// # fn host(_: Option<&str>) -> Result<capsule_conformance::CapsuleHost, String> {
    /// #     capsule_conformance::CapsuleHost::confined().map_err(|error| error.to_string())
    /// # }
    /// # #[cfg(feature = "capsule-host")]
    /// fn main() -> ExitCode {
    ///     let Cli { engine, suite } = Cli::parse();
    ///     suite.run("my-judge", || host(engine.as_deref())).into()
    /// }
    /// # #[cfg(not(feature = "capsule-host"))]
    /// # fn main() {}
    /// ```
    pub fn run<H: Host, E: Display>(self, command: &str, host: impl FnOnce() -> Result<H, E>) -> End {
        let ended = match (&self.internal_case, &self.internal_folder) {
            (None, _) => self.judge(command, host),
            (Some(case), None) => self.watch(case),
            (Some(case), Some(folder)) => self.run_case(case, folder, host),
        };
        ended.unwrap_or_else(|Stopped(end, why)| {
            let line = format!("error: {}\n", one_line(&why));
            // There is no other place to say it.
            drop(io::stderr().write_all(line.as_bytes()));
            end
        })
    }

    /// Runs all cases, each in a process of its own.
    fn judge<H: Host, E: Display>(&self, command: &str, host: impl FnOnce() -> Result<H, E>) -> Result<End, Stopped> {
        let bad_usage = |why: String| Stopped(End::BadUsage, why);
        let selection = Selection {
            filter: self.filter.clone(),
            skip: self.skip.clone(),
            levels: self.level.clone(),
        };
        let cases = selection.cases().map_err(|error| bad_usage(error.to_string()))?;
        if self.list {
            let lines: String = cases.iter().map(listed).collect();
            return print(&lines).map(|()| End::Succeeded).map_err(cannot_write);
        }
        // Checked before the cases run, because they take a while.
        for path in &self.report {
            let written = fs::write(path, "");
            written.map_err(|error| bad_usage(format!("--report: cannot write {}: {error}", path.display())))?;
        }
        if let Some(folder) = &self.workspaces {
            let probed = tempfile::tempdir_in(folder);
            probed.map_err(|error| bad_usage(format!("--workspaces: cannot use {}: {error}", folder.display())))?;
        }
        let runtime = runtime()?;
        let host = {
            let _within = runtime.enter();
            host()
                .map_err(|error| Stopped(End::Failed, error.to_string()))?
                .describe()
        };
        // A host that was made only to be asked must not keep this waiting.
        runtime.shutdown_background();
        let watchers = Watchers {
            arguments: std::env::args_os().skip(1).collect(),
            case: format!("--{CASE}"),
            alone: format!("--{ALONE}"),
            show_output: self.show_output,
        };
        let mut printed = Ok(());
        let outcomes = runner::run(&cases, self.jobs.into(), &watchers, |outcome| {
            if printed.is_ok() {
                // The text may come from the tested host.
                printed = print(&format!("{}\n", one_line(&outcome.to_string())));
            }
        });
        let report = Report {
            host,
            command: command.to_owned(),
            outcomes,
        };
        let written = printed.and_then(|()| print(&format!("\n{}\n", report.summary())));
        written.and_then(|()| self.save(&report)).map_err(cannot_write)?;
        Ok(if report.failed() == 0 {
            End::Succeeded
        } else {
            End::Failed
        })
    }

    fn save(&self, report: &Report) -> io::Result<()> {
        self.report.iter().try_for_each(|path| {
            let format = self.format.unwrap_or_else(|| Format::of(path));
            fs::write(path, report.render(format))
        })
    }

    /// Watches over the process of one case, and prints how the case ended, as JSON.
    fn watch(&self, case: &str) -> Result<End, Stopped> {
        named(case)?;
        let bounds = Bounds {
            time: self.timeout,
            memory: self.max_memory,
            workspaces: self.workspaces.clone(),
        };
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let ended = watch(arguments, &format!("--{FOLDER}"), &bounds);
        let ended = ended.map_err(|error| Stopped(End::Failed, format!("the case cannot be started: {error}")))?;
        let json = serde_json::to_string(&ended).map_err(|error| cannot_write(error.into()))?;
        print(&json).map(|()| End::Succeeded).map_err(cannot_write)
    }

    /// Runs one case in this process, and leaves how it ended for the watcher.
    fn run_case<H: Host, E: Display>(
        &self,
        case: &str,
        folder: &Path,
        host: impl FnOnce() -> Result<H, E>,
    ) -> Result<End, Stopped> {
        let case = named(case)?;
        let terms = Terms {
            time: self.timeout,
            workspaces: Some(folder.to_owned()),
            others: if self.internal_alone {
                Others::Nowhere
            } else {
                Others::Elsewhere
            },
        };
        let runtime = runtime()?;
        let ended: Ended = runtime.block_on(async {
            let host = host().map_err(|error| Stopped(End::Failed, error.to_string()))?;
            Ok(drive(&host, case, &terms).await)
        })?;
        leave(folder, &ended).map_err(cannot_write)?;
        runtime.shutdown_background();
        Ok(End::Succeeded)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Stopped> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Stopped(End::Failed, format!("cannot start threads: {error}")))
}

fn named(name: &str) -> Result<Case, Stopped> {
    let case = CASES.iter().find(|case| case.name == name).copied();
    case.ok_or_else(|| Stopped(End::BadUsage, format!("there is no case {name:?}")))
}

fn listed(case: &Case) -> String {
    let (clause, level) = (case.clause(), level_name(case.level));
    format!("{clause:<3}  {level:<9}  {}  {}\n", case.name, case.title)
}

/// Prints to standard output.
fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(text.as_bytes())?;
    output.flush()
}

fn cannot_write(error: io::Error) -> Stopped {
    Stopped(End::Failed, format!("cannot write: {error}"))
}

fn levels() -> impl clap::builder::TypedValueParser<Value = Level> {
    PossibleValuesParser::new(LEVELS.map(level_name)).map(|name| {
        let level = LEVELS.into_iter().find(|level| level_name(*level) == name);
        // The parser has taken no other name.
        level.unwrap_or(Level::Interface)
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("no case could run in no time".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}: a duration such as 90s or 5m")),
    }
}

/// A number of bytes, with or without a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).map(str::to_ascii_lowercase).as_deref() {
        Some("" | "b") => 0,
        Some("k" | "kib") => 10,
        Some("m" | "mib") => 20,
        Some("g" | "gib") => 30,
        _ => return Err("the units are K, M and G, or KiB, MiB and GiB, as in 512MiB or 2G".into()),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "not a number of bytes such as 1048576, 512MiB or 2G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let arguments = std::iter::once(&"judge").chain(arguments);
        Cli::try_parse_from(arguments)
            .map(|cli| cli.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_bound_every_case() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.timeout, crate::drive::GIVE_UP);
        assert_eq!(options.max_memory, 2 << 30);
        assert_eq!(options.jobs, 4);
    }

    #[test]
    fn bounds_have_units() {
        let options = parse(&["--timeout", "2m", "--max-memory", "512MiB"]).unwrap();
        assert_eq!(
            (options.timeout, options.max_memory),
            (Duration::from_secs(120), 512 << 20)
        );
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "2X", "G", "0", "-1", "99999999999G"] {
            size(wrong).unwrap_err();
        }
        for wrong in [
            ["--timeout", "0s"],
            ["--timeout", "5"],
            ["--jobs", "0"],
            ["--level", "all"],
            ["--quick", "1"],
        ] {
            parse(&wrong).unwrap_err();
        }
    }

    #[test]
    fn a_format_needs_a_report() {
        assert!(parse(&["--format", "html"]).unwrap_err().contains("--report"));
        let options = parse(&["--report", "a", "--report", "b", "--format", "junit"]).unwrap();
        assert_eq!((options.report.len(), options.format), (2, Some(Format::Junit)));
    }
}
