//! What the end of the command ends: each process that still runs then is told of, so that a user who expected it to stay learns
//! why it is gone.

use std::time::Duration;

use capsule_host::supervisor::{Phase, ProcessInfo, Scope};

use crate::console;
use crate::option_text::word;

/// The most processes that are told of one by one.
const TOLD: usize = 8;

/// Tells of the owner's processes that still run.
pub(crate) fn tell(scope: &Scope) {
    let running: Vec<_> = scope
        .list(None)
        .into_iter()
        .filter(|info| info.phase == Phase::Running)
        .collect();
    if let Some(text) = text(&running) {
        console::tell(&text);
    }
}

fn text(running: &[ProcessInfo]) -> Option<String> {
    if running.is_empty() {
        return None;
    }
    let mut lines = vec![
        "these processes end with this command; a last call that waits for them, such as `wait`, keeps them:"
            .to_owned(),
    ];
    lines.extend(running.iter().take(TOLD).map(line));
    if running.len() > TOLD {
        lines.push(format!("and {} more", running.len() - TOLD));
    }
    Some(lines.join("\n"))
}

fn line(info: &ProcessInfo) -> String {
    let named = if info.label.is_empty() {
        word(&info.command)
    } else {
        format!("{} ({})", word(&info.label), word(&info.command))
    };
    format!("{named}, after {}", rounded(info.age))
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
