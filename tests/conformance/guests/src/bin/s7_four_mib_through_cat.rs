//! 4 MiB of prelude through `cat` neither hang nor lose a byte.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let text: String = (0..524_288).map(|line| format!("{line:07}\n")).collect();
    let request = SpawnRequest {
        stdin: Some(text.clone().into_bytes()),
        ..sh("cat")
    };
    let done = spawn(&request)?;
    check!(
        done.exit == code(0) && done.stdout.len() == text.len(),
        "{} bytes came back",
        done.stdout.len()
    );
    check!(done.stdout == text, "the bytes came back changed");
    let request = SpawnRequest {
        overflow: Some(OverflowPolicy::Backpressure),
        ..request
    };
    let id = spawn_persistent(&request)?;
    let (back, lost) = rest(&id, LogStream::Stdout, oldest())?;
    check!(
        back == text.as_bytes() && lost == 0,
        "persistent: {} bytes came back, {lost} lost",
        back.len()
    );
    Ok("both tiers, byte for byte".into())
}
