//! Manifests: what a user of a capsule with one is told, and a folder of capsules.

use std::fs;

use crate::support::{GRANTED, Workspace, dev_server_file, finish};

#[test]
fn what_a_manifest_says_in_vain_is_told_with_its_line_and_fails_nothing() {
    let folder = Workspace::new();
    let capsule = folder.path().join("dev-server.wasm");
    fs::copy(dev_server_file(), &capsule).unwrap();
    folder.write(
        "Capsule.toml",
        "backgruond = true\n\"a\\u001b[2J\" = 1\n[package]\nname = \"server\"\nversion = \"1.0.0\"\nastrid-version = \">=0.1.0\"\n\
         [[component]]\nid = \"default\"\nfile = \"dev-server.wasm\"\n[capabilities]\nhost_process = [\"python3\"]\n\
         allow_persistent = true\nfs_read = [\"cwd://\"]\n[imports]\n\"astrid:session\" = \"^1.0\"\n",
    );
    for capsule in [&capsule, &folder.path()] {
        let workspace = Workspace::new();
        let log = Workspace::new();
        let log = log.path().join("log");
        let ended = finish(
            workspace
                .run(GRANTED)
                .arg("--audit")
                .arg(&log)
                .arg(capsule)
                .args(["start", "stop"]),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for part in [
            "Capsule.toml line 1: the key `backgruond` is unknown and has no effect; did you mean `background`?",
            "line 2: the key `a\\x1b[2J` is unknown",
            "line 13: `fs_read` has no effect on this host",
            "line 14: `imports` has no effect on this host",
        ] {
            assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
        }
        assert_eq!(ended.stderr.matches("no effect").count(), 4, "{ended:?}");
        assert!(!ended.stderr.contains("asks for these grants"), "{ended:?}");
        // The package's name is the capsule's.
        assert!(
            fs::read_to_string(&log).unwrap().contains("\"capsule\":\"server\""),
            "{ended:?}"
        );
    }
}

#[test]
fn a_folder_of_three_capsules_each_with_a_manifest_of_its_own() {
    let folder = Workspace::new();
    for name in ["one", "two", "three"] {
        fs::copy(dev_server_file(), folder.path().join(name).with_extension("wasm")).unwrap();
    }
    folder.write(
        "Capsule.toml",
        "allow = [\"python3\"]\n[[component]]\nid = \"first\"\nfile = \"one.wasm\"\n[[component]]\nid = \"second\"\nfile = \"two.wasm\"\n",
    );
    folder.write(
        "three.capsule.toml",
        "allow = [\"ruby\"]\nnetwork = { publish = [\"8000\"] }\n",
    );
    for (name, asked, not_asked) in [
        ("one", "  --allow python3\n", "  --publish"),
        ("two", "  --allow python3\n", "  --allow ruby"),
        ("three", "  --allow ruby\n  --publish 8000\n", "  --allow python3"),
    ] {
        let capsule = folder.path().join(name).with_extension("wasm");
        let ended = finish(Workspace::new().run(&[] as &[&str]).arg(capsule).arg("start"));
        assert_eq!(ended.lines.len(), 1, "{ended:?}");
        assert!(
            ended.stderr.contains(asked) && !ended.stderr.contains(not_asked),
            "{name}: {ended:?}"
        );
    }
}
