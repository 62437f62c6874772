//! What the user is told of a denied call: which call, which rule, and the option or the line of a manifest that would change it.
//!
//! The guest learns little, because it may be hostile. The runtime bounds the rate of these lines, and shortens a guest's text.

use capsule_host::supervisor::Owner;
use capsule_host::{Denial, Refusal};

use crate::option_text::option;

/// Tells of one denial, and of those that were left out before it.
pub(crate) fn tell(_owner: &Owner, denial: &Denial, omitted: u64) {
    if omitted > 0 {
        tracing::warn!("{omitted} more denials of the capsule are not shown here; --audit records them");
    }
    tracing::warn!("{}", text(denial));
}

/// One line: what was denied, and what would change that.
pub(crate) fn text(denial: &Denial) -> String {
    let Denial { operation, refusal, .. } = denial;
    match remedy_of(refusal, denial.outcome.as_str()) {
        Some(remedy) => format!("denied: {operation}: {refusal}; {remedy}"),
        None => format!("denied: {operation}: {refusal}"),
    }
}

/// The line for a refusal for want of a grant.
pub(crate) fn grant_text(refusal: &Refusal) -> String {
    let remedy = remedy_of(refusal, "capability-denied").unwrap_or_default();
    format!("denied: {refusal}; {remedy}")
}

/// What would make the call succeed, where the user or the author can change that.
fn remedy_of(refusal: &Refusal, outcome: &str) -> Option<String> {
    let topics = |table: &str, topic: &str| format!("the manifest declares it with `{table} = [{topic:?}]`");
    match (refusal, outcome) {
        (Refusal::Command(command), _) => Some(format!(
            "{} grants it, and a manifest asks for it with `allow = [{command:?}]`",
            option("allow", command)
        )),
        (Refusal::Persistent, _) => Some(
            "--allow-persistent grants them, and a manifest asks for them with `allow-persistent = true`".to_owned(),
        ),
        (Refusal::Publish(topic), _) => Some(topics("publish", topic)),
        (Refusal::Subscribe(pattern), _) => Some(topics("subscribe", pattern)),
        (Refusal::PublishAs(_), _) => Some("this command grants it to no capsule".to_owned()),
        (_, "quota") => Some("release or stop processes that are not needed any more".to_owned()),
        (_, "persist-unsupported") => Some(
            "--unconfined needs --allow-persistent for such processes, which are then not contained".to_owned(),
        ),
        (_, "unknown(not-found)") => Some(
            "the processes see the programs of the system and the workspace; --visible shows them a folder or a toolchain"
                .to_owned(),
        ),
        (_, "unknown(limit-unenforceable)") => Some("`capsule doctor` reports what this machine can enforce".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_names_the_option_and_the_line() {
        let remedy = |refusal: Refusal, outcome: &'static str| remedy_of(&refusal, outcome).unwrap_or_default();
        assert_eq!(
            remedy(Refusal::Command("my tool".into()), "capability-denied"),
            "--allow 'my tool' grants it, and a manifest asks for it with `allow = [\"my tool\"]`"
        );
        assert!(remedy(Refusal::Persistent, "capability-denied").contains("--allow-persistent grants"));
        assert!(remedy(Refusal::Publish("a.v1".into()), "capability-denied").contains("`publish = [\"a.v1\"]`"));
        assert!(remedy(Refusal::Subscribe("a.*".into()), "capability-denied").contains("`subscribe = [\"a.*\"]`"));
        assert!(remedy(Refusal::Rule("quota: …".into()), "quota").contains("release"));
        assert_eq!(
            remedy(Refusal::Rule("invalid-input: cmd is empty".into()), "invalid-input"),
            ""
        );
    }
}
