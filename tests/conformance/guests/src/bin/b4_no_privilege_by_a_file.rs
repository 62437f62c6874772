//! A confined child gains no privilege by a file: `no_new_privs` is set for it, so a set-user-id bit does nothing.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "privileges"}]}"#: run);

fn run() -> Outcome {
    let set = output("grep NoNewPrivs /proc/self/status | cut -f2")?;
    check!(set.trim() == "1", "no_new_privs is {set:?}");
    let before = output("id -u")?;
    // A host may refuse the bit, or ignore it.
    let after = output("cp \"$(command -v id)\" made && chmod u+s made 2>/dev/null; ./made -u")?;
    check!(before == after, "a set-user-id file made {after:?} of {before:?}");
    Ok("none".into())
}
