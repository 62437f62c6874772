//! A command reads a key that is nowhere in the workspace, and in nothing that the command `capsule` writes.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::readme::{finish, lacks, root, run};

#[test]
fn a_command_signs_with_a_key_that_the_workspace_never_holds() {
    if lacks("/usr/bin/openssl") {
        return;
    }
    let shown = run("file-secrets", &["public_key", "signature"]);
    let signature = shown.data(1)["signature"].as_str().unwrap();
    assert_eq!(shown.data(2), &json!({ "workspace": [], "injected": false }));
    assert_eq!(shown.code, Some(0), "{shown:#?}");

    // The key is real: its public half verifies the signature. Both files are made here, beside the workspace.
    let folder = TempDir::new().unwrap();
    let (public, binary) = (folder.path().join("public.pem"), folder.path().join("signature"));
    fs::write(&public, shown.data(0)["public_key"].as_str().unwrap()).unwrap();
    fs::write(&binary, bytes(signature)).unwrap();
    let message = root().join("example-capsules/file-secrets/sample/message.txt");
    #[expect(clippy::disallowed_methods, reason = "a program that the host does not run")]
    let mut verify = std::process::Command::new("openssl");
    let verified = verify
        .args(["dgst", "-sha256", "-verify"])
        .arg(public)
        .arg("-signature")
        .args([binary, message])
        .output()
        .unwrap();
    assert_eq!(verified.stdout, b"Verified OK\n", "{verified:?}");

    // The same with an audit log, and a search of everything that the processes or the command could have written to.
    let log = folder.path().join("audit");
    let audit = format!("--audit={}", log.display());
    let arguments = [
        "--grant-all-asked",
        &audit,
        "example-capsules/file-secrets",
        "generate",
        r#"sign={"file": "message.txt"}"#,
    ];
    let shown = finish(shown.workspace, &arguments);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    assert_eq!(names(shown.workspace.path()), ["message.txt"]);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("\"dgst\""), "it records the command: {log}");
    for text in [&log, &shown.stderr, &shown.stdout] {
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The bytes that these hexadecimal digits are.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}
