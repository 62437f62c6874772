//! Injected bytes arrive unchanged in a file to which a variable points; the child cannot change it.
//!
//! Interface process@1.1.0: "sets the named environment variable on the child to that path."; process@1.1.0: "Both
//! modes expose the SAME verified bytes read-only"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let content: Vec<u8> = (0..70_000u32).map(|n| u8::try_from(n * 7 % 256).unwrap_or(0)).collect();
    let request = |script: &str| SpawnRequest {
        file_injections: vec![
            FileInjection {
                content: content.clone(),
                placement: InjectionPlacement::EnvPointer("BYTES".into()),
            },
            FileInjection {
                content: b"second".to_vec(),
                placement: InjectionPlacement::EnvPointer("SECOND".into()),
            },
        ],
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh(script)
    };
    let id = match spawn_persistent(&request("cat \"$BYTES\"")) {
        Err(ErrorCode::Unknown(reason)) if reason.starts_with("injection-unsupported:") => {
            return Err(Stop::NotApplicable(reason));
        }
        other => other?,
    };
    let got = all(&id)?;
    check!(got == content, "{} bytes arrived, or others", got.len());
    let tried = spawn(&request(
        "(: > \"$BYTES\") 2>/dev/null && echo wrote; (echo x >> \"$SECOND\") 2>/dev/null && echo appended; rm -f \"$BYTES\" 2>/dev/null && test ! -e \"$BYTES\" && echo removed; \
         chmod 777 \"$BYTES\" 2>/dev/null && (echo x >> \"$BYTES\") 2>/dev/null && echo changed; mv \"$SECOND\" \"$SECOND.x\" 2>/dev/null && echo moved; \
         case \"$BYTES\" in \"$PWD\"/*) echo inside;; esac; cat \"$SECOND\"; wc -c < \"$BYTES\"",
    ))?;
    check!(
        tried.stdout.split_whitespace().collect::<Vec<_>>() == ["second70000"]
            || tried.stdout.split_whitespace().collect::<Vec<_>>() == ["second", "70000"],
        "{tried:?}"
    );
    Ok("arrived, and read-only".into())
}
