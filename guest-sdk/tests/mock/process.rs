//! Persistent processes: what a later instance finds, as far as the SDK and the mock see to it.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::{Command, Cursor, Error, Overflow, Phase, Process, select};

use crate::SECOND;

#[test]
fn i4_a_later_instance_finds_it_by_id_and_by_label() {
    let host = Host::new();
    host.command("server", |_| Script::new());
    let id = Command::new("server")
        .arg("-v")
        .label("web")
        .spawn_persistent()
        .unwrap()
        .id()
        .clone();
    let process = Process::attach(&id).unwrap();
    let info = process.status().unwrap();
    assert_eq!(
        (&*info.label, &*info.command, info.phase),
        ("web", "server -v", Phase::Running)
    );
    assert_eq!(Process::find("web").unwrap().unwrap().id(), &id);
    assert!(Process::find("we").unwrap().is_none());
    assert_eq!(id.expose().len(), 52);
    let stopped = process.stop(None).unwrap();
    assert_eq!(stopped.signal(), Some(15));
    assert!(Process::attach(&id).unwrap_err().is_gone());
}

#[test]
fn a1_what_needs_a_handle_says_gone_as_everything_else_does() {
    let host = Host::new();
    host.command("server", |_| Script::new());
    let process = Command::new("server").spawn_persistent().unwrap();
    let exit = process.exit_ready().unwrap();
    assert!(process.os_pid().unwrap().is_some());
    host.forget(process.id());
    assert_eq!(process.kill(), Err(Error::NoSuchProcess));
    assert_eq!(process.wait_with_output(SECOND), Err(Error::NoSuchProcess));
    assert_eq!(process.os_pid(), Err(Error::NoSuchProcess));
    assert!(exit.is_ready());
    let other = Process::attach(process.id());
    assert!(other.is_err_and(|error| error.is_gone()));
}

#[test]
fn k3_kill_leaves_the_id_and_dropping_a_handle_leaves_the_process() {
    let host = Host::new();
    host.command("server", |_| Script::new().stdout("some"));
    let process = Command::new("server").spawn_persistent().unwrap();
    drop(process.exit_ready().unwrap());
    let id = process.id().clone();
    drop(process);
    assert_eq!(host.runs()[0].exit, None);
    let process = Process::attach(&id).unwrap();
    let killed = process.kill().unwrap();
    assert!(killed.killed && killed.stdout == b"some");
    assert_eq!(process.try_wait().unwrap(), killed.exit);
    process.release().unwrap();
    assert!(process.status().unwrap_err().is_gone());
}

#[test]
fn k2_stop_takes_its_grace_from_one_that_does_not_mind() {
    let host = Host::new();
    host.command("server", |_| {
        Script::new().on_signal(capsule_sdk::Signal::Term, Script::new())
    });
    let status = Command::new("server")
        .spawn_persistent()
        .unwrap()
        .stop(SECOND * 2)
        .unwrap();
    assert_eq!((status.signal(), host.now()), (Some(9), SECOND * 2));
}

/// The reader of each call is made anew from the cursor of the one before.
#[test]
fn l2_cursors_lose_and_repeat_nothing_from_instance_to_instance() {
    let host = Host::new();
    host.command("count", |_| {
        (1..=40).fold(Script::new(), |script, i| {
            script
                .after(SECOND / 10)
                .stdout(format!("line {i} "))
                .after(SECOND / 10)
                .stdout("— ü\n")
        })
    });
    let id = Command::new("count").spawn_persistent().unwrap().id().clone();
    let (mut all, mut cursor) = (Vec::new(), Cursor::default());
    for _ in 0..40 {
        host.advance(SECOND / 4);
        let mut log = Process::attach(&id).unwrap().stdout().resume(cursor);
        all.extend(log.lines().map(Result::unwrap));
        cursor = serde_json::from_str(&serde_json::to_string(&log.cursor()).unwrap()).unwrap();
    }
    let expected: Vec<_> = (1..=40).map(|i| format!("line {i} — ü")).collect();
    assert_eq!(all, expected);
}

#[test]
fn l3_a_cursor_of_another_process_or_stream_is_refused() {
    let host = Host::new();
    host.command("x", |_| Script::new().stdout("some"));
    let (one, two) = (
        Command::new("x").spawn_persistent().unwrap(),
        Command::new("x").spawn_persistent().unwrap(),
    );
    let mut log = one.stdout();
    log.read_chunk().unwrap();
    let cursor = log.cursor();
    assert_eq!(
        two.stdout().resume(cursor.clone()).read_chunk(),
        Err(Error::NoSuchProcess)
    );
    assert_eq!(one.stderr().resume(cursor).read_chunk(), Err(Error::NoSuchProcess));
}

#[test]
fn l4_l5_what_is_pushed_out_is_counted() {
    let host = Host::new();
    host.command("x", |_| Script::new().stdout("0123456789".repeat(1000)).exit(0));
    let process = Command::new("x").log_ring_bytes(4096).spawn_persistent().unwrap();
    assert_eq!(process.stdout().read_chunk().unwrap().len(), 4096);
    assert_eq!(process.status().unwrap().bytes_dropped, 10_000 - 4096);
    let mut log = process.stdout();
    log.read_chunk().unwrap();
    assert!(log.at_end().unwrap());
}

/// The older way and the newer one see the same output.
#[test]
fn follow_and_readiness_come_to_the_same() {
    let host = Host::new();
    host.command("x", |_| {
        Script::new()
            .after(SECOND)
            .stdout("a\n")
            .after(SECOND)
            .stderr("b\n")
            .after(SECOND)
            .stdout("c")
            .exit(0)
    });
    let mut command = Command::new("x");
    command.overflow(Overflow::Backpressure);
    let followed = command.spawn_persistent().unwrap();
    let lines: Vec<_> = followed.stdout().follow().lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["a", "c"]);

    let process = command.spawn_persistent().unwrap();
    let (mut stdout, mut stderr, more) = (process.stdout(), process.stderr(), process.logs_ready().unwrap());
    let (mut out, mut err, mut wakes) = (Vec::new(), Vec::new(), 0);
    while !(stdout.at_end().unwrap() && stderr.at_end().unwrap()) {
        select(&[&more]).unwrap();
        wakes += 1;
        out.extend(stdout.read_chunk().unwrap());
        err.extend(stderr.read_chunk().unwrap());
    }
    assert_eq!((&*out, &*err), (&b"a\nc"[..], &b"b\n"[..]));
    assert!(wakes <= 4, "woken {wakes} times for three writes and an exit");
}

#[test]
fn a_wait_that_could_never_end_fails_the_test_instead_of_hanging_it() {
    let host = Host::new();
    host.command("x", |_| Script::new());
    let mut child = Command::new("x").spawn().unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.wait())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("for ever: the exit of `x`"), "{text}");
    drop(child);
    let missing = Command::new("y").spawn().unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

/// Its pollable needs its handle, which is dropped with it otherwise.
#[test]
fn a_pollable_outlives_the_process_value_without_being_ready_before_its_time() {
    let host = Host::new();
    host.command("x", |_| Script::new().after(SECOND).exit(0));
    let exit = Command::new("x").spawn_persistent().unwrap().exit_ready().unwrap();
    assert!(!exit.is_ready());
    exit.block().unwrap();
    assert_eq!(host.now(), SECOND);
}
