//! A guest that continues while its capsule is unloaded is interrupted, whether it computes or makes calls.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [[{"call": "spin", "ends": "interrupted"}], [{"call": "nag", "ends": "interrupted"}], [{"call": "see", "capsule": "b"}, {"do": "unload"}, {"call": "last", "capsule": "b"}]]}]}"#: spin, nag, see, last);

fn spin() -> Outcome {
    announce("one");
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn nag() -> Outcome {
    announce("two");
    loop {
        // A call that neither waits nor ever succeeds.
        std::hint::black_box(status("none")).ok();
    }
}

fn see() -> Outcome {
    until("both", || Ok(holds("test -e one && test -e two")?.then_some(())))?;
    Ok(String::new())
}

fn last() -> Outcome {
    Ok("both were ended".into())
}
