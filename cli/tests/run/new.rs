//! `capsule new` and `capsule wit`: what they write, and that they leave nothing behind when they fail.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Running, Workspace, command};

/// The command `capsule …` in that folder.
fn capsule(folder: &Workspace, arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_capsule"));
    command.current_dir(folder.path()).args(arguments);
    command
}

/// Runs it to its end. Returns its exit code and its standard error.
fn end(folder: &Workspace, arguments: &[&str]) -> (Option<i32>, String) {
    let output = capsule(folder, arguments).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn entries(folder: &Workspace) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_name_that_leads_elsewhere_or_is_reserved_is_bad_usage_and_makes_nothing() {
    let folder = Workspace::new();
    for name in [
        "../x",
        "/tmp/x",
        "a/b",
        ".",
        "..",
        "",
        "X",
        "a b",
        "a\nb",
        "fn",
        "typeof",
        "test",
        "capsule-sdk",
    ] {
        let (code, stderr) = end(&folder, &["new", "--", name]);
        assert_eq!(code, Some(2), "{name:?}: {stderr}");
        assert!(stderr.contains("NAME"), "{name:?}: {stderr}");
    }
    assert!(entries(&folder).is_empty(), "{:?}", entries(&folder));
}

#[test]
fn what_has_the_name_already_stays_as_it_is() {
    let folder = Workspace::new();
    folder.write("shop", "mine");
    let (code, stderr) = end(&folder, &["new", "shop"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("shop exists already"), "{stderr}");
    assert_eq!(fs::read_to_string(folder.path().join("shop")).unwrap(), "mine");
    assert_eq!(entries(&folder), ["shop"]);
}

#[test]
fn a_folder_that_cannot_be_completed_is_not_left_behind() {
    let folder = Workspace::new();
    // A limit on the size of files: the first files of the capsule fit, and others do not.
    let mut limited = command("sh");
    limited.current_dir(folder.path()).args([
        "-c",
        "trap '' XFSZ; ulimit -f 1; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_capsule"),
        "new",
        "shop",
    ]);
    let output = limited.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write"), "{stderr}");
    assert!(entries(&folder).is_empty(), "{:?}", entries(&folder));
}

#[test]
fn an_interrupt_leaves_a_whole_folder_or_none() {
    let mut interrupted = 0;
    for _ in 0..20 {
        let folder = Workspace::new();
        let running = Running::start(&mut capsule(&folder, &["new", "shop"]));
        // The files are written into a folder beside it. By the time of the signal the folder may be whole.
        while entries(&folder).is_empty() {
            std::thread::yield_now();
        }
        running.signal(Signal::INT);
        let ended = running.finish();
        match ended.code {
            Some(0) => {
                assert_eq!(entries(&folder), ["shop"]);
                assert!(folder.path().join("shop/vendor/capsule-sdk/wit/worlds.wit").is_file());
            }
            code => {
                assert_eq!((code, &ended.stderr[..]), (Some(128 + 2), "error: ended by SIGINT\n"));
                assert_eq!(entries(&folder), [""; 0]);
                interrupted += 1;
            }
        }
    }
    eprintln!("{interrupted} of 20 were interrupted in the middle");
}

#[test]
fn a_template_that_a_language_lacks_is_bad_usage() {
    let folder = Workspace::new();
    let (code, stderr) = end(&folder, &["new", "shop", "--lang", "c", "--template", "server"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("only in Rust"), "{stderr}");
    let (code, stderr) = end(&folder, &["new", "shop", "--template", "none"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("hello") && stderr.contains("server"), "{stderr}");
    assert!(entries(&folder).is_empty());
}

#[test]
fn every_language_gets_a_readme_and_a_test() {
    let folder = Workspace::new();
    for (language, test) in [
        ("rust", "src/tests.rs"),
        ("python", "test_actions.py"),
        ("js", "actions.test.js"),
        ("c", "test.sh"),
    ] {
        let name = format!("my-{language}");
        let (code, stderr) = end(&folder, &["new", &name, "--lang", language]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains(&format!("capsule run {name} hello")), "{stderr}");
        let made = folder.path().join(&name);
        assert!(made.join(test).is_file(), "{language}");
        let readme = fs::read_to_string(made.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")), "{readme}");
    }
}

#[test]
fn the_interfaces_are_written_and_what_differs_is_replaced_by_force_only() {
    let folder = Workspace::new();
    let (code, stderr) = end(&folder, &["wit", "wit"]);
    assert_eq!(code, Some(0), "{stderr}");
    let world = folder.path().join("wit/worlds.wit");
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/worlds.wit");
    assert_eq!(fs::read(&world).unwrap(), fs::read(ours).unwrap());
    assert_eq!(end(&folder, &["wit", "wit"]).0, Some(0));

    fs::write(&world, "mine").unwrap();
    let (code, stderr) = end(&folder, &["wit", "wit"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("worlds.wit") && stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(&world).unwrap(), "mine");
    assert_eq!(end(&folder, &["wit", "--force", "wit"]).0, Some(0));
    assert_eq!(fs::read(&world).unwrap(), fs::read(ours).unwrap());
}
