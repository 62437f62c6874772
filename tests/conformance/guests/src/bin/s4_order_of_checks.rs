//! The first failure is the answer: shapes, the gate, the working directory, the persistent grant, quotas, the program.
//!
//! Contract.
//!
//! Each request has two faults that are adjacent in that order, and must be answered by the first.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 1}, "grants": {"commands": ["sh", "absent-program"]},
          "capsules": {"plain": {"commands": ["sh", "absent-program"], "persistent": false}},
          "steps": ["fill", {"call": "plain", "capsule": "plain"}, "full"]}"#: fill, plain, full);

fn fill() -> Outcome {
    let id = start("sleep 1000")?;
    Ok(id)
}

fn plain(id: &str) -> Outcome {
    let escape = SpawnRequest {
        cwd: Some("..".into()),
        ..sh("true")
    };
    refused("S3 before S10", spawn_persistent(&escape), &ErrorCode::BoundaryEscape)?;
    refused(
        "S10 before quotas",
        spawn_persistent(&sh("true")),
        &ErrorCode::CapabilityDenied,
    )?;
    Ok(id.into())
}

fn full(id: &str) -> Outcome {
    let bad = |cmd: &str, env: &str, cwd: &str| SpawnRequest {
        env: if env.is_empty() { vec![] } else { vec![var(env, "")] },
        cwd: (!cwd.is_empty()).then(|| cwd.to_owned()),
        ..command(cmd, &[])
    };
    type Try = fn(&SpawnRequest) -> Result<(), ErrorCode>;
    let tiers: [(&str, Try); 2] = [
        ("spawn", |request| spawn(request).map(drop)),
        ("spawn-persistent", |request| spawn_persistent(request).map(drop)),
    ];
    for (tier, attempt) in tiers {
        let large = SpawnRequest {
            stdin: Some(vec![0; (4 << 20) + 1]),
            ..command("ungranted", &[])
        };
        refused(
            &format!("{tier}: S7 before the gate"),
            attempt(&large),
            &ErrorCode::TooLarge,
        )?;
        let shape = bad("ungranted", "PATH", "");
        refused(
            &format!("{tier}: S1 before the gate"),
            attempt(&shape),
            &ErrorCode::InvalidInput,
        )?;
        let gate = bad("ungranted", "", "..");
        refused(
            &format!("{tier}: the gate before S3"),
            attempt(&gate),
            &ErrorCode::CapabilityDenied,
        )?;
        let cwd = bad("sh", "", "..");
        refused(
            &format!("{tier}: S3 before quotas"),
            attempt(&cwd),
            &ErrorCode::BoundaryEscape,
        )?;
        let program = bad("absent-program", "", "");
        refused(
            &format!("{tier}: quotas before exec"),
            attempt(&program),
            &ErrorCode::Quota,
        )?;
    }
    stop(id, Some(0))?;
    refused_as("exec last", spawn(&bad("absent-program", "", "")), "not-found:")?;
    Ok("each answered by its first fault".into())
}
