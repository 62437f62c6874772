//! Ids, and the owners that may use them (I1 to I5): whatever fault an id has, the answer is the same and nothing
//! happens.

use std::collections::HashSet;
use std::time::Duration;

use capsule_host::supervisor::{Error, LogStream, Phase, ProcessInfo, Scope, Signal, SpawnRequest};

use capsule_tests::{Host, cat, chunk, code, command, exit, forever, lines, sh, until, watchdog};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_an_id_is_52_characters_of_base32_and_never_the_same() {
    let host = Host::roomy();
    let mut seen = HashSet::new();
    let mut first = HashSet::new();
    let mut last = HashSet::new();
    for _ in 0..100 {
        let id = host.start(command("/bin/true", &[])).await;
        assert_eq!(id.len(), 52);
        assert!(id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{id}");
        first.insert(id.as_bytes()[0]);
        last.insert(id.as_bytes()[51]);
        assert!(seen.insert(id));
    }
    // 256 bits are 51 characters and one bit: the last character is the bit and four zeros.
    assert_eq!(last, HashSet::from([b'a', b'q']));
    assert!(first.len() > 15, "no part of an id is fixed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_debug_output_holds_no_id() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.try_start(cat()).await.expect("a process");
    let raw = id.expose().to_owned();
    let said = [
        format!("{id:?}"),
        format!("{id:#?}"),
        format!("{:?}", scope.status(&raw).expect("it is there")),
        format!("{:?}", scope.list(None)),
        format!("{scope:?}"),
        format!("{:?}", host.registry),
        format!("{:?}", scope.status("x").expect_err("unknown")),
        format!("{:?}", scope.release(&raw).await.expect_err("it is live")),
        scope.release(&raw).await.expect_err("it is live").to_string(),
    ];
    for text in said {
        assert!(!text.contains(&raw) && !text.contains(&raw[..12]), "{text}");
    }
}

/// Every call that takes an id, and its answer.
async fn ask_everything(scope: &Scope, id: &str, cursor: &str) -> Vec<(&'static str, String)> {
    let hour = Duration::from_secs(3600);
    let some = |info: Result<ProcessInfo, Error>| format!("{:?}", info.map(|_| "known"));
    let read = |cursor, max| {
        let out = scope.read_since(id, LogStream::Stdout, cursor, max);
        let err = scope.read_since(id, LogStream::Stderr, cursor, max);
        format!("{out:?} {err:?}")
    };
    vec![
        ("status", some(scope.status(id))),
        ("status-many", scope.status_many([id]).len().to_string()),
        ("status-many twice", scope.status_many([id, id]).len().to_string()),
        ("read-logs", format!("{:?}", scope.read_logs(id))),
        ("read-since", read(None, u32::MAX)),
        ("read-since nothing", read(None, 0)),
        ("read-since cursor", read(Some(cursor), u32::MAX)),
        ("read-since bad cursor", read(Some("zz"), 1)),
        (
            "write-stdin",
            format!("{:?}", scope.write_stdin(id, b"pwned".to_vec()).await),
        ),
        (
            "write-stdin nothing",
            format!("{:?}", scope.write_stdin(id, Vec::new()).await),
        ),
        (
            "write-stdin too much",
            format!("{:?}", scope.write_stdin(id, vec![0; (1 << 20) + 1]).await),
        ),
        ("close-stdin", format!("{:?}", scope.close_stdin(id))),
        ("signal", format!("{:?}", scope.signal(id, Signal::Term).await)),
        ("wait", format!("{:?}", scope.wait(id, hour).await)),
        ("wait zero", format!("{:?}", scope.wait(id, Duration::ZERO).await)),
        ("stop", format!("{:?}", scope.stop(id, None).await)),
        (
            "stop at once",
            format!("{:?}", scope.stop(id, Some(Duration::ZERO)).await),
        ),
        ("release-process", format!("{:?}", scope.release(id).await)),
    ]
}

/// The facts that must not change when another owner calls.
fn facts(info: &ProcessInfo) -> String {
    let ProcessInfo {
        label,
        command,
        os_pid,
        phase,
        exit,
        buffered_bytes,
        bytes_dropped,
        stdin_open,
        ..
    } = info;
    format!("{label} {command} {os_pid:?} {phase:?} {exit:?} {buffered_bytes} {bytes_dropped} {stdin_open}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_every_wrong_id_gets_the_same_answer_and_touches_nothing() {
    let host = Host::roomy();
    let alice = host.scope();
    let strangers = [
        ("another principal", host.scope_of("bob", "editor")),
        ("another capsule", host.scope_of("alice", "viewer")),
        ("an unauthenticated caller", host.anonymous()),
        ("names swapped", host.scope_of("editor", "alice")),
        ("names run together", host.scope_of("aliceeditor", "")),
    ];

    // The processes of the other owner: one live with output and an open stdin, one exited.
    let live = host.start(cat()).await;
    alice.write_stdin(&live, b"a line\n".to_vec()).await.expect("it reads");
    lines(&alice, &live, 1).await;
    let exited = host.start(sh("echo bye; exit 4")).await;
    exit(&alice, &exited).await;
    let victims = [&live, &exited];
    let cursors = victims.map(|id| chunk(&alice, id, LogStream::Stdout, None, 0).next);

    // Ids of the owner's own processes that no longer exist.
    let released = host.start(command("/bin/true", &[])).await;
    exit(&alice, &released).await;
    alice.release(&released).await.expect("it has exited");
    let stopped = host.start(forever()).await;
    alice.stop(&stopped, None).await.expect("it ran");
    let reaped = host
        .start(SpawnRequest {
            exit_retention: Some(Duration::from_millis(1)),
            ..command("/bin/true", &[])
        })
        .await;
    until("retention is over", || alice.status(&reaped).is_err()).await;
    let elsewhere = Host::new();
    let of_another_registry = elsewhere.start(forever()).await;

    let mut never_issued = live.clone();
    never_issued.replace_range(..10, "aaaaaaaaaa");
    // The last four bits of an id have no meaning, so there are sixteen ways to spell it. Only one of them is the id.
    let mut respelled = live.clone();
    let last = if respelled.ends_with('a') { "b" } else { "r" };
    respelled.replace_range(51.., last);
    let wrong: Vec<(&str, String)> = vec![
        ("never issued", never_issued.clone()),
        ("empty", String::new()),
        ("upper case", live.to_uppercase()),
        ("respelled", respelled),
        ("padded", format!("{live}====")),
        ("spaced", format!(" {live}")),
        ("with a line break", format!("{live}\n")),
        ("cut", live[..51].to_owned()),
        ("twice", format!("{live}{live}")),
        ("a megabyte", "a".repeat(1 << 20)),
        ("NUL", "\0".to_owned()),
        ("with a NUL", format!("{live}\0")),
        ("not ASCII", "ü".repeat(26)),
        ("of another alphabet", live.replace(|c: char| c.is_ascii_digit(), "1")),
        ("released", released),
        ("stopped", stopped),
        ("reaped", reaped),
        ("of another registry", of_another_registry),
        ("a label", "cat".to_owned()),
    ];

    let before = victims.map(|id| alice.status(id).expect("it is there"));
    let pid = before[0].os_pid.expect("it runs");
    let retained = host.registry.retained();
    let expected = watchdog(ask_everything(&alice, &never_issued, &cursors[0])).await;
    for (call, answer) in &expected {
        let fits = match *call {
            "release-process" => answer == "Ok(())",
            "status-many" | "status-many twice" => answer == "0",
            // The host may name either of the two faults, but must always name the same one.
            "write-stdin too much" => answer == "Err(NoSuchProcess)" || answer == "Err(TooLarge)",
            "read-since" | "read-since nothing" | "read-since cursor" | "read-since bad cursor" => {
                answer == "Err(NoSuchProcess) Err(NoSuchProcess)"
            }
            _ => answer == "Err(NoSuchProcess)",
        };
        assert!(fits, "{call}: {answer}");
    }
    for cursor in &cursors {
        for (what, id) in &wrong {
            let answers = watchdog(ask_everything(&alice, id, cursor)).await;
            assert_eq!(answers, expected, "{what}");
        }
        for (who, scope) in &strangers {
            for id in victims {
                let answers = watchdog(ask_everything(scope, id, cursor)).await;
                assert_eq!(answers, expected, "{who}");
            }
            assert!(scope.list(None).is_empty(), "{who}");
        }
    }

    // The owner sees no difference, and no trace of the other owner's calls.
    assert_eq!(host.registry.retained(), retained);
    for (id, before) in victims.into_iter().zip(&before) {
        let after = alice.status(id).expect("still there");
        assert_eq!(facts(&after), facts(before));
        assert!(after.idle >= before.idle, "no call touched it");
    }
    assert_eq!(alice.status(&live).expect("there").os_pid, Some(pid));
    assert_eq!(alice.list(None).len(), 2);
    assert_eq!(alice.write_stdin(&live, b"more\n".to_vec()).await, Ok(5));
    assert_eq!(lines(&alice, &live, 2).await, ["a line", "more"]);
    assert_eq!(alice.read_logs(&live).expect("there").stdout, "a line\nmore\n");
    assert_eq!(alice.read_logs(&exited).expect("there").stdout, "bye\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_status_many_gives_the_callers_own_and_leaves_out_the_rest() {
    let host = Host::new();
    let alice = host.scope();
    let mine = host.start(cat()).await;
    let also_mine = host.start(forever()).await;
    let bobs = host
        .start_in(&host.scope_of("bob", "editor"), cat())
        .await
        .expect("a process");
    let found = alice.status_many(["x", &also_mine, bobs.expose(), "", &mine, &also_mine]);
    let ids: Vec<_> = found.iter().map(|info| info.id.expose()).collect();
    assert_eq!(ids, [&*also_mine, &*mine]);
    assert!(alice.status_many([]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_an_id_works_from_a_later_scope_of_the_same_owner() {
    let host = Host::new();
    let id = host.start(cat()).await;
    let later = host.scope();
    assert_eq!(later.write_stdin(&id, b"hello\n".to_vec()).await, Ok(6));
    drop(later);
    let registry = host.registry.clone();
    let latest = registry.scope(host.scope().owner().clone());
    assert_eq!(lines(&latest, &id, 1).await, ["hello"]);
    latest.close_stdin(&id).expect("it is there");
    assert_eq!(exit(&latest, &id).await, code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_list_holds_the_owners_own_in_spawn_order() {
    let host = Host::roomy();
    let scope = host.scope();
    let mut ids = Vec::new();
    for number in 0..30 {
        let request = SpawnRequest {
            label: Some(format!("job {number}")),
            ..forever()
        };
        ids.push(host.start(request).await);
        let other = SpawnRequest {
            label: Some("job of another".to_owned()),
            ..forever()
        };
        if number % 10 == 0 {
            host.start_in(&host.scope_of("bob", "editor"), other)
                .await
                .expect("a process");
        }
    }
    let listed = |filter: Option<&str>| -> Vec<String> {
        let found = scope.list(filter);
        found.iter().map(|info| info.id.expose().to_owned()).collect()
    };
    assert_eq!(listed(None), ids);
    assert_eq!(listed(Some("")), ids);
    assert_eq!(listed(Some("job 2")), [&ids[2..3], &ids[20..30]].concat());
    assert_eq!(listed(Some("b 7")), ids[7..8]);
    assert!(listed(Some("JOB")).is_empty());
    assert!(listed(Some("job .*")).is_empty());
    scope.stop(&ids[5], None).await.expect("it ran");
    scope.stop(&ids[0], None).await.expect("it ran");
    ids.remove(5);
    ids.remove(0);
    assert_eq!(listed(None), ids);
    ids.push(host.start(forever()).await);
    assert_eq!(listed(None), ids);
    // A captured process is not in the list.
    host.run(command("/bin/true", &[])).await.expect("it runs");
    assert_eq!(listed(None), ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_command_and_label_are_cut_on_character_boundaries() {
    let host = Host::roomy();
    let scope = host.scope();
    let info = async |request: SpawnRequest| {
        let id = host.start(request).await;
        scope.status(&id).expect("it is there")
    };
    let labelled = |label: &str| SpawnRequest {
        label: Some(label.to_owned()),
        ..command("/bin/true", &["a b", "", "c"])
    };
    let found = info(labelled("plain")).await;
    assert_eq!((&*found.label, &*found.command), ("plain", "/bin/true a b  c"));
    assert_eq!(info(labelled(&"ü".repeat(100))).await.label, "ü".repeat(64));
    assert_eq!(
        info(labelled(&format!("x{}", "ü".repeat(100)))).await.label,
        format!("x{}", "ü".repeat(63))
    );
    assert_eq!(info(labelled(&"🎉".repeat(40))).await.label, "🎉".repeat(32));
    assert_eq!(info(labelled("a\nb\u{1b}[0m\0c\u{7f}\u{9b}d")).await.label, "ab[0mcd");
    // Control characters are removed before the label is cut, so they take no room.
    assert_eq!(
        info(labelled(&format!("{}{}", "\n".repeat(200), "y".repeat(200))))
            .await
            .label,
        "y".repeat(128)
    );
    let derived = info(command("/bin/true", &[])).await.label;
    assert!(derived.contains("true"), "{derived}");
    let long = info(command("/bin/true", &[&"é".repeat(5000)])).await.command;
    // "/bin/true " has ten bytes, so 4086 remain: 2043 whole characters.
    assert_eq!(long, format!("/bin/true {}", "é".repeat(2043)));
    let odd = info(command("/bin/true", &["x", &"é".repeat(5000)])).await.command;
    assert_eq!(odd, format!("/bin/true x {}", "é".repeat(2042)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_buffered_bytes_are_what_read_logs_hands_over() {
    let host = Host::new();
    let scope = host.scope();
    let id = host.start(cat()).await;
    let buffered = || scope.status(&id).expect("it is there").buffered_bytes;
    let arrived = |bytes: usize| {
        let (scope, id) = (scope.clone(), id.clone());
        async move {
            until("the bytes", || {
                chunk(&scope, &id, LogStream::Stdout, None, u32::MAX).data.len() == bytes
            })
            .await;
        }
    };
    assert_eq!(buffered(), 0);
    scope.write_stdin(&id, b"12345".to_vec()).await.expect("it reads");
    arrived(5).await;
    assert_eq!(buffered(), 5);
    assert_eq!(scope.read_logs(&id).expect("there").stdout.len(), 5);
    assert_eq!(buffered(), 0);
    // Bytes that are held back would not be returned.
    scope.write_stdin(&id, b"ab\xe6\xbc".to_vec()).await.expect("it reads");
    arrived(4).await;
    assert_eq!(buffered(), 2);
    assert_eq!(scope.read_logs(&id).expect("there").stdout, "ab");
    assert_eq!(buffered(), 0);
    scope.write_stdin(&id, b"\xa2".to_vec()).await.expect("it reads");
    arrived(3).await;
    assert_eq!(buffered(), 3);
    assert_eq!(scope.read_logs(&id).expect("there").stdout, "漢");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_status_tells_the_phase_the_pid_and_the_exit() {
    let host = Host::new();
    let scope = host.scope();
    let id = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..sh("echo $$; read -r x; exit 5")
        })
        .await;
    let pid: u32 = lines(&scope, &id, 1).await[0].parse().expect("a pid");
    let running = scope.status(&id).expect("it is there");
    assert_eq!(
        (running.phase, running.os_pid, running.exit),
        (Phase::Running, Some(pid), None)
    );
    assert!(running.stdin_open);
    assert_eq!(running.id.expose(), id);
    scope.write_stdin(&id, b"\n".to_vec()).await.expect("it reads");
    assert_eq!(exit(&scope, &id).await, code(5));
    let exited = scope.status(&id).expect("it is there");
    assert_eq!(
        (exited.phase, exited.os_pid, exited.exit),
        (Phase::Exited, None, Some(code(5)))
    );
    assert!(!exited.stdin_open);
    assert!(exited.age >= running.age);
}
