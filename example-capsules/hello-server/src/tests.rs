//! The actions as plain functions, over the SDK's host in memory: no server starts, and no time passes.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::net::Response;

use super::*;

#[test]
fn one_server_is_started_asked_and_stopped() {
    let host = Host::new();
    host.command("python3", |_| Script::new().after(Duration::from_secs(1)).listens(PORT));
    host.serve(PORT, |request| Response::new(200, format!("page {}", request.path)));
    let first = start().unwrap();
    assert_eq!(start().unwrap(), first);
    assert_eq!(host.runs().len(), 1);
    assert_eq!(get().unwrap(), "page /");
    assert_eq!(stop().unwrap().signal(), Some(15));
    assert!(stop().is_err());
}

#[test]
fn a_server_that_does_not_listen_is_stopped_and_quoted() {
    let host = Host::new();
    host.command("python3", |_| Script::new().stderr("no module named http\n"));
    let error = start().unwrap_err().to_string();
    assert!(error.contains("no module named http"), "{error}");
    assert!(host.runs()[0].exit.is_some());
}
