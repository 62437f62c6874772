//! The signal `stop` suspends a process, and `cont` resumes it.
//!
//! Interface process@1.1.0: "SIGSTOP — pause the child (cannot be caught/ignored)."; process@1.1.0: "SIGCONT — resume a
//! paused child."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("i=0; while :; do i=$((i+1)); echo $i > count.new; mv count.new count; done")?;
    until("counting", || Ok(holds("test -s count")?.then_some(())))?;
    signal(&id, ProcessSignal::Stop)?;
    // A suspended group does not change while other processes run. The first check may be too early.
    let still = until("it to be still", || {
        let before = output("cat count")?;
        for _ in 0..8 {
            output("true")?;
        }
        let after = output("cat count")?;
        Ok((before == after).then_some(after))
    })?;
    signal(&id, ProcessSignal::Cont)?;
    until("it to go on", || Ok((output("cat count")? != still).then_some(())))?;
    check!(status(&id)?.phase == ProcessPhase::Running, "it ended");
    Ok(format!("still at {}", still.trim()))
}
