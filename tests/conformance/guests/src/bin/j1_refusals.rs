//! Bad names, duplicates, and paths that are relative, contain `..` or hide the workspace are `invalid-input`; too many
//! bytes or files are `too-large`; and nothing runs.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let here = output("pwd -P")?.trim_end().to_owned();
    let to_env = |name: &str| FileInjection {
        content: vec![b'x'; 10],
        placement: InjectionPlacement::EnvPointer(name.into()),
    };
    let to_path = |path: &str| FileInjection {
        content: vec![b'x'; 10],
        placement: InjectionPlacement::FixedPath(path.into()),
    };
    let sized = |name: &str, bytes: usize| FileInjection {
        content: vec![b'x'; bytes],
        placement: InjectionPlacement::EnvPointer(name.into()),
    };
    let request = |files: Vec<FileInjection>| SpawnRequest {
        file_injections: files,
        ..sh("echo >> ran")
    };
    if let Err(ErrorCode::Unknown(reason)) = spawn(&request(vec![to_env("GOOD")])) {
        check!(reason.starts_with("injection-unsupported:"), "{reason}");
        return Err(Stop::NotApplicable(reason));
    }
    output("rm -f ran")?;
    let mut invalid: Vec<(String, Vec<FileInjection>)> = Vec::new();
    for name in ["", "1A", "A-B", "A=B", "A\0", "PATH", "LD_PRELOAD", "BASH_ENV", "ENV"] {
        invalid.push((format!("the name {name:?}"), vec![to_env(name)]));
    }
    let inside = format!("{here}/file");
    let climbs = format!("/tmp/x/../..{here}/file");
    for path in [
        "",
        "relative",
        "./x",
        "/tmp/../etc/passwd",
        "/tmp/x/..",
        "..",
        "/",
        "/tmp/\0",
        &here,
        &inside,
        &climbs,
    ] {
        invalid.push((format!("the path {path:?}"), vec![to_path(path)]));
    }
    // A path that contains the workspace would hide it.
    let above = here.rsplit_once('/').map_or("/", |(above, _)| above).to_owned();
    if above != "/tmp" {
        invalid.push((format!("the path {above:?}"), vec![to_path(&above)]));
    }
    invalid.push(("a name twice".into(), vec![to_env("A"), to_env("A")]));
    invalid.push(("a path twice".into(), vec![to_path("/tmp/a"), to_path("/tmp/a")]));
    for (what, files) in &invalid {
        refused(what, spawn(&request(files.clone())), &ErrorCode::InvalidInput)?;
        refused(
            what,
            spawn_persistent(&request(files.clone())),
            &ErrorCode::InvalidInput,
        )?;
    }
    let clash = SpawnRequest {
        env: vec![var("A", "given")],
        ..request(vec![to_env("A")])
    };
    refused(
        "a name that the environment has",
        spawn(&clash),
        &ErrorCode::InvalidInput,
    )?;
    let large = [
        ("8 MiB and a byte", vec![sized("A", (8 << 20) + 1)]),
        (
            "three of 6 MiB",
            vec![sized("A", 6 << 20), sized("B", 6 << 20), sized("C", 6 << 20)],
        ),
        ("129 files", (0..129).map(|n| sized(&format!("F{n}"), 1)).collect()),
    ];
    for (what, files) in large {
        refused(what, spawn(&request(files)), &ErrorCode::TooLarge)?;
    }
    check!(holds("test ! -e ran")?, "a refused command ran");
    let many: Vec<_> = (0..128).map(|n| sized(&format!("F{n}"), 1)).collect();
    let done = spawn(&request(many))?;
    check!(done.exit == code(0), "128 files: {done:?}");
    Ok(format!("{} refused", invalid.len() + 4))
}
