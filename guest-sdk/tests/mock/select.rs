//! Pollables, timers, and the first of several.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::{Child, Command, Error, Source, Timer, ipc, select};

use crate::SECOND;

/// A child that exits after so many seconds.
fn ends_after(host: &Host, seconds: u32) -> Child {
    host.command("sleep", |run| {
        Script::new().after(SECOND * run.args[0].parse().unwrap()).exit(0)
    });
    Command::new("sleep").arg(seconds.to_string()).spawn().unwrap()
}

#[test]
fn a3_an_exit_becomes_ready_and_stays_so() {
    let host = Host::new();
    let child = ends_after(&host, 2);
    let exit = child.exit_ready();
    assert!(!exit.is_ready());
    exit.block().unwrap();
    assert_eq!(host.now(), SECOND * 2);
    assert!(exit.is_ready() && child.exit_ready().is_ready());
}

#[test]
fn a3_logs_are_ready_while_there_is_news_and_not_otherwise() {
    let host = Host::new();
    host.command("x", |_| {
        Script::new()
            .after(SECOND)
            .stdout("caf\u{e9}".as_bytes().split_at(4).0)
            .after(SECOND)
            .stdout(b"\xa9")
            .after(SECOND)
            .exit(0)
    });
    let child = Command::new("x").spawn().unwrap();
    let more = child.logs_ready();
    assert!(!more.is_ready());
    more.block().unwrap();
    assert_eq!((host.now(), &*child.read_logs().unwrap().stdout), (SECOND, "caf"));
    assert!(!more.is_ready(), "the beginning of a character is no output");
    more.block().unwrap();
    assert_eq!((host.now(), &*child.read_logs().unwrap().stdout), (SECOND * 2, "é"));
    more.block().unwrap();
    assert_eq!((host.now(), child.read_logs().unwrap().running), (SECOND * 3, false));
    assert!(more.is_ready());
}

#[test]
fn the_first_of_several_is_told_by_its_index_and_so_are_all_that_are_ready() {
    let host = Host::new();
    let children = [ends_after(&host, 3), ends_after(&host, 1), ends_after(&host, 1)];
    let exits: Vec<_> = children.iter().map(Child::exit_ready).collect();
    let sources: Vec<&dyn Source> = exits.iter().map(|exit| exit as _).collect();
    let first = select(&sources).unwrap();
    assert_eq!(host.now(), SECOND);
    assert!(first.contains(&1) && !first.contains(&0), "{first:?}");
    assert_eq!(select(&sources).unwrap(), [1, 2]);
}

#[test]
fn a_timer_is_exact_and_readiness_beside_it_at_most_a_tenth_of_a_second_late() {
    let host = Host::new();
    let (one, two) = (ends_after(&host, 9), ends_after(&host, 3));
    let (one, two) = (one.exit_ready(), two.exit_ready());
    assert_eq!(select(&[&one, &two, &Timer::after(SECOND)]).unwrap(), [2]);
    assert_eq!(host.now(), SECOND);
    assert_eq!(select(&[&one, &two, &Timer::after(SECOND * 5)]).unwrap(), [1]);
    let late = host.now() - SECOND * 3;
    assert!(late <= SECOND / 10, "{late:?}");
    // One exit with a timer: to the moment.
    let three = ends_after(&host, 1);
    let now = host.now();
    assert_eq!(select(&[&Timer::after(SECOND * 5), &three.exit_ready()]).unwrap(), [1]);
    assert_eq!(host.now(), now + SECOND);
}

#[test]
fn several_timers_are_told_apart() {
    let host = Host::new();
    let timers = [Timer::after(SECOND * 2), Timer::after(SECOND), Timer::after(SECOND * 3)];
    let [two, one, three] = &timers;
    assert_eq!(select(&[two, one, three]).unwrap(), [1]);
    assert_eq!(host.now(), SECOND);
    assert_eq!(select(&[two, three]).unwrap(), [0]);
    host.advance(SECOND);
    assert_eq!(select(&[two, one, three]).unwrap(), [0, 1, 2]);
}

#[test]
fn processes_subscriptions_and_timers_are_waited_for_together() {
    let host = Host::new();
    let messages = ipc::subscribe("builds.*").unwrap();
    let child = ends_after(&host, 60);
    let (ready, exit) = (messages.ready(), child.exit_ready());
    assert_eq!(select(&[&exit, &ready, &Timer::after(SECOND)]).unwrap(), [2]);
    ipc::publish("builds.done", "{}").unwrap();
    assert_eq!(select(&[&exit, &ready, &Timer::after(SECOND)]).unwrap(), [1]);
    assert_eq!(messages.poll().unwrap().messages.len(), 1);
    assert!(!ready.is_ready());
    assert_eq!(select(&[&exit, &ready]).unwrap(), [0]);
    assert_eq!(host.now(), SECOND * 60);
    drop(messages);
    assert!(ready.is_ready(), "A1: a pollable whose parent is gone is ready");
}

/// A time that never comes is no reason to look again and again, nor to fail.
#[test]
fn a_timer_that_never_comes_is_as_none() {
    let host = Host::new();
    let child = ends_after(&host, 3);
    let never = Timer::after(std::time::Duration::MAX);
    assert_eq!(
        select(&[&never, &child.logs_ready(), &child.exit_ready()]).unwrap(),
        [1, 2]
    );
    assert_eq!(host.now(), SECOND * 3);
}

#[test]
fn none_and_too_many_are_refused_and_256_are_not() {
    let host = Host::new();
    assert_eq!(select(&[]), Err(Error::InvalidInput));
    let child = ends_after(&host, 1);
    let exits: Vec<_> = (0..257).map(|_| child.exit_ready()).collect();
    let sources: Vec<&dyn Source> = exits.iter().map(|exit| exit as _).collect();
    assert_eq!(select(&sources), Err(Error::TooLarge));
    assert_eq!(select(&sources[..256]).unwrap().len(), 256);
}

#[test]
fn a4_unloading_ends_a_select() {
    let host = Host::new();
    let child = ends_after(&host, 60);
    host.unload();
    assert_eq!(select(&[&child.exit_ready()]), Err(Error::Cancelled));
    assert_eq!(
        select(&[&child.exit_ready(), &Timer::after(SECOND)]),
        Err(Error::Cancelled)
    );
    assert_eq!(select(&[&Timer::after(SECOND)]), Err(Error::Cancelled));
}
