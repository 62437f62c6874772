//! The DNS server of a private network (contract W3, W5): whatever bytes a guest sends, an answer is to a query alone, repeats
//! its question, is small, and tells of no name or address that no rule allows.

#![no_main]

use capsule_supervisor::fuzzing::Dns;
use capsule_supervisor::sandbox::EgressRules;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 12;
const NAMES: usize = 2;

/// The end of the question and its type, if its name is written out, as answers write it.
fn question(message: &[u8]) -> Option<(usize, u16)> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    let end = at + 4;
    let rest = message.get(at..end)?;
    (end <= HEADER + 255 + 4).then_some((end, u16::from_be_bytes([rest[0], rest[1]])))
}

fuzz_target!(|data: &[u8]| {
    let rules = ["example.com", "*.example.org"].map(|rule| rule.parse().expect("a rule"));
    let rules = EgressRules::new(rules).expect("two");
    let mut server = Dns::new(rules, NAMES);
    // Several queries to one server, each with its length in front, as in a stream.
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (query, behind) = behind.split_at(length);
        rest = behind;
        let answer = server.answer(query, true);
        assert_eq!(answer, server.answer(query, false), "one answer for both transports");
        let Some(answer) = answer else { continue };

        assert!(
            query.len() >= HEADER && query[2] & 0x80 == 0 && query[4..6] == [0, 1],
            "not to a query"
        );
        assert!(
            answer.len() <= 512 && answer.len() <= query.len() + 300,
            "{} bytes",
            answer.len()
        );
        assert_eq!(answer[..2], query[..2], "the id");
        assert_eq!(
            answer[2] & 0xfb,
            0x80 | query[2] & 0x79,
            "an answer, the operation, not truncated, recursion desired"
        );
        assert_eq!(answer[3] & 0xf0, 0x80, "recursion available");
        let code = answer[3] & 0xf;
        assert!(matches!(code, 0 | 2 | 3 | 4), "code {code}");
        assert_eq!(answer[4..6], [0, 1], "one question");
        assert!(
            answer[6..8] == [0, 0] || (answer[6..8] == [0, 1] && code == 0),
            "at most one record"
        );
        assert_eq!((&answer[8..10], answer[10], answer[11] <= 1), (&[0, 0][..], 0, true));
        let (end, rtype) = question(&answer).expect("the question is written out");
        if let Some((end, _)) = question(query) {
            assert_eq!(query[HEADER..end], answer[HEADER..end], "the question");
        }
        if answer[7] == 1 {
            let record = &answer[end..];
            assert_eq!(record[..2], [0xc0, 12], "of the name that was asked for");
            match record[2..4] {
                [0, 1] => {
                    assert!(matches!(rtype, 1 | 255));
                    let known = match record[12..16] {
                        [198, 18, 0, last] => (2..3 + NAMES).contains(&usize::from(last)),
                        ref address => address == [127, 0, 0, 1],
                    };
                    assert!(known, "{:?}", &record[12..16]);
                }
                [0, 12] => assert!(matches!(rtype, 12 | 255)),
                _ => panic!("a record of another type"),
            }
        }
    }
});
