//! Real MCP servers of PyPI and npm behind fresh instances: many calls at once, large frames, servers that are killed.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::readme::{capsule, command, root};

/// For a start on a busy machine, in milliseconds. Half of it is for the question that tells the revision.
const PATIENCE: u64 = 240_000;

/// The workspace that the example's `install` makes, once for all tests and runs; none where that is impossible.
fn servers() -> Option<&'static Path> {
    static SERVERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let installed = SERVERS.get_or_init(|| {
        let example = root().join("example-capsules/mcp-gateway");
        // Other versions are in another folder.
        let versions = ["install", "python.txt"].map(|name| fs::read_to_string(example.join(name)).unwrap());
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mcp-servers-{}", checksum(&versions.concat())));
        if !folder.exists() {
            let begun = folder.with_extension("begun");
            drop(fs::remove_dir_all(&begun));
            let installed = command("bash")
                .arg(example.join("install"))
                .arg(&begun)
                .status()
                .unwrap();
            if installed.code() == Some(77) {
                return None;
            }
            assert!(installed.success(), "{installed}");
            fs::rename(&begun, &folder).unwrap();
        }
        Some(folder)
    });
    let is_required = std::env::var_os("CAPSULE_REQUIRE_ALL").is_some();
    assert!(
        installed.is_some() || !is_required,
        "the MCP servers cannot be installed"
    );
    if installed.is_none() {
        eprintln!("skipped: the MCP servers cannot be installed on this machine");
    }
    installed.as_deref()
}

fn checksum(text: &str) -> u32 {
    text.bytes()
        .fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// The command, which makes the calls of its standard input.
struct Gateway {
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Gateway {
    fn start(workspace: &Path, options: &[&str]) -> Self {
        let fixed = ["--no-saved-grants", "--grant-all-asked"];
        let arguments: Vec<_> = fixed
            .iter()
            .chain(options)
            .chain(&["example-capsules/mcp-gateway", "-"])
            .collect();
        let mut command: Command = capsule(workspace, &arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn send(&mut self, id: &str, action: &str, payload: &Value) {
        writeln!(
            self.stdin,
            "{}",
            json!({ "id": id, "action": action, "payload": payload })
        )
        .unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The data of the answer to one call; a failure as it is told.
    fn ask(&mut self, action: &str, payload: &Value) -> Value {
        self.send("ask", action, payload);
        let mut answer = self.answer();
        match answer.pointer_mut("/result/data") {
            Some(data) => data.take(),
            None => answer,
        }
    }

    fn pid_of(&mut self, server: &str) -> i32 {
        let servers = self.ask("servers", &Value::Null);
        let of = |state: &&Value| state["id"] == server;
        let pid = &servers.as_array().unwrap().iter().find(of).unwrap()["running"]["pid"];
        pid.as_i64().unwrap().try_into().unwrap()
    }

    /// Ends the input, and waits for the command. Its servers are gone then.
    fn finish(mut self) -> Option<i32> {
        drop(self.stdin);
        self.child.wait().unwrap().code()
    }
}

/// How often a process was started, by the audit of a command that has ended.
fn starts(audit: &Path) -> usize {
    let records = fs::read_to_string(audit).unwrap();
    let is_start = |line: &&str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["operation"] == "spawn-persistent" && record["outcome"] == "ok"
    };
    records.lines().filter(is_start).count()
}

fn call(server: &str, tool: &str, arguments: Value) -> Value {
    json!({ "server": server, "tool": tool, "arguments": arguments, "timeout_ms": PATIENCE })
}

#[test]
fn each_server_starts_once_and_both_revisions_are_spoken() {
    let Some(folder) = servers() else { return };
    let outside = TempDir::new().unwrap();
    let audit = outside.path().join("audit");
    let mut gateway = Gateway::start(folder, &["--jobs", "8", "--audit", audit.to_str().unwrap()]);
    let names = ["time", "git", "everything", "filesystem"];
    for round in 0..3 {
        for name in names {
            gateway.send(
                &format!("{name}-{round}"),
                "tools",
                &json!({ "server": name, "timeout_ms": PATIENCE }),
            );
        }
    }
    for _ in 0..12 {
        let answer = gateway.answer();
        let tools = answer["result"]["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"));
        assert!(
            !tools.is_empty() && tools.iter().all(|tool| tool["inputSchema"].is_object()),
            "{answer}"
        );
    }
    let servers = gateway.ask("servers", &Value::Null);
    let revisions: HashMap<_, _> = servers
        .as_array()
        .unwrap()
        .iter()
        .map(|server| {
            (
                server["id"].as_str().unwrap(),
                server["running"]["revision"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(revisions["time"], "2026-07-28");
    assert_eq!(revisions["git"], "2026-07-28");
    assert_eq!(revisions["everything"], "2025-11-25");
    assert_eq!(revisions["filesystem"], "2025-11-25");
    let error = gateway.ask("tools", &json!({ "server": "none" })).to_string();
    assert!(
        error.contains("there is no MCP server") && error.contains("filesystem"),
        "{error}"
    );
    let logs = gateway.ask("logs", &json!({ "server": "filesystem" })).to_string();
    assert!(logs.contains("running on stdio"), "{logs}");
    let stopped = gateway.ask("stop", &json!({ "server": "time" }));
    assert_eq!(stopped["code"], 0, "it ends by itself with its input: {stopped}");
    assert_eq!(gateway.finish(), Some(1), "the name of one call was wrong");
    assert_eq!(starts(&audit), 4);
}

/// Some take their time, so that answers come out of order; each must be that of its own call.
#[test]
fn a_thousand_calls_of_fresh_instances_get_their_own_answers() {
    const CALLS: usize = 1000;
    let Some(folder) = servers() else { return };
    let repository = folder.join("files/repository");
    if !repository.exists() {
        let made = command("git")
            .args(["init", "--quiet"])
            .arg(&repository)
            .status()
            .unwrap();
        assert!(made.success());
    }
    fs::write(folder.join("files/greeting"), "hello from a file").unwrap();
    let outside = TempDir::new().unwrap();
    let audit = outside.path().join("audit");
    let mut gateway = Gateway::start(folder, &["--jobs", "12", "--audit", audit.to_str().unwrap()]);
    let requests = (0..CALLS).map(|n| match n % 10 {
        0 => call("time", "get_current_time", json!({ "timezone": "Asia/Tokyo" })),
        1 => call("git", "git_status", json!({ "repo_path": "../files/repository" })),
        2 => call("filesystem", "read_text_file", json!({ "path": "greeting" })),
        3 if n % 50 == 3 => call(
            "everything",
            "trigger-long-running-operation",
            json!({ "duration": 1, "steps": 1 }),
        ),
        3..6 => call("everything", "get-sum", json!({ "a": n, "b": 1 })),
        _ => call("everything", "echo", json!({ "message": format!("message {n}") })),
    });
    let requests: Vec<_> = requests.collect();
    let mut stdin = File::from(gateway.stdin.as_fd().try_clone_to_owned().unwrap());
    let sent = requests.clone();
    let writer = thread::spawn(move || {
        for (n, payload) in sent.iter().enumerate() {
            writeln!(stdin, "{}", json!({ "id": n, "action": "call", "payload": payload })).unwrap();
        }
    });
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for _ in 0..CALLS {
        let answer = gateway.answer();
        let n = usize::try_from(answer["id"].as_u64().unwrap()).unwrap();
        let text = answer["result"]["data"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        let expected = match requests[n]["tool"].as_str().unwrap() {
            "get_current_time" => "Asia/Tokyo".to_owned(),
            "git_status" => "No commits yet".to_owned(),
            "read_text_file" => "hello from a file".to_owned(),
            "trigger-long-running-operation" => "Long running operation completed".to_owned(),
            "get-sum" => format!("The sum of {n} and 1 is {}.", n + 1),
            _ => format!("Echo: message {n}"),
        };
        assert!(text.contains(&expected), "{n}: {expected:?} is not in {answer}");
        assert!(seen.insert(n), "two answers to {n}");
        order.push(n);
    }
    writer.join().unwrap();
    assert!(
        !order.is_sorted(),
        "the answers came in the order of the calls, so nothing was tested"
    );
    assert_eq!(gateway.finish(), Some(0));
    assert_eq!(starts(&audit), 4, "each server was started once");
}

/// A file of 2.5 MB is a frame of more than 5 MB, because the server tells its content twice.
#[test]
fn frames_of_five_megabytes_arrive_whole_also_several_at_once() {
    let Some(folder) = servers() else { return };
    let large = "0123456789abcdef".repeat(2_500_000 / 16);
    fs::write(folder.join("files/large"), &large).unwrap();
    let mut gateway = Gateway::start(folder, &["--jobs", "4"]);
    for n in 0..12 {
        gateway.send(
            &n.to_string(),
            "call",
            &call("filesystem", "read_text_file", json!({ "path": "large" })),
        );
    }
    for _ in 0..12 {
        let answer = gateway.answer();
        let data = &answer["result"]["data"];
        let text = data["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{:.2000}", answer.to_string()));
        assert_eq!((text.len(), text == large), (large.len(), true));
        assert_eq!(
            data["structuredContent"]["content"].as_str().map(str::len),
            Some(large.len())
        );
    }
    assert_eq!(gateway.finish(), Some(0));
}

#[test]
fn a_server_that_is_killed_fails_its_calls_and_is_started_anew() {
    let Some(folder) = servers() else { return };
    let mut gateway = Gateway::start(folder, &["--jobs", "4"]);
    let echo = call("everything", "echo", json!({ "message": "here" }));
    let mut long = call(
        "everything",
        "trigger-long-running-operation",
        json!({ "duration": 600, "steps": 1 }),
    );
    long["timeout_ms"] = 20_000.into();
    // Nothing says when the long call is with its server. If it was not yet, it has started the server anew, and waits.
    let mut before = 0;
    let ended = (0..5).any(|_| {
        assert_eq!(gateway.ask("call", &echo)["content"][0]["text"], "Echo: here");
        before = gateway.pid_of("everything");
        gateway.send("long", "call", &long);
        for _ in 0..5 {
            gateway.send("sign", "call", &echo);
            assert_eq!(gateway.answer()["id"], "sign");
        }
        kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
        let answer = gateway.answer();
        assert_eq!(answer["id"], "long", "{answer}");
        answer
            .to_string()
            .contains("ended: the process ended its output without an answer")
    });
    assert!(ended, "no call in flight was told of the end of its server");
    let again = gateway.ask("call", &echo);
    assert_eq!(again["content"][0]["text"], "Echo: here");
    assert_ne!(gateway.pid_of("everything"), before);
    let last = gateway.pid_of("everything");
    gateway.finish();
    for pid in [before, last] {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
}

#[test]
fn a_call_with_a_deadline_is_given_up_and_the_server_goes_on() {
    let Some(folder) = servers() else { return };
    let mut gateway = Gateway::start(folder, &[]);
    assert!(
        gateway
            .ask("tools", &json!({ "server": "everything", "timeout_ms": PATIENCE }))
            .is_array()
    );
    let mut long = call(
        "everything",
        "trigger-long-running-operation",
        json!({ "duration": 600, "steps": 1 }),
    );
    long["timeout_ms"] = 300.into();
    let answer = gateway.ask("call", &long);
    assert!(answer.to_string().contains("wait-timeout"), "{answer}");
    let echo = gateway.ask("call", &call("everything", "echo", json!({ "message": "still here" })));
    assert_eq!(echo["content"][0]["text"], "Echo: still here");
    gateway.finish();
}
