//! Ports that are published, and what a manifest asks for: what a person at this machine gets and is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{GRANTED, Workspace, dev_server_file, ended, finish, is_free};

/// An HTTP answer of a server at this machine's loopback.
fn fetch(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The port in a line such as `published http://127.0.0.1:8080 -> 80`.
fn published(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("published http://127.0.0.1:")?;
    rest.split_once(" -> ")?.0.parse().ok()
}

/// The example capsule as a file, with this manifest beside it.
fn with_manifest(manifest: &str) -> (Workspace, PathBuf) {
    let folder = Workspace::new();
    folder.write("Capsule.toml", manifest);
    let capsule = folder.path().join("dev-server.wasm");
    fs::copy(dev_server_file(), &capsule).unwrap();
    (folder, capsule)
}

/// The port that the command says is published, as soon as it says so.
fn when_published(run: &mut Command) -> (Child, u16, String) {
    let (mut child, mut said) = (
        run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        String::new(),
    );
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let port = loop {
        let start = said.len();
        if stderr.read_line(&mut said).unwrap() == 0 {
            drop(child.wait());
            panic!("no port is published: {said}");
        }
        if let Some(port) = published(&said[start..]) {
            break port;
        }
    };
    // What is left in the reader is a part of the same pipe, which the child's end closes.
    child.stderr = Some(stderr.into_inner());
    (child, port, said)
}

#[test]
fn w2_a_published_port_is_told_and_leads_to_the_server_until_the_command_ends() {
    let workspace = Workspace::new();
    workspace.write("hello.txt", "a page of the test\n");
    let mut run = workspace.run(GRANTED);
    run.arg("--publish=0:8000")
        .arg(dev_server_file())
        .args(["start", "wait={\"wait_ms\":60000}", "status"]);
    let (mut child, port, _) = when_published(&mut run);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let url = format!("\"url\":\"http://127.0.0.1:{port}/\"");
    assert!(line.contains("\"port\":8000") && line.contains(&url), "{line}");
    let answer = fetch(port, "/hello.txt");
    assert!(
        answer.contains("200 OK") && answer.ends_with("a page of the test\n"),
        "{answer}"
    );
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    child.stdout = Some(lines.into_inner());
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(128 + 2), "{ended:?}");
    assert!(is_free(port));
    workspace.assert_empty();
}

#[test]
fn w2_a_port_stays_published_from_one_server_to_the_next() {
    let workspace = Workspace::new();
    let mut run = workspace.run(GRANTED);
    run.arg("--publish=0:8000").arg(dev_server_file());
    run.args(["start", "stop", "start", "wait={\"wait_ms\":60000}"]);
    let (mut child, port, _) = when_published(&mut run);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for action in ["start", "stop", "start"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&format!("\"action\":\"{action}\"")), "{line}");
    }
    assert!(fetch(port, "/").contains("200 OK"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn w2_a_port_that_is_in_use_fails_the_command_before_anything_is_built_or_runs() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let crate_folder = Workspace::new();
    crate_folder.write(
        "Cargo.toml",
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\n[workspace]\n",
    );
    let target = crate_folder.path().join("target");
    for capsule in [dev_server_file(), crate_folder.path()] {
        let workspace = Workspace::new();
        let mut run = workspace.run(GRANTED);
        run.arg(format!("--publish={port}:8000")).arg(capsule).arg("start");
        let ended = finish(run.env("CARGO_TARGET_DIR", &target));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.lines.is_empty(), "{ended:?}");
        for part in ["--publish", &format!("127.0.0.1:{port}"), "in use", "another port"] {
            assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
        }
        assert!(!target.exists(), "{ended:?}");
    }
}

#[test]
fn w1_what_a_manifest_asks_for_is_told_and_not_granted() {
    let (_folder, capsule) = with_manifest("[network]\npublish = [\"8000\"]\negress = [\"pypi.org\"]\n");
    let workspace = Workspace::new();
    let ended = finish(workspace.run(GRANTED).arg(&capsule).args(["start", "get", "stop"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in ["asks for these grants", "  --publish 8000\n", "  --egress pypi.org\n"] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("published http"), "{ended:?}");
}

#[test]
fn w1_a_manifest_that_wants_no_network_gets_none() {
    let (_folder, capsule) = with_manifest("network = { mode = \"none\" }\n");
    let workspace = Workspace::new();
    let ended = finish(workspace.run(GRANTED).arg(&capsule).arg("start"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // Python cannot make a socket.
    assert!(ended.lines[0].to_string().contains("did not come up"), "{ended:?}");
    let ended = finish(
        workspace
            .run(GRANTED)
            .arg("--publish=0:8000")
            .arg(&capsule)
            .arg("start"),
    );
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("mode = \"none\""), "{ended:?}");
}

#[test]
fn w1_a_manifest_with_a_mistake_is_told_by_its_line() {
    let (_folder, capsule) = with_manifest("background = false\n[network]\npublish = [\"0.0.0.0:80\"]\n");
    let ended = finish(Workspace::new().run(GRANTED).arg(&capsule).arg("start"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in ["Capsule.toml", "line 3", "127.0.0.0/8"] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
}

#[test]
fn w4_a_name_that_a_process_asks_for_is_in_the_audit() {
    let workspace = Workspace::new();
    // In place of the module that the example capsule starts.
    fs::create_dir(workspace.path().join("http")).unwrap();
    workspace.write("http/__init__.py", "");
    workspace.write(
        "http/server.py",
        "import socket\ntry:\n    socket.create_connection(('pypi.org', 443))\nexcept socket.gaierror as error:\n    \
         print('Serving HTTP on 127.0.0.1 port 8000 (', flush=True)\n",
    );
    let folder = Workspace::new();
    let log = folder.path().join("audit");
    let mut run = workspace.run(GRANTED);
    run.arg("--egress=example.org").arg("--audit").arg(&log);
    let ended = finish(run.arg(dev_server_file()).arg("start"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = fs::read_to_string(log).unwrap();
    let mut lines = log.lines().filter(|line| line.contains("\"operation\":\"egress\""));
    let line = lines.next().unwrap_or_else(|| panic!("{log}"));
    for part in ["\"name\":\"pypi.org\"", "\"outcome\":\"not-allowed\""] {
        assert!(line.contains(part), "{line}");
    }
}
