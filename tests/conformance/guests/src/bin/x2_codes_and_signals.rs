//! A normal exit has its code and no signal, an end by a signal has its signal and no code, in every tier.
//!
//! Interface process@1.1.0: "Normal exit code if exited normally; `none` if killed by signal"; process@1.1.0: "Signal
//! that killed the process (Unix), if any."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let cases = [
        ("exit 0", code(0)),
        ("exit 1", code(1)),
        ("exit 137", code(137)),
        ("exit 143", code(143)),
        ("exit 255", code(255)),
        ("kill -9 $$", by_signal(9)),
        ("kill -15 $$", by_signal(15)),
        ("kill -1 $$", by_signal(1)),
        ("kill -6 $$", by_signal(6)),
        ("kill -10 $$", by_signal(10)),
        ("sh -c 'kill -9 $$'; exit 9", code(9)),
        ("(sleep 1000 & kill -9 $!; wait $!); exit 3", code(3)),
    ];
    for (script, expected) in cases {
        let exit = spawn(&sh(script))?.exit;
        check!(exit == expected, "`{script}`: {exit:?}");
        let id = start(script)?;
        let exit = exit_of(&id)?;
        check!(exit == expected, "`{script}`, persistent: {exit:?}");
        let recorded = (status(&id)?.exit, read_logs(&id)?.exit);
        check!(
            recorded == (Some(expected), Some(expected)),
            "`{script}`, afterwards: {recorded:?}"
        );
        release_process(&id)?;
    }
    Ok(format!("{} ends, two tiers", cases.len()))
}
