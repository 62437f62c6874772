//! Calls from the lines of standard input or a file: `-`, `--calls` and the options that go with them.
//!
//! A command `cat` that reads a named pipe keeps a call in flight, or a process alive, until the test opens the pipe to write.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Ended, Running, Workspace, finish, test_guest_file};

/// Every grant that the calls need.
const GRANTED: [&str; 5] = ["--allow", "sh", "--allow", "cat", "--allow-persistent"];

/// The command `capsule run … <the tests' capsule> -`, not started yet.
fn run(workspace: &Workspace, options: &[&str]) -> Command {
    let mut run = workspace.run(GRANTED);
    run.args(options).arg(test_guest_file()).arg("-").stdin(Stdio::piped());
    run
}

/// Runs the command to its end, with this input.
fn with_input(mut run: Command, input: &[u8]) -> Ended {
    let mut running = Running::start(&mut run);
    let mut pipe = running.input();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || pipe.write_all(&input));
    let ended = running.finish();
    writing.join().unwrap().unwrap();
    ended
}

fn say(pipe: &mut impl std::io::Write, line: &Value) {
    writeln!(pipe, "{line}").unwrap();
}

/// A call that is in flight until the pipe `name` is closed.
fn held(id: &str, name: &str) -> Value {
    json!({ "id": id, "action": "run", "payload": { "cmd": "cat", "args": [name] } })
}

/// The number of an answer's line, and its data or its error's kind.
fn short(answer: &Value) -> (u64, Value) {
    let told = match answer.get("error") {
        Some(error) => error["kind"].clone(),
        None => answer["result"]["data"]["ok"].clone(),
    };
    (answer["line"].as_u64().unwrap(), told)
}

fn shorts(ended: &Ended) -> Vec<(u64, Value)> {
    ended.lines.iter().map(short).collect()
}

#[test]
fn a_program_has_each_answer_before_it_writes_the_next_line_and_processes_live_over_them() {
    let workspace = Workspace::new();
    let mut running = Running::start(&mut run(&workspace, &[]));
    let mut pipe = running.input();
    let cat = json!({ "cmd": "cat", "keep_stdin_open": true, "label": "cat" });
    say(&mut pipe, &json!({ "id": "cat", "action": "start", "payload": cat }));
    let answer = running.line();
    assert_eq!((&answer["line"], &answer["id"]), (&1.into(), &"cat".into()), "{answer}");
    let id = answer["result"]["data"]["ok"].as_str().unwrap().to_owned();
    for (number, word) in ["one", "two"].into_iter().enumerate() {
        let of_cat = |more: Value| {
            let mut payload = json!({ "id": { "$ref": "cat.data.ok" }, "ms": 60_000 });
            payload
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            payload
        };
        say(
            &mut pipe,
            &json!({ "action": "write", "payload": of_cat(json!({ "text": format!("{word}\n") })) }),
        );
        assert_eq!(running.line()["result"]["data"], json!({ "ok": null }));
        say(
            &mut pipe,
            &json!({ "id": 7, "action": "follow", "payload": of_cat(json!({ "count": number + 1 })) }),
        );
        let answer = running.line();
        assert_eq!(answer["id"], 7, "{answer}");
        assert_eq!(answer["result"]["data"]["ok"]["lines"][number], word, "{answer}");
    }
    drop(pipe);
    let ended = running.finish();
    assert_eq!((ended.code, ended.lines.len()), (Some(0), 0), "{ended:?}");
    assert!(!ended.stderr.contains(&id), "{ended:?}");
    workspace.assert_empty();
}

#[test]
fn a_line_that_cannot_be_used_is_answered_and_the_lines_after_it_are_read() {
    let workspace = Workspace::new();
    let too_long = format!("{{\"action\":\"{}\"}}", "x".repeat(16 << 20));
    let input = [
        b"{\"action\":\"echo\",\"payload\":1}\n\n{\"action\":\"echo\",}\n",
        too_long.as_bytes(),
        b"\n{\"action\":\"echo\",\"principle\":\"ann\"}\n\xff\n[\"echo\",1,null,null,null]\n{\"action\":\"\\u001b[2J\",\"payload\":2}\n",
        b"{\"action\":\"echo\",\"payload\":3}",
    ]
    .concat();
    let ended = with_input(run(&workspace, &[]), &input);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = shorts(&ended);
    let numbers: Vec<_> = told.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8, 9], "{ended:?}");
    let kinds: Vec<_> = told.iter().map(|(_, told)| told.clone()).collect();
    let bad = || json!("bad-line");
    assert_eq!(
        kinds,
        [
            json!(1),
            bad(),
            json!("line-too-long"),
            bad(),
            bad(),
            bad(),
            Value::Null,
            json!(3)
        ],
        "{ended:?}"
    );
    // The byte of the fault, and the member that is misspelt.
    assert_eq!(ended.lines[1]["error"]["column"], 18, "{ended:?}");
    assert!(
        ended.lines[3].to_string().contains("unknown field `principle`"),
        "{ended:?}"
    );
    assert_eq!(ended.lines[6]["result"]["action"], "deny", "{ended:?}");
}

#[test]
fn a_reference_that_has_no_value_fails_its_own_call_and_names_the_line() {
    let workspace = Workspace::new();
    let refers = |to: &str| json!({ "action": "echo", "payload": [{ "$ref": to }] });
    let lines = [
        refers("later.data"),
        json!({ "id": "later", "action": "echo", "payload": { "items": [{ "id": 1.0 }], "text": "{\"$ref\":\"x\"}" } }),
        refers("later.data.ok.items.0.id"),
        refers("later.data.ok.items.1"),
        json!({ "id": "failed", "action": "no-such-action" }),
        refers("failed.data"),
        json!({ "id": "too", "action": "echo", "payload": { "$ref": "later.data.no" } }),
        refers("too.data"),
        json!({ "action": "echo", "payload": { "$ref": "#/definitions/a" } }),
        json!({ "action": "echo", "payload": { "$ref": "#/definitions/a" }, "refs": false }),
        refers("later.data.ok.text"),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let ended = with_input(run(&workspace, &[]), input.as_bytes());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let bad = || json!("bad-reference");
    let told: Vec<_> = shorts(&ended).into_iter().map(|(_, told)| told).collect();
    assert_eq!(
        told[..4],
        [bad(), lines[1]["payload"].clone(), json!([1.0]), bad()],
        "{ended:?}"
    );
    assert_eq!(told[5..9], [bad(), bad(), bad(), bad()], "{ended:?}");
    assert_eq!(
        told[9..],
        [lines[9]["payload"].clone(), json!(["{\"$ref\":\"x\"}"])],
        "{ended:?}"
    );
    for (index, part) in [
        (0, "no earlier call has the id `later`"),
        (3, "the data of `later` (line 2) has no `data.ok.items.1`"),
        (5, "the call `failed` (line 5) failed"),
        (7, "the call `too` (line 7) failed"),
        (8, "\"refs\":false"),
    ] {
        let message = ended.lines[index]["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn with_jobs_answers_come_as_calls_end_and_a_call_waits_for_what_it_refers_to() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut running = Running::start(&mut run(&workspace, &["--jobs", "3"]));
    let mut pipe = running.input();
    say(&mut pipe, &held("slow", "pipe"));
    say(
        &mut pipe,
        &json!({ "id": "next", "action": "echo", "payload": { "$ref": "slow.data.ok.stdout" } }),
    );
    say(&mut pipe, &json!({ "action": "echo", "payload": 3 }));
    assert_eq!(short(&running.line()), (3, json!(3)));
    say(
        &mut pipe,
        &json!({ "action": "echo", "payload": { "$ref": "next.data.ok" } }),
    );
    write!(workspace.when_read("pipe"), "text").unwrap();
    let ended = {
        drop(pipe);
        running.finish()
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = shorts(&ended);
    assert_eq!(told[0].0, 1, "{ended:?}");
    assert_eq!(told[1..], [(2, json!("text")), (4, json!("text"))], "{ended:?}");
}

#[test]
fn without_jobs_calls_run_in_order_one_at_a_time() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut running = Running::start(&mut run(&workspace, &[]));
    let mut pipe = running.input();
    say(&mut pipe, &held("slow", "pipe"));
    say(
        &mut pipe,
        &json!({ "action": "run", "payload": { "cmd": "sh", "args": ["-c", "echo > second"] } }),
    );
    drop(pipe);
    let hold = workspace.when_read("pipe");
    assert!(!workspace.path().join("second").exists());
    drop(hold);
    let ended = running.finish();
    let numbers: Vec<_> = shorts(&ended).into_iter().map(|(number, _)| number).collect();
    assert_eq!((ended.code, &numbers[..]), (Some(0), &[1, 2][..]), "{ended:?}");
    assert!(workspace.path().join("second").exists());
}

#[test]
fn lines_are_not_read_while_calls_run_so_an_endless_input_waits() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut running = Running::start(&mut run(&workspace, &["--jobs", "2"]));
    let mut pipe = running.input();
    say(&mut pipe, &held("slow", "pipe"));
    let hold = workspace.when_read("pipe");
    // Calls that wait for a result count, too. None of them is answered, so only their number stops the reading.
    let refers = json!({ "action": "echo", "payload": { "$ref": "slow.data.ok.stdout" } });
    let line = format!("{refers}{}\n", " ".repeat(1000));
    fcntl_setfl(&pipe, OFlags::NONBLOCK).unwrap();
    let mut lines = 0;
    // As much as the pipe and a buffer hold. A command that reads on makes room within a second.
    let a_second = Timespec { tv_sec: 1, tv_nsec: 0 };
    while poll(&mut [PollFd::new(&pipe, PollFlags::OUT)], Some(&a_second)).unwrap() == 1 {
        // A write of less than a page is made as a whole or not at all.
        assert_eq!(pipe.write(line.as_bytes()).unwrap(), line.len());
        lines += 1;
        assert!(lines < 1000, "a megabyte was read");
    }
    drop((hold, pipe));
    let ended = running.finish();
    assert_eq!(
        (ended.code, ended.lines.len()),
        (Some(0), 1 + lines),
        "{}",
        ended.stderr
    );
}

#[test]
fn two_principals_do_not_see_each_others_processes() {
    let workspace = Workspace::new();
    let of = |principal: &str, action: &str| json!({ "action": action, "principal": principal });
    let lines = [
        json!({ "id": "a", "action": "start", "principal": "ann",
            "payload": { "cmd": "cat", "keep_stdin_open": true, "label": "of-ann" } }),
        of("bob", "list"),
        json!({ "action": "attach", "principal": "bob", "payload": { "id": { "$ref": "a.data.ok" } } }),
        of("ann", "list"),
        of("bob", "caller"),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let ended = with_input(run(&workspace, &[]), input.as_bytes());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let data = |index: usize| &ended.lines[index]["result"]["data"];
    assert_eq!(data(1)["ok"], json!([]), "{ended:?}");
    assert_eq!(data(2)["err"]["kind"], "no-such-process", "{ended:?}");
    assert_eq!(data(3)["ok"], json!([[data(0)["ok"], "of-ann"]]), "{ended:?}");
    assert_eq!(data(4)["ok"], "bob", "{ended:?}");
    // The end of the command is the end of all of them, and the user learns whose they were.
    assert!(ended.stderr.contains("of-ann (cat) of ann, after "), "{ended:?}");
    workspace.assert_empty();
}

#[test]
fn with_a_principal_on_the_command_line_no_line_names_another() {
    let workspace = Workspace::new();
    let input = "{\"action\":\"caller\"}\n{\"action\":\"caller\",\"principal\":\"ann\"}\n\
                 {\"id\":1,\"action\":\"caller\",\"principal\":\"bob\"}\n";
    let ended = with_input(run(&workspace, &["--principal", "ann"]), input.as_bytes());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        shorts(&ended),
        [(1, json!("ann")), (2, json!("ann")), (3, json!("bad-line"))],
        "{ended:?}"
    );
    assert_eq!(ended.lines[2]["id"], 1, "{ended:?}");
}

#[test]
fn a_file_of_calls_and_standard_input_follow_the_calls_of_the_command_line() {
    let workspace = Workspace::new();
    let file = workspace.path().join("calls");
    fs::write(&file, "{\"action\":\"echo\",\"payload\":2}").unwrap();
    let mut run = run(&workspace, &[]);
    run.args(["echo=1", "--calls"]).arg(&file);
    let ended = with_input(run, b"{\"action\":\"echo\",\"payload\":0}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told: Vec<_> = ended
        .lines
        .iter()
        .map(|line| line["result"]["data"]["ok"].clone())
        .collect();
    assert_eq!(told, [0, 1, 2], "{ended:?}");
    assert_eq!(ended.lines[1].get("line"), None, "{ended:?}");
}

#[test]
fn the_capsule_reads_its_configuration() {
    let workspace = Workspace::new();
    let mut run = workspace.run(["--config", "root=/srv=x", "--config", "empty="]);
    run.arg(test_guest_file()).arg("config=[\"root\",\"empty\",\"other\"]");
    let ended = finish(&mut run);
    assert_eq!(
        ended.lines[0]["result"]["data"]["ok"],
        json!(["/srv=x", "", null]),
        "{ended:?}"
    );
}

#[test]
fn a_call_that_takes_too_long_fails_and_the_next_one_runs() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let input = format!(
        "{}\n{}\n",
        held("held", "pipe"),
        json!({ "action": "echo", "payload": 2 })
    );
    let ended = with_input(run(&workspace, &["--timeout", "3s"]), input.as_bytes());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(shorts(&ended), [(1, json!("call-time")), (2, json!(2))], "{ended:?}");
    assert!(ended.lines[0].to_string().contains("more than 3s"), "{ended:?}");
    workspace.assert_empty();
}

/// Starts a process that writes the file `done` when the pipe `pipe` is closed.
const LASTING: &str = "start={\"cmd\":\"sh\",\"label\":\"lasting\",\"args\":[\"-c\",\"cat pipe; echo > done\"]}";

#[test]
fn until_exit_waits_for_the_processes_and_says_so() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut run = workspace.run(GRANTED);
    let mut running = Running::start(run.arg("--until-exit").arg(test_guest_file()).arg(LASTING));
    running.line();
    let hold = workspace.when_read("pipe");
    let message = running.message();
    assert!(message.contains("--until-exit waits for these processes"), "{message}");
    drop(hold);
    let ended = running.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(workspace.path().join("done").exists(), "{ended:?}");
    assert!(!ended.stderr.contains("end with this command"), "{ended:?}");
}

#[test]
fn a_signal_ends_the_wait_for_processes_and_the_processes() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut run = workspace.run(GRANTED);
    let mut running = Running::start(run.arg("--until-exit").arg(test_guest_file()).arg(LASTING));
    running.line();
    let hold = workspace.when_read("pipe");
    running.message();
    running.signal(Signal::INT);
    let ended = running.finish();
    drop(hold);
    assert_eq!(ended.code, Some(128 + 2), "{ended:?}");
    assert!(ended.stderr.contains("lasting"), "{ended:?}");
    assert!(!workspace.path().join("done").exists());
    workspace.assert_empty();
}

#[test]
fn a_signal_is_answered_for_each_call_in_flight() {
    let workspace = Workspace::new();
    workspace.pipe("one");
    workspace.pipe("two");
    let mut running = Running::start(&mut run(&workspace, &["--jobs", "4"]));
    let mut pipe = running.input();
    say(&mut pipe, &held("one", "one"));
    say(&mut pipe, &held("two", "two"));
    say(
        &mut pipe,
        &json!({ "id": "waits", "action": "echo", "payload": { "$ref": "one.data" } }),
    );
    // When this is answered, the others are in flight.
    say(&mut pipe, &json!({ "action": "echo" }));
    running.line();
    let holds = [workspace.when_read("one"), workspace.when_read("two")];
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
    let cancelled = || json!("cancelled");
    assert_eq!(
        shorts(&ended),
        [(1, cancelled()), (2, cancelled()), (3, cancelled())],
        "{ended:?}"
    );
    assert!(ended.lines[2].to_string().contains("before this call"), "{ended:?}");
    drop((holds, pipe));
    workspace.assert_empty();
}

#[test]
fn other_calls_and_signals_are_served_while_references_are_filled_in() {
    let workspace = Workspace::new();
    let mut running = Running::start(&mut run(&workspace, &["--jobs", "2"]));
    let mut pipe = running.input();
    // Every reference reads the whole result, which takes many seconds together.
    let text = "\\n".repeat(7 << 20);
    let large = format!("{{\"id\":\"large\",\"action\":\"echo\",\"payload\":{{\"text\":\"{text}\",\"n\":1}}}}\n");
    pipe.write_all(large.as_bytes()).unwrap();
    running.line();
    let many = vec![json!({ "$ref": "large.data.ok.n" }); 64];
    say(&mut pipe, &json!({ "action": "echo", "payload": many }));
    say(&mut pipe, &json!({ "action": "echo", "payload": 3 }));
    assert_eq!(short(&running.line()), (3, json!(3)));
    running.signal(Signal::INT);
    let ended = running.finish();
    assert_eq!(ended.code, Some(128 + 2), "{ended:?}");
    assert_eq!(shorts(&ended), [(2, json!("cancelled"))], "{ended:?}");
    assert!(ended.lines[0].to_string().contains("before this call"), "{ended:?}");
    drop(pipe);
}

#[test]
fn a_signal_ends_a_command_that_waits_for_a_line() {
    let workspace = Workspace::new();
    let mut running = Running::start(&mut run(&workspace, &[]));
    let mut pipe = running.input();
    say(&mut pipe, &json!({ "action": "echo" }));
    running.line();
    running.signal(Signal::INT);
    let ended = running.finish();
    assert_eq!((ended.code, ended.lines.len()), (Some(128 + 2), 0), "{ended:?}");
    drop(pipe);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_although_its_input_stays_open() {
    let workspace = Workspace::new();
    workspace.pipe("pipe");
    let mut running = Running::start(&mut run(&workspace, &["--jobs", "2"]));
    let mut pipe = running.input();
    say(&mut pipe, &held("held", "pipe"));
    let hold = workspace.when_read("pipe");
    running.close_output();
    say(&mut pipe, &json!({ "action": "echo" }));
    let ended = running.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        !ended.stderr.contains("panic") && !ended.stderr.contains("error"),
        "{ended:?}"
    );
    drop((hold, pipe));
    workspace.assert_empty();
}
