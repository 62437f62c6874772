//! A child sees the request's variables, the documented passthrough, `HOME`, and nothing else.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["env"]}}"#: run);

fn run() -> Outcome {
    let request = SpawnRequest {
        env: vec![var("GIVEN", "as is = \"quoted\" $HOME")],
        ..command("env", &["-0"])
    };
    let printed = spawn(&request)?.stdout;
    let mut keys = Vec::new();
    for entry in printed.split('\0').filter(|entry| !entry.is_empty()) {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        // A shell of the host's or the C library's may name the working folder, which is no secret.
        let allowed = ["GIVEN", "HOME", "PATH", "PWD", "LANG", "TZ"].contains(&key) || key.starts_with("LC_");
        check!(allowed, "the child sees {key}");
        check!(
            key != "GIVEN" || value == "as is = \"quoted\" $HOME",
            "GIVEN became {value:?}"
        );
        check!(!keys.contains(&key), "{key} stands twice");
        keys.push(key);
    }
    check!(keys.contains(&"GIVEN"), "GIVEN did not arrive");
    check!(keys.contains(&"PATH"), "there is no PATH");
    Ok(format!("the child sees {}", keys.join(", ")))
}
