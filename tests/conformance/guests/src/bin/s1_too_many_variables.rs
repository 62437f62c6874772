//! 256 variables are passed; 257 are `invalid-input`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh", "env"]}}"#: run);

fn run() -> Outcome {
    let request = |count: usize| SpawnRequest {
        env: (0..count).map(|n| var(&format!("CASE_{n}"), "x")).collect(),
        ..command("env", &[])
    };
    refused("257", spawn(&request(257)), &ErrorCode::InvalidInput)?;
    refused("257", spawn_persistent(&request(257)), &ErrorCode::InvalidInput)?;
    let seen = spawn(&request(256))?.stdout.matches("CASE_").count();
    check!(seen == 256, "of 256 variables {seen} arrived");
    Ok("256 passed, 257 refused".into())
}
