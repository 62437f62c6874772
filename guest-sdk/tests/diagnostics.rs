//! What an author reads who made one of the usual mistakes. With and without feature `mock`.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

/// What rustc says of a crate that uses the SDK.
fn compile(source: &str) -> String {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let mut libraries: Vec<_> = fs::read_dir(&deps)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libcapsule_sdk-") && name.ends_with(".rlib")
        })
        .collect();
    let built = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap_or(SystemTime::UNIX_EPOCH);
    libraries.sort_by_key(built);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capsule.rs");
    fs::write(&file, source).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the compiler is no process of a capsule")]
    let mut rustc = Command::new("rustc");
    let output = rustc
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "--color",
            "never",
        ])
        .arg("--out-dir")
        .arg(folder.path())
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("capsule_sdk={}", libraries.last().unwrap().display()))
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_function_that_cannot_be_an_action_is_told_what_one_looks_like() {
    for (function, shape) in [
        ("fn wrong(_: u8, _: u8) -> Result<(), String> { Ok(()) }", "fn(u8, u8)"),
        ("fn wrong() -> u8 { 1 }", "fn() -> u8"),
        ("struct T; fn wrong(_: T) -> Result<(), String> { Ok(()) }", "fn(T)"),
    ] {
        let said = compile(&format!("{function}\ncapsule_sdk::actions! {{ \"wrong\" => wrong }}"));
        for part in [
            shape,
            "cannot be an action",
            "`fn(T) -> Result<R, E>`",
            "T: serde::Deserialize",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let right = "fn right() -> Result<(), String> { Ok(()) }\ncapsule_sdk::actions! { \"right\" => right }";
    assert_eq!(compile(right), "");
}

#[test]
fn a_call_to_the_host_outside_of_a_component_names_the_mock() {
    let panic = catch_unwind(|| capsule_sdk::list(None)).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("capsule_sdk::mock::Host::new()"), "{said}");
    let names_feature = said.contains("features = [\"mock\"]") && said.contains("[dev-dependencies]");
    assert_eq!(names_feature, !cfg!(feature = "mock"), "{said}");
}
