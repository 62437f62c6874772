//! Many commands at once, never more than the limit of processes.

use crate::readme::{lacks, run};

#[test]
fn twelve_tests_run_within_the_limit_of_eight_and_one_is_ended() {
    if lacks("/usr/bin/find") {
        return;
    }
    let shown = run("test-runner", &["at_once"]);
    let report = shown.data(0);
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&10.into(), &2.into()),
        "{shown:#?}"
    );
    // The runner expects that the host has no room for the ninth.
    assert!(!shown.stderr.contains("denied"), "{shown:#?}");
    let at_once = report["at_once"].as_u64().unwrap();
    assert!((2..=8).contains(&at_once), "{shown:#?}");
    let row = |name: &str| {
        let rows = report["table"].as_array().unwrap();
        rows.iter()
            .find(|row| row["test"] == format!("tests/{name}.sh"))
            .unwrap()
    };
    assert_eq!(row("endless")["verdict"], "timed-out");
    assert_eq!(row("accent")["output"], "expected `cafe`, got `caf`");
    assert_eq!(shown.code, Some(0), "{shown:#?}");
}
