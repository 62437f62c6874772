//! Progress by cursor over fresh instances, and the end by an interceptor.

use std::process::Command;

use serde_json::json;

use crate::readme::{lacks, run};

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
