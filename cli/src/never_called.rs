//! Interceptors that no message can ever call, because nothing that runs under this command publishes to their topics.

use capsule_host::bus::Pattern;
use capsule_host::runtime::Interceptor;

use crate::option_text::word;

/// The topics of the host's own events.
const EVENTS: [&str; 3] = [
    "astrid.process.v1.exited.*",
    "astrid.process.v1.log-ready.*",
    "astrid.process.v1.stdin-drained.*",
];
/// The prefix of topics that belong to the host alone.
const RESERVED: &str = "astrid.process.";
/// The most interceptors that are told of.
const TOLD: usize = 8;

/// Tells of the interceptors among these that no message can call.
pub(crate) fn tell(interceptors: &[Interceptor], publish: &[Pattern]) {
    for Interceptor { topic, action } in interceptors
        .iter()
        .filter(|one| !can_be_called(&one.topic, publish))
        .take(TOLD)
    {
        let (text, action) = (topic.to_string(), word(action));
        if text.starts_with(RESERVED) {
            tracing::warn!(
                "the interceptor {action} is never called: the host publishes only to {}, and not to {text}",
                EVENTS.join(", ")
            );
        } else {
            tracing::warn!(
                "the interceptor {action} is never called: no capsule here publishes to {text}; `publish` in the manifest declares \
                 where the capsule itself publishes"
            );
        }
    }
}

fn can_be_called(topic: &Pattern, publish: &[Pattern]) -> bool {
    let events = EVENTS.iter().filter_map(|event| Pattern::parse(event).ok());
    // Each pattern is a topic or all topics below one, so that two of them overlap only if one covers the other.
    let overlaps = |other: &Pattern| topic.covers(other) || other.covers(topic);
    events.chain(publish.iter().cloned()).any(|other| overlaps(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_or_the_capsule_publishes_can_call() {
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        let publish = [pattern("notes.v1.*"), pattern("build.v1.done")];
        for (topic, expected) in [
            ("astrid.process.v1.exited.*", true),
            ("astrid.process.v1.exited.web", true),
            ("astrid.process.v1.*", true),
            ("*", true),
            ("notes.v1.saved", true),
            ("notes.*", true),
            ("build.*", true),
            ("build.v1.done", true),
            ("build.v1.started", false),
            ("astrid.process.v1.started.*", false),
            ("astrid.process.v1.exited", false),
            ("note.v1.saved", false),
        ] {
            assert_eq!(can_be_called(&pattern(topic), &publish), expected, "{topic}");
        }
    }
}
