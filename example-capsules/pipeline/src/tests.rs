//! A link as a plain function, over the SDK's mock: no host, no processes, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};

const SECOND: Duration = Duration::from_secs(1);

fn spawn(program: &str) -> ProcessId {
    let process = Command::new(program).keep_stdin_open(true).spawn_persistent();
    process.unwrap().id().clone()
}

#[test]
fn a_link_copies_all_output_and_then_ends_the_input() {
    let host = Host::new();
    host.command("from", |_| {
        Script::new().stdout("1\n").after(SECOND).stdout("2").exit(0)
    });
    host.command("to", |_| Script::new());
    let (from, to) = (spawn("from"), spawn("to"));
    link(Link { from, to }).unwrap();
    let to = &host.runs()[1];
    assert_eq!((&*to.input, to.input_open), (&b"1\n2"[..], false));
}

#[test]
fn a_process_whose_reader_has_ended_is_ended() {
    let host = Host::new();
    host.command("from", |_| Script::new().after(SECOND).stdout("1\n"));
    host.command("to", |_| Script::new().exit(1));
    let (from, to) = (spawn("from"), spawn("to"));
    link(Link { from, to }).unwrap_err();
    assert_eq!(host.runs()[0].exit.and_then(|exit| exit.signal()), Some(15));
}
