//! The filter of `list-processes` is a plain substring of the label: no pattern, no case folding.
//!
//! Interface process@1.1.0: "optionally filtered by a label substring."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for label in ["web.server", "webXserver", "Web", "100%", "a*b"] {
        spawn_persistent(&SpawnRequest {
            label: Some(label.into()),
            ..sh("exit 0")
        })?;
    }
    for (filter, expected) in [
        ("web", &["web.server", "webXserver"][..]),
        ("web.", &["web.server"]),
        (".*", &[]),
        ("%", &["100%"]),
        ("a*", &["a*b"]),
        ("^W", &[]),
        ("W", &["Web"]),
        ("", &["web.server", "webXserver", "Web", "100%", "a*b"]),
        ("sh", &[]),
    ] {
        let mut labels: Vec<_> = list_processes(Some(filter))?
            .into_iter()
            .map(|info| info.label)
            .collect();
        labels.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        check!(labels == expected, "{filter:?} finds {labels:?}");
    }
    Ok("nine filters".into())
}
