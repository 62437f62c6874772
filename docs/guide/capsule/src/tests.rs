//! The actions as plain functions, over the SDK's host in memory: no process starts, and no time passes.

use capsule_sdk::Process;
use capsule_sdk::mock::{Host, Script};

use crate::{counter, first, jobs};

// ANCHOR: command
#[test]
fn tells_the_kernel() {
    let host = Host::new();
    host.command("uname", |run| {
        assert_eq!(run.args, ["-s"]);
        Script::new().stdout("Linux\n").exit(0)
    });
    assert_eq!(first::kernel().unwrap(), "Linux");
}
// ANCHOR_END: command

// ANCHOR: process
#[test]
fn counts_over_calls_with_one_process() {
    let host = Host::new();
    host.command("sh", |_| {
        let mut lines = 0;
        Script::new().on_input(move |_| {
            lines += 1;
            format!("{lines}\n").into_bytes()
        })
    });
    counter::start().unwrap();
    assert_eq!(counter::count().unwrap(), 1);
    assert_eq!(counter::count().unwrap(), 2);
    assert_eq!(counter::stop().unwrap().signal(), Some(15));
    assert_eq!(host.runs().len(), 1);
}
// ANCHOR_END: process

// ANCHOR: refusal
#[test]
fn a_refusal_reaches_the_caller() {
    let host = Host::new();
    host.refuse("uname", capsule_sdk::Error::CapabilityDenied);
    let error = first::kernel().unwrap_err();
    assert!(error.to_string().contains("capability-denied"), "{error}");
}
// ANCHOR_END: refusal

// ANCHOR: event
#[test]
fn an_exit_is_reported() {
    let host = Host::new();
    host.command("sh", |_| Script::new().on_end_of_input(Script::new().exit(3)));
    jobs::job().unwrap();
    Process::find("job").unwrap().unwrap().close_stdin().unwrap();
    // The mock calls no interceptor, so the test does.
    let event = host.published()[0].event().unwrap();
    jobs::report(event).unwrap();
    assert_eq!(host.published()[1].topic, "guide.v1.reported");
}
// ANCHOR_END: event
