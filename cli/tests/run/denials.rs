//! What a user is told beside the results: why a call was denied, which interceptor is never called, and what ends with the command.

use std::fs;

use serde_json::Value;

use crate::support::{GRANTED, Workspace, dev_server_file, finish, test_guest_file};

#[test]
fn a_denied_command_is_told_with_the_option_that_grants_it_and_is_in_the_audit() {
    let folder = Workspace::new();
    for (options, told, denial) in [
        (
            &[][..],
            "denied: spawn-persistent: the command \"python3\" is not granted; --allow python3 grants it, and a manifest asks for it \
             with `allow = [\"python3\"]`",
            "the command \"python3\" is not granted",
        ),
        (
            &["--allow", "/usr/bin/python3"],
            "--allow python3 grants it",
            "the command \"python3\" is not granted",
        ),
        (
            &["--allow", "python3"],
            "denied: spawn-persistent: processes that outlive the instance are not granted; --allow-persistent grants them",
            "processes that outlive the instance are not granted",
        ),
    ] {
        let workspace = Workspace::new();
        let log = folder
            .path()
            .join(options.len().to_string() + told.get(..20).unwrap_or_default());
        let mut run = workspace.run(options);
        let ended = finish(run.arg("--audit").arg(&log).arg(dev_server_file()).arg("start"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(told), "no {told:?} in {}", ended.stderr);
        assert_eq!(ended.stderr.matches("denied: ").count(), 1, "{ended:?}");
        // The capsule itself learns no more than before.
        assert!(!ended.lines[0].to_string().contains("--allow"), "{ended:?}");
        let log = fs::read_to_string(log).unwrap();
        let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let denials: Vec<_> = records
            .filter_map(|record| Some(record.get("denial")?.clone()))
            .collect();
        assert_eq!(denials, [denial], "{log}");
    }
}

#[test]
fn an_interceptor_that_no_message_can_call_is_told() {
    let folder = Workspace::new();
    let capsule = folder.path().join("server.wasm");
    fs::copy(dev_server_file(), &capsule).unwrap();
    folder.write(
        "Capsule.toml",
        "publish = [\"own.v1.*\"]\n[subscribe]\n\"own.v1.said\" = { handler = \"heard\" }\n\"other.v1.said\" = { handler = \"lost\" }\n\
         \"astrid.process.v1.exited.*\" = { handler = \"ended\" }\n\"astrid.process.v1.started.*\" = { handler = \"begun\" }\n",
    );
    let ended = finish(Workspace::new().run(GRANTED).arg(&capsule).arg("status"));
    for part in [
        "the interceptor lost is never called: no capsule here publishes to other.v1.said",
        "the interceptor begun is never called: the host publishes only to astrid.process.v1.exited.*",
    ] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    assert_eq!(ended.stderr.matches("is never called").count(), 2, "{ended:?}");
}

#[test]
fn what_ends_with_the_command_is_told_and_what_was_stopped_is_not() {
    let workspace = Workspace::new();
    let ended = finish(workspace.run(GRANTED).arg(dev_server_file()).arg("start"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "these processes end with this command; --until-exit keeps it",
        "python3 ",
        "), after ",
        " s\n",
    ] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    workspace.assert_empty();
    let ended = finish(workspace.run(GRANTED).arg(dev_server_file()).args(["start", "stop"]));
    assert!(!ended.stderr.contains("end with this command"), "{ended:?}");
}

#[test]
fn a_quota_is_told_only_if_the_call_fails() {
    let cat = r#"={"cmd":"cat","keep_stdin_open":true}"#;
    // The guest returns the ninth error as a result, and then fails after the same error.
    for (last, told) in [("start", 0), ("start-then-trap", 1)] {
        let calls = ["start"; 8]
            .into_iter()
            .chain([last])
            .map(|action| action.to_owned() + cat);
        let workspace = Workspace::new();
        let mut run = workspace.run(["--allow", "cat", "--allow-persistent"]);
        let ended = finish(run.arg(test_guest_file()).args(calls));
        assert_eq!(ended.lines.len(), 9, "{ended:?}");
        assert_eq!(
            ended.stderr.matches("denied: spawn-persistent: quota").count(),
            told,
            "{ended:?}"
        );
    }
}
