//! The store over real files and with real hosts that are killed (contract V1 to V4).

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use capsule_host::keyvalue::{Error, OpenError, Store, Swap};
use capsule_host::supervisor::{Owner, Principal};
use tempfile::TempDir;

fn owner(principal: &str, capsule: &str) -> Owner {
    Owner {
        principal: Principal::Named(principal.into()),
        capsule: capsule.into(),
    }
}

fn ada() -> Owner {
    owner("ada", "editor")
}

fn folder() -> (TempDir, PathBuf) {
    let base = TempDir::new().unwrap();
    let dir = base.path().join("state/store");
    (base, dir)
}

/// The files of the folder that are no locks.
fn files(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
        .collect()
}

fn host(dir: &Path, args: &[&str]) -> Child {
    #[expect(clippy::disallowed_methods, reason = "a test is no part of the host")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_store-host"));
    command.arg(dir).args(args).stdout(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn v1_owners_never_meet() {
    let (_base, dir) = folder();
    let store = Store::open(&dir).unwrap();
    // The texts of the last two are the same, one after the other.
    let owners = [
        ada(),
        owner("bob", "editor"),
        owner("ada", "other"),
        owner("a", "daeditor"),
        owner("ad", "aeditor"),
    ];
    for owner in &owners {
        assert_eq!(store.get(owner, "k").await.unwrap(), None);
        let who = format!("{owner:?}").into_bytes();
        let swap = store.compare_and_set(owner, "k", None, Some(who)).await.unwrap();
        assert_eq!(swap, Swap::Swapped);
    }
    for owner in &owners {
        let who = format!("{owner:?}").into_bytes();
        assert_eq!(store.get(owner, "k").await.unwrap(), Some(who));
        assert!(store.delete(owner, "k").await.unwrap());
        assert!(store.list(owner, "", None, 10).await.unwrap().keys.is_empty());
    }
    let anonymous = Owner {
        principal: Principal::Anonymous,
        capsule: "editor".into(),
    };
    let refused = store.get(&anonymous, "k").await;
    assert!(matches!(refused, Err(Error::NotAuthenticated)), "{refused:?}");
}

#[tokio::test]
async fn v2_what_was_set_is_there_for_the_next_host_and_for_this_user_alone() {
    let (_base, dir) = folder();
    Store::open(&dir)
        .unwrap()
        .set(&ada(), "k", b"v".to_vec())
        .await
        .unwrap();
    assert_eq!(
        Store::open(&dir).unwrap().get(&ada(), "k").await.unwrap(),
        Some(b"v".to_vec())
    );
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.is_file()), (0o600, true));
    }
    assert_eq!(files(&dir).len(), 1, "nothing is left of the change");
}

#[tokio::test]
async fn v2_a_file_that_cannot_be_trusted_is_left_as_it_is() {
    let (_base, dir) = folder();
    let store = Store::open(&dir).unwrap();
    store.set(&ada(), "k", b"v".to_vec()).await.unwrap();
    store
        .set(&owner("bob", "editor"), "k", b"bob's".to_vec())
        .await
        .unwrap();
    let file = files(&dir).into_iter();
    let whole = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("\"ada\"");
    let (mine, other): (Vec<_>, Vec<_>) = file.partition(whole);
    let (mine, other) = (&mine[0], &other[0]);
    let good = fs::read(mine).unwrap();

    let truncated = good[..good.len() - 1].to_vec();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [
        Vec::new(),
        truncated,
        flipped,
        fs::read(other).unwrap(),
        vec![0; good.len()],
    ] {
        fs::write(mine, &bad).unwrap();
        for refused in [
            store.get(&ada(), "k").await.map(|_| ()),
            store.set(&ada(), "k", b"w".to_vec()).await,
            store.delete(&ada(), "k").await.map(|_| ()),
            store.list(&ada(), "", None, 1).await.map(|_| ()),
        ] {
            assert!(
                matches!(&refused, Err(Error::Damaged { path, .. }) if path == mine),
                "{refused:?}"
            );
        }
        assert_eq!(fs::read(mine).unwrap(), bad, "it was changed");
    }
    fs::write(mine, &good).unwrap();
    fs::set_permissions(mine, Permissions::from_mode(0o644)).unwrap();
    let refused = store.get(&ada(), "k").await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");

    fs::set_permissions(mine, Permissions::from_mode(0o600)).unwrap();
    let elsewhere = dir.join("elsewhere");
    fs::rename(mine, &elsewhere).unwrap();
    symlink(&elsewhere, mine).unwrap();
    let refused = store.set(&ada(), "k", b"w".to_vec()).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    fs::rename(&elsewhere, mine).unwrap();
    assert_eq!(store.get(&ada(), "k").await.unwrap(), Some(b"v".to_vec()));
}

#[test]
fn v2_a_folder_of_others_is_no_store() {
    let (base, dir) = folder();
    Store::open(&dir).unwrap();
    let link = base.path().join("link");
    symlink(&dir, &link).unwrap();
    let refused = Store::open(&link);
    assert!(matches!(refused, Err(OpenError::NotPrivate { .. })), "{refused:?}");
    for mode in [0o701, 0o710, 0o770, 0o777] {
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        let refused = Store::open(&dir);
        assert!(
            matches!(refused, Err(OpenError::NotPrivate { .. })),
            "{mode:o}: {refused:?}"
        );
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        let other = rustix::fs::Uid::from_raw(65533);
        rustix::fs::chown(&dir, Some(other), None).unwrap();
        let refused = Store::open(&dir);
        assert!(matches!(refused, Err(OpenError::NotPrivate { .. })), "{refused:?}");
    }
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = Store::open(&file);
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
}

/// The host is killed while it writes, since it does nothing else.
#[tokio::test]
async fn v2_a_killed_host_leaves_the_old_value_or_the_new_one() {
    let (_base, dir) = folder();
    for round in 0..50 {
        let mut killed = host(&dir, &["set"]);
        let mut told = BufReader::new(killed.stdout.take().unwrap()).lines();
        let mut last: u64 = 0;
        for _ in 0..=round % 5 {
            last = told.next().unwrap().unwrap().parse().unwrap();
        }
        // A different part of the next change each time.
        for _ in 0..round * 2_000 {
            std::hint::spin_loop();
        }
        killed.kill().unwrap();
        // It may have told more, until it was killed.
        while let Some(Ok(line)) = told.next() {
            last = line.parse().unwrap_or(last);
        }
        killed.wait().unwrap();
        let value = Store::open(&dir).unwrap().get(&ada(), "n").await.unwrap().unwrap();
        let value = String::from_utf8(value).unwrap();
        let number: u64 = value.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(value, format!("{number} ").repeat(4000), "round {round}: a mixed value");
        assert!(
            number == last || number == last + 1,
            "round {round}: {number} after {last}"
        );
        assert!(files(&dir).len() <= 2, "round {round}: {:?}", files(&dir));
    }
}

#[tokio::test]
async fn v3_two_hosts_lose_no_change() {
    const COUNT: &str = "200";
    let (_base, dir) = folder();
    let hosts = [host(&dir, &["increment", COUNT]), host(&dir, &["increment", COUNT])];
    for mut host in hosts {
        assert!(host.wait().unwrap().success());
    }
    let value = Store::open(&dir).unwrap().get(&ada(), "n").await.unwrap();
    assert_eq!(value, Some(b"400".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v3_many_callers_of_one_host_lose_no_change() {
    let (_base, dir) = folder();
    let store = Store::open(&dir).unwrap();
    let callers = (0..20).map(|caller| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = format!("{caller}");
            store.set(&ada(), &key, key.clone().into_bytes()).await.unwrap();
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(store.list(&ada(), "", None, 100).await.unwrap().keys.len(), 20);
}

/// A lock that another host never frees delays its owner alone, and the call ends.
#[tokio::test]
async fn v3_a_host_that_holds_a_lock_delays_its_owner_alone() {
    let (_base, dir) = folder();
    let store = Store::open(&dir).unwrap();
    store.set(&ada(), "k", b"v".to_vec()).await.unwrap();
    let all = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let locks = all.filter(|path| path.extension().is_some_and(|extension| extension == "lock"));
    let lock = fs::File::open(locks.into_iter().next().unwrap()).unwrap();
    lock.lock().unwrap();
    let stuck = tokio::spawn({
        let store = store.clone();
        async move { store.set(&ada(), "k", b"w".to_vec()).await }
    });
    store.set(&owner("bob", "editor"), "k", b"b".to_vec()).await.unwrap();
    let refused = stuck.await.unwrap();
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    assert_eq!(
        store.get(&ada(), "k").await.unwrap(),
        Some(b"v".to_vec()),
        "reading needs no lock"
    );
    drop(lock);
    store.set(&ada(), "k", b"w".to_vec()).await.unwrap();
}

/// A change has begun or has not, whenever its caller goes away.
#[tokio::test]
async fn v3_a_call_that_is_dropped_leaves_a_store_that_works() {
    let (_base, dir) = folder();
    let store = Store::open(&dir).unwrap();
    for number in 0..50_u8 {
        let owner = ada();
        let mut set = Box::pin(store.set(&owner, "k", vec![number]));
        // So often is it polled, and then dropped.
        for _ in 0..number % 4 {
            let polled = futures_poll(set.as_mut()).await;
            if polled {
                break;
            }
        }
        drop(set);
        let value = store.get(&ada(), "k").await.unwrap();
        assert!(value.is_none_or(|value| value.len() == 1 && value[0] <= number));
    }
    store.set(&ada(), "k", b"w".to_vec()).await.unwrap();
    assert_eq!(store.get(&ada(), "k").await.unwrap(), Some(b"w".to_vec()));
}

/// Polls once, and lets the runtime do something else. Returns whether it is ready.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    let ready = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
    tokio::task::yield_now().await;
    ready
}
