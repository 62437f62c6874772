//! Without an authenticated principal `spawn-persistent` is `persist-unsupported`, while `spawn` works.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"call": "run", "as": ""}]}"#: run);

fn run() -> Outcome {
    refused(
        "spawn-persistent",
        spawn_persistent(&sh("echo >> ran")),
        &ErrorCode::PersistUnsupported,
    )?;
    check!(holds("test ! -e ran")?, "a refused command ran");
    let listed = list_processes(None);
    check!(
        matches!(&listed, Ok(list) if list.is_empty()) || listed.is_err(),
        "{listed:?}"
    );
    Ok("unsupported".into())
}
