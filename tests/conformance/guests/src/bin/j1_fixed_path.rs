//! Injected bytes arrive at a fixed absolute path, for this child only, and are gone with it.
//!
//! Interface process@1.1.0: "The host ro-binds the verified snapshot at this absolute in-sandbox path"; process@1.1.0:
//! "only remaps within the child's own namespace"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = |path: &str, script: &str| SpawnRequest {
        file_injections: vec![FileInjection {
            content: b"the content".to_vec(),
            placement: InjectionPlacement::FixedPath(path.into()),
        }],
        ..sh(script)
    };
    for path in ["/tmp/given/config.json", "/tmp/given2"] {
        let done = match spawn(&request(
            path,
            &format!("cat {path}; (echo x >> {path}) 2>/dev/null && echo wrote"),
        )) {
            Err(ErrorCode::Unknown(reason)) if reason.starts_with("injection-unsupported:") => {
                return Err(Stop::NotApplicable(reason));
            }
            other => other?,
        };
        check!(done.stdout == "the content", "{path}: {done:?}");
        for (tier, seen) in every_tier(&request(path, &format!("cat {path}; true")))? {
            check!(seen == "the content", "{tier}, {path}: {seen:?}");
        }
        check!(holds(&format!("test ! -e {path}"))?, "{path} is there for the next one");
    }
    Ok("for one child".into())
}
