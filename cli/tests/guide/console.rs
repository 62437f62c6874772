//! Runs the `console` blocks of the guide, and compares what the commands print with what the pages show.
//!
//! A line that begins with `$ ` is a command, which goes on in the next line if it ends with a backslash. What follows is its output.
//! Standard output and standard error have to come in the order of the page, each for itself: which of the two is seen first at a
//! terminal differs. `…` in a line stands for any text, and the numbers of `"ms"` are not compared.
//!
//! The commands of a page run in a clone of this project; those of blocks with the word `new-folder` run in a folder that is empty at
//! first, one for each page. A block with the word `fails` ends with a command that fails; all other commands succeed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

use crate::book::{self, Block};
use crate::shell::{Shell, lacks_python};

/// Parts of the warnings that tell what a machine lacks. They come on some machines only.
pub(crate) const OF_MACHINE: [&str; 3] = [
    "run as the folder's owner and not as users of their own",
    "the epoll watches of all commands are counted together",
    "the kernel's buffers of private networks have no bound",
];

struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.content {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                shown: Vec::new(),
            }),
            (None, Some(step)) if step.command.ends_with('\\') => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (None, Some(step)) => step.shown.push(line.clone()),
            (None, None) => panic!("line {}: output before a command", block.line),
        }
    }
    steps
}

/// The line without the durations in it.
pub(crate) fn masked(line: &str) -> String {
    let mut parts = line.split("\"ms\":");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str("\"ms\":");
        masked.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    masked
}

/// Whether the line is what the page shows.
fn is_shown(shown: &str, line: &str) -> bool {
    let (shown, line) = (masked(shown), masked(line));
    let mut parts: Vec<&str> = shown.split('…').collect();
    let (Some(last), false) = (parts.pop(), parts.is_empty()) else {
        return shown == line;
    };
    let mut rest = line.as_str();
    for (index, part) in parts.iter().enumerate() {
        match rest.find(part) {
            Some(at) if index > 0 || at == 0 => rest = rest.get(at + part.len()..).unwrap_or_default(),
            _ => return false,
        }
    }
    rest.ends_with(last)
}

/// What differs, or none.
fn difference(shown: &[String], stdout: &str, stderr: &str) -> Option<String> {
    let (mut out, mut err): (VecDeque<_>, VecDeque<_>) = (stdout.lines().collect(), stderr.lines().collect());
    for line in shown {
        let is_next = |lines: &VecDeque<&str>| lines.front().is_some_and(|next| is_shown(line, next));
        if is_next(&out) {
            out.pop_front();
        } else if is_next(&err) {
            err.pop_front();
        } else {
            return Some(format!("the page shows the line {line}"));
        }
    }
    let rest: Vec<_> = out.into_iter().chain(err).collect();
    (!rest.is_empty()).then(|| format!("the page does not show {}", rest.join("\n")))
}

/// Standard error without what cargo says of a build, and without what the host says of this machine: neither is part of a page.
pub(crate) fn of_the_command(stderr: &str) -> String {
    let builds = ["Blocking ", "Compiling ", "Finished "];
    let is_build = |line: &str| builds.iter().any(|word| line.trim_start().starts_with(word));
    let is_of_machine = |line: &str| line.contains("WARN") && OF_MACHINE.iter().any(|part| line.contains(part));
    stderr
        .lines()
        .filter(|line| !is_build(line) && !is_of_machine(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn check(page: &Path, shell: &Shell, problems: &mut String) {
    let new_folder = TempDir::new().unwrap();
    for block in book::blocks(page).iter().filter(|block| block.has("console")) {
        let folder = if block.has("new-folder") {
            new_folder.path().to_owned()
        } else {
            book::root()
        };
        let steps = steps(block);
        for (index, step) in steps.iter().enumerate() {
            let output = shell.run(&step.command, &folder);
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = of_the_command(&String::from_utf8_lossy(&output.stderr));
            let may_fail = block.has("fails") && index + 1 == steps.len();
            let problem = if output.status.success() == may_fail {
                Some(format!("{}", output.status))
            } else {
                difference(&step.shown, &stdout, &stderr)
            };
            if let Some(problem) = problem {
                writeln!(
                    problems,
                    "{}:{}: {}\n{problem}\n-- stdout\n{stdout}-- stderr\n{stderr}",
                    page.display(),
                    block.line,
                    step.command,
                )
                .unwrap();
            }
        }
    }
}

/// One after the other: each has calls in networks and with ports of its own, but the builds wait for each other anyway.
#[test]
fn the_commands_of_the_pages_print_what_the_pages_show() {
    if lacks_python() {
        return;
    }
    let shell = Shell::new();
    // The output of the build is not part of the pages.
    shell.run("capsule run docs/guide/capsule no-such-action", &book::root());
    let mut problems = String::new();
    for page in book::pages() {
        check(&page, &shell.of_another_reader(), &mut problems);
    }
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn a_warning_of_the_machine_is_no_output_of_the_command() {
    let warning = format!("WARN {}: newuidmap is missing", OF_MACHINE[1]);
    let stderr = format!("a\n{warning}\n   Compiling x v0.1.0\nWARN denied: spawn\n");
    assert_eq!(of_the_command(&stderr), "a\nWARN denied: spawn\n");
}

#[test]
fn output_that_a_page_does_not_show_is_a_difference() {
    let shown = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    let differs = |lines: &[&str], out, err| difference(&shown(lines), out, err).is_some();
    assert!(!differs(&["a", "b", "c"], "a\nc\n", "b\n"));
    assert!(differs(&["a", "c", "b"], "a\nb\nc\n", ""));
    assert!(differs(&["a"], "a\nb\n", ""));
    assert!(differs(&["a"], "a\n", "warning\n"));
    assert!(differs(&["a", "b"], "a\n", ""));
    assert!(!differs(&["{\"id\":\"…\",\"ms\":1}"], "{\"id\":\"x\",\"ms\":27}", ""));
    assert!(differs(&["{\"id\":\"…\",\"n\":1}"], "{\"id\":\"x\",\"n\":2}", ""));
    assert!(differs(&["a…"], "ba", ""));
    assert!(!differs(&["…a"], "ba", ""));
}
