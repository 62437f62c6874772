//! The actions as plain functions, over the SDK's host in memory: no process starts, and no time passes.

use capsule_sdk::mock::{Host, Script};

use super::*;

#[test]
fn greets_the_caller() {
    let host = Host::new();
    host.caller(Some("alice"));
    assert_eq!(hello().unwrap(), "Hello, alice!");
}

#[test]
fn tells_the_kernel() {
    let host = Host::new();
    host.command("uname", |_| Script::new().stdout("Linux 6.12\n").exit(0));
    assert_eq!(kernel().unwrap(), "Linux 6.12");
}

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
    assert_eq!(count().unwrap(), 1);
    assert_eq!(count().unwrap(), 2);
    assert_eq!(host.runs().len(), 1);
    assert_eq!(stop().unwrap().signal(), Some(15));
    assert!(stop().is_err());
}
