//! The text format of the chain: makes and parses lines. This is plain data, without a file.
//!
//! ```text
//! {"hash":"<64 hexadecimal digits>","seq":<number>,"event":…}
//! ```
//!
//! - The hash is BLAKE3 over the digits of the hash of the line before (64 zeros before the first), followed by the bytes of
//!   the line from `"seq"` to the closing brace. A short shell command can check it:
//!   `printf %s "$hash_before" "$rest_of_line" | b3sum`.
//! - Numbers count from 0 without a gap. The first line is `begin`, with a random number that identifies the chain. The other
//!   kinds are: `call`, a [`Record`]; `lost`, the number of records that did not fit, or, if the line names a principal and a
//!   capsule, the number of their records over the rate, by operation and outcome, with the first and last time; `resume`, which
//!   says that the file was opened again and how many bytes of an unfinished line were cut off; and `end`.
//! - The hash covers the bytes and not their meaning as JSON: an inserted space is an alteration.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::Serialize;

use super::rated::Over;
use super::record::{Record, rfc3339};
use capsule_supervisor::printable::printable_json;

/// The longest line, in bytes, without its end. Every record is much shorter.
pub const LINE_MAX: usize = 256 * 1024;

/// The version that this program writes, and the only one that it can read.
pub(super) const VERSION: u32 = 1;

const OPENING: &[u8] = b"{\"hash\":\"";
const AFTER_HASH: &[u8] = b"\",";
const SEQ: &[u8] = b"\"seq\":";
const DIGITS: usize = 2 * blake3::OUT_LEN;

/// The hash of a line, which covers that line and all lines before it. Keep it out of reach of users who may write to the file:
/// it then shows whether the file was rewritten, or cut off before that line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head(blake3::Hash);

/// The text is not a hash of a line.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a head is 64 hexadecimal digits")]
pub struct ParseHeadError;

/// The event of a line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Entry<'a> {
    Begin {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
        version: u32,
        chain: String,
    },
    Call(&'a Record),
    Lost {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
        records: u64,
    },
    /// The same event for a reader that knows nothing of rates: it counts all of them.
    #[serde(rename = "lost")]
    Over {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
        records: u64,
        #[serde(flatten)]
        over: &'a Over,
    },
    Resume {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
        torn_bytes: u64,
    },
    End {
        #[serde(serialize_with = "rfc3339")]
        time: SystemTime,
    },
}

/// The end of a chain, after which the next line belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) next: u64,
    pub(super) head: Head,
}

/// A line with the form of a line. Whether it follows another line has not been checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    pub(super) head: Head,
    content: &'a [u8],
}

impl Head {
    /// The hash before the first line.
    const NONE: Self = Self(blake3::Hash::from_bytes([0; blake3::OUT_LEN]));

    fn after(self, content: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.to_hex().as_bytes());
        hasher.update(content);
        Self(hasher.finalize())
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

impl FromStr for Head {
    type Err = ParseHeadError;

    fn from_str(text: &str) -> Result<Self, ParseHeadError> {
        blake3::Hash::from_hex(text).map(Self).map_err(|_| ParseHeadError)
    }
}

impl Entry<'_> {
    /// The first line of a new chain.
    pub(super) fn begin() -> Result<Entry<'static>, getrandom::Error> {
        let mut number = [0; 16];
        getrandom::fill(&mut number)?;
        Ok(Entry::Begin {
            time: SystemTime::now(),
            version: VERSION,
            chain: faster_hex::hex_string(&number),
        })
    }

    /// The event's part of a line: from the name of its first field to the closing brace. None if it is too long for a
    /// line.
    pub(super) fn body(&self) -> Option<String> {
        // Serialising these types cannot fail. A log is also read in a terminal, so a guest's text must not control it.
        let mut body = printable_json(serde_json::to_string(self).ok()?);
        body.remove(0);
        let frame = OPENING.len() + DIGITS + AFTER_HASH.len() + SEQ.len() + 20 + 1;
        (frame + body.len() <= LINE_MAX).then_some(body)
    }
}

impl Chain {
    pub(super) const NEW: Self = Self {
        next: 0,
        head: Head::NONE,
    };

    /// Appends a line with this body to `text`.
    pub(super) fn append(&mut self, body: &str, text: &mut Vec<u8>) {
        let content = format!("\"seq\":{},{body}", self.next);
        self.head = self.head.after(content.as_bytes());
        self.next += 1;
        text.extend_from_slice(OPENING);
        text.extend_from_slice(self.head.0.to_hex().as_bytes());
        text.extend_from_slice(AFTER_HASH);
        text.extend_from_slice(content.as_bytes());
        text.push(b'\n');
    }
}

impl<'a> Line<'a> {
    /// Parses a line, without its end; none if it does not have the form of a line.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(OPENING)?;
        let (digits, rest) = rest.split_at_checked(DIGITS)?;
        // An upper-case digit means the same number, but would be an alteration that the hash does not show.
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let head = Head(blake3::Hash::from_hex(digits).ok()?);
        let content = rest.strip_prefix(AFTER_HASH)?;
        let number = content.strip_prefix(SEQ)?;
        let (number, _) = number.split_at_checked(number.iter().position(|byte| *byte == b',')?)?;
        let seq = std::str::from_utf8(number).ok()?.parse().ok()?;
        Some(Self { seq, head, content })
    }

    /// Whether the hash is that of this content after `chain`.
    pub(super) fn follows(&self, chain: Chain) -> bool {
        chain.head.after(self.content) == self.head
    }
}

/// Whether `bytes` could be the beginning of a line whose rest was never written.
pub(super) fn may_begin_a_line(bytes: &[u8]) -> bool {
    let known = bytes.len().min(OPENING.len());
    bytes.get(..known) == OPENING.get(..known) && bytes.len() <= LINE_MAX
}

#[cfg(test)]
mod tests {
    use super::super::record::SpawnDetails;
    use super::*;
    use capsule_supervisor::printable::is_control;
    use capsule_supervisor::{Owner, Principal, SpawnRequest};

    #[test]
    fn u1_the_hash_of_a_line_can_be_computed_by_hand() {
        let mut text = Vec::new();
        let mut chain = Chain::NEW;
        chain.append("\"event\":\"a\"}", &mut text);
        chain.append("\"event\":\"b\"}", &mut text);
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let first = blake3::hash(format!("{}{}", "0".repeat(64), "\"seq\":0,\"event\":\"a\"}").as_bytes()).to_hex();
        let second = blake3::hash(format!("{first}{}", "\"seq\":1,\"event\":\"b\"}").as_bytes()).to_hex();
        assert_eq!(
            lines[0],
            format!("{{\"hash\":\"{first}\",\"seq\":0,\"event\":\"a\"}}\n").as_bytes()
        );
        assert_eq!(
            lines[1],
            format!("{{\"hash\":\"{second}\",\"seq\":1,\"event\":\"b\"}}\n").as_bytes()
        );
        assert_eq!(chain.head.to_string(), second.as_str());
    }

    #[test]
    fn u3_nothing_in_a_line_is_for_a_terminal_to_obey_and_all_of_it_can_be_read() {
        let hostile: String = (0..=0x2069)
            .filter_map(char::from_u32)
            .filter(|c| is_control(*c))
            .collect();
        let owner = Owner {
            principal: Principal::Named(hostile.clone()),
            capsule: hostile.clone(),
        };
        let mut record = Record::new(&owner, "spawn");
        let request = SpawnRequest {
            cmd: hostile.clone(),
            args: vec![hostile.clone()],
            cwd: Some(hostile.clone()),
            env: vec![(hostile.clone(), "secret".into())],
            ..SpawnRequest::default()
        };
        record.spawn = Some(Box::new(SpawnDetails::of(&request, &|_| "NAME".into())));
        let body = Entry::Call(&record).body().unwrap();
        assert!(!body.contains(is_control), "{body:?}");
        let read: serde_json::Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        for place in ["/principal", "/capsule", "/cmd", "/args/0", "/cwd", "/env_keys/0"] {
            assert_eq!(read.pointer(place).unwrap(), hostile.as_str(), "{place}");
        }
    }

    #[test]
    fn u1_what_has_not_the_shape_of_a_line_is_none() {
        let mut text = Vec::new();
        let mut chain = Chain::NEW;
        chain.append("\"event\":\"a\"}", &mut text);
        text.pop();
        assert!(Line::parse(&text).is_some_and(|line| line.follows(Chain::NEW)));
        for end in 0..83 {
            assert!(Line::parse(&text[..end]).is_none(), "{end}");
            assert!(may_begin_a_line(&text[..end]), "{end}");
        }
        assert!(Line::parse(&text.to_ascii_uppercase()).is_none());
        assert!(!may_begin_a_line(b"[1, 2]"));
    }
}
