//! The runner over the SDK's mock: no host, no shell, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};

const SECOND: Duration = Duration::from_secs(1);

fn report(host: &Host, names: &'static str) -> Report {
    host.command("find", move |_| Script::new().stdout(names).exit(0));
    host.command("sh", |run| match &*run.args[0] {
        "tests/bad.sh" => Script::new().after(SECOND).stdout("no\n").exit(1),
        "tests/endless.sh" => Script::new().stdout("begun\n"),
        _ => Script::new().after(SECOND).stdout("fine\n").exit(0),
    });
    run(Run { timeout_ms: 5000 }).unwrap()
}

#[test]
fn every_test_has_a_row_and_a_verdict() {
    let host = Host::new();
    let report = report(&host, "tests/good.sh\ntests/endless.sh\ntests/bad.sh\n");
    let rows: Vec<_> = report
        .table
        .iter()
        .map(|row| (&*row.test, row.verdict, &*row.output))
        .collect();
    let expected = [
        ("tests/bad.sh", Verdict::Failed, "no"),
        ("tests/endless.sh", Verdict::TimedOut, "begun"),
        ("tests/good.sh", Verdict::Passed, ""),
    ];
    assert_eq!(rows, expected);
    assert_eq!((report.passed, report.failed, report.at_once), (1, 2, 3));
    assert_eq!(host.now(), SECOND * 5, "they ran at once");
    assert!(host.runs().iter().all(|run| run.exit.is_some()));
}

#[test]
fn a_limit_that_is_full_without_own_tests_is_an_error() {
    let host = Host::new();
    host.command("find", |_| Script::new().stdout("tests/a.sh\n").exit(0));
    host.refuse("sh", HostError::Quota);
    let error = run(Run { timeout_ms: 5000 }).unwrap_err().to_string();
    assert!(error.contains("quota"), "{error}");
}
