//! The answers of a network's DNS server, from bytes to bytes.
//!
//! The queries are a guest's: any bytes at all. What is no query with one question gets no answer. Every other gets one that is
//! at most 300 bytes longer than itself and fits into 512 bytes, so that no answer is ever truncated.
//!
//! The server knows the names that rules allow, and no others:
//!
//! * An allowed name has one IPv4 address, the synthetic one, and nothing else. Every other type has no data, `AAAA` too:
//!   clients then use IPv4 at once, and need no IPv6 in the namespace.
//! * A name that is not allowed does not exist (`NXDOMAIN`). `REFUSED` would say it better, but makes musl try again for five
//!   seconds and give up its search list.
//! * A name for which a limit leaves no room, or which cannot be resolved now, fails (`SERVFAIL`), so that clients tell it from one
//!   that does not exist, and ask again.
//!
//! Messages are parsed and composed by the crate `domain`, which reads records when they are asked for and every type by its
//! number. `simple-dns` refuses a query for a type that it does not know, and allocates what the counts of a header say.

use std::net::Ipv4Addr;
use std::sync::Arc;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError, StaticCompressor};
use domain::base::name::{Name, ToName};
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Ptr};

use super::host_name;
use super::names::{self, Names, UsedUp};
use super::rules::EgressRules;

/// How long an answer may be kept, in seconds. A name keeps its address, so that an old answer does no harm; but a name that is
/// allowed again has another one, which clients should learn soon. Not 0, which some clients take for an error.
const TTL: u32 = 5;
/// The size of datagram that every client takes (RFC 1035).
const UDP_MAX: usize = 512;
/// The size of datagram that this server takes, as EDNS tells (DNS Flag Day 2020).
pub(crate) const EDNS_SIZE: u16 = 1232;
/// How many labels come before `in-addr.arpa` in the name of an address.
const OCTETS: usize = 4;

/// What brought a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    /// Without the length in front.
    Tcp,
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The IPv4 address of this name, which is in lower case, without a final dot, and a host's by its form.
    Address(String),
    /// Something else of such a name.
    Other(String),
    /// The name of this synthetic address.
    Name(Ipv4Addr),
}

/// What a query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This address.
    Address(Ipv4Addr),
    /// This name, of an address.
    Name(Arc<str>),
    /// The name exists, and has nothing of the type.
    NoData,
    /// There is no such name.
    NoName,
    /// A limit leaves no room for it, or it cannot be resolved now.
    Failed,
}

/// A query, read.
#[derive(Debug)]
pub(crate) enum Read<'a> {
    /// No query. It gets no answer.
    Ignored,
    /// The answer, for which no name is looked up.
    Answered(Vec<u8>),
    /// A query for [`Query::answer`].
    Asks(Query<'a>),
}

/// A query with one question.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    asked: Asked,
    reply: Reply<'a>,
}

/// The query as an answer repeats it.
#[derive(Debug)]
struct Reply<'a> {
    message: &'a Message<[u8]>,
    transport: Transport,
    /// The query has an OPT record, and so has the answer; whether it asks for DNSSEC is repeated.
    edns: Option<bool>,
}

impl Asked {
    /// What these rules and names answer. A name that is allowed gets its address, if it has none yet.
    pub(crate) fn decide(&self, rules: &EgressRules, names: &mut Names) -> Answer {
        match self {
            Self::Address(name) => match rules.knows(name).map(|allowed| names.address(name, allowed)) {
                Some(Ok(address)) => Answer::Address(address),
                Some(Err(UsedUp)) => Answer::Failed,
                None => Answer::NoName,
            },
            // It gets no address by this: guests ask for both kinds of addresses, and what is not connected to needs none. But it
            // fails as the other query does: glibc would take one failure and one answer without data for a name without addresses.
            Self::Other(name) => match rules.knows(name).map(|allowed| names.has_room(name, allowed)) {
                Some(true) => Answer::NoData,
                Some(false) => Answer::Failed,
                None => Answer::NoName,
            },
            Self::Name(address) => match names.name(*address) {
                Some(name) => Answer::Name(Arc::clone(name)),
                None => Answer::NoName,
            },
        }
    }
}

/// Answers a query by a function that looks up names. No answer is due to what is no query.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn answer(
    query: &[u8],
    transport: Transport,
    look_up: &mut impl FnMut(&Asked) -> Answer,
) -> Option<Vec<u8>> {
    match read(query, transport) {
        Read::Ignored => None,
        Read::Answered(answer) => Some(answer),
        Read::Asks(query) => query.answer(&look_up(query.asked())),
    }
}

/// Reads a query.
pub(crate) fn read(query: &[u8], transport: Transport) -> Read<'_> {
    let Ok(message) = Message::from_slice(query) else {
        return Read::Ignored;
    };
    if message.header().qr() {
        return Read::Ignored;
    }
    let Ok(question) = message.sole_question() else {
        return Read::Ignored;
    };
    let opt = message.opt();
    let reply = Reply {
        message,
        transport,
        edns: opt.as_ref().map(domain::base::opt::OptRecord::dnssec_ok),
    };
    let answered = |answer: Option<Vec<u8>>| answer.map_or(Read::Ignored, Read::Answered);
    if message.header().opcode() != Opcode::QUERY {
        return answered(reply.compose(Rcode::NOTIMP, None));
    }
    if opt.is_some_and(|opt| opt.version() != 0) {
        return answered(reply.bad_version());
    }
    let internet = matches!(question.qclass(), Class::IN | Class::ANY);
    let name = text(question.qname()).filter(|_| internet);
    let Some(name) = name else {
        return answered(reply.compose(Rcode::NXDOMAIN, None));
    };
    let asked = match Known::of(&name, question.qtype()) {
        Known::Lookup(asked) => asked,
        Known::Answer(known) => return answered(reply.answer(&known)),
    };
    Read::Asks(Query { asked, reply })
}

/// The name in lower case and without a final dot, if it can be that of a host, or is the root.
fn text(name: &impl ToName) -> Option<String> {
    let mut text = String::new();
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        let label = std::str::from_utf8(label.as_slice()).ok()?;
        // A dot within a label would be two labels.
        if label.contains('.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(label);
    }
    text.make_ascii_lowercase();
    (text.is_empty() || host_name::fault(&text).is_none()).then_some(text)
}

/// What is known of a question without a look-up.
enum Known {
    Lookup(Asked),
    Answer(Answer),
}

impl Known {
    fn of(name: &str, wanted: Rtype) -> Self {
        let wants = |rtype| wanted == rtype || wanted == Rtype::ANY;
        if name.is_empty() {
            return Self::Answer(Answer::NoData);
        }
        if host_name::is_localhost(name) {
            return Self::Answer(if wants(Rtype::A) {
                Answer::Address(Ipv4Addr::LOCALHOST)
            } else {
                Answer::NoData
            });
        }
        if let Some(address) = name.strip_suffix(".in-addr.arpa").and_then(reversed) {
            return match address {
                _ if !wants(Rtype::PTR) => Self::Answer(Answer::NoData),
                Ipv4Addr::LOCALHOST => Self::Answer(Answer::Name("localhost".into())),
                address if names::is_synthetic(address) => Self::Lookup(Asked::Name(address)),
                _ => Self::Answer(Answer::NoName),
            };
        }
        Self::Lookup(if wants(Rtype::A) {
            Asked::Address(name.into())
        } else {
            Asked::Other(name.into())
        })
    }
}

/// The address whose octets are written from the last to the first.
fn reversed(text: &str) -> Option<Ipv4Addr> {
    let mut octets: Vec<_> = text.split('.').collect();
    octets.reverse();
    if octets.len() != OCTETS {
        return None;
    }
    octets.join(".").parse().ok()
}

impl Query<'_> {
    /// What it asks for.
    pub(crate) const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The bytes of the answer, without the length that goes before them in TCP.
    pub(crate) fn answer(&self, answer: &Answer) -> Option<Vec<u8>> {
        self.reply.answer(answer)
    }
}

type Builder = AdditionalBuilder<StaticCompressor<Vec<u8>>>;

impl Reply<'_> {
    fn answer(&self, answer: &Answer) -> Option<Vec<u8>> {
        match answer {
            Answer::Address(_) | Answer::Name(_) => self.compose(Rcode::NOERROR, Some(answer)),
            Answer::NoData => self.compose(Rcode::NOERROR, None),
            Answer::NoName => self.compose(Rcode::NXDOMAIN, None),
            Answer::Failed => self.compose(Rcode::SERVFAIL, None),
        }
    }

    /// An answer of this code, with a record or without. None is not expected: every answer fits.
    fn compose(&self, code: Rcode, answer: Option<&Answer>) -> Option<Vec<u8>> {
        let mut builder = self.begin(code, answer).ok()?;
        if let Some(dnssec_ok) = self.edns {
            let opt = builder.opt(|opt| {
                opt.set_udp_payload_size(EDNS_SIZE);
                opt.set_dnssec_ok(dnssec_ok);
                Ok(())
            });
            opt.ok()?;
        }
        Some(builder.finish().into_target())
    }

    /// The answer to a version of EDNS other than the only one.
    fn bad_version(&self) -> Option<Vec<u8>> {
        let mut builder = self.begin(Rcode::NOERROR, None).ok()?;
        let opt = builder.opt(|opt| {
            opt.set_udp_payload_size(EDNS_SIZE);
            opt.set_rcode(OptRcode::BADVERS);
            Ok(())
        });
        opt.ok()?;
        Some(builder.finish().into_target())
    }

    fn begin(&self, code: Rcode, answer: Option<&Answer>) -> Result<Builder, PushError> {
        let mut builder =
            MessageBuilder::from_target(StaticCompressor::new(Vec::new())).map_err(|_| PushError::ShortBuf)?;
        if self.transport == Transport::Udp {
            builder.set_push_limit(UDP_MAX);
        }
        let mut builder = builder.start_answer(self.message, code)?;
        // Without this bit, glibc takes an answer without data for that of a server that knows nothing, and asks the next.
        builder.header_mut().set_ra(true);
        let question = self.message.first_question().ok_or(PushError::ShortBuf)?;
        let name = question.qname();
        match answer {
            Some(Answer::Address(address)) => builder.push((name, TTL, A::new(*address)))?,
            Some(Answer::Name(target)) => {
                let target = Name::vec_from_str(target).map_err(|_| PushError::ShortBuf)?;
                builder.push((name, TTL, Ptr::new(target)))?;
            }
            Some(Answer::NoData | Answer::NoName | Answer::Failed) | None => {}
        }
        Ok(builder.additional())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE_A: u16 = 1;
    const TYPE_PTR: u16 = 12;
    const TYPE_AAAA: u16 = 28;
    const NXDOMAIN: u8 = 3;

    /// A query as it is on the wire, made without the parser that reads it.
    fn query(name: &str, rtype: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).expect("short"));
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    /// The query with an OPT record: size 4096, this version, DNSSEC wanted, and a cookie.
    fn with_edns(mut query: Vec<u8>, version: u8) -> Vec<u8> {
        query[11] += 1;
        query.extend([
            0, 0, 41, 0x10, 0, 0, version, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
        ]);
        query
    }

    struct Server {
        rules: EgressRules,
        names: Names,
        looked_up: Vec<Asked>,
    }

    impl Server {
        fn new<const N: usize>(rules: [&str; N], wildcards: usize) -> Self {
            let rules = EgressRules::new(rules.map(|rule| rule.parse().expect("a rule"))).expect("few");
            let mut names = Names::new(wildcards);
            assert_eq!(names.add_exact(&rules), Ok(()));
            Self {
                rules,
                names,
                looked_up: Vec::new(),
            }
        }

        fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
            let look_up = &mut |asked: &Asked| {
                self.looked_up.push(asked.clone());
                asked.decide(&self.rules, &mut self.names)
            };
            answer(query, Transport::Udp, look_up)
        }

        /// The code of the answer, and the data of its record.
        fn asked(&mut self, name: &str, rtype: u16) -> (u8, Option<Vec<u8>>) {
            let query = query(name, rtype);
            let answer = self.answer(&query).expect("an answer");
            record(&query, &answer)
        }
    }

    /// Checks what all answers have in common.
    fn record(query: &[u8], answer: &[u8]) -> (u8, Option<Vec<u8>>) {
        assert_eq!(answer[..2], query[..2], "the id");
        assert_eq!(
            (answer[2], answer[3] & 0xf0),
            (0x81, 0x80),
            "an answer, recursion desired and available"
        );
        let question = &query[12..];
        assert_eq!(&answer[12..query.len()], question, "the question");
        let rest = &answer[query.len()..];
        assert_eq!((&answer[4..6], &answer[8..12]), (&[0, 1][..], &[0, 0, 0, 0][..]));
        let data = match answer[6..8] {
            [0, 0] => {
                assert!(rest.is_empty(), "{rest:?}");
                None
            }
            [0, 1] => {
                // A pointer to the question, its type, the class, five seconds, and the length.
                let rtype = &question[question.len() - 4..question.len() - 2];
                assert_eq!(rest[..10], [&[0xc0, 12], rtype, &[0, 1, 0, 0, 0, 5]].concat());
                let data = &rest[12..];
                assert_eq!(usize::from(rest[11]), data.len());
                Some(data.to_owned())
            }
            _ => panic!("{answer:?}"),
        };
        (answer[3] & 0xf, data)
    }

    #[test]
    fn w3_an_allowed_name_has_its_synthetic_address_and_a_wildcards_name_gets_one() {
        let mut server = Server::new(["example.com", "*.example.org"], 10);
        assert_eq!(server.asked("example.com", TYPE_A), (0, Some(vec![198, 18, 0, 2])));
        assert_eq!(server.asked("a.b.example.org", TYPE_A), (0, Some(vec![198, 18, 0, 3])));
        assert_eq!(server.asked("c.example.org", TYPE_A), (0, Some(vec![198, 18, 0, 4])));
        assert_eq!(server.asked("a.b.example.org", TYPE_A), (0, Some(vec![198, 18, 0, 3])));
        // ANY is answered with every record of the name, and a record has its own type.
        let any = query("example.com", 255);
        let answer = server.answer(&any).expect("an answer");
        assert_eq!(
            answer[any.len()..],
            [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 198, 18, 0, 2]
        );
    }

    #[test]
    fn w3_every_other_type_of_an_allowed_name_has_no_data_and_takes_no_address() {
        let mut server = Server::new(["*.example.com"], 10);
        // TXT, SRV, HTTPS, one for private use, one that is reserved.
        for rtype in [TYPE_AAAA, 16, 33, 65, 65280, 0] {
            assert_eq!(server.asked("a.example.com", rtype), (0, None), "{rtype}");
        }
        assert_eq!(server.names.name(Ipv4Addr::new(198, 18, 0, 2)), None);
    }

    #[test]
    fn w3_a_name_that_is_not_allowed_does_not_exist_whatever_is_asked_of_it() {
        let mut server = Server::new(["example.com", "*.example.org"], 10);
        for name in [
            "example.net",
            "www.example.com",
            "example.org",
            "com",
            "a.example.com.evil",
            "8.8.8.8",
        ] {
            for rtype in [TYPE_A, TYPE_AAAA, 16, 65280, 255] {
                assert_eq!(server.asked(name, rtype), (NXDOMAIN, None), "{name} {rtype}");
            }
        }
    }

    #[test]
    fn w5_a_name_beyond_the_limit_fails_and_the_known_ones_stay() {
        let mut server = Server::new(["example.com", "*.example.org"], 1);
        assert_eq!(server.asked("a.example.org", TYPE_A).0, 0);
        assert_eq!(server.asked("b.example.org", TYPE_A), (2, None));
        assert_eq!(
            server.asked("b.example.org", TYPE_AAAA),
            (2, None),
            "as of the other kind"
        );
        assert_eq!(server.asked("a.example.org", TYPE_A).0, 0);
        assert_eq!(server.asked("a.example.org", TYPE_AAAA), (0, None));
        assert_eq!(server.asked("example.com", TYPE_A).0, 0);
    }

    #[test]
    fn w3_localhost_is_the_trees_own_and_is_not_looked_up() {
        let mut server = Server::new([], 10);
        for name in ["localhost", "LocalHost", "db.localhost"] {
            assert_eq!(server.asked(name, TYPE_A), (0, Some(vec![127, 0, 0, 1])), "{name}");
            assert_eq!(server.asked(name, TYPE_AAAA), (0, None), "{name}");
        }
        assert_eq!(server.asked("", TYPE_A), (0, None), "the root");
        assert_eq!(server.looked_up, []);
    }

    #[test]
    fn w3_the_name_of_a_synthetic_address_is_the_one_that_it_stands_for() {
        let mut server = Server::new(["a.example"], 10);
        let name = b"\x01a\x07example\x00".to_vec();
        assert_eq!(server.asked("2.0.18.198.in-addr.arpa", TYPE_PTR), (0, Some(name)));
        assert_eq!(server.asked("2.0.18.198.IN-ADDR.ARPA", TYPE_A), (0, None));
        assert_eq!(
            server.asked("1.0.0.127.in-addr.arpa", TYPE_PTR),
            (0, Some(b"\x09localhost\x00".to_vec()))
        );
        for name in [
            "3.0.18.198.in-addr.arpa",
            "1.0.18.198.in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "256.0.18.198.in-addr.arpa",
            "0.18.198.in-addr.arpa",
            "2.2.0.18.198.in-addr.arpa",
            "x.0.18.198.in-addr.arpa",
            "in-addr.arpa",
            "1.0.0.0.ip6.arpa",
        ] {
            assert_eq!(server.asked(name, TYPE_PTR), (NXDOMAIN, None), "{name}");
        }
    }

    #[test]
    fn w3_the_case_of_a_question_is_kept_and_does_not_matter() {
        let mut server = Server::new(["example.com"], 10);
        // `record` compares the bytes of the question.
        assert_eq!(server.asked("eXaMPLe.CoM", TYPE_A), (0, Some(vec![198, 18, 0, 2])));
        assert_eq!(server.looked_up, [Asked::Address("example.com".into())]);
    }

    #[test]
    fn w3_a_query_with_edns_is_answered_with_edns_and_another_version_refused() {
        let mut server = Server::new(["example.com"], 10);
        let plain = query("example.com", TYPE_A);
        let without = server.answer(&plain).expect("an answer");
        let mut expected = [&without[..], &[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]].concat();
        expected[11] = 1;
        assert_eq!(server.answer(&with_edns(plain.clone(), 0)), Some(expected));
        // BADVERS is 16: its upper bits are in the record.
        let refused = server.answer(&with_edns(plain.clone(), 1)).expect("an answer");
        assert_eq!((refused[3] & 0xf, &refused[6..12]), (0, &[0, 0, 0, 0, 0, 1][..]));
        assert_eq!(refused[plain.len()..], [0, 0, 41, 0x04, 0xd0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn w3_what_no_host_can_be_called_does_not_exist_and_is_not_looked_up() {
        let mut server = Server::new(["*.example.com"], 10);
        for label in [
            &b"a.b"[..],
            b"a b",
            b"a\0",
            b"\xff",
            b"a\n",
            b"*",
            b"-a",
            "\u{fc}".as_bytes(),
        ] {
            let mut bytes = query("", TYPE_A);
            let rest = bytes.split_off(12);
            bytes.push(u8::try_from(label.len()).expect("short"));
            bytes.extend(label);
            bytes.extend(b"\x07example\x03com");
            bytes.extend(rest);
            let answer = server.answer(&bytes).expect("an answer");
            assert_eq!(record(&bytes, &answer), (NXDOMAIN, None), "{label:?}");
        }
        let mut chaos = query("a.example.com", TYPE_A);
        *chaos.last_mut().expect("a class") = 3;
        let answer = server.answer(&chaos).expect("an answer");
        assert_eq!(record(&chaos, &answer), (NXDOMAIN, None));
        assert_eq!(server.looked_up, []);
    }

    #[test]
    fn w5_what_is_no_query_gets_no_answer_and_another_operation_is_not_implemented() {
        let mut server = Server::new(["example.com"], 10);
        let good = query("example.com", TYPE_A);
        let mut response = good.clone();
        response[2] |= 0x80;
        let mut two = good.clone();
        two[5] = 2;
        two.extend_from_within(12..);
        let mut none = good.clone();
        none[5] = 0;
        let mut loops = good.clone();
        loops.splice(12..14, [0xc0, 12]);
        let mut forward = good.clone();
        forward.splice(12..14, [0xc0, 20]);
        let mut extended = good.clone();
        extended[12] = 0x41;
        for bytes in [
            &[][..],
            &good[..11],
            &good[..12],
            &good[..good.len() - 1],
            &response,
            &two,
            &none,
            &loops,
            &forward,
            &extended,
        ] {
            assert_eq!(server.answer(bytes), None, "{bytes:?}");
        }
        assert_eq!(server.looked_up, []);
        let mut notify = good.clone();
        notify[2] |= 4 << 3;
        let answer = server.answer(&notify).expect("an answer");
        assert_eq!((answer[2], answer[3], &answer[12..]), (0xa1, 0x84, &good[12..]));
    }

    #[test]
    fn w5_the_longest_answers_fit_into_the_datagram_that_every_client_takes() {
        let labels = "a.".repeat(126) + "b";
        let long = [&"x".repeat(63), &"y".repeat(63), &"z".repeat(63), &"w".repeat(61)]
            .map(String::as_str)
            .join(".");
        assert_eq!((labels.len(), long.len()), (host_name::NAME_MAX, host_name::NAME_MAX));
        let mut server = Server::new([&long, &labels], 10);
        for bytes in [
            query(&long, TYPE_A),
            query(&labels, TYPE_A),
            query("2.0.18.198.in-addr.arpa", TYPE_PTR),
            query("3.0.18.198.in-addr.arpa", TYPE_PTR),
        ] {
            let bytes = with_edns(bytes, 0);
            let answer = server.answer(&bytes).expect("an answer");
            assert_eq!(
                (answer[2] & 2, answer[3] & 0xf, &answer[6..8]),
                (0, 0, &[0, 1][..]),
                "whole, with a record"
            );
            assert!(
                answer.len() <= UDP_MAX && answer.len() <= bytes.len() + 300,
                "{}",
                answer.len()
            );
            let look_up = &mut |asked: &Asked| asked.decide(&server.rules, &mut server.names);
            assert_eq!(super::answer(&bytes, Transport::Tcp, look_up), Some(answer));
        }
    }

    proptest! {
        #[test]
        fn w5_whatever_bytes_come_an_answer_is_small_and_an_answer_to_them(
            noise in prop::collection::vec(any::<u8>(), 0..64),
            changes in prop::collection::vec((0_usize..60, any::<u8>()), 0..4),
            is_noise: bool,
        ) {
            let mut bytes = if is_noise { noise } else { with_edns(query("a.b.example.org", TYPE_A), 0) };
            for (at, byte) in changes {
                if let Some(changed) = bytes.get_mut(at) {
                    *changed = byte;
                }
            }
            if let Some(answer) = Server::new(["*.example.org"], 1).answer(&bytes) {
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert!(bytes[2] & 0x80 == 0 && answer[2] & 0x80 != 0);
                prop_assert!(answer.len() <= UDP_MAX && answer.len() <= bytes.len() + 300);
                prop_assert_ne!(answer[3] & 0xf, 5, "never REFUSED");
            }
        }
    }
}
