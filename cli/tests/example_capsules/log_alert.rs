//! A background run notices what a process logs.

use crate::readme::{lacks, run};

#[test]
fn a_page_that_is_missing_is_an_alert_and_a_page_that_is_there_is_not() {
    if lacks("/usr/bin/python3") {
        return;
    }
    let shown = run("log-alert", &["line"]);
    let alerts = shown.data(3).as_array().unwrap();
    assert_eq!(alerts.len(), 1, "{shown:#?}");
    let line = alerts[0]["line"].as_str().unwrap();
    assert!(line.ends_with("\"GET /no-such-page HTTP/1.1\" 404 -"), "{line}");
    assert_eq!(shown.code, Some(0), "{shown:#?}");
}
