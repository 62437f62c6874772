//! Topics and patterns of topics, as plain data.
//!
//! A topic is one to eight segments of `a-z`, `0-9`, `_` and `-`, joined by dots, 256 bytes at most. A pattern is a topic,
//! or has `*` as its last segment, which stands for one or more segments. `*` is not allowed elsewhere.

use std::fmt;
use std::str::FromStr;

use capsule_supervisor::internals::topic::{
    EXITED, LIFECYCLE, MAX_BYTES, MAX_SEGMENTS, RESERVED, has_segments_only, segments,
};

/// The segment that stands for one or more segments.
const WILDCARD: &str = "*";

/// The topic of a message.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(String);

/// The topics of a subscription: one topic, or all topics below a prefix.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The topic, or the prefix without its last dot; empty for all topics.
    stem: String,
    wildcard: bool,
}

/// Why a text is not a topic or not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopic {
    /// It is longer than 256 bytes.
    #[error("a topic has at most {MAX_BYTES} bytes")]
    TooLong,
    /// It has more than 8 segments.
    #[error("a topic has at most {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// A segment is empty or contains another character.
    #[error("the segments of a topic are one or more of a-z, 0-9, _ and -, joined by dots")]
    Segment,
    /// A `*` is in a topic, or is not the last segment of a pattern.
    #[error("`*` may only be the last segment of a pattern")]
    Wildcard,
}

impl Topic {
    /// Parses a topic.
    ///
    /// # Errors
    /// [`BadTopic`].
    pub fn parse(text: &str) -> Result<Self, BadTopic> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text of the topic.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only the host publishes to the topic: `astrid.process` and everything below it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0 == RESERVED || is_below(&self.0, RESERVED)
    }

    /// Whether its messages report the end of a process.
    pub(super) fn is_exit(&self) -> bool {
        is_below(&self.0, EXITED)
    }

    /// The stems of all patterns with a wildcard that match the topic, the widest first.
    pub(super) fn stems(&self) -> impl Iterator<Item = &str> {
        let dots = self.0.match_indices('.');
        std::iter::once("").chain(dots.filter_map(|(at, _)| self.0.get(..at)))
    }
}

impl Pattern {
    /// Parses a pattern: a topic, a topic followed by `.*`, or `*`.
    ///
    /// # Errors
    /// [`BadTopic`].
    pub fn parse(text: &str) -> Result<Self, BadTopic> {
        if text == WILDCARD {
            return Ok(Self {
                stem: String::new(),
                wildcard: true,
            });
        }
        let (stem, wildcard) = match text.strip_suffix(".*") {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        if text.len() > MAX_BYTES {
            return Err(BadTopic::TooLong);
        }
        check(stem)?;
        if wildcard && segments(stem) == MAX_SEGMENTS {
            return Err(BadTopic::TooManySegments);
        }
        Ok(Self {
            stem: stem.to_owned(),
            wildcard,
        })
    }

    /// Whether the pattern matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        if self.wildcard {
            is_below(&topic.0, &self.stem)
        } else {
            self.stem == topic.0
        }
    }

    /// Whether every topic that `other` matches is matched by this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if !self.wildcard {
            return self == other;
        }
        is_below(&other.stem, &self.stem) || (other.wildcard && other.stem == self.stem)
    }

    /// Whether the pattern matches lifecycle topics only: it lies wholly below `astrid.process.v1`.
    #[must_use]
    pub fn is_lifecycle(&self) -> bool {
        is_below(&self.stem, LIFECYCLE) || (self.wildcard && self.stem == LIFECYCLE)
    }

    /// The text before the wildcard, or the topic, and whether there is a wildcard.
    pub(super) fn parts(&self) -> (&str, bool) {
        (&self.stem, self.wildcard)
    }
}

/// Whether `topic` has `stem` before one or more further segments.
fn is_below(topic: &str, stem: &str) -> bool {
    match topic.strip_prefix(stem) {
        Some(rest) if stem.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with('.'),
        None => false,
    }
}

fn check(topic: &str) -> Result<(), BadTopic> {
    if topic.len() > MAX_BYTES {
        return Err(BadTopic::TooLong);
    }
    if topic.contains(WILDCARD) {
        return Err(BadTopic::Wildcard);
    }
    if segments(topic) > MAX_SEGMENTS {
        return Err(BadTopic::TooManySegments);
    }
    if has_segments_only(topic) {
        Ok(())
    } else {
        Err(BadTopic::Segment)
    }
}

/// A topic for a log. For a lifecycle topic only the kind is shown, because the rest may be an id.
fn redacted(text: &str) -> &str {
    if !is_below(text, RESERVED) {
        return text;
    }
    let end = text.match_indices('.').nth(3).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(RESERVED)
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.stem.as_str(), self.wildcard) {
            (stem, false) => f.write_str(stem),
            ("", true) => f.write_str(WILDCARD),
            (stem, true) => write!(f, "{stem}.{WILDCARD}"),
        }
    }
}

impl fmt::Debug for Topic {
    /// For a lifecycle topic only the kind is shown: the rest may be an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&redacted(&self.0)).finish()
    }
}

impl fmt::Debug for Pattern {
    /// For a lifecycle topic only the kind is shown: the rest may be an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern")
            .field("stem", &redacted(&self.stem))
            .field("wildcard", &self.wildcard)
            .finish()
    }
}

impl FromStr for Topic {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::parse(text)
    }
}

impl FromStr for Pattern {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    /// Segments of few letters, so that equal segments are frequent.
    fn segments(most: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]{1,2}", 1..=most)
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("*".to_owned()),
            segments(8).prop_map(|segments| segments.join(".")),
            segments(7).prop_map(|segments| segments.join(".") + ".*"),
        ]
    }

    /// The meaning of a pattern, computed segment by segment.
    fn means(pattern: &str, topic: &str) -> bool {
        let (pattern, topic): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), topic.split('.').collect());
        match pattern.split_last() {
            Some((&"*", stem)) => topic.len() > stem.len() && topic.starts_with(stem),
            _ => pattern == topic,
        }
    }

    proptest! {
        #[test]
        fn e3_a_pattern_matches_what_it_means(pattern in any_pattern(), topic in segments(8)) {
            let topic = topic.join(".");
            let parsed = Pattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.matches(&Topic::parse(&topic).unwrap()), means(&pattern, &topic));
            prop_assert_eq!(parsed.to_string(), pattern);
        }

        #[test]
        fn e3_what_a_pattern_covers_it_matches(wide in any_pattern(), narrow in any_pattern(), topic in segments(8)) {
            let (wide, narrow) = (pattern(&wide), pattern(&narrow));
            let topic = Topic::parse(&topic.join(".")).unwrap();
            prop_assert!(wide.covers(&wide));
            if wide.covers(&narrow) && narrow.matches(&topic) {
                prop_assert!(wide.matches(&topic));
            }
        }

        #[test]
        fn e3_the_stems_of_a_topic_are_those_of_the_wildcards_that_match(topic in segments(8), pattern in any_pattern()) {
            let topic = Topic::parse(&topic.join(".")).unwrap();
            let pattern = Pattern::parse(&pattern).unwrap();
            let (stem, wildcard) = pattern.parts();
            prop_assume!(wildcard);
            prop_assert_eq!(topic.stems().any(|candidate| candidate == stem), pattern.matches(&topic));
        }

        #[test]
        fn e1_any_text_is_judged_and_none_breaks(text in ".{0,300}") {
            if let Ok(topic) = Topic::parse(&text) {
                prop_assert!(text.len() <= 256 && (1..=8).contains(&text.split('.').count()));
                prop_assert_eq!(topic.as_str(), &text);
            }
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }

    #[test]
    fn e1_what_is_no_topic_is_told_why() {
        for (text, why) in [
            ("", BadTopic::Segment),
            (".", BadTopic::Segment),
            ("a..b", BadTopic::Segment),
            ("a.", BadTopic::Segment),
            ("A", BadTopic::Segment),
            ("a b", BadTopic::Segment),
            ("ä", BadTopic::Segment),
            ("a\0", BadTopic::Segment),
            ("a.*", BadTopic::Wildcard),
            ("1.2.3.4.5.6.7.8.9", BadTopic::TooManySegments),
            (&"a".repeat(257), BadTopic::TooLong),
        ] {
            assert_eq!(Topic::parse(text).unwrap_err(), why, "{text:?}");
        }
        topic(&"a".repeat(256));
        topic("1.2.3.4.5.6.7.8");
    }

    #[test]
    fn e3_a_wildcard_stands_last_and_nowhere_else() {
        for text in ["*.a", "a.*.b", "a*", "a.b*", "**", "a.**", ".*", "*.*", "a.*.*"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pattern::parse("1.2.3.4.5.6.7.8.*"), Err(BadTopic::TooManySegments));
        assert!(pattern("1.2.3.4.5.6.7.*").matches(&topic("1.2.3.4.5.6.7.8")));
        assert!(!pattern("a.b.*").matches(&topic("a.b")));
        assert!(!pattern("a.b.*").matches(&topic("a.bc.d")));
    }

    #[test]
    fn e3_what_is_the_hosts_is_told_apart() {
        for text in ["astrid.process", "astrid.process.v1.exited.x", "astrid.process.v2"] {
            assert!(topic(text).is_reserved(), "{text}");
        }
        for text in ["astrid.processes", "astrid", "astrid.other.process", "x.astrid.process"] {
            assert!(!topic(text).is_reserved(), "{text}");
        }
        assert!(pattern("astrid.process.v1.*").is_lifecycle());
        assert!(pattern("astrid.process.v1.exited.x").is_lifecycle());
        for text in [
            "*",
            "astrid.*",
            "astrid.process.*",
            "astrid.process.v1",
            "astrid.process.v10.*",
        ] {
            assert!(!pattern(text).is_lifecycle(), "{text}");
        }
        assert!(topic("astrid.process.v1.exited.x").is_exit());
        assert!(!topic("astrid.process.v1.log-ready.x").is_exit());
    }

    #[test]
    fn i2_no_id_is_printed_for_people_who_debug() {
        let text = "astrid.process.v1.exited.s3cret.s3cret";
        let printed = format!(
            "{:?} {:?} {:?}",
            topic(text),
            pattern(text),
            pattern(&format!("{text}.*"))
        );
        assert!(
            printed.contains("astrid.process.v1.exited") && !printed.contains("s3cret"),
            "{printed}"
        );
        assert!(format!("{:?}", topic("notes.v1.saved")).contains("saved"));
    }
}
