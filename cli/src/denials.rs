//! What the user is told of a denied call: which call, which rule, and the option or the line of a manifest that would change it.
//!
//! The guest learns little, because it may be hostile. The runtime bounds the rate of these lines, and shortens a guest's text.
//!
//! A capsule may expect `quota`: it starts processes until the host has no room, and goes on when one of them has ended. So a quota
//! is told when a call fails, and not when the calls during which it came succeed. A denial does not say which call it belongs to:
//! with calls that run at once, one that fails may have another's told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use capsule_host::supervisor::Owner;
use capsule_host::{Denial, Refusal};

use crate::option_text::option;

/// Tells of one denial, and of those that were left out before it.
pub(crate) fn tell(_owner: &Owner, denial: &Denial, omitted: u64) {
    warn(lines(text(denial), omitted));
}

/// The denials of `capsule run`.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The calls that run.
    calls: usize,
    /// The last quota that came while calls ran.
    quota: Option<String>,
    /// The denials that were left out, and were not told of.
    omitted: u64,
}

impl Denials {
    /// Tells of one denial now, or if a call fails.
    pub(crate) fn tell(&self, denial: &Denial, omitted: u64) {
        let is_quota = denial.outcome.as_str() == "quota";
        let text = text(denial);
        let told = self.lock().denied(text.clone(), is_quota, omitted);
        if told.is_empty() {
            tracing::info!("{text}");
        }
        warn(told);
    }

    /// A call begins.
    pub(crate) fn call_begun(&self) {
        self.lock().calls += 1;
    }

    /// A call that had begun has ended.
    pub(crate) fn call_ended(&self, has_failed: bool) {
        let told = self.lock().call_ended(has_failed);
        warn(told);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn denied(&mut self, text: String, is_quota: bool, omitted: u64) -> Vec<String> {
        self.omitted += omitted;
        // Outside of a call an interceptor or `run` got it, whose end is not seen here.
        if is_quota && self.calls > 0 {
            self.quota = Some(text);
            return Vec::new();
        }
        lines(text, std::mem::take(&mut self.omitted))
    }

    fn call_ended(&mut self, has_failed: bool) -> Vec<String> {
        self.calls = self.calls.saturating_sub(1);
        match self.quota.take() {
            Some(text) if has_failed => lines(text, std::mem::take(&mut self.omitted)),
            // It may belong to a call that still runs.
            quota => {
                self.quota = quota.filter(|_| self.calls > 0);
                Vec::new()
            }
        }
    }
}

/// What is told of a denial and of those that were left out before it.
fn lines(text: String, omitted: u64) -> Vec<String> {
    let more = format!("{omitted} more denials of the capsule are not shown here; --audit records them");
    (omitted > 0).then_some(more).into_iter().chain([text]).collect()
}

fn warn(lines: Vec<String>) {
    for line in lines {
        tracing::warn!("{line}");
    }
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
        (Refusal::Command(command), _) if command.contains(' ') && !command.contains('/') => Some(format!(
            "{} grants it, if that is the name of a program: arguments have a field of their own",
            option("allow", command)
        )),
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
    fn a_quota_is_told_if_a_call_fails_and_other_denials_at_once() {
        let mut state = State {
            calls: 2,
            ..State::default()
        };
        let none = [""; 0];
        assert_eq!(state.denied("command".into(), false, 0), ["command"]);
        assert_eq!(state.denied("full".into(), true, 0), none);
        assert_eq!(state.denied("full again".into(), true, 3), none);
        // It may belong to the other call.
        assert_eq!(state.call_ended(false), none);
        let told = state.call_ended(true);
        assert!(told.len() == 2 && told[0].starts_with("3 more denials"), "{told:?}");
        assert_eq!(told[1], "full again");
        assert_eq!(state.denied("in an interceptor".into(), true, 0), ["in an interceptor"]);

        state.calls = 1;
        assert_eq!(state.denied("full".into(), true, 0), none);
        assert_eq!(state.call_ended(false), none);
        state.calls = 1;
        assert_eq!(state.call_ended(true), none, "it was another call's");
    }

    #[test]
    fn a_remedy_names_the_option_and_the_line() {
        let remedy = |refusal: Refusal, outcome: &'static str| remedy_of(&refusal, outcome).unwrap_or_default();
        assert_eq!(
            remedy(Refusal::Command("/opt/my tool".into()), "capability-denied"),
            "--allow '/opt/my tool' grants it, and a manifest asks for it with `allow = [\"/opt/my tool\"]`"
        );
        let remedy_of_arguments = remedy(Refusal::Command("sh -c ls".into()), "capability-denied");
        assert!(
            remedy_of_arguments.contains("arguments have a field"),
            "{remedy_of_arguments}"
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
