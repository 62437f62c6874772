//! Nothing is lost between a fast process and a slow one, and nothing piles up.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::readme::{capsule, lacks, run};

#[test]
fn every_line_arrives_and_the_buffers_stay_small() {
    if lacks("/usr/bin/python3") {
        return;
    }
    let shown = run("pipeline", &["most_waiting_bytes"]);
    let expected = (1..=1_000_000_u32).filter(|n| n.to_string().contains('7')).count();
    assert_eq!(shown.data(0)["counted"], expected.to_string(), "{shown:#?}");
    let most = shown.data(0)["most_waiting_bytes"].as_u64().unwrap();
    assert!(most <= 3 * 64 * 1024, "more than three buffers hold: {shown:#?}");
    assert_eq!(shown.code, Some(0), "{shown:#?}");
}

/// The command's memory, of which the host and the instances are parts.
#[test]
fn twenty_megabytes_pass_through_and_the_host_does_not_grow() {
    if lacks("/usr/bin/python3") {
        return;
    }
    let workspace = TempDir::new().unwrap();
    // Between two lines the command waits: no call runs while its memory is looked at.
    let mut running = capsule(
        workspace.path(),
        &["--grant-all-asked", "example-capsules/pipeline", "-"],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let mut input = running.stdin.take().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut run = |count: u32| {
        writeln!(input, r#"{{"action":"run","payload":{{"lines":{count}}}}}"#).unwrap();
        serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()
    };
    run(1000);
    // From here on, so that the peak of the compilation does not count.
    fs::write(format!("/proc/{}/clear_refs", running.id()), "5").unwrap();
    let before = peak(running.id());
    let large = run(3_000_000);
    let after = peak(running.id());
    drop(input);
    assert!(running.wait().unwrap().success(), "{large}");
    assert_eq!(large["result"]["data"]["counted"], "1405677", "{large}");
    let grown = after - before;
    assert!(grown < 8 << 20, "{grown} bytes, from {before} to {after}");
}

/// The most memory that a process had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
