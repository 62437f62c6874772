//! Lifecycle events and messages.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::{Command, Event, LogStream, Reason, ipc};

use crate::SECOND;

#[test]
fn e1_e2_a_watched_process_tells_its_life_once_and_in_order() {
    let host = Host::new();
    host.command("x", |_| {
        Script::new()
            .on_input(|bytes| bytes.to_vec())
            .on_end_of_input(Script::new().stderr("bye").exit(3))
    });
    let events = ipc::subscribe(ipc::LIFECYCLE).unwrap();
    let process = Command::new("x").keep_stdin_open(true).spawn_persistent().unwrap();
    process.watch("my.build").unwrap();
    process.write(b"hello").unwrap();
    process.write(b"again").unwrap();
    process.close_stdin().unwrap();

    let envelope = events.recv(SECOND).unwrap();
    assert!(
        envelope
            .messages
            .iter()
            .all(|message| message.sender == ipc::Sender::System)
    );
    let told: Vec<_> = envelope.events().collect();
    let id = process.id().clone();
    let drained = Event::StdinDrained { id: id.clone() };
    let log = |stream| Event::LogReady { id: id.clone(), stream };
    assert_eq!(
        told[..4],
        [log(LogStream::Stdout), drained.clone(), drained, log(LogStream::Stderr)],
        "the second write found unread output"
    );
    let [Event::Exited(exited)] = &told[4..] else {
        panic!("{told:?}");
    };
    assert_eq!((exited.status.code(), &exited.reason), (Some(3), &Reason::SelfExit));
    process.watch("other").unwrap();
    assert!(
        events.recv(SECOND).unwrap_err().is_timeout(),
        "E2: one exit is told once"
    );
}

#[test]
fn e2_an_exit_before_the_watch_is_told_with_its_reason() {
    let host = Host::new();
    host.command("x", |_| Script::new());
    let process = Command::new("x").spawn_persistent().unwrap();
    process.kill().unwrap();
    let events = ipc::subscribe("astrid.process.v1.exited.*").unwrap();
    process.watch(None).unwrap();
    let message = events.recv(SECOND).unwrap().messages.remove(0);
    assert!(message.topic.ends_with(process.id().expose()));
    let Some(Event::Exited(exited)) = message.event() else {
        panic!("{message:?}");
    };
    assert_eq!(exited.reason, Reason::Killed);
}

#[test]
fn e1_unwatch_stops_the_telling() {
    let host = Host::new();
    host.command("x", |_| Script::new().after(SECOND).exit(0));
    let events = ipc::subscribe(ipc::LIFECYCLE).unwrap();
    let process = Command::new("x").spawn_persistent().unwrap();
    process.watch("x").unwrap();
    process.unwatch().unwrap();
    host.advance(SECOND * 2);
    assert!(events.poll().unwrap().messages.is_empty());
}

/// A wait for a message is a wait for whatever brings it.
#[test]
fn a_message_that_comes_later_is_waited_for() {
    let host = Host::new();
    host.command("x", |_| Script::new().after(SECOND * 5).exit(0));
    let events = ipc::subscribe(ipc::LIFECYCLE).unwrap();
    let process = Command::new("x").spawn_persistent().unwrap();
    process.watch("x").unwrap();
    assert!(events.recv(SECOND).unwrap_err().is_timeout());
    assert_eq!(events.recv(SECOND * 60).unwrap().messages.len(), 1);
    assert_eq!(host.now(), SECOND * 5);
}

#[test]
fn e4_what_was_lost_is_told_even_when_nothing_else_is_there() {
    let host = Host::new();
    let builds = ipc::subscribe("builds.*").unwrap();
    host.lose_messages(7);
    let envelope = builds.recv(SECOND).unwrap();
    assert_eq!((envelope.messages.len(), envelope.dropped), (0, 7));
    assert!(builds.recv(SECOND).unwrap_err().is_timeout());
    host.unload();
    assert!(builds.recv(SECOND).unwrap_err().is_cancelled());
}

#[test]
fn only_what_matches_arrives_and_the_sender_is_told() {
    let host = Host::new();
    let (below, exact) = (
        ipc::subscribe("builds.*").unwrap(),
        ipc::subscribe("builds.done").unwrap(),
    );
    ipc::publish("builds.done", "1").unwrap();
    ipc::publish_as("builds.begun", "2", "eve").unwrap();
    ipc::publish("builds", "3").unwrap();
    let below = below.poll().unwrap().messages;
    let said: Vec<_> = below
        .iter()
        .map(|message| (&*message.payload, &message.sender))
        .collect();
    assert_eq!(
        said,
        [
            ("1", &ipc::Sender::Verified("test".into())),
            ("2", &ipc::Sender::Claimed("eve".into()))
        ]
    );
    assert_eq!(exact.poll().unwrap().messages.len(), 1);
    assert_eq!(host.published().len(), 3);
}

#[test]
fn a_value_is_published_as_json() {
    let host = Host::new();
    ipc::publish_json("builds.done", &[1, 2]).unwrap();
    assert_eq!(host.published()[0].payload, "[1,2]");
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(
        ipc::publish_json("builds.done", &no_json),
        Err(ipc::Error::InvalidInput)
    );
    assert_eq!(host.published().len(), 1);
}
