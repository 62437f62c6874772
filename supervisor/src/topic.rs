//! The grammar of topics: one to eight segments of `a-z`, `0-9`, `_` and `-`, joined by dots, 256 bytes at most; and the
//! topics that are the host's own.

/// The most segments of a topic.
pub const MAX_SEGMENTS: usize = 8;
/// The most bytes of a topic.
pub const MAX_BYTES: usize = 256;
/// The prefix to which only the host publishes.
pub const RESERVED: &str = "astrid.process";
/// The topic of the lifecycle events.
pub const LIFECYCLE: &str = "astrid.process.v1";
/// The prefix of exit events.
pub const EXITED: &str = "astrid.process.v1.exited";
/// The prefix of events of new output.
pub const LOG_READY: &str = "astrid.process.v1.log-ready";
/// The prefix of events of a drained stdin.
pub const STDIN_DRAINED: &str = "astrid.process.v1.stdin-drained";

/// Whether `text` consists of segments joined by dots. Their number and length are not checked.
pub fn has_segments_only(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    text.split('.')
        .all(|segment| !segment.is_empty() && segment.bytes().all(allowed))
}

/// The number of segments of `text`.
pub fn segments(text: &str) -> usize {
    text.split('.').count()
}
