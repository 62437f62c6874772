//! Progress by cursor over fresh instances, and the end by an interceptor.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::readme::{finish, lacks, run};

#[test]
fn each_line_is_told_once_and_the_end_is_reported() {
    if lacks("/usr/bin/make") || lacks("/usr/bin/cc") {
        return;
    }
    let shown = run("build-watch", &["lines", "over", "problems"]);
    let lines: Vec<_> = [1, 3]
        .iter()
        .flat_map(|call| shown.data(*call)["lines"].as_array().unwrap())
        .collect();
    let expected = [
        "rm -f hello *.o",
        "cc -Wall   -c -o main.o main.c",
        "cc -Wall   -c -o hello.o hello.c",
        "cc -o hello main.o hello.o",
    ];
    assert_eq!(lines, expected, "{shown:#?}");
    assert_eq!(shown.data(3)["over"], json!(true), "{shown:#?}");
    let report = shown.data(2);
    assert_eq!(report["success"], json!(true), "{shown:#?}");
    assert!(
        report["problems"][0].as_str().unwrap().contains("unused variable"),
        "{report}"
    );
    assert_eq!(shown.code, Some(0), "{shown:#?}");

    #[expect(clippy::disallowed_methods, reason = "what was built is a program")]
    let built = Command::new(shown.workspace.path().join("hello")).output().unwrap();
    assert_eq!(built.stdout, b"hello, world\n");
}

/// Nothing else keeps the command: without the wait for the interceptor its report would often be lost.
#[test]
fn with_until_exit_the_interceptor_reports_the_last_end() {
    if lacks("/usr/bin/make") {
        return;
    }
    let (workspace, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(workspace.path().join("Makefile"), "all:\n").unwrap();
    let log = logs.path().join("audit");
    let arguments = [
        // The store of the other test's principal is not touched.
        "--principal",
        "until-exit",
        "--until-exit",
        "--audit",
        log.to_str().unwrap(),
        "--grant-all-asked",
        "example-capsules/build-watch",
        "build={\"targets\":[\"all\"]}",
    ];
    let shown = finish(workspace, &arguments);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    let records = fs::read_to_string(&log).unwrap();
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let operations: Vec<_> = records.map(|record| record["operation"].clone()).collect();
    // The last thing that the report does.
    assert!(operations.contains(&json!("publish")), "{operations:?}, {shown:#?}");
}
