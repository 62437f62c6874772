//! `capsule run --audit` and `capsule audit verify`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, GRANTED, Workspace, command, dev_server_file, finish};

fn verify(file: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let output = command(env!("CARGO_BIN_EXE_capsule"))
        .args(["audit", "verify"])
        .args(options)
        .arg(file)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn recorded(log: &Path, calls: &[&str]) -> Ended {
    let workspace = Workspace::new();
    let mut run = workspace.run(GRANTED);
    finish(run.arg("--audit").arg(log).arg(dev_server_file()).args(calls))
}

#[test]
fn u1_the_log_of_a_run_is_intact_until_it_is_altered() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("audit.jsonl");
    let ended = recorded(&log, &["start", "stop"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = fs::read_to_string(&log).unwrap();
    let id = ended.lines[0]["result"]["data"]["id"].as_str().unwrap();
    assert!(!text.contains(id), "{text}");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let spawn = records
        .iter()
        .find(|record| record["operation"] == "spawn-persistent")
        .unwrap();
    assert_eq!((&spawn["outcome"], &spawn["cmd"]), (&json!("ok"), &json!("python3")));

    let (code, stdout, stderr) = verify(&log, &["--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&found["intact"], &found["finished"], &found["lost"]),
        (&json!(true), &json!(true), &json!(0))
    );
    let head = found["head"].as_str().unwrap();
    let (code, stdout, _) = verify(&log, &["--expect-head", head]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("intact: ") && stdout.ends_with(&format!("head: {head}\n")),
        "{stdout}"
    );

    // A second run continues the log where the first ended.
    recorded(&log, &["status"]);
    let (code, stdout, stderr) = verify(&log, &["--json", "--expect-head", head]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["resumed"], 1);

    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let altered = text.replacen("python3", "python2", 1);
    let line = lines.iter().position(|line| line.contains("python3")).unwrap() + 1;
    fs::write(&log, altered).unwrap();
    let (code, stdout, stderr) = verify(&log, &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("broken at line {line}: altered")), "{stderr}");

    fs::write(&log, [&lines[..1], &lines[2..]].concat().concat()).unwrap();
    let (code, stdout, _) = verify(&log, &["--json"]);
    assert_eq!(code, Some(1));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&found["intact"], &found["line"], &found["flaw"]),
        (&json!(false), &json!(2), &json!("sequence"))
    );

    // If lines are cut off the end, only the head shows it.
    fs::write(&log, lines[..2].concat()).unwrap();
    assert_eq!(verify(&log, &[]).0, Some(0));
    let (code, _, stderr) = verify(&log, &["--expect-head", head]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("line 3"), "{stderr}");
}

#[test]
fn a_log_that_cannot_be_read_or_a_head_that_is_none_is_bad_usage() {
    let dir = TempDir::new().unwrap();
    let (code, _, stderr) = verify(&dir.path().join("none"), &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("No such file"), "{stderr}");
    assert_eq!(verify(dir.path(), &[]).0, Some(2));
    assert_eq!(verify(dir.path(), &["--expect-head", "x"]).0, Some(2));
}

#[test]
fn u1_a_log_is_not_kept_where_the_capsule_can_write_nor_over_something_else() {
    let workspace = Workspace::new();
    let dir = TempDir::new().unwrap();
    let diary = dir.path().join("diary");
    fs::write(&diary, "dear diary\n").unwrap();
    let inside = dir.path().join("link");
    workspace.write("log", "");
    std::os::unix::fs::symlink(workspace.path().join("log"), &inside).unwrap();
    for (log, reason) in [
        (workspace.path().join("audit.jsonl"), "in the workspace"),
        (inside, "in the workspace"),
        (diary.clone(), "does not end like an audit log"),
        (dir.path().join("no/such"), "No such file"),
    ] {
        let mut run = workspace.run(GRANTED);
        let ended = finish(run.arg("--audit").arg(&log).arg(dev_server_file()).arg("start"));
        assert_eq!((ended.code, ended.lines.len()), (Some(2), 0), "{ended:?}");
        assert!(
            ended.stderr.contains("--audit") && ended.stderr.contains(reason),
            "{ended:?}"
        );
    }
    assert_eq!(fs::read_to_string(diary).unwrap(), "dear diary\n");
    assert!(!workspace.path().join("audit.jsonl").exists());
}
