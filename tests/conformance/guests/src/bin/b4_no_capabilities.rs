//! A confined child has no capability in any set.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "privileges"}]}"#: run);

fn run() -> Outcome {
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let value = output(&format!("grep {name} /proc/self/status | cut -f2"))?;
        check!(value.trim() == "0000000000000000", "{name} is {value:?}");
    }
    Ok("none".into())
}
