//! The exit status of a command, and its signals, through every process between the command and the host (S6, X2, K1,
//! K2).

use std::time::{Duration, Instant};

use capsule_host::sandbox::{Policy, Workspace};
use capsule_host::supervisor::{Error, Signal};

use crate::harness::{
    AllowAll, Host, PATIENCE, code, command, living, marker, nothing_left, sh, signalled, soon, workspace, zoo,
};
use crate::who::ORDINARY;

async fn x2_a_code_is_a_code_and_a_signal_is_a_signal() {
    let host = Host::new();
    for (script, expected) in [
        ("exit 0", code(0)),
        ("exit 1", code(1)),
        ("exit 126", code(126)),
        ("exit 127", code(127)),
        ("exit 137", code(137)),
        ("exit 143", code(143)),
        ("exit 255", code(255)),
        ("kill -9 $$", signalled(9)),
        ("kill -15 $$", signalled(15)),
        ("kill -6 $$", signalled(6)),
        ("kill -11 $$", signalled(11)),
        ("kill -64 $$", signalled(64)),
        ("sh -c 'kill -9 $$'; exit $?", code(137)),
        // All processes but the command itself.
        ("kill -9 -1; exit 5", code(5)),
    ] {
        let output = host.run(sh(script)).await.expect("it runs");
        assert_eq!(output.exit, expected, "{script}");
        let process = host.start(sh(script)).await;
        assert_eq!(process.exit().await, expected, "{script}");
        process.scope.release(&process.id).await.expect("it has ended");
    }
}

async fn s6_a_program_that_cannot_be_executed_fails_the_spawn() {
    let host = Host::new();
    // Another process writes it, for the reason that `workspace` gives.
    host.printed(sh(
        "printf '#!/bin/sh\\n' >plain && printf '#!/nowhere/sh\\n' >no-interpreter && \
         printf '\\1\\2' >garbage && chmod 644 plain && chmod 755 no-interpreter garbage",
    ))
    .await;
    for missing in [
        "./missing",
        "/nowhere/missing",
        "missing-from-the-path",
        "./no-interpreter",
        "/etc/shadow",
    ] {
        let refused = host.run(command(missing, &[])).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{missing}: {refused:?}");
    }
    for forbidden in ["./plain", "/usr", "/etc/passwd"] {
        let refused = host.run(command(forbidden, &[])).await;
        assert!(
            matches!(refused, Err(Error::PermissionDenied(_))),
            "{forbidden}: {refused:?}"
        );
    }
    let refused = host.run(command("./garbage", &[])).await;
    assert!(matches!(refused, Err(Error::ExecFailed(_))), "{refused:?}");
    let ran = host.run(sh("exit 1")).await.expect("it runs");
    assert_eq!(ran.exit, code(1));
}

async fn s6_a_confinement_that_cannot_be_made_is_said_to_be_that() {
    let host = Host::new();
    let gone = workspace();
    let workspace = Workspace::open(gone.path()).expect("a workspace");
    drop(gone);
    for program in ["/bin/true", "./missing"] {
        let refused = host
            .scope()
            .spawn(command(program, &[]), &workspace, &mut AllowAll)
            .await;
        let Err(Error::Host(why)) = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("confinement"), "{why}");
    }
}

async fn s6_a_workspace_closed_to_the_identity_is_said_to_be_that() {
    let host = Host::with(Policy::new().identity(ORDINARY + 1, ORDINARY + 1));
    for program in ["/bin/true", "./missing"] {
        let refused = host.run(command(program, &[])).await;
        let Err(Error::Host(why)) = &refused else {
            panic!("{refused:?}")
        };
        assert!(
            why.contains("workspace") && why.contains("chown"),
            "the layer and the remedy: {why}"
        );
    }
}

async fn k1_a_signal_is_for_the_group_and_stop_is_for_the_tree() {
    let host = Host::new();
    let process = host.start(zoo(&["hear"])).await;
    for who in ["command", "child", "daemon"] {
        process.prints(&format!("{who} up")).await;
    }
    process.scope.signal(&process.id, Signal::Usr1).await.expect("it runs");
    for who in ["command", "child"] {
        process.prints(&format!("{who} 10")).await;
    }
    // A process that received TERM received every signal before it.
    assert_eq!(process.stop(Duration::from_secs(30)).await, code(7), "it had its time");
}

async fn k2_stop_reaches_a_daemon_with_its_term() {
    let host = Host::new();
    let marker = marker();
    // The daemon is in a session of its own, and makes a file when it receives TERM. The command waits for that file.
    let script = format!(
        "trap 'until [ -e heard ]; do :; done; exit 9' TERM\n\
         setsid sh -c 'trap \"touch heard; exit\" TERM; touch up; while :; do sleep 0.01; done' {marker} &\n\
         while :; do sleep 0.01; done"
    );
    let process = host.start(sh(&script)).await;
    assert!(soon(PATIENCE, || host.dir().join("up").exists()).await);
    assert_eq!(process.stop(Duration::from_secs(30)).await, code(9));
    nothing_left(&marker, &[], Duration::ZERO).await;
}

async fn k2_a_stopped_command_is_woken_to_hear_its_term() {
    let host = Host::new();
    let process = host.start(zoo(&["stopped"])).await;
    process.prints("up").await;
    let pid = process.os_pid();
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") T ")
    };
    assert!(soon(PATIENCE, stopped).await);
    let begun = Instant::now();
    assert_eq!(process.stop(Duration::from_secs(30)).await, signalled(libc::SIGTERM));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

async fn k2_stop_kills_the_deaf() {
    let host = Host::new();
    let marker = marker();
    let process = host.start(zoo(&["deaf-tree", &marker])).await;
    process.prints("daemon").await;
    process.prints("up").await;
    assert_eq!(living(&marker, &[]).len(), 2);
    assert_eq!(process.stop(Duration::from_millis(50)).await, signalled(libc::SIGKILL));
    nothing_left(&marker, &[], Duration::ZERO).await;
}

crate::who::each_user!(
    x2_a_code_is_a_code_and_a_signal_is_a_signal,
    s6_a_program_that_cannot_be_executed_fails_the_spawn,
    s6_a_confinement_that_cannot_be_made_is_said_to_be_that,
    k1_a_signal_is_for_the_group_and_stop_is_for_the_tree,
    k2_stop_reaches_a_daemon_with_its_term,
    k2_a_stopped_command_is_woken_to_hear_its_term,
    k2_stop_kills_the_deaf,
);

crate::who::root!(s6_a_workspace_closed_to_the_identity_is_said_to_be_that);
