//! A server outlives the call that started it. The suite `run` tries the rest of this example.

use crate::readme::{lacks, run};

#[test]
fn four_calls_start_fetch_read_and_stop() {
    if lacks("/usr/bin/python3") {
        return;
    }
    let shown = run("dev-server", &["id", "cursor", "lines"]);
    let lines = shown.data(2)["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{shown:#?}");
    assert!(
        lines[0].as_str().unwrap().ends_with("\"GET / HTTP/1.1\" 200 -"),
        "{shown:#?}"
    );
    let ids = [0, 3].map(|call| &shown.data(call)["id"]);
    assert_eq!(ids[0], ids[1], "one server");
    assert_eq!(shown.code, Some(0), "{shown:#?}");
}
