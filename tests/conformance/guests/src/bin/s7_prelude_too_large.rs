//! A prelude above 4 MiB is `too-large`, and nothing runs; one of exactly 4 MiB arrives.
//!
//! Interface process@1.1.0: "Payload exceeded the applicable cap: the 4 MiB `spawn-request.stdin` prelude (per spawn,
//! cumulative)"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = |bytes: usize| SpawnRequest {
        stdin: Some(vec![b'x'; bytes]),
        ..sh("echo >> ran; wc -c")
    };
    refused("one byte more", spawn(&request((4 << 20) + 1)), &ErrorCode::TooLarge)?;
    refused(
        "one byte more",
        spawn_persistent(&request((4 << 20) + 1)),
        &ErrorCode::TooLarge,
    )?;
    check!(holds("test ! -e ran")?, "a refused command ran");
    for (tier, counted) in every_tier(&request(4 << 20))? {
        check!(counted.trim() == "4194304", "{tier}: of 4 MiB arrived {counted:?}");
    }
    Ok("4 MiB arrived".into())
}
