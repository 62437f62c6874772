//! A child starts with default signal dispositions, an empty mask, and no pending signal.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["cat"]}}"#: run);

fn run() -> Outcome {
    let status_of_self = spawn(&command("cat", &["/proc/self/status"]))?.stdout;
    let field = |name: &str| {
        status_of_self
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .unwrap_or_default()
    };
    for name in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        check!(field(name) == "0000000000000000", "{name} is {}", field(name));
    }
    Ok("default, empty, none".into())
}
