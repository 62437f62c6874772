//! Reads a chain and finds the first line that was changed.
//!
//! The file is read once from the beginning, one line at a time. A line that is longer than the longest possible line is not kept
//! in memory. For any file, the result is either a line and a reason, or that the chain is intact.

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::chain::{Chain, Head, LINE_MAX, Line, VERSION};

/// The content of a chain that is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The number of lines.
    pub lines: u64,
    /// The number of records of calls among them.
    pub calls: u64,
    /// The number of records that were dropped when they came. The lines that report them are counted in `lines`.
    pub lost: u64,
    /// The number of dropped records that were over their owner's rate ([`AuditRate`](super::AuditRate)).
    pub over_rate: u64,
    /// The number of times that the file was opened again.
    pub resumed: u64,
    /// Whether the last line says that the writer has finished. If not, the writer still runs, was killed, or lines were cut off
    /// the end.
    pub finished: bool,
    /// The hash of the last line, to be kept elsewhere.
    pub head: Head,
}

/// Why a log is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The log could not be read to the end.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The log was altered.
    #[error("line {line}: {flaw}")]
    Broken {
        /// The number of the first faulty line, counted from 1.
        line: u64,
        /// The fault of the line.
        flaw: Flaw,
    },
}

/// The fault of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// There is no first line.
    #[error("there is no line: the file is empty")]
    Empty,
    /// The line does not have the form of a line, or is too long.
    #[error("not a line of an audit log")]
    Malformed,
    /// The first line is not that of a chain.
    #[error("the beginning is missing: this line was written as number {0}, counted from 0")]
    Beginning(u64),
    /// The number of the line does not match its place.
    #[error("a line is missing, or in the wrong place, or altered: expected number {expected}, found {found}")]
    Sequence {
        /// The number that this place requires.
        expected: u64,
        /// The number in the line.
        found: u64,
    },
    /// The hash of the line does not match its content and the line before.
    #[error("altered: the hash does not match the content and the line before")]
    Hash,
    /// The last line has no end.
    #[error("unfinished: the last line has no end; its writer was killed, or the line was cut")]
    Unfinished,
    /// The log was written by a later version of this program.
    #[error("written in a newer format than this program knows: {0}")]
    Version(u32),
    /// The file ends and does not contain the expected head.
    #[error("the file ends here without the expected head: lines are missing at the end, or the file was rewritten")]
    HeadMissing,
}

impl Flaw {
    /// The variant as one word, for machines.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Malformed => "malformed",
            Self::Beginning(_) => "beginning",
            Self::Sequence { .. } => "sequence",
            Self::Hash => "hash",
            Self::Unfinished => "unfinished",
            Self::Version(_) => "version",
            Self::HeadMissing => "head-missing",
        }
    }
}

/// The fields of a line that are checked.
#[derive(Deserialize)]
struct Content {
    event: String,
    version: Option<u32>,
    records: Option<u64>,
    capsule: Option<IgnoredAny>,
}

/// Reads a chain to its end.
///
/// `expect` is a head from an earlier time: the log must contain the line with this hash. Without `expect`, this
/// function detects neither lines that were cut off the end nor a whole chain that was rewritten.
///
/// # Errors
/// [`VerifyError::Broken`] names the first line that was altered, removed, inserted or moved. The lines after it are
/// not verified.
pub fn verify(mut file: impl BufRead, expect: Option<&Head>) -> Result<Verified, VerifyError> {
    let mut chain = Chain::NEW;
    let mut verified = Verified {
        lines: 0,
        calls: 0,
        lost: 0,
        over_rate: 0,
        resumed: 0,
        finished: false,
        head: chain.head,
    };
    let mut seen = expect.is_none();
    let mut text = Vec::new();
    loop {
        let line = verified.lines + 1;
        let broken = |flaw| VerifyError::Broken { line, flaw };
        text.clear();
        // One byte more for the end of the line, and one to see that the line is too long.
        let longest = LINE_MAX as u64 + 2;
        if (&mut file).take(longest).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let content = look(&text, chain).map_err(broken)?;
        chain = content.0;
        verified.lines = line;
        verified.finished = false;
        match content.1.event.as_str() {
            "begin" => {
                if let Some(later) = content.1.version.filter(|version| *version > VERSION) {
                    return Err(broken(Flaw::Version(later)));
                }
            }
            "call" => verified.calls += 1,
            "lost" => {
                let records = content.1.records.unwrap_or_default();
                verified.lost = verified.lost.saturating_add(records);
                if content.1.capsule.is_some() {
                    verified.over_rate = verified.over_rate.saturating_add(records);
                }
            }
            "resume" => verified.resumed += 1,
            "end" => verified.finished = true,
            _ => return Err(broken(Flaw::Malformed)),
        }
        seen |= expect == Some(&chain.head);
    }
    verified.head = chain.head;
    let line = verified.lines + 1;
    if verified.lines == 0 {
        return Err(VerifyError::Broken {
            line,
            flaw: Flaw::Empty,
        });
    }
    if !seen {
        return Err(VerifyError::Broken {
            line,
            flaw: Flaw::HeadMissing,
        });
    }
    Ok(verified)
}

/// Checks the next line of `chain`, with its end. Returns the state of the chain after it, and the content of the line.
fn look(text: &[u8], chain: Chain) -> Result<(Chain, Content), Flaw> {
    let Some(text) = text.strip_suffix(b"\n") else {
        return Err(if text.len() > LINE_MAX {
            Flaw::Malformed
        } else {
            Flaw::Unfinished
        });
    };
    let line = Line::parse(text).ok_or(Flaw::Malformed)?;
    if line.seq != chain.next {
        return Err(match chain.next {
            0 => Flaw::Beginning(line.seq),
            expected => Flaw::Sequence {
                expected,
                found: line.seq,
            },
        });
    }
    if !line.follows(chain) {
        return Err(Flaw::Hash);
    }
    let content: Content = serde_json::from_slice(text).map_err(|_| Flaw::Malformed)?;
    // A chain has one beginning, which is its first line.
    if (chain.next == 0) != (content.event == "begin") {
        return Err(Flaw::Malformed);
    }
    let after = Chain {
        next: chain.next.checked_add(1).ok_or(Flaw::Malformed)?,
        head: line.head,
    };
    Ok((after, content))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::super::chain::Entry;
    use super::super::record::Record;
    use super::*;
    use capsule_supervisor::{Owner, Principal};

    /// A chain of `calls` records between a beginning and an end, as its lines.
    fn chain_of(calls: usize) -> Vec<Vec<u8>> {
        let owner = Owner {
            principal: Principal::Named("alice".into()),
            capsule: "editor".into(),
        };
        let record = Record::new(&owner, "status");
        let entries = std::iter::once(Entry::begin().unwrap())
            .chain((0..calls).map(|_| Entry::Call(&record)))
            .chain([Entry::End {
                time: SystemTime::now(),
            }]);
        let mut chain = Chain::NEW;
        entries
            .map(|entry| {
                let mut line = Vec::new();
                chain.append(&entry.body().unwrap(), &mut line);
                line
            })
            .collect()
    }

    /// The line at which a chain of these lines breaks, and the fault.
    fn broken(lines: &[Vec<u8>], expect: Option<&Head>) -> Option<(u64, Flaw)> {
        match verify(&*lines.concat(), expect) {
            Ok(_) => None,
            Err(VerifyError::Broken { line, flaw }) => Some((line, flaw)),
            Err(VerifyError::Read(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn u1_an_intact_chain_is_counted() {
        let lines = chain_of(3);
        let verified = verify(&*lines.concat(), None).unwrap();
        assert_eq!((verified.lines, verified.calls, verified.lost), (5, 3, 0));
        assert!(verified.finished);
        assert!(!verify(&*lines[..4].concat(), None).unwrap().finished);
        assert_eq!(broken(&lines, Some(&verified.head)), None);
    }

    #[test]
    fn u1_an_empty_file_has_lost_its_beginning() {
        assert_eq!(broken(&[], None), Some((1, Flaw::Empty)));
        assert_eq!(broken(&chain_of(3)[2..], None), Some((1, Flaw::Beginning(2))));
    }

    #[test]
    fn u1_a_kept_head_reveals_a_cut_end() {
        let lines = chain_of(3);
        let head = verify(&*lines.concat(), None).unwrap().head;
        let earlier = verify(&*lines[..3].concat(), None).unwrap().head;
        assert_eq!(broken(&lines[..4], None), None, "nothing in the file can show it");
        assert_eq!(broken(&lines[..4], Some(&head)), Some((5, Flaw::HeadMissing)));
        assert_eq!(broken(&lines, Some(&earlier)), None, "a chain goes on after a head");
        assert_eq!(broken(&lines[..2], Some(&earlier)), Some((3, Flaw::HeadMissing)));
    }

    #[test]
    fn u1_a_line_without_end_costs_no_more_than_a_line() {
        // An endless file is not read further than the first line could reach.
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(matches!(
            verify(endless, None),
            Err(VerifyError::Broken {
                line: 1,
                flaw: Flaw::Malformed
            })
        ));
    }

    #[test]
    fn u1_a_second_beginning_and_an_unknown_event_are_no_lines_of_a_chain() {
        let mut text = Vec::new();
        let mut chain = Chain::NEW;
        chain.append(&Entry::begin().unwrap().body().unwrap(), &mut text);
        for body in [
            &*Entry::begin().unwrap().body().unwrap(),
            "\"event\":\"x\"}",
            "\"event\":\"call\"",
            "}",
        ] {
            let (mut chain, mut text) = (chain, text.clone());
            chain.append(body, &mut text);
            assert_eq!(broken(&[text], None), Some((2, Flaw::Malformed)), "{body}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn u1_any_altered_byte_is_found_in_its_line(calls in 0..6usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let lines = chain_of(calls);
            let mut bytes = lines.concat();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            // An inserted end of line makes two lines of one, and the first of them is wrong.
            let mut end = 0;
            let line = lines.iter().position(|line| { end += line.len(); at < end }).unwrap() as u64 + 1;
            prop_assert_eq!(broken(&[bytes], None).map(|(line, _)| line), Some(line));
        }

        #[test]
        fn u1_any_removed_swapped_or_repeated_line_is_found_in_its_place(
            calls in 1..8usize, one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
        ) {
            let lines = chain_of(calls);
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            let at = |changed: &[Vec<u8>]| broken(changed, None).map(|(line, _)| line);

            let mut removed = lines.clone();
            removed.remove(one);
            // The loss of the last line is found only with a head that was kept.
            let expected = (one + 1 < lines.len()).then_some(one as u64 + 1);
            prop_assert_eq!(at(&removed), expected);

            let mut swapped = lines.clone();
            swapped.swap(one, other);
            prop_assert_eq!(at(&swapped), (one != other).then_some(one.min(other) as u64 + 1));

            let mut moved = lines.clone();
            let line = moved.remove(one);
            moved.insert(other, line);
            prop_assert_eq!(at(&moved), (one != other).then_some(one.min(other) as u64 + 1));

            let mut repeated = lines.clone();
            repeated.insert(other, lines[one].clone());
            // If a line is moved behind itself, the next line is wrong.
            let expected = if other == one { one + 1 } else { other };
            prop_assert_eq!(at(&repeated), Some(expected as u64 + 1));

            // A line of another chain, and a line with an invented hash.
            let mut foreign = lines.clone();
            foreign[one] = chain_of(calls)[one].clone();
            if one > 0 {
                prop_assert_eq!(at(&foreign), Some(one as u64 + 1));
            } else {
                prop_assert_eq!(at(&foreign), Some(2), "another beginning does not lead to this chain");
            }
        }

        #[test]
        fn u1_whatever_is_read_gets_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let refused = matches!(verify(&*bytes, None), Err(VerifyError::Broken { .. }));
            prop_assert!(refused);
        }
    }
}
