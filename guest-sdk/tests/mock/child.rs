//! `Command::spawn` and what a child can do.

use std::io::{Read as _, Write as _};

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::{Child, ChildOutput, Command, Error, Signal};

use crate::SECOND;

fn spawn(host: &Host, script: impl Fn() -> Script + 'static) -> Child {
    host.command("x", move |_| script());
    Command::new("x").keep_stdin_open(true).spawn().unwrap()
}

fn cat() -> Script {
    Script::new()
        .on_input(<[u8]>::to_vec)
        .on_end_of_input(Script::new().exit(0))
}

#[test]
fn s9_dropping_a_child_ends_it_also_while_its_readers_and_its_input_live_on() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().stdout("said\n"));
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    assert_eq!(stdout.read_text().unwrap(), "said\n");
    let exit = child.exit_ready();
    drop(child);
    assert_eq!(host.runs()[0].exit.unwrap().signal(), Some(9));
    assert!(exit.is_ready(), "A1: a pollable whose process is gone is ready");
    let error = stdin.write(b"x").unwrap_err();
    assert_eq!(error.downcast::<Error>().unwrap(), Error::Closed);
    assert_eq!(stdout.read(&mut [0; 8]).unwrap(), 0);
    assert!(stdout.at_end().unwrap());
}

#[test]
fn a_reader_keeps_what_came_for_it_when_the_child_is_gone() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().stdout("out\n").stderr("err\n").exit(0));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // This read takes both streams from the host.
    assert_eq!(stdout.read_text().unwrap(), "out\n");
    drop(child);
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(text, "err\n");
}

#[test]
fn n4_dropping_its_input_ends_it_and_waiting_drops_it() {
    let host = Host::new();
    let mut child = spawn(&host, cat);
    child.stdin.as_mut().unwrap().write_all(b"one ").unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"two").unwrap();
    assert_eq!(child.try_wait().unwrap(), None, "try_wait ends no input");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(child.read_logs().unwrap().stdout, "one two");

    let mut child = spawn(&host, cat);
    assert!(child.wait().unwrap().success(), "`wait` ended the input");
    assert!(child.stdin.is_none());
}

#[test]
fn without_keep_stdin_open_there_is_no_input_to_write_to() {
    let host = Host::new();
    host.command("cat", |_| cat());
    let mut child = Command::new("cat").stdin("given").spawn().unwrap();
    assert!(child.stdin.is_none());
    assert_eq!(child.wait_with_output_timeout(SECOND).unwrap().stdout, b"given");
}

#[test]
fn output_is_not_lost_between_a_reader_and_wait_with_output() {
    let host = Host::new();
    let mut child = spawn(&host, || {
        Script::new()
            .stdout("first\nsec")
            .stderr("e1\n")
            .after(SECOND)
            .stdout("ond\n")
            .stderr("e2\n")
            .exit(3)
    });
    let first = child.stdout.as_mut().unwrap().lines().next().unwrap().unwrap();
    assert_eq!(first, "first");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout_lossy()), (Some(3), "second\n"));
    assert_eq!(output.stderr, b"e1\ne2\n");
}

#[test]
fn a_reader_that_was_taken_gets_the_rest_and_that_of_a_dropped_one_is_lost() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().stdout("out").stderr("err").exit(0));
    let mut stdout = child.stdout.take().unwrap();
    child.stderr = None;
    let output = child.wait_with_output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b""[..]));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "out");
}

#[test]
fn a2_a_timeout_takes_nothing() {
    let host = Host::new();
    let mut child = spawn(&host, || {
        Script::new().stdout("early ").after(SECOND * 9).stdout("late").exit(0)
    });
    assert_eq!(child.wait_with_output_timeout(SECOND), Err(Error::WaitTimeout));
    assert_eq!(child.wait_timeout(SECOND), Err(Error::WaitTimeout));
    assert_eq!(host.now(), SECOND * 2);
    assert_eq!(child.wait_with_output().unwrap().stdout, b"early late");
}

#[test]
fn k3_kill_tells_what_was_left_and_does_not_kill_twice() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().stdout("one\ntwo\n"));
    assert_eq!(child.stdout.as_mut().unwrap().lines().next().unwrap().unwrap(), "one");
    let killed = child.kill().unwrap();
    assert!(killed.killed);
    assert_eq!(
        (killed.exit.unwrap().signal(), &*killed.stdout),
        (Some(9), &b"two\n"[..])
    );
    let again = child.kill().unwrap();
    assert!(!again.killed && again.stdout.is_empty());
    assert_eq!(again.exit, killed.exit);
}

#[test]
fn x7_the_id_is_gone_after_the_exit() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().after(SECOND).exit(0));
    assert!(child.id().is_some());
    child.wait().unwrap();
    assert_eq!(child.id(), None);
}

#[test]
fn a_signal_reaches_it_and_is_noted() {
    let host = Host::new();
    let mut child = spawn(&host, || {
        Script::new().on_signal(Signal::Hup, Script::new().stdout("reloaded\n"))
    });
    child.signal(Signal::Hup).unwrap();
    child.signal(Signal::Int).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert_eq!(host.runs()[0].signals, [Signal::Hup, Signal::Int]);
    assert_eq!(child.read_logs().unwrap().stdout, "reloaded\n");
}

#[test]
fn lines_and_texts_are_found_across_every_border_of_reads() {
    let host = Host::new();
    let text = "erste Zeile\nzwölf Boxkämpfer \u{1f980}\r\nno end";
    for cut in 0..=text.len() {
        host.command("x", move |_| {
            let (head, rest) = text.as_bytes().split_at(cut);
            Script::new()
                .stdout(head)
                .after(SECOND)
                .stderr("noise")
                .after(SECOND)
                .stdout(rest)
                .exit(0)
        });
        let mut child = Command::new("x").spawn().unwrap();
        let lines: Result<Vec<_>, _> = child.stdout.as_mut().unwrap().follow().lines().collect();
        assert_eq!(lines.unwrap(), text.lines().collect::<Vec<_>>(), "cut at {cut}");

        let mut child = Command::new("x").spawn().unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        assert_eq!(
            stdout.wait_for_output("Box", SECOND * 9).unwrap(),
            "zwölf Box",
            "cut at {cut}"
        );
        assert_eq!(
            stdout.wait_for_output(" \u{1f980}", SECOND * 9).unwrap(),
            "kämpfer \u{1f980}"
        );
        assert_eq!(stdout.wait_for_output("absent", SECOND * 9), Err(Error::Closed));
    }
}

#[test]
fn waiting_for_output_ends_on_time() {
    let host = Host::new();
    let mut child = spawn(&host, || Script::new().after(SECOND * 9).stdout("ready"));
    let stdout: &mut ChildOutput = child.stdout.as_mut().unwrap();
    assert_eq!(stdout.wait_for_output("ready", SECOND), Err(Error::WaitTimeout));
    assert_eq!(host.now(), SECOND);
    let last = stdout.follow().at_most(SECOND).last();
    assert_eq!(last, Some(Err(Error::WaitTimeout)));
    assert_eq!(host.now(), SECOND * 2);
    assert_eq!(stdout.wait_for_output("ready", SECOND * 9).unwrap(), "ready");
}

/// An idle reader must not fill the instance's memory.
#[test]
fn what_is_kept_for_a_reader_that_does_not_read_is_bounded_and_its_loss_counted() {
    let host = Host::new();
    host.command("x", |_| {
        let chunk = vec![b'x'; 1024 * 1024];
        (0..12).fold(Script::new(), |script, _| {
            script.after(SECOND).stderr(chunk.clone()).stdout(".")
        })
    });
    let mut child = Command::new("x").spawn().unwrap();
    for _ in 0..12 {
        child.logs_ready().block().unwrap();
        assert_eq!(child.stdout.as_mut().unwrap().read_text().unwrap(), ".");
    }
    let stderr = child.stderr.as_mut().unwrap();
    assert_eq!(stderr.dropped(), 4 * 1024 * 1024);
    assert_eq!(stderr.read_text().unwrap().len(), 8 * 1024 * 1024);
}

#[test]
fn unloading_ends_every_wait() {
    let host = Host::new();
    let mut child = spawn(&host, Script::new);
    host.unload();
    assert_eq!(child.wait(), Err(Error::Cancelled));
    assert_eq!(child.logs_ready().block(), Err(Error::Cancelled));
    assert_eq!(Command::new("x").spawn().unwrap_err(), Error::Cancelled);
}

#[test]
fn j1_injected_files_are_where_the_command_is_told() {
    let host = Host::new();
    host.command("x", |run| {
        let by_variable = run.file(run.env("TOKEN_FILE").unwrap()).unwrap().to_vec();
        Script::new()
            .stdout(by_variable)
            .stdout(run.file("/etc/x.conf").unwrap())
            .exit(0)
    });
    let mut command = Command::new("x");
    command
        .file_env("TOKEN_FILE", "secret ")
        .file_at("/etc/x.conf", b"\xc3\xa9");
    assert_eq!(command.output().unwrap().stdout_lossy(), "secret é");
}

/// The host keeps the newest mebibyte of a stream: who wants all of it has to read along.
#[test]
fn all_output_is_collected_also_where_the_host_keeps_only_the_end() {
    let host = Host::new();
    host.command("x", |_| {
        let chunk = vec![b'x'; 1024 * 1024];
        (0..20)
            .fold(Script::new(), |script, _| script.after(SECOND).stdout(chunk.clone()))
            .exit(0)
    });
    let output = Command::new("x").spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.stdout.len(), 20 * 1024 * 1024);
    let mut child = Command::new("x").spawn().unwrap();
    assert_eq!(
        child.wait_with_output_timeout(SECOND * 10 + SECOND / 2),
        Err(Error::WaitTimeout)
    );
    let output = child.wait_with_output_timeout(SECOND * 60).unwrap();
    assert_eq!(output.stdout.len(), 20 * 1024 * 1024);
}
