//! Host names: which are accepted, in rules and in queries.
//!
//! What passes here is handed to the host's resolver and written to logs, so that it consists of letters, digits, `-`, `_` and
//! dots alone. The underscore is in no host name of RFC 1123, but in names that are in use.

/// The most bytes of a name, without the final dot (RFC 1035: 255 with the lengths of its labels).
pub(crate) const NAME_MAX: usize = 253;
/// The most bytes of a label (RFC 1035).
pub(crate) const LABEL_MAX: usize = 63;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    EmptyLabel,
    LongLabel,
    Long,
    Hyphen,
    NotAscii,
    Character(char),
}

/// The first fault of a name that is written without a final dot, or none.
pub(crate) fn fault(name: &str) -> Option<Fault> {
    if name.is_empty() {
        return Some(Fault::Empty);
    }
    if !name.is_ascii() {
        return Some(Fault::NotAscii);
    }
    let strange = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if let Some(character) = name.chars().find(strange) {
        return Some(Fault::Character(character));
    }
    for label in name.split('.') {
        match label.len() {
            0 => return Some(Fault::EmptyLabel),
            length if length > LABEL_MAX => return Some(Fault::LongLabel),
            _ if label.starts_with('-') || label.ends_with('-') => return Some(Fault::Hyphen),
            _ => {}
        }
    }
    (name.len() > NAME_MAX).then_some(Fault::Long)
}

/// Whether the last label is a number. Such a name is an address to `getaddrinfo`: `127.1` and `0x7f000001` are 127.0.0.1.
pub(crate) fn is_numeric(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Whether the name is of the tree's own loopback (RFC 6761): `localhost`, and all names that end in it. In lower case.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_names_within_the_limits_of_dns_are_accepted_and_others_told_apart() {
        let label = "x".repeat(LABEL_MAX);
        let longest = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        assert_eq!(longest.len(), NAME_MAX);
        for name in [
            "a",
            "example.com",
            "EXAMPLE.com",
            "_dmarc.a-b.c1",
            "1.example",
            "xn--mnchen-3ya.de",
            &longest,
        ] {
            assert_eq!(fault(name), None, "{name}");
        }
        let long_label = format!("{label}x.com");
        let long = format!("{longest}x");
        for (name, expected) in [
            ("", Fault::Empty),
            (".", Fault::EmptyLabel),
            ("a..b", Fault::EmptyLabel),
            (".a", Fault::EmptyLabel),
            ("a.", Fault::EmptyLabel),
            ("-a.com", Fault::Hyphen),
            ("a-.com", Fault::Hyphen),
            ("a b", Fault::Character(' ')),
            ("a\0", Fault::Character('\0')),
            ("a\n.com", Fault::Character('\n')),
            ("*.com", Fault::Character('*')),
            ("a/b", Fault::Character('/')),
            ("münchen.de", Fault::NotAscii),
            (&long_label, Fault::LongLabel),
            (&long, Fault::Long),
        ] {
            assert_eq!(fault(name), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn w3_a_name_that_a_resolver_reads_as_an_address_is_a_number() {
        for name in [
            "1",
            "127.1",
            "10.0.0.1",
            "0x7f000001",
            "1.0x",
            "1.0XfF",
            "a.1",
            "2130706433",
            "0177.0.0.1",
        ] {
            assert!(is_numeric(name), "{name}");
        }
        for name in ["a", "1a", "1.example", "0xg", "a.b1", "x0"] {
            assert!(!is_numeric(name), "{name}");
        }
    }
}
