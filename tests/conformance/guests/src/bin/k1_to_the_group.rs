//! A signal reaches the command and all of its process group, and each of the seven names sends the signal of that
//! name.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let member = "for s in TERM HUP USR1 USR2 INT; do trap \"echo $s >> $f\" $s; done; echo up >> $f; while :; do sleep 0.01; done";
    let id = start(&format!(
        "for f in one two; do (f=$f; {member}) & done; f=own; {member}"
    ))?;
    until("all three", || {
        Ok(holds("test -s one && test -s two && test -s own")?.then_some(()))
    })?;
    for (sent, name) in [
        (ProcessSignal::Hup, "HUP"),
        (ProcessSignal::Usr1, "USR1"),
        (ProcessSignal::Usr2, "USR2"),
        (ProcessSignal::Term, "TERM"),
    ] {
        signal(&id, sent)?;
        until(name, || {
            Ok(holds(&format!(
                "grep -q {name} one && grep -q {name} two && grep -q {name} own"
            ))?
            .then_some(()))
        })?;
    }
    signal(&id, ProcessSignal::Int)?;
    until("INT", || Ok(holds("grep -q INT own")?.then_some(())))?;
    let counts = output("grep -c . own; grep -c -E 'HUP|USR1|USR2|TERM|INT' own")?;
    check!(
        counts.split_whitespace().collect::<Vec<_>>() == ["6", "5"],
        "the command got {counts:?}"
    );
    stop(&id, Some(0))?;
    Ok("five signals, three processes".into())
}
