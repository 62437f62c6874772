//! The grammar of topics: one to eight segments of `a-z`, `0-9`, `_` and `-`, joined by dots, 256 bytes at most; and the
//! topics that are the host's own.

/// The most segments of a topic.
pub const MAX_SEGMENTS: usize = 8;
/// The most bytes of a topic.
pub const MAX_BYTES: usize = 256;
/// Where the host alone publishes.
pub const RESERVED: &str = "astrid.process";
/// The topic of the lifecycle events.
pub const LIFECYCLE: &str = "astrid.process.v1";
/// Where it publishes that they ended.
pub const EXITED: &str = "astrid.process.v1.exited";
/// Where it publishes that they have output to read.
pub const LOG_READY: &str = "astrid.process.v1.log-ready";
/// Where it publishes that they have read their input.
pub const STDIN_DRAINED: &str = "astrid.process.v1.stdin-drained";

/// Whether `text` is segments joined by dots; how many, and how long, is not looked at.
pub fn has_segments_only(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    text.split('.')
        .all(|segment| !segment.is_empty() && segment.bytes().all(allowed))
}

/// How many segments `text` has.
pub fn segments(text: &str) -> usize {
    text.split('.').count()
}
