//! Attacks on the init of a tree.

use std::time::Duration;

use crate::death::Doomed;
use crate::harness::{AT_ONCE, Host, PATIENCE, code, living, marker, nothing_left, soon, workspace, zoo};

const EPERM: &[i32] = &[libc::EPERM];
const DENIED: &[i32] = &[libc::EPERM, libc::EACCES];

/// The attempts that would prevent an init from doing its work.
const CRIPPLING: [&str; 7] = [
    "prlimit-files=1",
    "prlimit-memory=1",
    "prlimit-stack=1",
    "prlimit-data=1",
    "affinity=1",
    "nice=1",
    "idle=1",
];

async fn b3_init_cannot_be_reached() {
    let host = Host::new();
    host.refused(&[
        ("ptrace=1", EPERM),
        ("ptrace-seize=1", EPERM),
        ("vm-read=1", EPERM),
        ("vm-write=1", EPERM),
        ("pidfd-getfd=1", EPERM),
        ("read=/proc/1/mem", DENIED),
        ("read-write=/proc/1/mem", DENIED),
        ("read=/proc/1/environ", DENIED),
        ("read=/proc/1/maps", DENIED),
        ("list=/proc/1/fd", DENIED),
        ("look-up=/proc/1/fd/0", DENIED),
        ("look-up=/proc/1/root/etc", DENIED),
        ("follow=/proc/1/cwd", DENIED),
        ("follow=/proc/1/exe", DENIED),
    ])
    .await;
}

async fn b3_init_ignores_signals() {
    let host = Host::new();
    let marker = marker();
    let request = zoo(&[
        "crippled-init",
        "kill=1,9",
        "kill=1,19",
        "kill=1,15",
        "kill=1,11",
        "kill=1,17",
        &marker,
    ]);
    let process = host.start(request).await;
    process.prints("up").await;
    assert!(
        soon(AT_ONCE, || living(&marker, &[]).len() == 2).await,
        "{:?}",
        living(&marker, &[])
    );
    process.stop(Duration::ZERO).await;
    nothing_left(&marker, &[], AT_ONCE).await;
}

async fn b3_init_keeps_its_limits_and_its_place() {
    for attack in CRIPPLING {
        Host::new().refused(&[(attack, DENIED)]).await;
    }
}

async fn x2_a_crippled_init_does_not_change_how_the_command_ended() {
    let mut wrong = Vec::new();
    for attack in CRIPPLING {
        let exit = Host::new().run(zoo(&["try", attack])).await.map(|output| output.exit);
        if exit != Ok(code(0)) {
            wrong.push((attack, exit));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

async fn b3_a_crippled_init_still_ends_its_tree_with_the_host() {
    let mut left = Vec::new();
    for attack in CRIPPLING {
        let (dir, marker) = (workspace(), marker());
        let host = Doomed::start(&marker, dir.path(), &["crippled-init", attack]);
        let up = || dir.path().join("up").exists() || living(&marker, &[]).len() < 2;
        assert!(soon(PATIENCE, up).await, "{attack}: {:?}", living(&marker, &[]));
        let session = host.killed();
        let tree = tokio::spawn(async move { nothing_left(&marker, &[session], AT_ONCE).await });
        if tree.await.is_err() {
            left.push(attack);
        }
    }
    assert!(left.is_empty(), "survived after {left:?}");
}

crate::who::each_user!(
    b3_init_cannot_be_reached,
    b3_init_ignores_signals,
    b3_init_keeps_its_limits_and_its_place,
    b3_a_crippled_init_still_ends_its_tree_with_the_host,
    x2_a_crippled_init_does_not_change_how_the_command_ended,
);
