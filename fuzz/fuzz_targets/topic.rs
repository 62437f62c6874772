//! Topics and patterns (contract E1, E3): what parses keeps the rules, which are written down here a second time, and
//! matching is what it means for segments.

#![no_main]

use arbitrary::Arbitrary;
use capsule_host::bus::{Pattern, Topic};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Text {
    Any(String),
    Segments(Vec<Segment>),
}

#[derive(Arbitrary, Debug)]
enum Segment {
    /// Few, so that topics and patterns meet.
    Word(u8),
    Star,
    Any(String),
    Long(u8),
}

const WORDS: [&str; 10] = ["a", "b", "ab", "0", "-", "_", "astrid", "process", "v1", "exited"];

impl Text {
    fn make(self) -> String {
        match self {
            Self::Any(text) => text,
            Self::Segments(segments) => {
                let segments = segments.into_iter().take(12).map(|segment| match segment {
                    Segment::Word(which) => WORDS[usize::from(which) % WORDS.len()].to_owned(),
                    Segment::Star => "*".to_owned(),
                    Segment::Any(text) => text,
                    Segment::Long(length) => "x".repeat(usize::from(length)),
                });
                segments.collect::<Vec<_>>().join(".")
            }
        }
    }
}

fn segments(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

fn is_topic(text: &str) -> bool {
    let is_segment = |segment: &&str| {
        !segment.is_empty()
            && segment
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
    };
    text.len() <= 256 && segments(text).len() <= 8 && segments(text).iter().all(is_segment)
}

fn is_pattern(text: &str) -> bool {
    match segments(text).as_slice() {
        ["*"] => true,
        [before @ .., "*"] => text.len() <= 256 && before.len() <= 7 && is_topic(&before.join(".")),
        _ => is_topic(text),
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (segments(pattern), segments(topic));
    match pattern.as_slice() {
        [before @ .., "*"] => topic.len() > before.len() && topic.starts_with(before),
        _ => pattern == topic,
    }
}

fuzz_target!(|input: (Text, Text, Text)| {
    let [topic, one, other] = [input.0, input.1, input.2].map(Text::make);
    let parsed = Topic::parse(&topic);
    assert_eq!(parsed.is_ok(), is_topic(&topic), "{topic:?}");
    for text in [&topic, &one, &other] {
        let pattern = Pattern::parse(text);
        assert_eq!(pattern.is_ok(), is_pattern(text), "{text:?}");
        let Ok(pattern) = pattern else { continue };
        assert_eq!(pattern.to_string(), *text, "one spelling");
        assert!(pattern.covers(&pattern));
    }
    let Ok(parsed) = parsed else { return };
    assert_eq!(parsed.as_str(), topic);
    assert_eq!(parsed.to_string(), topic);
    let below = |prefix: &[&str]| segments(&topic).starts_with(prefix);
    assert_eq!(parsed.is_reserved(), below(&["astrid", "process"]));
    // Behind the kind there may be an id, which is in no log.
    if topic.starts_with("astrid.process.v1.exited.") {
        assert_eq!(format!("{parsed:?}"), "Topic(\"astrid.process.v1.exited\")");
    }

    let (Ok(wide), Ok(narrow)) = (Pattern::parse(&one), Pattern::parse(&other)) else {
        return;
    };
    assert_eq!(wide.matches(&parsed), matches(&one, &topic), "{one:?} {topic:?}");
    if wide.covers(&narrow) && narrow.matches(&parsed) {
        assert!(
            wide.matches(&parsed),
            "{one:?} is said to cover {other:?}, and {topic:?} shows that it does not"
        );
    }
    // A pattern that does not cover another misses something of it: the narrowest thing below it shows that.
    let witness = other.replace('*', "zz");
    if let (false, Ok(witness)) = (wide.covers(&narrow), Topic::parse(&witness)) {
        assert!(
            !wide.matches(&witness) || one == format!("{witness}"),
            "{one:?} {other:?}"
        );
    }
    if narrow.is_lifecycle() && narrow.matches(&parsed) {
        assert!(below(&["astrid", "process", "v1"]) && segments(&topic).len() > 3);
    }
});
