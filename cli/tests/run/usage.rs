//! Wrong usage: the exit code is 2, the message says what to do, and nothing ran.

use crate::support::{DEV_SERVER, Workspace, command, finish};

/// Checks that the command fails as bad usage, with all of `hints` in its message.
#[track_caller]
fn refuses(arguments: &[&str], hints: &[&str]) {
    let workspace = Workspace::new();
    let ended = finish(&mut workspace.run(arguments));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    for hint in hints {
        assert!(ended.stderr.contains(hint), "no {hint:?} in {}", ended.stderr);
    }
}

#[test]
fn every_call_is_checked_before_the_first_one_runs() {
    refuses(
        &["--unconfined", DEV_SERVER, "start", "get={\"path\":"],
        &["not JSON", "get="],
    );
    refuses(
        &["--unconfined", DEV_SERVER, "start", "get=@no-such-file"],
        &["no-such-file"],
    );
    refuses(&["--unconfined", DEV_SERVER, "start", "get="], &["leave out the `=`"]);
}

#[test]
fn no_call_at_all() {
    refuses(&["--unconfined", DEV_SERVER], &["<CALL>"]);
}

#[test]
fn a_file_of_calls_that_is_not_there() {
    refuses(
        &["--unconfined", DEV_SERVER, "--calls", "no-such-file"],
        &["--calls: cannot read \"no-such-file\": No such file"],
    );
}

#[test]
fn an_unknown_option() {
    refuses(
        &["--unconfined", "--alow", "python3", DEV_SERVER, "start"],
        &["--allow"],
    );
}

#[test]
fn a_missing_capsule() {
    refuses(
        &["--unconfined", "no-such.wasm", "start"],
        &["no-such.wasm", "No such file"],
    );
}

#[test]
fn a_missing_workspace() {
    let mut run = command(env!("CARGO_BIN_EXE_capsule"));
    let ended = finish(run.args(["run", "--unconfined", "--workspace=no-such-folder", DEV_SERVER, "start"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    assert!(
        ended.stderr.contains("--workspace: the workspace \"no-such-folder\""),
        "{ended:?}"
    );
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let files = Workspace::new();
    files.write("core.wasm", "\0asm\x01\0\0\0");
    let path = files.path().join("core.wasm");
    refuses(
        &["--unconfined", path.to_str().unwrap(), "start"],
        &["wasm32-wasip2", "wasm-tools component new"],
    );
}

#[test]
fn a_file_that_is_no_wasm() {
    let files = Workspace::new();
    files.write("notes.txt", "start the server");
    let path = files.path().join("notes.txt");
    refuses(
        &["--unconfined", path.to_str().unwrap(), "start"],
        &["not a WebAssembly component"],
    );
}

#[test]
fn a_folder_without_a_manifest() {
    let folder = Workspace::new();
    refuses(
        &["--unconfined", folder.path().to_str().unwrap(), "start"],
        &["no Cargo.toml and no Capsule.toml"],
    );
}

#[test]
fn a_declaration_with_a_mistake() {
    let files = Workspace::new();
    files.write("c.wasm", "\0asm\x0d\0\x01\0");
    let path = files.path().join("c.wasm");
    for (text, hints) in [
        ("\nbackground = 1\n", ["Capsule.toml", "line 2"]),
        ("allow = \"git\"\n", ["Capsule.toml", "line 1"]),
        (
            "[[component]]\nfile = \"../c.wasm\"\n",
            ["line 2", "a path in the folder of this manifest"],
        ),
    ] {
        files.write("Capsule.toml", text);
        refuses(&["--unconfined", path.to_str().unwrap(), "start"], &hints);
    }
}

#[test]
fn a_folder_whose_manifest_names_no_component_or_several() {
    let folder = Workspace::new();
    let path = folder.path();
    folder.write("Capsule.toml", "allow = [\"git\"]\n");
    refuses(
        &["--unconfined", path.to_str().unwrap(), "start"],
        &["names no [[component]]"],
    );
    folder.write("Capsule.toml", "[[component]]\nfile = \"a.wasm\"\n");
    refuses(
        &["--unconfined", path.to_str().unwrap(), "start"],
        &["a.wasm", "No such file"],
    );
    folder.write(
        "Capsule.toml",
        "[[component]]\nfile = \"a.wasm\"\n[[component]]\nfile = \"b.wasm\"\n",
    );
    refuses(
        &["--unconfined", path.to_str().unwrap(), "start"],
        &["several components", "a.wasm", "b.wasm"],
    );
}

#[test]
fn grants_that_are_asked_for_or_saved_are_for_confined_processes() {
    for option in ["--grant-all-asked", "--save-grants"] {
        refuses(
            &["--unconfined", option, DEV_SERVER, "start"],
            &[option, "cannot be used with", "--unconfined"],
        );
    }
}

#[test]
fn w1_a_flag_for_a_private_network_beside_another_network() {
    refuses(
        &["--network=none", "--publish", "8000", DEV_SERVER, "start"],
        &["--publish is for a private network", "--network none"],
    );
    refuses(
        &["--network", "host", "--egress=pypi.org", DEV_SERVER, "start"],
        &["--egress is for a private network", "--network host"],
    );
    refuses(
        &["--unconfined", "--publish=8000", DEV_SERVER, "start"],
        &["--publish", "cannot be used with", "--unconfined"],
    );
}

#[test]
fn w2_w3_a_port_or_a_name_that_cannot_be_granted() {
    refuses(
        &["--publish=0.0.0.0:80", DEV_SERVER, "start"],
        &["--publish", "127.0.0.0/8"],
    );
    refuses(
        &["--egress=10.0.0.1", DEV_SERVER, "start"],
        &["--egress", "write the name of the host"],
    );
}

#[test]
fn help_names_every_option() {
    let ended = command(env!("CARGO_BIN_EXE_capsule"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success());
    for option in [
        "--workspace",
        "--principal",
        "--capsule-id",
        "--allow",
        "--allow-persistent",
        "--network",
        "--publish",
        "--egress",
        "--max-connections",
        "--max-dials",
        "--grant-all-asked",
        "--save-grants",
        "--no-saved-grants",
        "--unconfined",
        "--audit",
        "-v",
        "Exit code:",
    ] {
        assert!(help.contains(option), "{option}");
    }
}
