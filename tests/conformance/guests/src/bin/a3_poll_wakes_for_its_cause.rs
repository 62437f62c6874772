//! A `poll` of several processes returns when the first of them is ready, and says which.
//!
//! Interface io@1.0.0: "Returns the indices (into the input list) of every pollable that was ready when at least one
//! became so."; process@1.1.0: "Pollable that fires when the process has exited."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate0 gate1 gate2")?;
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(attach(&start(&format!("read x < gate{n}; exit {n}"))?)?);
    }
    let exits: Vec<_> = handles.iter().map(ProcessHandle::subscribe_exit).collect();
    let mut left: Vec<usize> = vec![0, 1, 2];
    for next in [1usize, 2, 0] {
        output(&format!("echo > gate{next}"))?;
        let borrowed: Vec<&Pollable> = left.iter().map(|n| &exits[*n]).collect();
        let ready = poll::poll(&borrowed)?;
        let woke: Vec<_> = ready.iter().map(|place| left[*place as usize]).collect();
        check!(woke == [next], "{next} ended, {woke:?} are ready");
        left.retain(|n| *n != next);
    }
    Ok("three, one by one".into())
}
