//! Crate folders: what cargo builds from them, and that an interrupted build leaves nothing behind.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Process, Running, Workspace, finish};

/// Runs `capsule run` on that crate, with a target folder of its own.
fn run(workspace: &Workspace, folder: &Workspace) -> Command {
    let mut command = workspace.run(["--unconfined"]);
    command
        .arg(folder.path())
        .env("CARGO_TARGET_DIR", folder.path().join("target"));
    command
}

/// A crate in a folder of its own, which depends only on the standard library and is a workspace of its own.
fn a_crate(lib: &str) -> Workspace {
    let folder = Workspace::new();
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n",
    );
    fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/lib.rs", lib);
    folder
}

#[test]
fn a_crate_that_does_not_compile_shows_the_compilers_words() {
    let folder = a_crate("fn open( {");
    let workspace = Workspace::new();
    let ended = finish(run(&workspace, &folder).arg("open"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    assert!(ended.stderr.contains("unclosed delimiter"), "{}", ended.stderr);
    assert!(ended.stderr.contains("cargo could not build"), "{}", ended.stderr);
}

#[test]
fn a_crate_that_makes_no_component_is_told_what_it_lacks() {
    let folder = a_crate("");
    let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
    folder.write("Cargo.toml", &manifest.replace("cdylib", "rlib"));
    let workspace = Workspace::new();
    let ended = finish(run(&workspace, &folder).arg("open"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("crate-type = [\"cdylib\"]"), "{}", ended.stderr);
}

#[test]
fn a_component_without_actions_fails_each_call_and_says_so() {
    let folder = a_crate("#[unsafe(no_mangle)]\npub extern \"C\" fn nothing() {}\n");
    let workspace = Workspace::new();
    let ended = finish(run(&workspace, &folder).args(["open", "close"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.lines.len(), 2, "{ended:?}");
    for (line, action) in ended.lines.iter().zip(["open", "close"]) {
        assert_eq!(line["action"], action);
        assert_eq!(line["error"]["kind"], "no-entry-point", "{line}");
    }
}

#[test]
fn flags_for_this_machine_do_not_reach_the_capsule() {
    let folder = a_crate("#[unsafe(no_mangle)]\npub extern \"C\" fn nothing() {}\n");
    let workspace = Workspace::new();
    let mut command = run(&workspace, &folder);
    command
        .arg("open")
        .env("RUSTFLAGS", "-Clinker=no-such-linker")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Clinker=no-such-linker");
    let ended = finish(&mut command);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
}

#[test]
fn an_interrupted_build_leaves_no_compiler() {
    let folder = a_crate("");
    folder.write("build.rs", "fn main() { std::fs::read(\"pipe\").unwrap(); }");
    folder.pipe("pipe");
    let workspace = Workspace::new();
    let running = Running::start(run(&workspace, &folder).arg("open"));
    let _building = folder.when_read("pipe");
    let builders = folder.processes();
    assert!(!builders.is_empty());
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    // They were killed, and the kernel may need a moment to end them.
    builders.iter().for_each(Process::wait);
    folder.assert_empty();
}

#[test]
fn sources_that_cannot_be_fetched_are_told_as_such() {
    let folder = a_crate("");
    let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
    folder.write("Cargo.toml", &format!("{manifest}[dependencies]\nnone = \"1\"\n"));
    // A registry on this machine that refuses connections.
    fs::create_dir(folder.path().join(".cargo")).unwrap();
    folder.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"away\"\n[source.away]\nregistry = \"sparse+http://127.0.0.1:9/\"\n[net]\nretry = 0\n",
    );
    let workspace = Workspace::new();
    let ended = finish(&mut workspace.run([folder.path().as_os_str(), "open".as_ref()]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("needs a network"), "{}", ended.stderr);
}
