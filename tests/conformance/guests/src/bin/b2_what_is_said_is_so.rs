//! The host reports correctly whether processes are confined; unconfined persistent processes are refused unless they
//! have a separate permission.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"steps": ["look", {"do": "describe"}, "judge"]}"#: look, judge);

fn look() -> Outcome {
    // In a pid namespace of its own the first command has a small pid, and only its tree is visible.
    let alone = holds("test $(ls /proc | grep -c '^[0-9]*$') -lt 8")?;
    let secret = holds("test -r /proc/sys/kernel/core_pattern && (: >> /proc/sys/kernel/core_pattern) 2>/dev/null")?;
    let started = match start("sleep 1000") {
        Ok(_) => "started",
        Err(Stop::Failed(why)) if why.contains("PersistUnsupported") => "unsupported",
        Err(other) => return Err(other),
    };
    Ok(format!(
        "{} {started}",
        if alone && !secret { "confined" } else { "open" }
    ))
}

fn judge(payload: &str) -> Outcome {
    let (seen, said) = payload.split_once("\n\n").unwrap_or_default();
    let said: Value = serde_json::from_str(said).map_err(|error| Stop::Failed(error.to_string()))?;
    let (place, started) = seen.split_once(' ').unwrap_or_default();
    let layers = said["confinement"].as_array().map_or(&[][..], Vec::as_slice);
    let confined = ["filesystem", "processes"]
        .iter()
        .all(|layer| layers.contains(&(*layer).into()));
    check!(
        !confined || place == "confined",
        "it says that it confines, and does not"
    );
    let allowed = confined || said["persistent_unconfined"] == true;
    check!(
        allowed == (started == "started"),
        "persistent processes: {started}, and it says {said}"
    );
    Ok(format!("{place}, {started}"))
}
