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
    let mut seen = String::new();
    for (tier, printed) in every_tier(&request)? {
        seen = look(&printed).map_err(|why| Stop::Failed(format!("{tier}: {why}")))?;
    }
    Ok(format!("the child sees {seen}"))
}

/// The names of the variables, or what is wrong with them.
fn look(printed: &str) -> Result<String, String> {
    let mut keys = Vec::new();
    for entry in printed.split('\0').filter(|entry| !entry.is_empty()) {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        // A shell of the host's or the C library's may name the working folder, which is no secret.
        let allowed = ["GIVEN", "HOME", "PATH", "PWD", "LANG", "TZ"].contains(&key) || key.starts_with("LC_");
        if !allowed {
            return Err(format!("the child sees {key}"));
        }
        if key == "GIVEN" && value != "as is = \"quoted\" $HOME" {
            return Err(format!("GIVEN became {value:?}"));
        }
        if keys.contains(&key) {
            return Err(format!("{key} stands twice"));
        }
        keys.push(key);
    }
    for key in ["GIVEN", "PATH"] {
        if !keys.contains(&key) {
            return Err(format!("{key} did not arrive"));
        }
    }
    Ok(keys.join(", "))
}
