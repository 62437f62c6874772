//! `command` is the command and its arguments joined by spaces, cut to 4 KiB; a label is cut to 128 bytes on a
//! character boundary, has no control characters, and is derived from the command if none is given.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn info(request: SpawnRequest) -> Result<ProcessInfo, Stop> {
    let id = spawn_persistent(&request)?;
    let info = status(&id)?;
    let mut listed = list_processes(None)?;
    listed.retain(|one| one.id == id);
    check!(listed.len() == 1, "listed {} times", listed.len());
    check!(
        listed[0].label == info.label && listed[0].command == info.command,
        "the list says something else"
    );
    exit_of(&id)?;
    release_process(&id)?;
    Ok(info)
}

fn run() -> Outcome {
    let plain = info(command("sh", &["-c", "true", "a b", ""]))?;
    check!(plain.command == "sh -c true a b ", "command: {:?}", plain.command);
    check!(plain.label.contains("sh"), "a label made of sh is {:?}", plain.label);
    let long = info(command("sh", &["-c", "true", &"\u{e9}".repeat(3000)]))?;
    check!(
        (4093..=4096).contains(&long.command.len()),
        "a long command: {} bytes",
        long.command.len()
    );
    check!(
        long.command.starts_with("sh -c true \u{e9}") && !long.command.contains('\u{fffd}'),
        "a long command was not cut between characters"
    );
    let labelled = |label: &str| {
        info(SpawnRequest {
            label: Some(label.to_owned()),
            ..sh("true")
        })
    };
    for (label, expected) in [
        ("plain name", "plain name".to_owned()),
        ("a\nb\u{1b}[31m\0c\u{7f}\u{85}d", "ab[31mcd".to_owned()),
        (&"x".repeat(500), "x".repeat(128)),
        (
            &format!("x{}", "\u{20ac}".repeat(100)),
            format!("x{}", "\u{20ac}".repeat(42)),
        ),
    ] {
        let got = labelled(label)?.label;
        check!(got == expected, "the label {label:?} became {got:?}");
    }
    Ok("cut and cleaned".into())
}
