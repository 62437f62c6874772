//! The command line of an implementer, tried on hosts that abort, hang, take all memory and leave processes.
//!
//! This program is also the command line under test: as `judge HOST OPTIONS` it judges one of these hosts.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test, whose hosts write to standard error so that the test sees it"
)]

use std::fs::{self, File};
use std::future::pending;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use capsule_conformance::{
    Answer, CallFailure, CapsuleHost, CapsuleRunning, Description, Host, Load, Metrics, Options, Refusal, Running,
    Start,
};
use clap::{Parser, ValueEnum};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tempfile::TempDir;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("judge") {
        let Judge {
            kind, folder, suite, ..
        } = Judge::parse();
        return suite.run("judge-mine", || Faulty::new(kind, folder)).into();
    }
    let trials = [
        Trial::test("a_list_runs_nothing", a_list_runs_nothing),
        Trial::test("what_is_wrong_is_said_and_nothing_runs", what_is_wrong_is_said),
        Trial::test("a_sound_host_passes_with_every_report", every_report),
        Trial::test("a_case_that_must_be_alone_runs_after_the_others", alone),
        Trial::test("workspaces_are_made_where_the_user_says", workspaces),
        Trial::test("the_format_can_be_named", format),
        Trial::test("as_many_cases_as_jobs_run_at_once", jobs),
        Trial::test("hostile_text_stays_text", hostile_text),
        Trial::test("a_host_that_aborts_fails_its_case_only", aborts),
        Trial::test("a_host_that_cannot_be_made_is_an_error", cannot_be_made),
        Trial::test("a_host_that_hangs_fails_in_time", || {
            times_out("hangs", "did not end within 1s")
        }),
        Trial::test("a_host_that_blocks_its_driver_is_killed", || {
            times_out("blocks", "blocks the thread that drives it")
        }),
        Trial::test("a_host_that_takes_memory_is_killed", || too_much_memory("takes-memory")),
        Trial::test("an_orphan_that_takes_memory_is_killed", || {
            too_much_memory("orphan-takes-memory")
        }),
        Trial::test("what_a_host_leaves_running_is_ended", nothing_is_left),
        Trial::test("a_runner_that_is_killed_leaves_nothing", killed_runner),
        Trial::test("the_host_of_the_documentation_can_be_judged", toy_host),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

#[derive(Parser)]
struct Judge {
    /// The word `judge`.
    _word: String,
    kind: Kind,
    /// A folder for what a host and its test share.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    suite: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sound,
    CannotBeMade,
    /// Gives the workspace as the reason for which no case is applicable.
    TellsWorkspace,
    /// Its first start waits for another start in another process.
    Meets,
    /// Answers every action but the plan with a verdict whose text is [`HOSTILE`].
    Hostile,
    Aborts,
    Hangs,
    Blocks,
    TakesMemory,
    OrphanTakesMemory,
    /// Leaves a process that holds a lock.
    Leaves,
    /// The same, and then hangs.
    LeavesAndHangs,
}

/// Text that would be an element, end a section of XML, be no XML at all, or move the cursor.
const HOSTILE: &str = "<script>alert(1)</script> ]]> &amp; \" ' \u{0}\u{1b}[2J\u{202e}\u{ffff} </pre></testcase>";

struct Faulty {
    kind: Kind,
    folder: PathBuf,
    inner: CapsuleHost,
}

struct FaultyRunning {
    kind: Kind,
    inner: CapsuleRunning,
}

impl Faulty {
    fn new(kind: Kind, folder: PathBuf) -> Result<Self, String> {
        if kind == Kind::CannotBeMade {
            return Err("there is no engine".into());
        }
        let inner = CapsuleHost::confined().map_err(|error| error.to_string())?;
        Ok(Self {
            kind,
            folder,
            inner: inner.cache_dir(Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"))),
        })
    }

    /// Leaves a process with the lock on a file of the folder, and returns when it holds it.
    fn leave(&self) {
        // A host is started for the plan, and another one for the steps.
        if self.folder.join("lock").exists() {
            return;
        }
        let script =
            r#"setsid -f flock "$0/lock" sh -c 'echo held; exec sleep 10000' | read held; echo the lock is $held >&2"#;
        sh(script, &self.folder);
        eprintln!("left");
    }
}

impl Host for Faulty {
    type Running = FaultyRunning;

    fn describe(&self) -> Description {
        let mut description = self.inner.describe();
        if self.kind == Kind::Hostile {
            description.notes.push(HOSTILE.into());
        }
        description
    }

    async fn start(&self, start: Start) -> Result<FaultyRunning, Refusal> {
        match self.kind {
            Kind::TellsWorkspace => return Err(Refusal::NotOffered(format!("works in {:?}", start.workspace))),
            Kind::Meets => {
                let folder = self.folder.clone();
                let met = tokio::task::spawn_blocking(move || meet(&folder)).await;
                return Err(Refusal::NotOffered(format!("met: {met:?}")));
            }
            Kind::Hangs => return pending().await,
            Kind::Blocks => loop {
                std::thread::park();
            },
            Kind::TakesMemory => {
                // No more than the machine has, should nothing stop it.
                let taken: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 16 << 20]).collect();
                eprintln!("took {}", taken.len());
                return pending().await;
            }
            Kind::OrphanTakesMemory => {
                // `tail` keeps the last line, which is all of it.
                sh(
                    "setsid -f sh -c 'head -c 1G /dev/zero | tail -n 1 >/dev/null'",
                    &self.folder,
                );
                return pending().await;
            }
            Kind::Leaves => self.leave(),
            Kind::LeavesAndHangs => {
                self.leave();
                return pending().await;
            }
            Kind::Sound | Kind::CannotBeMade | Kind::Hostile | Kind::Aborts => {}
        }
        Ok(FaultyRunning {
            kind: self.kind,
            inner: self.inner.start(start).await?,
        })
    }
}

/// Waits for another process at a named pipe: its opening ends when the other end is opened.
fn meet(folder: &Path) -> std::io::Result<()> {
    let is_first = File::create_new(folder.join("first")).is_ok();
    File::options()
        .write(is_first)
        .read(!is_first)
        .open(folder.join("pipe"))
        .map(drop)
}

impl Running for FaultyRunning {
    async fn load(&self, load: Load) -> Result<(), Refusal> {
        self.inner.load(load).await
    }

    async fn call(
        &self,
        capsule: &str,
        principal: Option<&str>,
        action: &str,
        payload: Vec<u8>,
    ) -> Result<Answer, CallFailure> {
        if action != "plan" && self.kind == Kind::Aborts {
            eprintln!("this host has no luck");
            std::process::abort();
        }
        if action != "plan" && self.kind == Kind::Hostile {
            let case = capsule.rsplit_once('-').map_or(capsule, |(case, _)| case);
            let data = serde_json::json!({"case": case, "verdict": "failed", "data": HOSTILE});
            eprintln!("{HOSTILE}");
            return Ok(Answer {
                action: "continue".into(),
                data: Some(data.to_string()),
            });
        }
        self.inner.call(capsule, principal, action, payload).await
    }

    async fn reload(&self, capsule: &str) -> Result<(), Refusal> {
        self.inner.reload(capsule).await
    }

    async fn unload(&self, capsule: &str) -> Result<(), Refusal> {
        self.inner.unload(capsule).await
    }

    async fn metrics(&self) -> Result<Metrics, Refusal> {
        self.inner.metrics().await
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "processes that a faulty host starts, and that no guest asks for"
)]
fn sh(script: &str, folder: &Path) {
    let status = Command::new("sh").arg("-c").arg(script).arg(folder).status();
    assert!(status.expect("sh can be started").success(), "{script}");
}

#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn judge(host: &str, options: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["judge", host]).args(options);
    command
}

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(host: &str, options: &[&str]) -> Result<Run, Failed> {
    Run::of(judge(host, options).stdin(Stdio::null()).output()?)
}

impl Run {
    fn of(Output { status, stdout, stderr }: Output) -> Result<Self, Failed> {
        Ok(Self {
            code: status.code(),
            stdout: String::from_utf8(stdout)?,
            stderr: String::from_utf8(stderr)?,
        })
    }

    /// Checks the exit code and texts of both outputs together.
    fn expect(&self, code: i32, texts: &[&str]) -> Result<(), Failed> {
        let all = format!("{}{}", self.stdout, self.stderr);
        let missing: Vec<_> = texts.iter().filter(|text| !all.contains(**text)).collect();
        if self.code == Some(code) && missing.is_empty() {
            return Ok(());
        }
        Err(format!("exit code {:?}, without {missing:?}:\n{all}", self.code).into())
    }
}

/// A run with a report in every format.
struct Reports {
    done: Run,
    json: PathBuf,
    xml: PathBuf,
    html: PathBuf,
    _folder: TempDir,
}

/// Runs one case with every report.
fn reports(host: &str) -> Result<Reports, Failed> {
    let folder = tempfile::tempdir()?;
    let [json, xml, html] = ["a.json", "b.xml", "c.html"].map(|name| folder.path().join(name));
    let names = [&json, &xml, &html].map(|path| path.display().to_string());
    let mut options = vec!["--filter", "s1_bad_env_keys"];
    options.extend(names.iter().flat_map(|name| ["--report", name]));
    Ok(Reports {
        done: run(host, &options)?,
        json,
        xml,
        html,
        _folder: folder,
    })
}

/// Whether there is a Python, whose parsers read the reports. Tells the reader of the tests if there is none.
#[expect(clippy::disallowed_methods, reason = "a program that the host does not run")]
fn has_python() -> Result<bool, Failed> {
    let is_found = Command::new("python3").arg("--version").output().is_ok();
    if !is_found && std::env::var_os("CAPSULE_REQUIRE_ALL").is_some() {
        return Err("python3 is not installed".into());
    }
    if !is_found {
        eprintln!("skipped: python3 is not installed");
    }
    Ok(is_found)
}

/// The result of a Python program that reads a file. Its parsers are not this project's.
#[expect(clippy::disallowed_methods, reason = "a program that the host does not run")]
fn python(program: &str, file: &Path) -> Result<String, Failed> {
    let output = Command::new("python3").arg("-c").arg(program).arg(file).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The texts of a JUnit file: of each case the name, and the text and message of each element in it.
const READ_XML: &str = "
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
print(root.tag, sorted(root.attrib.items()))
for case in root.iter('testcase'):
    print(case.attrib['classname'], case.attrib['name'], [(part.tag, part.get('message'), part.text) for part in case])
";

/// The elements of a page by name, and its text.
const READ_HTML: &str = "
import sys
from html.parser import HTMLParser
class Reader(HTMLParser):
    void = {'meta'}
    def __init__(self):
        super().__init__()
        self.open, self.names, self.text = [], set(), ''
    def handle_starttag(self, name, attributes):
        self.names.add(name)
        assert all(not key.startswith('on') for key, _ in attributes), attributes
        if name not in self.void: self.open.append(name)
    def handle_endtag(self, name):
        assert self.open.pop() == name, name
    def handle_data(self, data):
        self.text += data
reader = Reader()
reader.feed(open(sys.argv[1], encoding='utf-8').read())
assert not reader.open, reader.open
print(sorted(reader.names))
print(reader.text)
";

fn a_list_runs_nothing() -> Result<(), Failed> {
    let listed = run(
        "cannot-be-made",
        &["--list", "--filter", "s1_", "--filter", "s6_not", "--skip", "s1_nul"],
    )?;
    listed.expect(0, &["S1 ", "s1_bad_env_keys", "s6_not_found"])?;
    let other = listed
        .stdout
        .lines()
        .find(|line| line.contains("s1_nul") || line.contains("s2_"));
    other.map_or(Ok(()), |line| Err(line.into()))
}

fn what_is_wrong_is_said() -> Result<(), Failed> {
    let wrong: [(&[&str], &str); 10] = [
        (&["--fitler", "s1_"], "--filter"),
        (
            &["--filter", "s1_", "--filter", "s99_"],
            "--filter: no case has a name that holds \"s99_\"",
        ),
        (&["--skip", "s99_"], "--skip: no case has a name that holds \"s99_\""),
        (
            &["--filter", "s1_", "--skip", "s1_"],
            "no case is left by --filter s1_ --skip s1_",
        ),
        (&["--level", "all"], "interface, contract, platform"),
        (
            &["--report", "/nowhere/at/all.html"],
            "--report: cannot write /nowhere/at/all.html",
        ),
        (
            &["--workspaces", "/nowhere/at/all"],
            "--workspaces: cannot use /nowhere/at/all",
        ),
        (&["--format", "html"], "--report"),
        (&["--timeout", "0s"], "no case could run in no time"),
        (&["--max-memory", "2X"], "the units are K, M and G"),
    ];
    // A host that would be an error of its own, with another code.
    wrong
        .iter()
        .try_for_each(|(options, text)| run("cannot-be-made", options)?.expect(2, &[text]))
}

fn every_report() -> Result<(), Failed> {
    if !has_python()? {
        return Ok(());
    }
    let Reports {
        done,
        json,
        xml,
        html,
        _folder,
    } = reports("sound")?;
    done.expect(
        0,
        &[
            "ok    S1   s1_bad_env_keys  ",
            "\n1 passed, 0 failed, 0 not applicable\n",
            ": all 1 passed\n",
        ],
    )?;
    let document: Value = serde_json::from_slice(&fs::read(json)?)?;
    assert_eq!(
        (&document["passed"], &document["cases"][0]["verdict"]),
        (&1.into(), &"passed".into())
    );
    assert_eq!(document["levels"].as_object().map(serde_json::Map::len), Some(1));
    let junit = python(READ_XML, &xml)?;
    assert!(
        junit.contains("('failures', '0')") && junit.contains(".S1 s1_bad_env_keys [('system-out'"),
        "{junit}"
    );
    let page = python(READ_HTML, &html)?;
    assert!(
        page.contains("judge-mine --filter s1_bad_env_keys") && !page.contains("'script'"),
        "{page}"
    );
    Ok(())
}

fn alone() -> Result<(), Failed> {
    let done = run("sound", &["--filter", "u2_figures", "--filter", "x6_accounting"])?;
    done.expect(0, &["ok    U2 ", "2 passed, 0 failed, 0 not applicable"])?;
    // It is the faster one.
    let lines: Vec<_> = done.stdout.lines().collect();
    assert!(lines[0].contains("x6_") && lines[1].contains("u2_figures"), "{lines:?}");
    Ok(())
}

fn workspaces() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().canonicalize()?.display().to_string();
    let done = run(
        "tells-workspace",
        &["--filter", "s1_bad_env_keys", "--workspaces", &path],
    )?;
    done.expect(
        0,
        &[
            &format!("works in \"{path}/conformance-"),
            "0 passed, 0 failed, 1 not applicable",
        ],
    )?;
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "a workspace is left");
    Ok(())
}

fn format() -> Result<(), Failed> {
    if !has_python()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.json");
    let path = file.display().to_string();
    let options = ["--filter", "s1_bad_env_keys", "--report", &path, "--format", "junit"];
    run("tells-workspace", &options)?.expect(0, &[])?;
    let junit = python(READ_XML, &file)?;
    assert!(
        junit.contains("('skipped', '1')") && junit.contains("('skipped', 'works in"),
        "{junit}"
    );
    Ok(())
}

fn jobs() -> Result<(), Failed> {
    for (jobs, code, text) in [
        ("2", 0, "0 passed, 0 failed, 2 not applicable"),
        ("1", 1, "0 passed, 2 failed, 0 not applicable"),
    ] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().display().to_string();
        sh("mkfifo \"$0/pipe\"", folder.path());
        let filters = ["--filter", "s1_bad_env_keys", "--filter", "s6_cannot_be_executed"];
        // Two starts beside each other need only the time of a start.
        let timeout = if code == 0 { "60s" } else { "1s" };
        let options = ["--jobs", jobs, "--timeout", timeout, "--folder", &path];
        run("meets", &[&filters[..], &options].concat())?.expect(code, &[text])?;
    }
    Ok(())
}

fn hostile_text() -> Result<(), Failed> {
    if !has_python()? {
        return Ok(());
    }
    let Reports {
        done,
        json,
        xml,
        html,
        _folder,
    } = reports("hostile")?;
    let shown = HOSTILE.replace('\0', r"\u{0}").replace('\u{1b}', r"\u{1b}");
    let shown = shown.replace('\u{202e}', r"\u{202e}").replace('\u{ffff}', r"\u{ffff}");
    done.expect(1, &["FAIL  S1 ", &shown])?;
    let is_hostile = |c: char| matches!(c, '\0' | '\u{1b}' | '\u{202e}');
    assert!(!done.stdout.contains(is_hostile), "{:?}", done.stdout);
    let text = fs::read_to_string(json)?;
    assert!(!text.contains(is_hostile), "{text:?}");
    let document: Value = serde_json::from_str(&text)?;
    let seen = document["cases"][0]["seen"].as_str().unwrap_or_default();
    assert!(seen.contains(HOSTILE), "{seen:?}");
    // The parsers take them, find the text whole, and no element of it.
    let junit = python(READ_XML, &xml)?;
    let shown_by_python = shown.replace('\\', r"\\").replace('\'', r"\'");
    assert_eq!(junit.matches(&shown_by_python).count(), 3, "{junit}");
    let page = python(READ_HTML, &html)?;
    // In the note, in what was seen, and in what the host wrote.
    assert_eq!(page.matches(&shown).count(), 3, "{page}");
    assert!(!page.contains("'script'"), "{page}");
    Ok(())
}

fn aborts() -> Result<(), Failed> {
    let done = run(
        "aborts",
        &["--filter", "s1_bad_env_keys", "--filter", "s6_cannot_be_executed"],
    )?;
    done.expect(
        1,
        &[
            "FAIL  S1   s1_bad_env_keys  the process of the host ended by signal 6",
            "its last line was: this host has no luck",
            "FAIL  S6   s6_cannot_be_executed",
            "0 passed, 2 failed, 0 not applicable",
        ],
    )
}

fn cannot_be_made() -> Result<(), Failed> {
    let done = run("cannot-be-made", &["--filter", "s1_bad_env_keys"])?;
    done.expect(1, &["error: there is no engine\n"])?;
    if done.stdout.is_empty() {
        Ok(())
    } else {
        Err(done.stdout.into())
    }
}

fn times_out(host: &str, why: &str) -> Result<(), Failed> {
    run(host, &["--filter", "s1_bad_env_keys", "--timeout", "1s"])?.expect(1, &["FAIL", why])
}

fn too_much_memory(host: &str) -> Result<(), Failed> {
    let bound = [
        "--filter",
        "s1_bad_env_keys",
        "--max-memory",
        "300M",
        "--timeout",
        "60s",
    ];
    run(host, &bound)?.expect(1, &["FAIL", "more than the bound of 300 MiB, and were killed"])?;
    // The host alone takes less.
    run("sound", &bound)?.expect(0, &["ok"])
}

/// Takes the lock that a host's process holds, waiting if `operation` does.
fn lock(folder: &Path, operation: FlockOperation) -> Result<(), Failed> {
    let file = File::open(folder.join("lock"))?;
    flock(&file, operation).map_err(|error| format!("a process is left: {error}").into())
}

fn nothing_is_left() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let done = run("leaves", &["--filter", "s1_bad_env_keys", "--folder", &path])?;
    done.expect(0, &["ok"])?;
    lock(folder.path(), FlockOperation::NonBlockingLockExclusive)
}

fn killed_runner() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let workspaces = tempfile::tempdir()?;
    let workspaces_path = workspaces.path().display().to_string();
    let options = [
        "--filter",
        "s1_bad_env_keys",
        "--folder",
        &path,
        "--workspaces",
        &workspaces_path,
        "--show-output",
    ];
    let mut command = judge("leaves-and-hangs", &options);
    let mut runner: Child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(runner.stderr.take().ok_or("its standard error is a pipe")?);
    let mut line = String::new();
    while line != "left\n" {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err("the host did not start".into());
        }
    }
    lock(folder.path(), FlockOperation::NonBlockingLockExclusive).expect_err("the process that is left runs");
    runner.kill()?;
    runner.wait()?;
    lock(folder.path(), FlockOperation::LockExclusive)?;
    // Everything that has this pipe ends, the watcher last.
    while lines.read_line(&mut line)? > 0 {}
    assert_eq!(fs::read_dir(workspaces.path())?.count(), 0, "a workspace is left");
    Ok(())
}

/// The host that `docs/conformance/judge-your-host.md` begins with: what it has passes, and what it lacks is named.
#[expect(clippy::disallowed_methods, reason = "a program that the host does not run")]
fn toy_host() -> Result<(), Failed> {
    // Cargo builds the examples with the tests, and sets no variables for their paths.
    let this = std::env::current_exe()?;
    let profile = this
        .parent()
        .and_then(Path::parent)
        .ok_or("tests are in PROFILE/deps")?;
    let program = profile.join("examples/toy_host");
    let options = ["--filter", "s6_codes_are_the_programs", "--filter", "x6_accounting"];
    let output = Command::new(&program).args(options).stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        let program = program.display();
        format!("{program}: {error}; `cargo build --workspace --example toy_host` makes it")
    })?;
    Run::of(output)?.expect(
        1,
        &[
            "ok    S6   s6_codes_are_the_programs",
            "FAIL  X6   x6_accounting",
            "`astrid:process/host@1.1.0#",
            "1 passed, 1 failed, 0 not applicable",
        ],
    )
}
