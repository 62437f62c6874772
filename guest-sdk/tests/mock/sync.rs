//! Locks, and what is started under them.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::sync::{self, Error};
use capsule_sdk::{Command, Process};
use std::time::Duration;

use crate::SECOND;

#[test]
fn m1_a_lock_has_one_holder_until_its_guard_is_dropped() {
    let host = Host::new();
    let guard = sync::lock("a", Duration::ZERO).unwrap();
    assert_eq!(sync::lock("a", SECOND).unwrap_err(), Error::Timeout);
    assert_eq!(host.now(), SECOND);
    drop(sync::lock("b", Duration::ZERO).unwrap());
    drop(guard);
    let again = sync::lock("a", Duration::ZERO).unwrap();
    host.caller(None);
    assert_eq!(sync::lock("c", SECOND).unwrap_err(), Error::NotAuthenticated);
    host.caller(Some("test"));
    host.unload();
    assert_eq!(sync::lock("a", SECOND).unwrap_err(), Error::Cancelled);
    drop(again);
}

#[test]
fn m4_a_process_that_runs_is_found_and_one_that_has_exited_is_started_anew() {
    let host = Host::new();
    host.command("server", |_| Script::new().after(10 * SECOND).exit(0));
    let first = Command::new("server").find_or_spawn("web").unwrap();
    let second = Command::new("server").label("other").find_or_spawn("web").unwrap();
    assert_eq!((first.id(), host.runs().len()), (second.id(), 1));
    // The label is the whole one.
    let other = Command::new("server").find_or_spawn("we").unwrap();
    assert_ne!(first.id(), other.id());
    host.advance(20 * SECOND);
    let third = Command::new("server").find_or_spawn("web").unwrap();
    assert_ne!(first.id(), third.id());
    assert_eq!(Process::find("web").unwrap().unwrap().id(), third.id());
    host.refuse("server", capsule_sdk::Error::CapabilityDenied);
    let refused = Command::new("server").find_or_spawn("new").unwrap_err();
    assert_eq!(refused, capsule_sdk::Error::CapabilityDenied);
    // The lock of the refused start is free.
    host.command("server", |_| Script::new());
    Command::new("server").find_or_spawn("new").unwrap();
}
