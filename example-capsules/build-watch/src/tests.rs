//! The actions as plain functions, over the SDK's mock: no host, no make, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};

const SECOND: Duration = Duration::from_secs(1);

fn make() -> Script {
    Script::new()
        .stdout("cc -c main.c\n")
        .after(SECOND)
        .stderr("main.c:1:1: warning: unused\nmain.c:1:1: note: here\n")
        .stdout("cc -o hello\n")
        .exit(2)
}

fn wait() -> Wait {
    Wait { wait_ms: 5000 }
}

fn start() {
    let targets = everything();
    build(Build { targets }).unwrap();
}

#[test]
fn each_line_is_told_once() {
    let host = Host::new();
    host.command("make", |_| make());
    start();
    let first = progress(wait()).unwrap();
    assert_eq!((&*first.lines, first.over), (&["cc -c main.c".to_owned()][..], false));
    assert_eq!(progress(wait()).unwrap().lines, ["cc -o hello"]);
    let last = progress(wait()).unwrap();
    assert!(last.lines.is_empty() && last.over);
    assert_eq!(host.now(), SECOND);
}

#[test]
fn the_end_is_reported_with_the_problems() {
    let host = Host::new();
    host.command("make", |_| make());
    let events = ipc::subscribe("astrid.process.v1.exited.build").unwrap();
    start();
    assert!(build(Build { targets: Vec::new() }).is_err(), "one runs already");
    let event = events.recv(SECOND * 5).unwrap().events().next().unwrap();
    report(event).unwrap();
    let reported = result(wait()).unwrap();
    assert_eq!((reported.success, &*reported.exit), (false, "exit status: 2"));
    assert_eq!(reported.problems, ["main.c:1:1: warning: unused"]);
    let published = host.published().into_iter().filter(|message| message.topic == DONE);
    assert_eq!(published.count(), 1);

    start();
    assert!(store::get(REPORT).unwrap().is_none(), "it was of the build before");
}
