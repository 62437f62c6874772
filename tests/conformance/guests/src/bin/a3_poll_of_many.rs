//! `poll` returns, in ascending order, exactly the ready pollables among hundreds; no pollable is `invalid-input`, more
//! than 256 are `too-large`.
//!
//! Interface io@1.0.0: "The returned list is sorted ascending and contains at least one entry on success."; io@1.0.0:
//! "Per-call cap: 256 pollables. Larger lists return `too-large`."; io@1.0.0: "`poll` was called with an empty list."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let quiet = start("sleep 1000")?;
    let ended = start("echo out")?;
    exit_of(&ended)?;
    until("its output", || Ok((status(&ended)?.buffered_bytes == 4).then_some(())))?;
    let (quiet, ended) = (attach(&quiet)?, attach(&ended)?);
    let mut pollables = Vec::new();
    let mut expected = Vec::new();
    for n in 0..256u32 {
        if n % 37 == 5 {
            expected.push(n);
            pollables.push(if n % 2 == 0 {
                ended.subscribe_exit()
            } else {
                ended.subscribe_logs()
            });
        } else {
            pollables.push(if n % 2 == 0 {
                quiet.subscribe_exit()
            } else {
                quiet.subscribe_logs()
            });
        }
    }
    let mut borrowed: Vec<&Pollable> = pollables.iter().collect();
    for _ in 0..3 {
        let ready = poll::poll(&borrowed)?;
        check!(ready == expected, "ready are {ready:?}, and not {expected:?}");
    }
    let one_more = quiet.subscribe_exit();
    borrowed.push(&one_more);
    let too_many = poll::poll(&borrowed);
    check!(too_many == Err(poll::ErrorCode::TooLarge), "257: {too_many:?}");
    let none = poll::poll(&[]);
    check!(none == Err(poll::ErrorCode::InvalidInput), "none: {none:?}");
    Ok(format!("{} of 256", expected.len()))
}
