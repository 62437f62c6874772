//! Runs the command of an example's README, and compares the output with the README's own.
//!
//! The command is the first `sh` block of the README, and the output its first `json` block. Durations differ from run to run, so
//! every key `ms` is left out of the comparison. With `CAPSULE_WRITE_DOCS` set, the real output is written into the README instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What the README's command did.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) stdout: String,
    /// One line for each call.
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
    /// The folder in which the processes ran.
    pub(crate) workspace: TempDir,
}

impl Shown {
    /// The data that the call with this index returned, after a verdict.
    #[track_caller]
    pub(crate) fn data(&self, call: usize) -> &Value {
        &self.lines[call]["result"]["data"]
    }
}

/// Runs the command of the README of the example `name`. The output must be the README's, except for `ms` and the values of the
/// keys in `varying`.
#[track_caller]
pub(crate) fn run(name: &str, varying: &[&str]) -> Shown {
    let readme = root().join("example-capsules").join(name).join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let workspace = TempDir::new().unwrap();
    let mut arguments = words(block(&text, "sh").1);
    // The test runs in a copy of the folder that the README names. In a folder `data` there is only what an earlier run has left.
    if let Some(at) = arguments.iter().position(|word| word == "--workspace") {
        let folder = root().join(&arguments[at + 1]);
        if !folder.ends_with("data") {
            copy(&folder, workspace.path());
        }
        arguments.drain(at..at + 2);
    }
    let shown = finish(workspace, &arguments);
    let (before, expected, after) = block(&text, "json");
    if std::env::var_os("CAPSULE_WRITE_DOCS").is_some() {
        fs::write(&readme, format!("{before}{}{after}", shown.stdout)).unwrap();
        return shown;
    }
    let without = |line: &Value| {
        let mut line = line.clone();
        leave_out(&mut line, varying);
        line
    };
    let expected: Vec<Value> = expected
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let (expected, found): (Vec<_>, Vec<_>) = (
        expected.iter().map(without).collect(),
        shown.lines.iter().map(without).collect(),
    );
    assert_eq!(
        expected,
        found,
        "{} shows other lines than the command prints (CAPSULE_WRITE_DOCS=1 writes them); {shown:#?}",
        readme.display()
    );
    shown
}

/// Runs `capsule run` with these arguments after the workspace.
pub(crate) fn finish(workspace: TempDir, arguments: &[impl AsRef<str>]) -> Shown {
    let output = capsule(workspace.path(), arguments).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Shown {
        lines: stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect(),
        stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
        workspace,
    }
}

/// The command `capsule run --workspace <workspace> …`, not started yet.
pub(crate) fn capsule(workspace: &Path, arguments: &[impl AsRef<str>]) -> Command {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut command = command(env!("CARGO_BIN_EXE_capsule"));
    command
        .arg("run")
        .arg("--workspace")
        .arg(workspace)
        .args(arguments.iter().map(AsRef::as_ref))
        .current_dir(root())
        .env("XDG_CACHE_HOME", scratch.join("cache"))
        .env("XDG_STATE_HOME", scratch.join("state"))
        .env("XDG_CONFIG_HOME", scratch.join("config"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Reports a program that the test needs and this machine lacks. On a machine that must have everything, it fails.
pub(crate) fn lacks(program: &str) -> bool {
    let is_missing = !Path::new(program).exists();
    assert!(
        !is_missing || std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(),
        "missing: {program}"
    );
    if is_missing {
        eprintln!("skipped: {program} is missing");
    }
    is_missing
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the command under test is a program")]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// The text before the first block of this language, its content, and the text after it.
fn block<'t>(text: &'t str, language: &str) -> (&'t str, &'t str, &'t str) {
    let fence = format!("```{language}\n");
    let start = text.find(&fence).expect("the README has such a block") + fence.len();
    let end = start + text[start..].find("```").expect("the block has an end");
    (&text[..start], &text[start..end], &text[end..])
}

/// The words of a command line behind `cargo run --release -- run`, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let script = format!("cargo() {{ printf '%s\\0' \"$@\"; }}\n{line}");
    let output = command("sh").arg("-c").arg(script).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    let words: Vec<_> = words.split_terminator('\0').map(str::to_owned).collect();
    let start = ["run", "--release", "--", "run"].map(str::to_owned);
    assert!(words.starts_with(&start), "{words:?}");
    words[start.len()..].to_vec()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if entry.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry, &to);
        } else {
            fs::copy(&entry, &to).unwrap();
        }
    }
}

fn leave_out(value: &mut Value, varying: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| key != "ms" && !varying.contains(&&**key));
            fields.values_mut().for_each(|value| leave_out(value, varying));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| leave_out(value, varying)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
