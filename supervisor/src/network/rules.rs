//! Egress rules: the names and ports that trees may connect to.
//!
//! Rules add up: a connection is allowed if one rule allows its name and port. They hold names and no addresses, because the
//! host resolves the name when a tree connects, and refuses by address on its own (`address`).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

use super::host_name::{self, Fault, LABEL_MAX, NAME_MAX};

/// The word that lets a rule reach private addresses.
const PRIVATE: &str = "private";

/// A name, and the ports of it that trees may connect to by TCP.
///
/// As text, which is what `capsule run --egress` and a manifest take, it is `NAME[:PORT,…][:private]`:
///
/// * `example.com`: this name and no other, at the ports 443 and 80. These are the ports of HTTPS and HTTP, to which the proxies
///   of other sandboxes for agents lead, so that a list of domains that was made for one of them works unchanged. Any other port,
///   such as 22 for git over ssh, is to be written.
/// * `example.com:22,443`: these ports only.
/// * `*.example.com`: every name that ends in `.example.com`, at any depth (`a.example.com`, `a.b.example.com`), but not
///   `example.com` itself. The part behind `*.` has two labels or more, so that no rule allows a whole top-level domain. (That
///   `co.uk` is one in all but form, it does not know.) A wildcard lets a tree tell the servers of that domain something by the
///   labels it asks for, so an exact name is better where it is known.
/// * `db.corp.example:5432:private`: the name may lead to a private address (RFC 1918, `fc00::/7`, 100.64.0.0/10 and the like),
///   to one of a network that the host is in, and to one of the host's own other than its loopback. Without the word such an address is refused, because the owner
///   of a domain can let any name of it lead there.
///
/// While a rule allows a port of 1024 or above, no tree of the network can listen on that port at all addresses (`0.0.0.0`, `::`):
/// the host listens there for the name. 127.0.0.1 stays free.
///
/// Case and a final dot do not matter. Names of other scripts are written in their ASCII form (`xn--…`).
///
/// ```
/// use capsule_supervisor::sandbox::EgressRule;
///
/// let rule: EgressRule = "GitHub.com:22,443".parse()?;
/// assert_eq!((rule.name(), rule.ports(), rule.is_private()), ("github.com", &[22, 443][..], false));
/// assert_eq!(rule.to_string(), "github.com:22,443");
/// # Ok::<_, capsule_supervisor::sandbox::EgressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EgressRule {
    /// In lower case, with `*.` in front if it is a wildcard.
    name: String,
    /// Sorted, each once, none of them 0, and at least one.
    ports: Vec<u16>,
    private: bool,
}

impl EgressRule {
    /// The most ports of one rule. 16.
    pub const PORTS_MAX: usize = 16;
    /// The ports of a rule that names none.
    pub const DEFAULT_PORTS: [u16; 2] = [80, 443];

    /// A rule for this name, or `*.` and a suffix, at these ports, which does not reach private addresses.
    ///
    /// # Errors
    /// The name cannot be that of a host, or there are no ports, too many, or port 0.
    pub fn new(name: &str, ports: impl IntoIterator<Item = u16>) -> Result<Self, EgressError> {
        let name = checked(name)?;
        let mut sorted = BTreeSet::new();
        for port in ports {
            if port == 0 {
                return Err(EgressError::Port("0".into()));
            }
            sorted.insert(port);
            if sorted.len() > Self::PORTS_MAX {
                return Err(EgressError::TooManyPorts);
            }
        }
        if sorted.is_empty() {
            return Err(EgressError::Port(String::new()));
        }
        Ok(Self {
            name,
            ports: sorted.into_iter().collect(),
            private: false,
        })
    }

    /// Lets the rule reach private addresses, addresses of the networks that the host is in, and addresses of the host's own other
    /// than its loopback.
    #[must_use]
    pub const fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// The name in lower case, or `*.` and the suffix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ports, sorted.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Whether it reaches private addresses.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.private
    }

    /// Whether it is for the names below a suffix.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.name.starts_with('*')
    }

    /// Whether it is for this name, which has no final dot. Case does not matter.
    fn covers(&self, name: &str) -> bool {
        let Some(suffix) = self.name.strip_prefix('*') else {
            return name.eq_ignore_ascii_case(&self.name);
        };
        // The suffix has its dot. Something comes before it.
        let start = name.len().checked_sub(suffix.len()).filter(|start| *start > 0);
        let end = start.and_then(|start| name.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    }
}

/// One spelling of a rule's name.
fn checked(text: &str) -> Result<String, EgressError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let host = match name.strip_prefix("*.") {
        Some(suffix) => suffix,
        None => &name,
    };
    if name.contains('*') && (host.contains('*') || !host.contains('.')) {
        return Err(EgressError::Wildcard(text.into()));
    }
    // Something is to stand for the star: one label of one byte, and its dot.
    let fault = host_name::fault(host).or_else(|| (name.len() > NAME_MAX).then_some(Fault::Long));
    match fault {
        Some(Fault::Empty) => return Err(EgressError::NoName),
        Some(Fault::EmptyLabel | Fault::LongLabel) => return Err(EgressError::Label(text.into())),
        Some(Fault::Long) => return Err(EgressError::Long),
        Some(Fault::Hyphen) => return Err(EgressError::Hyphen(text.into())),
        Some(Fault::NotAscii) => return Err(EgressError::NotAscii(text.into())),
        Some(Fault::Character(character)) => {
            return Err(EgressError::Character {
                name: text.into(),
                character,
            });
        }
        None => {}
    }
    if host_name::is_numeric(host) {
        return Err(EgressError::Address(text.into()));
    }
    if host_name::is_localhost(host) {
        return Err(EgressError::Localhost(text.into()));
    }
    Ok(name)
}

/// Whether a text is an IPv6 address, with or without brackets, port or prefix length. It has colons, as rules do.
fn is_v6(text: &str) -> bool {
    text.starts_with('[')
        || text
            .split('/')
            .next()
            .is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

impl FromStr for EgressRule {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        if text.contains("://") {
            return Err(EgressError::Url(text.into()));
        }
        if is_v6(text) {
            return Err(EgressError::Address(text.into()));
        }
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        // The usual way to write a network, and no character of a name.
        if let Some((address, _)) = name.split_once('/')
            && address.parse::<Ipv4Addr>().is_ok()
        {
            return Err(EgressError::Address(name.into()));
        }
        let mut next = parts.next();
        let mut ports = Cow::Borrowed(&Self::DEFAULT_PORTS[..]);
        if let Some(list) = next.filter(|part| *part != PRIVATE) {
            // A word where the ports would be is more likely meant for the word.
            if list.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Err(EgressError::Word(list.into()));
            }
            let parsed: Result<Vec<_>, _> = list.split(',').map(port).collect();
            ports = Cow::Owned(parsed?);
            next = parts.next();
        }
        let private = match next {
            None => false,
            Some(PRIVATE) => true,
            Some(word) => return Err(EgressError::Word(word.into())),
        };
        if let Some(rest) = parts.next() {
            return Err(EgressError::Word(rest.into()));
        }
        let rule = Self::new(name, ports.iter().copied())?;
        Ok(if private { rule.private() } else { rule })
    }
}

/// Digits only: the parser of integers takes a sign, too.
fn port(text: &str) -> Result<u16, EgressError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port > 0);
    port.ok_or_else(|| EgressError::Port(text.into()))
}

/// As it is parsed; the ports are always written.
impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (number, port) in self.ports.iter().enumerate() {
            write!(f, "{}{port}", if number == 0 { ':' } else { ',' })?;
        }
        f.write_str(if self.private { ":private" } else { "" })
    }
}

/// Why an egress rule, or a set of them, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// There is no name.
    #[error("the egress rule names no host; write NAME, NAME:PORT or *.SUFFIX:PORT")]
    NoName,
    /// A URL.
    #[error("{0:?} is a URL; write its host alone, and a port other than 443 and 80 behind a colon")]
    Url(String),
    /// An address, or a name that resolvers read as one.
    #[error(
        "{0:?} is an address; write the name of the host, because egress is by name: the host resolves it, and refuses what it must \
         not reach. A name that leads to a private address is written NAME:PORT:private"
    )]
    Address(String),
    /// A name of another script.
    #[error("{0:?} is not in ASCII; write the name as DNS has it, with labels that begin with xn--")]
    NotAscii(String),
    /// A character that no host name has.
    #[error(
        "{name:?} holds {character:?}; write the name of a host alone, without scheme or path, of letters, digits, - and _"
    )]
    Character {
        /// The name.
        name: String,
        /// The character.
        character: char,
    },
    /// A label that is empty or too long.
    #[error(
        "{0:?} has a label that is empty or longer than {LABEL_MAX} characters; write labels joined by single dots"
    )]
    Label(String),
    /// A label that begins or ends with a hyphen.
    #[error(
        "{0:?} has a label that begins or ends with a hyphen, which no host name has; write the name as it is registered"
    )]
    Hyphen(String),
    /// A name that is too long.
    #[error(
        "the name of an egress rule is longer than {NAME_MAX} characters, which no host name is; write it as DNS has it"
    )]
    Long,
    /// A name of the tree's own loopback.
    #[error(
        "{0:?} is the tree's own loopback, which it reaches without a rule; a service of the host's loopback is not reached by \
         egress"
    )]
    Localhost(String),
    /// A `*` in another place than before a suffix, or before one of a single label.
    #[error("{0:?} is no wildcard; write *. and a suffix of two or more labels, such as *.example.com")]
    Wildcard(String),
    /// A port that is none.
    #[error("{0:?} is no port; write numbers from 1 to 65535, joined by commas")]
    Port(String),
    /// Too many ports of one rule.
    #[error(
        "an egress rule has at most {} ports; write a second rule for the others",
        EgressRule::PORTS_MAX
    )]
    TooManyPorts,
    /// Something behind the ports.
    #[error("{0:?} is not understood behind a name; write ports joined by commas, and then :private or nothing")]
    Word(String),
    /// Too many rules.
    #[error(
        "there are more than {} egress rules; write one wildcard for names that have a suffix in common",
        EgressRules::MAX
    )]
    TooManyRules,
}

/// How a name is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// By a rule for this name.
    Exact,
    /// By a wildcard only.
    Wildcard,
}

/// A set of egress rules. Cloning it is cheap. The default is none, which allows nothing.
///
/// ```
/// use capsule_supervisor::sandbox::EgressRules;
///
/// let rules = EgressRules::new(["*.example.com".parse()?, "git.example.com:22".parse()?])?;
/// assert!(rules.allows("www.example.com", 443).is_some());
/// assert!(rules.allows("git.example.com", 22).is_some_and(|rule| rule.name() == "git.example.com"));
/// assert!(rules.allows("www.example.com", 22).is_none());
/// # Ok::<_, capsule_supervisor::sandbox::EgressError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EgressRules(Option<Arc<[EgressRule]>>);

impl EgressRules {
    /// The most rules of a set. 256.
    pub const MAX: usize = 256;

    /// These rules. The same rule twice counts once.
    ///
    /// # Errors
    /// [`EgressError::TooManyRules`].
    pub fn new(rules: impl IntoIterator<Item = EgressRule>) -> Result<Self, EgressError> {
        let mut all: Vec<EgressRule> = Vec::new();
        for rule in rules {
            if all.contains(&rule) {
                continue;
            }
            if all.len() == Self::MAX {
                return Err(EgressError::TooManyRules);
            }
            all.push(rule);
        }
        // The first that fits decides: exact names, then from the longest suffix to the shortest. Of two rules for one name, the
        // one that reaches private addresses.
        all.sort_by_key(|rule| (rule.is_wildcard(), Reverse(rule.name.len()), !rule.private));
        Ok(Self((!all.is_empty()).then(|| all.into())))
    }

    /// The rules: exact names first, then wildcards from the longest suffix to the shortest.
    #[must_use]
    pub fn as_slice(&self) -> &[EgressRule] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The rule by which a tree may connect to this port of this name, if any: an exact name before a wildcard, and a longer
    /// suffix before a shorter one. Case and a final dot of the name do not matter.
    #[must_use]
    pub fn allows(&self, name: &str, port: u16) -> Option<&EgressRule> {
        self.covering(name).find(|rule| rule.ports.contains(&port))
    }

    /// Whether a rule allows any port of this name.
    pub(crate) fn knows(&self, name: &str) -> Option<Allowed> {
        let rule = self.covering(name).next()?;
        Some(if rule.is_wildcard() {
            Allowed::Wildcard
        } else {
            Allowed::Exact
        })
    }

    /// All ports at which this name may be connected to: what the host listens on at its synthetic address.
    pub(crate) fn ports(&self, name: &str) -> BTreeSet<u16> {
        self.covering(name)
            .flat_map(|rule| rule.ports.iter().copied())
            .collect()
    }

    /// The names of rules that are no wildcards, each once: what the host listens for before a tree starts.
    pub(crate) fn exact_names(&self) -> BTreeSet<&str> {
        let exact = self.as_slice().iter().filter(|rule| !rule.is_wildcard());
        exact.map(|rule| rule.name.as_str()).collect()
    }

    fn covering(&self, name: &str) -> impl Iterator<Item = &EgressRule> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.as_slice().iter().filter(move |rule| rule.covers(name))
    }
}

impl fmt::Debug for EgressRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.as_slice().iter().map(EgressRule::to_string))
            .finish()
    }
}

/// Egress rules that can be replaced while trees run under them.
///
/// A clone is another handle to the same rules: an embedder keeps one, and gives the other to
/// [`PrivateNetwork::egress`](super::PrivateNetwork::egress). Two handles are equal if they have the rules in common, not if the
/// rules read the same. Dropping a handle changes nothing: trees keep the rules that were set last.
///
/// ```
/// use capsule_supervisor::sandbox::{EgressPolicy, EgressRules};
///
/// let policy = EgressPolicy::new(EgressRules::new(["pypi.org".parse()?])?);
/// let of_the_trees = policy.clone();
/// policy.set(EgressRules::default());
/// assert!(of_the_trees.rules().allows("pypi.org", 443).is_none());
/// # Ok::<_, capsule_supervisor::sandbox::EgressError>(())
/// ```
#[derive(Clone)]
pub struct EgressPolicy(watch::Sender<EgressRules>);

impl EgressPolicy {
    /// A policy of these rules, shared with no other.
    #[must_use]
    pub fn new(rules: EgressRules) -> Self {
        Self(watch::Sender::new(rules))
    }

    /// Replaces the rules for all handles, at once. Connections that the new rules do not allow are cut soon after.
    pub fn set(&self, rules: EgressRules) {
        self.0.send_replace(rules);
    }

    /// The rules of now.
    #[must_use]
    pub fn rules(&self) -> EgressRules {
        self.0.borrow().clone()
    }

    /// Wakes at every change, and has the rules of now. It ends when the last handle is dropped, which is no change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<EgressRules> {
        self.0.subscribe()
    }
}

/// No rules: nothing is reached until some are [set](EgressPolicy::set).
impl Default for EgressPolicy {
    fn default() -> Self {
        Self::new(EgressRules::default())
    }
}

impl PartialEq for EgressPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for EgressPolicy {}

impl fmt::Debug for EgressPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EgressPolicy").field(&*self.0.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> EgressRule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn rules<const N: usize>(texts: [&str; N]) -> EgressRules {
        EgressRules::new(texts.map(rule)).expect("few")
    }

    #[test]
    fn w3_a_rule_is_a_name_its_ports_and_whether_it_reaches_private_addresses() {
        for (text, name, ports, private) in [
            ("example.com", "example.com", &[80, 443][..], false),
            ("Example.COM.", "example.com", &[80, 443], false),
            ("example.com:443", "example.com", &[443], false),
            ("example.com:443,22,443", "example.com", &[22, 443], false),
            ("example.com:private", "example.com", &[80, 443], true),
            ("nas:5432:private", "nas", &[5432], true),
            ("*.example.com:65535", "*.example.com", &[65535], false),
            ("*.a.b.example.com:1:private", "*.a.b.example.com", &[1], true),
        ] {
            let rule = rule(text);
            assert_eq!(
                (rule.name(), rule.ports(), rule.is_private()),
                (name, ports, private),
                "{text}"
            );
            assert_eq!(rule.to_string().parse(), Ok(rule), "{text}");
        }
    }

    #[test]
    fn w3_each_fault_of_a_rule_has_an_error_that_says_what_to_write() {
        let long_label = format!("{}.com", "x".repeat(64));
        let long = format!("*.{}com", "x.".repeat(125));
        let seventeen = (1..=17).map(|port: u16| port.to_string()).collect::<Vec<_>>().join(",");
        for (text, variant, advice) in [
            ("", "NoName", "NAME:PORT"),
            (":443", "NoName", "NAME:PORT"),
            ("10.0.0.1", "Address", "the name of the host"),
            ("10.0.0.1:443", "Address", "NAME:PORT:private"),
            ("10.0.0.0/8", "Address", "NAME:PORT:private"),
            ("10.0.0.0/8:443", "Address", "NAME:PORT:private"),
            ("127.1:80", "Address", "the name of the host"),
            ("0x7f000001", "Address", "the name of the host"),
            ("::1", "Address", "the name of the host"),
            ("fe80::/10", "Address", "the name of the host"),
            ("[::1]:443", "Address", "the name of the host"),
            ("2001:db8::1", "Address", "the name of the host"),
            ("münchen.de", "NotAscii", "xn--"),
            ("https://example.com", "Url", "its host alone"),
            ("ssh://git@example.com:22/x", "Url", "its host alone"),
            ("example.com/path", "Character", "without scheme or path"),
            ("user@example.com", "Character", "without scheme or path"),
            ("a b.com", "Character", "letters, digits"),
            ("a..com", "Label", "single dots"),
            (".com", "Label", "single dots"),
            ("a.com..", "Label", "single dots"),
            (&long_label, "Label", "single dots"),
            ("-a.com", "Hyphen", "as it is registered"),
            (&long, "Long", "as DNS has it"),
            ("localhost:80", "Localhost", "without a rule"),
            ("db.localhost", "Localhost", "without a rule"),
            ("*.db.localhost", "Localhost", "without a rule"),
            ("*", "Wildcard", "*.example.com"),
            ("*:443", "Wildcard", "*.example.com"),
            ("*.", "Wildcard", "*.example.com"),
            ("*.com", "Wildcard", "*.example.com"),
            ("**.example.com", "Wildcard", "*.example.com"),
            ("*.*.com", "Wildcard", "*.example.com"),
            ("a.*.com", "Wildcard", "*.example.com"),
            ("*example.com", "Wildcard", "*.example.com"),
            ("a.com:", "Port", "1 to 65535"),
            ("a.com:0", "Port", "1 to 65535"),
            ("a.com:65536", "Port", "1 to 65535"),
            ("a.com:+1", "Port", "1 to 65535"),
            ("a.com:80,", "Port", "1 to 65535"),
            ("a.com:8000-8010", "Port", "1 to 65535"),
            (&format!("a.com:{seventeen}"), "TooManyPorts", "second rule"),
            ("a.com:https", "Word", ":private or nothing"),
            ("a.com:443:public", "Word", ":private or nothing"),
            ("a.com:private:443", "Word", ":private or nothing"),
            ("a.com:443:private:", "Word", ":private or nothing"),
        ] {
            let error = text.parse::<EgressRule>().expect_err(text);
            assert!(format!("{error:?}").starts_with(variant), "{text:?}: {error:?}");
            assert!(error.to_string().contains(advice), "{text:?}: {error}");
            assert!(!error.to_string().contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn w3_a_wildcard_covers_every_depth_below_its_suffix_and_not_the_suffix() {
        let rules = rules(["*.example.com:443"]);
        for name in ["a.example.com", "A.B.Example.Com", "a.example.com.", "_x.example.com"] {
            assert!(rules.allows(name, 443).is_some(), "{name}");
        }
        for name in [
            "example.com",
            ".example.com",
            "badexample.com",
            "a.example.com.evil",
            "a.example.org",
            "",
            ".",
            "ü.example",
        ] {
            assert!(rules.allows(name, 443).is_none(), "{name}");
        }
        assert!(rules.allows("a.example.com", 80).is_none());
    }

    #[test]
    fn w3_rules_add_up_and_the_most_exact_one_decides_on_private_addresses() {
        let rules = rules([
            "*.example.com",
            "*.b.example.com:443:private",
            "a.b.example.com:22",
            "a.b.example.com:443",
        ]);
        let decides = |name, port| rules.allows(name, port).map(|rule| (rule.name(), rule.is_private()));
        assert_eq!(decides("a.b.example.com", 22), Some(("a.b.example.com", false)));
        assert_eq!(decides("a.b.example.com", 443), Some(("a.b.example.com", false)));
        assert_eq!(decides("a.b.example.com", 80), Some(("*.example.com", false)));
        assert_eq!(decides("c.b.example.com", 443), Some(("*.b.example.com", true)));
        assert_eq!(decides("c.b.example.com", 80), Some(("*.example.com", false)));
        assert_eq!(decides("b.example.com", 22), None);
        assert_eq!(rules.ports("a.b.example.com"), BTreeSet::from([22, 80, 443]));
        assert_eq!(rules.exact_names(), BTreeSet::from(["a.b.example.com"]));
        assert_eq!(rules.knows("a.b.example.com"), Some(Allowed::Exact));
        assert_eq!(rules.knows("x.example.com"), Some(Allowed::Wildcard));
        assert_eq!(rules.knows("example.com"), None);
    }

    #[test]
    fn w5_rules_and_ports_are_bounded() {
        let many = |count: usize| (0..count).map(|number| rule(&format!("n{number}.example")));
        assert!(EgressRules::new(many(EgressRules::MAX)).is_ok());
        assert_eq!(
            EgressRules::new(many(EgressRules::MAX + 1)),
            Err(EgressError::TooManyRules)
        );
        let twice = EgressRules::new(many(EgressRules::MAX).chain(many(EgressRules::MAX))).expect("each counts once");
        assert_eq!(twice.as_slice().len(), EgressRules::MAX);
        assert_eq!(EgressRule::new("a.com", 1..=17), Err(EgressError::TooManyPorts));
        assert_eq!(EgressRule::new("a.com", 1..=u16::MAX), Err(EgressError::TooManyPorts));
        assert_eq!(EgressRule::new("a.com", []), Err(EgressError::Port(String::new())));
        assert_eq!(EgressRule::new("a.com", [0]), Err(EgressError::Port("0".into())));
        assert!(EgressRule::new("a.com", 1..=16).is_ok());
    }

    #[test]
    fn w4_every_handle_of_a_policy_has_the_rules_that_were_set_last() {
        let policy = EgressPolicy::default();
        let handle = policy.clone();
        let mut watching = handle.subscribe();
        assert!(!watching.has_changed().expect("a handle lives"));
        policy.set(rules(["example.com"]));
        assert!(watching.has_changed().expect("a handle lives"));
        assert!(watching.borrow_and_update().allows("example.com", 443).is_some());
        assert_eq!(handle.rules(), rules(["example.com"]));
        assert_eq!(handle, policy);
        assert_ne!(EgressPolicy::default(), EgressPolicy::default());
    }

    proptest! {
        /// What is accepted is written in one way, and allows its own name and ports.
        #[test]
        fn w3_an_accepted_rule_reads_back_as_itself(
            text in "(\\*\\.)?([a-cA-C0-9_*-]{0,3}\\.?){0,4}(:[0-9,]{0,6})?(:private|:x)?|\\PC{0,12}",
        ) {
            if let Ok(rule) = text.parse::<EgressRule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule.clone()));
                let name = rule.name().replace('*', "any");
                prop_assert_eq!(host_name::fault(&name), None);
                let rules = EgressRules::new([rule.clone()]).expect("one");
                for port in rule.ports() {
                    prop_assert_eq!(rules.allows(&name, *port), Some(&rule));
                }
                prop_assert_eq!(rules.allows(rule.name().trim_start_matches("*."), 1).is_some(),
                    !rule.is_wildcard() && rule.ports().contains(&1));
            }
        }
    }
}
