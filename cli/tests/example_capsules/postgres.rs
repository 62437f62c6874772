//! A real database server, whose data outlives the server and the command.

use std::fs;

use crate::readme::{finish, lacks, run};

/// The server's program, of whichever version is installed. The package of the clients makes the same folders without it.
fn initdb() -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin/initdb")));
    let found = programs.into_iter().find(|program| program.exists());
    found.map_or_else(
        || "/usr/lib/postgresql/*/bin/initdb".to_owned(),
        |program| program.display().to_string(),
    )
}

#[test]
fn a_second_server_and_a_second_command_see_the_rows() {
    if lacks(&initdb()) {
        return;
    }
    let shown = run("postgres", &[]);
    assert_eq!(shown.data(4), &serde_json::json!(["1,t"]), "{shown:#?}");
    assert_eq!(shown.code, Some(0), "{shown:#?}");

    let insert = r#"query={"sql": "INSERT INTO visit VALUES (now()); SELECT count(*) FROM visit"}"#;
    let bad = r#"query={"sql": "SELEKT"}"#;
    let arguments = [
        "--grant-all-asked",
        "example-capsules/postgres",
        "start",
        insert,
        bad,
        "stop",
    ];
    let shown = finish(shown.workspace, &arguments);
    assert_eq!(shown.data(1), &serde_json::json!(["2"]), "{shown:#?}");
    let message = shown.data(2)["message"].as_str().unwrap();
    assert!(message.contains("syntax error"), "{message}");
    assert_eq!(shown.data(3)["code"], 0, "it was stopped in order: {shown:#?}");
}
