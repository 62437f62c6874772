//! What the end of the command ends: each process that still runs then is told of, so that a user who expected it to stay learns
//! why it is gone.

use std::cmp::Reverse;
use std::time::Duration;

use capsule_host::supervisor::{Phase, Principal, ProcessInfo, Registry, Scope};

use crate::console;
use crate::option_text::word;

/// The most processes that are told of one by one.
const TOLD: usize = 8;

/// A process that runs, and the scope of its owner.
pub(crate) type Running = (Scope, ProcessInfo);

/// The capsule's processes that run, under any principal, the oldest first.
pub(crate) fn running(registry: &Registry, capsule: &str) -> Vec<Running> {
    let mut owners = registry.owners();
    owners.retain(|owner| owner.capsule == capsule);
    let scopes = owners.into_iter().map(|owner| registry.scope(owner));
    let of_each = scopes.flat_map(|scope| {
        let all = scope.list(None).into_iter();
        all.filter(|info| info.phase == Phase::Running)
            .map(move |info| (scope.clone(), info))
    });
    let mut running: Vec<_> = of_each.collect();
    running.sort_by_key(|(_, info)| Reverse(info.age));
    running
}

/// Tells of the capsule's processes that still run. `principal` is the one that the command is for.
pub(crate) fn tell(registry: &Registry, capsule: &str, principal: &Principal) {
    let running = running(registry, capsule);
    if !running.is_empty() {
        let heading = "these processes end with this command; --until-exit keeps it until they have ended, and a last call \
                       that waits for them, such as `wait`, keeps them too:";
        console::tell(&lines(heading, &running, principal));
    }
}

/// The heading, and a line for each process.
pub(crate) fn lines(heading: &str, running: &[Running], principal: &Principal) -> String {
    let mut lines = vec![heading.to_owned()];
    lines.extend(running.iter().take(TOLD).map(|running| line(running, principal)));
    if running.len() > TOLD {
        lines.push(format!("and {} more", running.len() - TOLD));
    }
    lines.join("\n")
}

fn line((scope, info): &Running, principal: &Principal) -> String {
    let named = if info.label.is_empty() {
        word(&info.command)
    } else {
        format!("{} ({})", word(&info.label), word(&info.command))
    };
    let of = match &scope.owner().principal {
        of if of == principal => String::new(),
        Principal::Named(of) => format!(" of {}", word(of)),
        Principal::Anonymous => " of no principal".to_owned(),
    };
    format!("{named}{of}, after {}", rounded(info.age))
}

fn rounded(age: Duration) -> String {
    match age.as_secs() {
        0..60 => format!("{:.1} s", age.as_secs_f64()),
        secs @ 60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        secs => format!("{} h {} min", secs / 3600, secs / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_units_that_matter() {
        for (secs, told) in [(0, "0.0 s"), (59, "59.0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")] {
            assert_eq!(rounded(Duration::from_secs(secs)), told);
        }
    }
}
