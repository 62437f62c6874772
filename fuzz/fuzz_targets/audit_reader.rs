//! The reader of audit logs (contract U1): whatever a file holds, there is an answer; a chain that was written as the format
//! says is accepted and counted, and the first line that differs from what was written is named. The writer is this file's
//! own.

#![no_main]

use arbitrary::Arbitrary;
use capsule_host::audit::{VerifyError, verify};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Whatever.
    Bytes(Vec<u8>),
    /// A chain, and what became of it.
    Chain { events: Vec<Event>, change: Change },
}

#[derive(Arbitrary, Debug)]
enum Event {
    Call(String),
    Lost(u32),
    Resume(u64),
    End,
}

#[derive(Arbitrary, Debug)]
enum Change {
    None,
    Byte {
        at: u32,
        to: u8,
    },
    Remove(u8),
    Swap(u8, u8),
    Repeat(u8, u8),
    /// Off the end, in bytes.
    Cut(u16),
    Insert {
        at: u8,
        line: Vec<u8>,
    },
}

impl Event {
    fn body(&self) -> String {
        match self {
            Self::Call(text) => {
                let text: String = text
                    .chars()
                    .filter(|c| c.is_alphanumeric() || *c == ' ')
                    .take(200)
                    .collect();
                format!("\"event\":\"call\",\"operation\":\"{text}\"}}")
            }
            Self::Lost(records) => format!("\"event\":\"lost\",\"records\":{records}}}"),
            Self::Resume(bytes) => format!("\"event\":\"resume\",\"torn_bytes\":{bytes}}}"),
            Self::End => "\"event\":\"end\"}".into(),
        }
    }
}

fn write(events: &[Event]) -> Vec<Vec<u8>> {
    let mut head = "0".repeat(64);
    let begin = "\"event\":\"begin\",\"version\":1,\"chain\":\"00\"}".to_owned();
    let bodies = std::iter::once(begin).chain(events.iter().map(Event::body));
    bodies
        .enumerate()
        .map(|(number, body)| {
            let rest = format!("\"seq\":{number},{body}");
            head = blake3::hash(format!("{head}{rest}").as_bytes()).to_hex().to_string();
            format!("{{\"hash\":\"{head}\",{rest}\n").into_bytes()
        })
        .collect()
}

fuzz_target!(|input: Input| {
    let (mut events, change) = match input {
        Input::Bytes(bytes) => {
            // No chain comes about by chance, and none is empty.
            let read = verify(&*bytes, None);
            assert!(read.is_err() || bytes.starts_with(b"{\"hash\":\""));
            return;
        }
        Input::Chain { events, change } => (events, change),
    };
    events.truncate(32);
    let lines = write(&events);
    let count = lines.len();
    let verified = verify(&*lines.concat(), None).expect("as it was written");
    let calls = events.iter().filter(|event| matches!(event, Event::Call(_))).count();
    assert_eq!((verified.lines, verified.calls), (count as u64, calls as u64));
    assert_eq!(verified.finished, matches!(events.last(), Some(Event::End)));
    verify(&*lines.concat(), Some(&verified.head)).expect("its own head is in it");

    let mut changed = lines.clone();
    match change {
        Change::None => {}
        Change::Byte { at, to } => {
            let line = at as usize % count;
            let at = (at >> 8) as usize % lines[line].len();
            changed[line][at] = to;
        }
        Change::Remove(at) => drop(changed.remove(usize::from(at) % count)),
        Change::Swap(one, other) => changed.swap(usize::from(one) % count, usize::from(other) % count),
        Change::Repeat(at, to) => {
            let line = lines[usize::from(at) % count].clone();
            changed.insert(usize::from(to) % (count + 1), line);
        }
        Change::Cut(bytes) => {
            let mut all = lines.concat();
            all.truncate(all.len().saturating_sub(usize::from(bytes)));
            changed = all.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        }
        Change::Insert { at, mut line } => {
            line.retain(|byte| *byte != b'\n');
            line.push(b'\n');
            changed.insert(usize::from(at) % (count + 1), line);
        }
    }
    let same = changed
        .iter()
        .zip(&lines)
        .take_while(|(one, other)| one == other)
        .count();
    match verify(&*changed.concat(), None) {
        Ok(read) => {
            // Only lines that are missing at the end cannot be seen, and a kept head shows those.
            assert!(same == changed.len() && same > 0, "a change went unseen");
            assert_eq!(read.lines, same as u64);
            let with_head = verify(&*changed.concat(), Some(&verified.head));
            assert_eq!(with_head.is_ok(), same == count);
        }
        Err(VerifyError::Broken { line, .. }) => {
            assert!(same < count.max(changed.len()), "nothing was changed");
            assert_eq!(line, same as u64 + 1, "the first line that differs");
        }
        Err(error) => panic!("{error}"),
    }
});
