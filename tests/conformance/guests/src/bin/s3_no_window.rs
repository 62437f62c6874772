//! A directory that is exchanged repeatedly for a link out of the workspace never lets a child start outside.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let top = output("pwd -P; mkdir d; ln -s / l")?.trim_end().to_owned();
    let swapper =
        start("while :; do sleep 0.005; mv -T d x; mv -T l d; echo >> swaps; sleep 0.005; mv -T d l; mv -T x d; done")?;
    until("the first exchange", || Ok(holds("test -s swaps")?.then_some(())))?;
    let (mut inside, mut refused) = (0, 0);
    // As long as it takes to see both outcomes, because otherwise the case would show nothing. A refusal takes much
    // less time than a start, so there are many more refusals.
    let began = sys::clock_monotonic_ns();
    while inside < 20 || refused < 20 {
        check!(
            ms_since(began) < GIVE_UP,
            "only {inside} started inside, and {refused} were refused"
        );
        let request = SpawnRequest {
            cwd: Some("d".to_owned()),
            ..sh("pwd -P")
        };
        match spawn(&request) {
            Ok(done) => {
                // While it is moved it has another name, or none.
                let place = done.stdout.trim_end();
                check!(place.starts_with(&top), "a child was started in {place:?}");
                inside += 1;
            }
            Err(ErrorCode::BoundaryEscape | ErrorCode::InvalidInput) => refused += 1,
            Err(other) => return fail(format!("{other:?}")),
        }
    }
    stop(&swapper, Some(0))?;
    Ok(format!("{inside} started inside, {refused} refused, none outside"))
}
