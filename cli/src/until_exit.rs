//! `--until-exit`: waits after the last call until every process of the capsule has ended by itself.
//!
//! A process does not count as idle while this waits for it, so only its own end, its lifetime or a signal to the command ends it.
//! An end may make the capsule start another process, by an interceptor or by `run`: so the processes are looked for again after
//! each end, and the wait is over only when the interceptors have handled the last end and no process came of it.

use capsule_host::runtime::{Capsule, Deliveries};
use capsule_host::supervisor::{Principal, Registry};
use tokio::task::JoinSet;

use crate::console;
use crate::left_running::{lines, running};

/// Waits for the processes of all principals. Dropping the future ends none of them.
pub(crate) async fn until_exit(registry: &Registry, capsule: &Capsule, principal: &Principal) {
    let mut is_told = false;
    loop {
        capsule.interceptors_idle().await;
        // Read before the processes are looked for: a process that a later message starts may be missed.
        let handled = handled(capsule);
        let running = running(registry, capsule.id());
        if running.is_empty() {
            exits_handled(registry, capsule).await;
            // Without a message in between, no interceptor ran that may have started a process.
            if self::handled(capsule) == handled {
                return;
            }
            continue;
        }
        if !is_told {
            is_told = true;
            let heading = "--until-exit waits for these processes; Ctrl-C ends them:";
            console::tell(&lines(heading, &running, principal));
        }
        let mut ends = JoinSet::new();
        for (scope, info) in running {
            // Without its id it has ended.
            if let Ok(handle) = scope.attach(info.id.expose()) {
                ends.spawn(async move { handle.exit_ready().ready().await });
            }
        }
        drop(ends.join_next().await);
    }
}

/// Waits until the interceptors have handled all exits that are visible when this is called.
pub(crate) async fn exits_handled(registry: &Registry, capsule: &Capsule) {
    registry.exits_published().await;
    capsule.interceptors_idle().await;
}

/// How many messages have been handled.
fn handled(capsule: &Capsule) -> u64 {
    let Deliveries { succeeded, failed, .. } = capsule.deliveries();
    succeeded + failed
}
