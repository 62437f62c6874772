//! The output and the outcome of calls.

use serde_json::Value;

use crate::support::{DEV_SERVER, Ended, GRANTED, UNCONFINED, Workspace, dev_server_file, finish, is_free};

/// The data of each line's result, after a check of the line's other fields.
#[track_caller]
fn data<const N: usize>(ended: &Ended, actions: [&str; N]) -> [Value; N] {
    assert_eq!(ended.lines.len(), N, "{ended:?}");
    std::array::from_fn(|index| {
        let line = &ended.lines[index];
        assert_eq!(line["action"], actions[index], "{ended:?}");
        assert!(line["ms"].is_u64(), "{line}");
        assert_eq!(line["result"]["action"], "continue", "{ended:?}");
        line["result"]["data"].clone()
    })
}

#[test]
fn the_main_job_from_a_crate_folder_in_one_command_line() {
    let workspace = Workspace::new();
    workspace.write("hello.txt", "a page of the test\n");
    let calls = ["start", "get={\"path\":\"/hello.txt\"}", "logs", "stop"];
    let ended = finish(workspace.run(GRANTED).arg(DEV_SERVER).args(calls));
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let [start, get, logs, stop] = data(&ended, ["start", "get", "logs", "stop"]);
    assert_eq!(start["id"].as_str().unwrap().len(), 52, "{start}");
    assert_eq!((&start["port"], &start["url"]), (&8000.into(), &Value::Null), "{start}");
    assert!(get.to_string().contains("a page of the test"), "{get}");
    assert!(logs.to_string().contains("GET /hello.txt"), "{logs}");
    assert!(stop.is_object(), "{stop}");
    workspace.assert_empty();
    // An id gives access to its process, so the command never prints it itself.
    assert!(
        !ended.stderr.contains(start["id"].as_str().unwrap()),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_main_job_unconfined() {
    let workspace = Workspace::new();
    // Any port: tests that run at the same time share the host's ports.
    let calls = ["start={\"port\":0}", "get", "logs={\"stream\":\"stdout\"}", "stop"];
    let ended = finish(workspace.run(UNCONFINED).arg(dev_server_file()).args(calls));
    // The host sends requests into private networks only.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.lines[1].to_string().contains("no-network"), "{ended:?}");
    let started = &ended.lines[0]["result"]["data"];
    assert!(ended.lines[2].to_string().contains("Serving HTTP on"), "{ended:?}");
    assert!(ended.lines[3]["result"]["data"].is_object(), "{ended:?}");
    assert!(is_free(u16::try_from(started["port"].as_u64().unwrap()).unwrap()));
    workspace.assert_empty();
}

#[test]
fn a_server_that_no_call_stops_ends_with_the_command() {
    let workspace = Workspace::new();
    let ended = finish(
        workspace
            .run(GRANTED)
            .arg("-vvv")
            .arg(dev_server_file())
            .args(["start", "status"]),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [start, status] = data(&ended, ["start", "status"]);
    assert_eq!(status["id"], start["id"], "{ended:?}");
    // As above: only the capsule shows an id.
    assert!(
        !ended.stderr.contains(start["id"].as_str().unwrap()),
        "{}",
        ended.stderr
    );
    assert!(is_free(u16::try_from(start["port"].as_u64().unwrap()).unwrap()));
    workspace.assert_empty();
}

#[test]
fn a_payload_from_a_file_reaches_the_capsule() {
    let workspace = Workspace::new();
    workspace.write("hello.txt", "a page of the test\n");
    workspace.write("payload.json", "{ \"path\":\n \"/hello.txt\" }\n");
    let get = format!("get=@{}", workspace.path().join("payload.json").display());
    let ended = finish(workspace.run(GRANTED).arg(dev_server_file()).args(["start", &get]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [_, get] = data(&ended, ["start", "get"]);
    assert!(get.to_string().contains("a page of the test"), "{get}");
    workspace.assert_empty();
}

/// Checks that one line gives the reason for which `start` failed, and that the exit code is that of a failure.
#[track_caller]
fn refusal(ended: &Ended, why: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let result = &ended.lines[0]["result"];
    assert!(result["action"] == "deny" || result["action"] == "abort", "{ended:?}");
    assert!(result["data"].to_string().contains(why), "{ended:?}");
}

#[test]
fn a_command_that_was_not_allowed_is_denied() {
    let workspace = Workspace::new();
    for grants in [
        &[][..],
        &["--allow", "python", "--allow-persistent"],
        &["--unconfined", "--allow", "python", "--allow-persistent"],
    ] {
        let ended = finish(workspace.run(grants).arg(dev_server_file()).arg("start"));
        refusal(&ended, "capability-denied");
        workspace.assert_empty();
    }
}

#[test]
fn a_process_that_stays_is_denied_without_its_own_grant() {
    let workspace = Workspace::new();
    let ended = finish(
        workspace
            .run(["--allow", "python3"])
            .arg(dev_server_file())
            .arg("start"),
    );
    refusal(&ended, "capability-denied");
    workspace.assert_empty();
}

#[test]
fn a_program_that_cannot_be_executed_fails_the_call_by_its_reason() {
    let workspace = Workspace::new();
    let file = dev_server_file();
    // A confined process would not see such a folder.
    let programs = Workspace::new();
    let ended = finish(
        workspace
            .run(UNCONFINED)
            .env("PATH", programs.path())
            .arg(&file)
            .arg("start"),
    );
    refusal(&ended, "not-found");

    programs.write("python3", "not executable");
    let ended = finish(
        workspace
            .run(UNCONFINED)
            .env("PATH", programs.path())
            .arg(&file)
            .arg("start"),
    );
    refusal(&ended, "permission-denied");
}

#[test]
fn a_failed_call_does_not_stop_those_after_it() {
    let workspace = Workspace::new();
    let ended = finish(
        workspace
            .run(GRANTED)
            .arg(dev_server_file())
            .args(["no-such-action", "start", "stop"]),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.lines.len(), 3, "{ended:?}");
    assert_eq!(ended.lines[1]["result"]["action"], "continue", "{ended:?}");
    assert_eq!(ended.lines[2]["result"]["action"], "continue", "{ended:?}");
    workspace.assert_empty();
}
