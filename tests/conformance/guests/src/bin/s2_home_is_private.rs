//! `HOME` is the private `/tmp` unless the request sets it.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "filesystem"}]}"#: run);

fn run() -> Outcome {
    let home = output("printf %s \"$HOME\"; echo x > \"$HOME/mark\"")?;
    check!(home == "/tmp", "HOME is {home:?}");
    check!(holds("test ! -e /tmp/mark")?, "/tmp is not private to the process");
    let request = SpawnRequest {
        env: vec![var("HOME", "/elsewhere")],
        ..sh("printf %s \"$HOME\"")
    };
    let given = spawn(&request)?.stdout;
    check!(given == "/elsewhere", "a given HOME became {given:?}");
    Ok("/tmp, or what is given".into())
}
