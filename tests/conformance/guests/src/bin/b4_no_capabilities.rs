//! A confined child has no capability in any set, and a set-user-id bit gives it none.

use conformance_guest::*;

case!(r#"{"needs": ["confined"]}"#: run);

fn run() -> Outcome {
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let value = output(&format!("grep {name} /proc/self/status | cut -f2"))?;
        check!(value.trim() == "0000000000000000", "{name} is {value:?}");
    }
    let made = holds("cp /bin/true made && chmod u+s made && test -u made")?;
    check!(!made, "it made a set-user-id file in the workspace");
    check!(!holds("unshare -U true 2>/dev/null")?, "it made a user namespace");
    Ok("none".into())
}
