//! An id is 256 bits in lowercase base32 without padding: 52 characters, and no part is the same in all ids.
//!
//! Interface process@1.1.0: "a 256-bit host-minted CSPRNG token (host entropy, NEVER the guest), **lowercase base32**
//! (RFC 4648 `a-z2-7`, NO padding)"

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 32}}"#: run);

/// So many ids are enough.
const FEWEST: usize = 8;

fn run() -> Outcome {
    let mut ids = Vec::new();
    for _ in 0..24 {
        let id = match spawn_persistent(&sh("true")) {
            // A host may retain fewer, or find the earlier ones still running.
            Err(ErrorCode::Quota | ErrorCode::RegistryFull) if ids.len() >= FEWEST => break,
            started => started?,
        };
        check!(id.len() == 52, "{} characters", id.len());
        check!(
            id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
            "not base32: {id}"
        );
        // 255 bits are in the first 51 characters; the last holds one bit and four zeros.
        check!(
            id.ends_with(['a', 'q']),
            "the last character holds more than a bit: {id}"
        );
        ids.push(id);
    }
    for column in 0..51 {
        let mut seen: Vec<_> = ids.iter().filter_map(|id| id.as_bytes().get(column)).collect();
        seen.sort_unstable();
        seen.dedup();
        // The probability that eight random characters of 32 agree is 3 in 10^11.
        check!(
            seen.len() > 1,
            "character {column} takes {} values in {} ids",
            seen.len(),
            ids.len()
        );
    }
    Ok(format!("{} ids", ids.len()))
}
