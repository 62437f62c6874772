//! `--until-exit`: waits after the last call until every process of the capsule has ended by itself.
//!
//! A process does not count as idle while this waits for it, so only its own end, its lifetime or a signal to the command ends it.
//! An end may make the capsule start another process, by an interceptor or by `run`: so the processes are looked for again after
//! each end.

use capsule_host::runtime::Capsule;
use capsule_host::supervisor::{Principal, Registry};
use tokio::task::JoinSet;

use crate::console;
use crate::left_running::{lines, running};

/// Waits for the processes of all principals. Dropping the future ends none of them.
pub(crate) async fn until_exit(registry: &Registry, capsule: &Capsule, principal: &Principal) {
    let mut is_told = false;
    loop {
        capsule.interceptors_idle().await;
        let running = running(registry, capsule.id());
        if !is_told && !running.is_empty() {
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
        if ends.join_next().await.is_none() {
            return;
        }
    }
}
