//! The audit records the BLAKE3 hash of injected files.
//!
//! Interface process@1.1.0: "the BLAKE3 hash of each snapshot is recorded in the spawn audit."

use conformance_guest::*;

case!(r#"{"steps": ["make", {"do": "audit"}, "look"]}"#: make, look);

fn make() -> Outcome {
    let request = SpawnRequest {
        file_injections: vec![FileInjection {
            content: b"abc".to_vec(),
            placement: InjectionPlacement::EnvPointer("FILE".into()),
        }],
        ..sh("cat \"$FILE\"")
    };
    match spawn(&request) {
        Err(ErrorCode::Unknown(reason)) if reason.starts_with("injection-unsupported:") => {
            Err(Stop::NotApplicable(reason))
        }
        other => Ok(other?.stdout),
    }
}

fn look(payload: &str) -> Outcome {
    let (printed, records) = payload.split_once("\n\n").unwrap_or_default();
    check!(printed == "abc", "the child read {printed:?}");
    // The published hash of the three bytes.
    let hash = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    check!(records.contains(hash), "the hash is not in the audit: {records}");
    Ok("hashed".into())
}
