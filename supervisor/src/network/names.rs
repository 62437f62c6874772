//! Synthetic addresses: which address of 198.18.0.0/15 stands for which name.
//!
//! The range is for benchmarks between two machines (RFC 2544), so that no host of any network has these addresses. Names that no
//! rule allows any more are forgotten, so that the memory is bounded by the rules and by the limit of wildcards' names.
//!
//! A client that keeps an address for longer than it should must not reach another name by it. So the address of a forgotten name is
//! given again only if every other address was given, the longest forgotten one first, and not before [`KEPT`] has passed and the
//! last connection to it has ended.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::rules::{Allowed, EgressRules};

/// The first address of a name.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 2]);
/// The last one; behind it is the range's broadcast address.
const LAST: u32 = u32::from_be_bytes([198, 19, 255, 254]);

/// How long the address of a forgotten name leads nowhere. An answer may be kept for five seconds. Some clients keep it for minutes
/// all the same.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Whether the address is one that stands for a name, or might.
pub(crate) fn is_synthetic(address: Ipv4Addr) -> bool {
    (FIRST..=LAST).contains(&u32::from(address))
}

/// The names of one network.
#[derive(Debug)]
pub(crate) struct Names {
    /// Of names that only a wildcard allows.
    wildcards_max: usize,
    wildcards: usize,
    /// The next address that was not yet given.
    next: u32,
    by_name: HashMap<Arc<str>, (Ipv4Addr, Allowed)>,
    /// What uses an address has a clone of its name.
    by_address: HashMap<Ipv4Addr, Arc<str>>,
    /// The addresses of forgotten names that lead nowhere yet, and when each was forgotten.
    forgotten: VecDeque<(Arc<str>, Ipv4Addr, Instant)>,
    /// Those that may be given again.
    free: VecDeque<Ipv4Addr>,
}

/// No further name is known: the limit of wildcards' names, or every address, is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedUp;

impl Names {
    pub(crate) fn new(wildcards_max: usize) -> Self {
        Self {
            wildcards_max,
            wildcards: 0,
            next: FIRST,
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            forgotten: VecDeque::new(),
            free: VecDeque::new(),
        }
    }

    /// Lets the addresses of names that were forgotten long ago be given again. One that is still in use holds up those that were
    /// forgotten after it.
    pub(crate) fn release(&mut self, now: Instant) {
        let is_due = |(name, _, at): &mut (Arc<str>, Ipv4Addr, Instant)| {
            now.saturating_duration_since(*at) >= KEPT && Arc::strong_count(name) == 1
        };
        while let Some((_, address, _)) = self.forgotten.pop_front_if(is_due) {
            self.free.push_back(address);
        }
    }

    /// The address of a name, which is in lower case and has no final dot. A new name gets one.
    pub(crate) fn address(&mut self, name: &str, allowed: Allowed) -> Result<Ipv4Addr, UsedUp> {
        if let Some((address, _)) = self.by_name.get(name) {
            return Ok(*address);
        }
        if !self.has_room(name, allowed) {
            return Err(UsedUp);
        }
        let address = if self.next <= LAST {
            self.next += 1;
            Ipv4Addr::from(self.next - 1)
        } else {
            self.free.pop_front().ok_or(UsedUp)?
        };
        self.wildcards += usize::from(allowed == Allowed::Wildcard);
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), (address, allowed));
        self.by_address.insert(address, name);
        Ok(address)
    }

    /// Whether a name has an address, or would get one.
    pub(crate) fn has_room(&self, name: &str, allowed: Allowed) -> bool {
        let is_spent = self.next > LAST && self.free.is_empty();
        let is_full = is_spent || (allowed == Allowed::Wildcard && self.wildcards >= self.wildcards_max);
        !is_full || self.by_name.contains_key(name)
    }

    /// Whether a name has an address.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The name for which an address stands.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<&Arc<str>> {
        self.by_address.get(&address)
    }

    /// All names and their addresses.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, Ipv4Addr)> {
        self.by_name.iter().map(|(name, (address, _))| (name, *address))
    }

    /// Forgets the names that these rules do not allow, and counts the others anew. Returns what was forgotten.
    pub(crate) fn retain(&mut self, rules: &EgressRules, now: Instant) -> Vec<(Arc<str>, Ipv4Addr)> {
        let mut forgotten = Vec::new();
        self.wildcards = 0;
        self.by_name.retain(|name, (address, allowed)| {
            let Some(now) = rules.knows(name) else {
                forgotten.push((Arc::clone(name), *address));
                return false;
            };
            *allowed = now;
            self.wildcards += usize::from(now == Allowed::Wildcard);
            true
        });
        for (_, address) in &forgotten {
            if let Some(name) = self.by_address.remove(address) {
                self.forgotten.push_back((name, *address, now));
            }
        }
        forgotten
    }

    /// Gives every exact name of these rules an address, so that the host can listen there before a tree asks for the name.
    ///
    /// # Errors
    /// [`UsedUp`]: there are no addresses left for all of them.
    pub(crate) fn add_exact(&mut self, rules: &EgressRules) -> Result<(), UsedUp> {
        let mut exact = rules.exact_names().into_iter();
        exact.try_for_each(|name| self.address(name, Allowed::Exact).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use capsule_init::{DNS_SERVER, SYNTHETIC_PREFIX};

    use super::*;
    use std::collections::HashSet;

    const SERVER: Ipv4Addr = Ipv4Addr::from_bits(DNS_SERVER);

    fn rules<const N: usize>(texts: [&str; N]) -> EgressRules {
        EgressRules::new(texts.map(|text| text.parse().expect("a rule"))).expect("few")
    }

    #[test]
    fn w3_a_name_keeps_its_address_and_an_address_its_name() {
        let mut names = Names::new(10);
        let one = names.address("a.example", Allowed::Exact).expect("the first");
        assert_eq!(one, Ipv4Addr::new(198, 18, 0, 2));
        let other = names.address("b.example", Allowed::Wildcard).expect("the second");
        assert_ne!(one, other);
        assert_eq!(names.address("a.example", Allowed::Exact), Ok(one));
        assert_eq!(names.name(one).map(|name| &**name), Some("a.example"));
        assert_eq!(names.name(other).map(|name| &**name), Some("b.example"));
        for unknown in [SERVER, Ipv4Addr::new(198, 18, 0, 4), Ipv4Addr::LOCALHOST] {
            assert_eq!(names.name(unknown), None);
        }
    }

    #[test]
    fn w5_names_of_wildcards_are_bounded_and_exact_names_are_not_held_up_by_them() {
        let mut names = Names::new(2);
        for name in ["a.example.com", "b.example.com", "a.example.com"] {
            assert!(names.address(name, Allowed::Wildcard).is_ok());
        }
        assert_eq!(names.address("c.example.com", Allowed::Wildcard), Err(UsedUp));
        assert!(
            names.has_room("a.example.com", Allowed::Wildcard) && !names.has_room("c.example.com", Allowed::Wildcard)
        );
        assert!(names.address("exact.example", Allowed::Exact).is_ok());
        // One becomes exact, and makes room for another.
        assert_eq!(
            names.retain(
                &rules(["*.example.com", "a.example.com", "exact.example"]),
                Instant::now()
            ),
            []
        );
        assert!(names.address("c.example.com", Allowed::Wildcard).is_ok());
        assert_eq!(names.address("d.example.com", Allowed::Wildcard), Err(UsedUp));
    }

    #[test]
    fn w4_a_name_that_is_no_longer_allowed_is_forgotten_and_its_address_not_given_again() {
        let now = Instant::now();
        let mut names = Names::new(2);
        assert_eq!(names.add_exact(&rules(["a.example", "b.example"])), Ok(()));
        let old = names.address("a.example", Allowed::Exact).expect("known");
        assert_eq!(names.retain(&rules(["b.example"]), now), [("a.example".into(), old)]);
        assert_eq!(names.name(old), None);
        assert_eq!(names.retain(&rules(["a.example", "c.example"]), now).len(), 1);
        assert_eq!(names.add_exact(&rules(["a.example", "c.example"])), Ok(()));
        let again = names.address("a.example", Allowed::Exact).expect("known");
        let other = names.address("c.example", Allowed::Exact).expect("known");
        assert!(again != old && other != old);
        assert_eq!((names.by_name.len(), names.by_address.len()), (2, 2));
    }

    #[test]
    fn w4_the_address_of_a_name_that_was_forgotten_long_ago_is_given_when_no_other_is_left() {
        let (mut names, start) = (Names::new(usize::MAX), Instant::now());
        let second = Duration::from_secs(1);
        let first = names.address("a.one.example", Allowed::Wildcard).expect("the first");
        let used = Arc::clone(names.name(first).expect("known"));
        names.retain(&rules(["*.two.example", "*.three.example"]), start);
        let mut last = first;
        for number in 0_u32.. {
            match names.address(&format!("{number}.two.example"), Allowed::Wildcard) {
                Ok(address) => last = address,
                Err(UsedUp) => break,
            }
        }
        let kept = names.address("a.three.example", Allowed::Wildcard);
        assert_eq!((last, kept), (Ipv4Addr::from(LAST), Err(UsedUp)));
        names.retain(&rules(["*.three.example"]), start + second);
        let mut given = |at: Instant, name: &str| {
            names.release(at);
            names.address(name, Allowed::Wildcard)
        };
        assert_eq!(
            given(start + KEPT - second, "b.three.example"),
            Err(UsedUp),
            "too early"
        );
        assert_eq!(
            given(start + KEPT, "c.three.example"),
            Err(UsedUp),
            "a connection is open"
        );
        drop(used);
        assert_eq!(given(start + KEPT, "d.three.example"), Ok(first), "the oldest");
        assert_eq!(given(start + KEPT, "e.three.example"), Err(UsedUp), "the others later");
        let next = given(start + KEPT + second, "f.three.example").expect("one is free");
        assert!(is_synthetic(next) && next != first);
        assert_eq!(given(start + KEPT, "d.three.example"), Ok(first));
    }

    #[test]
    fn w5_every_address_of_the_range_is_given_once_and_then_none() {
        let mut names = Names::new(usize::MAX);
        let mut seen = HashSet::new();
        for number in 0_u32.. {
            let Ok(address) = names.address(&number.to_string(), Allowed::Wildcard) else {
                break;
            };
            assert!(is_synthetic(address) && seen.insert(address), "{address}");
        }
        assert_eq!(seen.len(), (1 << 17) - 3, "all but network, server and broadcast");
        assert!(!seen.contains(&SERVER));
        assert_eq!(names.address("exact.example", Allowed::Exact), Err(UsedUp));
        assert!(!is_synthetic(SERVER) && !is_synthetic(Ipv4Addr::new(198, 20, 0, 0)));
        let prefix = |address: u32| address >> (32 - SYNTHETIC_PREFIX);
        assert_eq!(
            (prefix(FIRST), prefix(LAST)),
            (prefix(SERVER.into()), prefix(SERVER.into())),
            "the interface has all"
        );
    }
}
