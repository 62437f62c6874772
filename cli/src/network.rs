//! The network of the capsule's processes: the flags of the command, the table `network` in a manifest, and the combination of
//! both.
//!
//! The user decides. A published port, and a name that processes connect to, are grants like a command or a visible folder. A
//! manifest comes with the capsule and grants nothing: it can ask for less than the user allows, and it then gets less. The
//! command reports each request for more, with the flag that would grant it, and makes the calls without it.

use std::fmt::Display;
use std::str::FromStr;

use capsule_host::sandbox::{
    self, EgressError, EgressPolicy, EgressRule, EgressRules, NetworkLimits, Publish, PublishAt,
};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;

/// The flags of `capsule run`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network of the capsule's processes")]
// The flags of `ceilings` have a group of the same name.
#[group(skip)]
pub(crate) struct Flags {
    /// Which network they have [default: private].
    ///
    /// `private`: the processes of one capsule and principal share a network of their own. Its servers and clients reach each
    /// other by loopback. They reach nothing of this machine or beyond it, and nothing reaches them, unless --publish or
    /// --egress says so. `none`: no network, not even loopback. `host`: this machine's network; they reach what it
    /// reaches, and can listen there. An omitted MODE, which is possible before another option, means `private`. Unconfined
    /// processes always have this machine's network.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        num_args = 0..=1,
        default_missing_value = "private",
        conflicts_with = "unconfined"
    )]
    network: Option<Mode>,

    /// Let this machine reach a TCP port of the processes. May be given several times.
    ///
    /// `8080`: their port 8080, at 127.0.0.1:8080. `8080:80`: their port 80, at 127.0.0.1:8080. `0:80`: their port 80, at
    /// any free port. `8080:web`: the port on which the process with the label `web` listens, at 127.0.0.1:8080. ADDR is another address of 127.0.0.0/8; other machines cannot reach a published port. A line on
    /// standard error tells each address. A port that is in use is an error before anything is built or runs.
    #[arg(long, value_name = "[ADDR:]PORT[:GUESTPORT|:LABEL]", conflicts_with = "unconfined")]
    publish: Vec<Publish>,

    /// Let the processes connect to a host by its name, at TCP ports [default: 443 and 80]. May be given several times.
    ///
    /// `pypi.org`: this name only. `github.com:22,443`: these ports only. `*.example.com`: every name below example.com,
    /// but not that name itself. `db.example.com:5432:private`: the name may lead to a private address, to an address of a
    /// network that this machine is in, or to this machine's own address, other than its loopback. Clients need no proxy and
    /// no variable for it.
    #[arg(long, value_name = "NAME[:PORT,…][:private]", conflicts_with = "unconfined")]
    egress: Vec<EgressRule>,
}

/// The modes as `--network` and a manifest name them, in ascending order of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    None,
    Private,
    Host,
}

impl Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Private => "private",
            Self::Host => "host",
        })
    }
}

/// The table `network` of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
pub(crate) struct Declared {
    mode: Option<Mode>,
    publish: Vec<Wish<Publish>>,
    egress: Vec<Wish<EgressRule>>,
}

/// The table in its written form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mode: Option<Mode>,
    #[serde(default)]
    publish: Vec<Wish<Publish>>,
    #[serde(default)]
    egress: Vec<Wish<EgressRule>>,
}

impl TryFrom<Table> for Declared {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { mode, publish, egress } = table;
        match mode {
            Some(mode @ (Mode::None | Mode::Host)) if !(publish.is_empty() && egress.is_empty()) => Err(format!(
                "`publish` and `egress` are for a private network, and `mode` is {:?}",
                mode.to_string()
            )),
            None | Some(_) => Ok(Self { mode, publish, egress }),
        }
    }
}

/// A request, and its text in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish<T> {
    text: String,
    value: T,
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Wish<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(value) => Ok(Self { text, value }),
            Err(error) => Err(D::Error::custom(error)),
        }
    }
}

/// Why the flags cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BadNetwork {
    #[error(
        "--{flag} is for a private network, and the processes have another one by --network {mode}: leave one of them out"
    )]
    NotPrivate { flag: &'static str, mode: Mode },
    #[error(
        "--{flag} is for a private network, and the capsule's manifest has `mode = \"none\"` in its table `network`: leave the \
         flag out, or change the manifest"
    )]
    DeclaredNone { flag: &'static str },
    #[error("--publish: {0} is given twice: each port needs an address of its own")]
    Twice(PublishAt),
    #[error("--egress: {0}")]
    Egress(#[from] EgressError),
}

impl Flags {
    /// The kind of network that the processes have unless the manifest asks for less. It allows preparations before the manifest
    /// is read.
    pub(crate) fn likely(&self) -> sandbox::Network {
        match self.allowed() {
            Mode::None => sandbox::Network::None,
            Mode::Private => sandbox::Network::default(),
            Mode::Host => sandbox::Network::Host,
        }
    }

    /// The network for a capsule whose author declared this.
    pub(crate) fn network(&self, declared: &Declared, limits: NetworkLimits) -> Result<sandbox::Network, BadNetwork> {
        let allowed = self.allowed();
        let mode = declared.mode.map_or(allowed, |declared| declared.min(allowed));
        if mode != Mode::Private {
            let given = [("publish", self.publish.is_empty()), ("egress", self.egress.is_empty())];
            if let Some((flag, _)) = given.into_iter().find(|(_, is_empty)| !is_empty) {
                return Err(if mode == allowed {
                    BadNetwork::NotPrivate { flag, mode }
                } else {
                    BadNetwork::DeclaredNone { flag }
                });
            }
        } else if allowed == Mode::Host && !(self.publish.is_empty() && self.egress.is_empty()) {
            let flag = if self.publish.is_empty() { "egress" } else { "publish" };
            return Err(BadNetwork::NotPrivate { flag, mode: allowed });
        }
        Ok(match mode {
            Mode::None => sandbox::Network::None,
            Mode::Host => sandbox::Network::Host,
            Mode::Private => self.private(limits)?.into(),
        })
    }

    fn private(&self, limits: NetworkLimits) -> Result<sandbox::PrivateNetwork, BadNetwork> {
        let mut private = sandbox::PrivateNetwork::default().limits(limits);
        for (number, publish) in self.publish.iter().enumerate() {
            let is_free = matches!(publish.at(), PublishAt::Loopback(address) if address.port() == 0);
            let mut earlier = self.publish.iter().take(number);
            if !is_free && earlier.any(|earlier| earlier.at() == publish.at()) {
                return Err(BadNetwork::Twice(publish.at().clone()));
            }
            private = private.publish(publish.clone());
        }
        let rules = EgressRules::new(self.egress.iter().cloned())?;
        Ok(if self.egress.is_empty() {
            private
        } else {
            private.egress(EgressPolicy::new(rules))
        })
    }

    fn allowed(&self) -> Mode {
        self.network.unwrap_or(Mode::Private)
    }

    /// Reports the requests of the manifest that were not granted.
    pub(crate) fn tell_of_wishes(&self, declared: &Declared) {
        for wish in self.not_granted(declared) {
            tracing::warn!("{wish}");
        }
    }

    fn not_granted(&self, declared: &Declared) -> Vec<String> {
        let allowed = self.allowed();
        let mut told = Vec::new();
        match declared.mode {
            Some(Mode::Host) if allowed != Mode::Host => told.push(
                "the capsule asks for this machine's network, which you did not grant; --network host grants it"
                    .to_owned(),
            ),
            Some(mode) if mode < allowed && self.network.is_some() => told.push(format!(
                "--network {allowed} has no effect, because the capsule's manifest asks for less: `mode = \"{mode}\"`"
            )),
            Some(_) | None => {}
        }
        // With this machine's network the processes need no grant, and without a network they can use none.
        if allowed != Mode::Private {
            return told;
        }
        let published = |wish: &&Wish<Publish>| self.publish.iter().all(|given| given.guest() != wish.value.guest());
        for Wish { text, .. } in declared.publish.iter().filter(published) {
            told.push(format!(
                "the capsule asks to publish {text:?}, which you did not grant; --publish {text} grants it"
            ));
        }
        for Wish { text, .. } in declared.egress.iter().filter(|wish| !self.reaches(&wish.value)) {
            told.push(format!(
                "the capsule asks to connect to {text:?}, which you did not grant; --egress {text:?} grants it"
            ));
        }
        told
    }

    /// Whether the granted rules allow all that this one asks for.
    fn reaches(&self, asked: &EgressRule) -> bool {
        let covers = |granted: &EgressRule| {
            let by_suffix = granted.name().strip_prefix('*');
            granted.name() == asked.name() || by_suffix.is_some_and(|suffix| asked.name().ends_with(suffix))
        };
        let allow = |port: &u16| {
            let mut granted = self.egress.iter();
            granted.any(|granted| {
                covers(granted) && granted.ports().contains(port) && granted.is_private() >= asked.is_private()
            })
        };
        asked.ports().iter().all(allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declared {
        toml::from_str(text).unwrap()
    }

    fn flags(network: Option<Mode>, publish: &[&str], egress: &[&str]) -> Flags {
        Flags {
            network,
            publish: publish.iter().map(|text| text.parse().unwrap()).collect(),
            egress: egress.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn network(flags: &Flags, text: &str) -> Result<sandbox::Network, String> {
        let network = flags.network(&declared(text), NetworkLimits::default());
        network.map_err(|error| error.to_string())
    }

    #[test]
    fn w1_without_a_word_the_network_is_private_with_nothing_published_and_no_egress() {
        assert_eq!(network(&Flags::default(), ""), Ok(sandbox::Network::default()));
    }

    #[test]
    fn w1_a_manifest_only_lowers_what_the_person_allows() {
        let mode = |allowed: Option<Mode>, text| match network(&flags(allowed, &[], &[]), text) {
            Ok(sandbox::Network::None) => Mode::None,
            Ok(sandbox::Network::Private(_)) => Mode::Private,
            Ok(sandbox::Network::Host) => Mode::Host,
            Err(error) => panic!("{error}"),
        };
        let (none, private, host) = ("mode = 'none'", "mode = 'private'", "mode = 'host'");
        for (allowed, declared, given) in [
            (None, host, Mode::Private),
            (None, none, Mode::None),
            (Some(Mode::Host), host, Mode::Host),
            (Some(Mode::Host), private, Mode::Private),
            (Some(Mode::Host), "", Mode::Host),
            (Some(Mode::None), private, Mode::None),
        ] {
            assert_eq!(mode(allowed, declared), given, "{allowed:?} {declared}");
        }
    }

    #[test]
    fn w2_w3_a_manifest_publishes_nothing_and_reaches_no_name() {
        let asks = "publish = ['8000']\negress = ['pypi.org']";
        assert_eq!(network(&Flags::default(), asks), Ok(sandbox::Network::default()));
        let sandbox::Network::Private(private) = network(&flags(None, &["8000:80"], &["pypi.org"]), asks).unwrap()
        else {
            panic!("not private");
        };
        assert_eq!(private.published().len(), 1);
        let rules = private.egress_policy().unwrap().rules();
        assert!(rules.allows("pypi.org", 443).is_some());
    }

    #[test]
    fn w1_flags_that_contradict_each_other_are_named() {
        for (flags, declared, named) in [
            (
                flags(Some(Mode::None), &["80"], &[]),
                "",
                ["--publish", "--network none"],
            ),
            (
                flags(Some(Mode::Host), &["80"], &[]),
                "",
                ["--publish", "--network host"],
            ),
            (
                flags(Some(Mode::None), &[], &["a.com"]),
                "",
                ["--egress", "--network none"],
            ),
            (
                flags(Some(Mode::Host), &[], &["a.com"]),
                "mode = 'private'",
                ["--egress", "--network host"],
            ),
            (flags(None, &["80"], &[]), "mode = 'none'", ["--publish", "manifest"]),
            (
                flags(None, &["80", "127.0.0.1:80:90"], &[]),
                "",
                ["127.0.0.1:80", "twice"],
            ),
        ] {
            let error = network(&flags, declared).unwrap_err();
            assert!(named.iter().all(|named| error.contains(named)), "{error}");
        }
        assert!(network(&flags(None, &["0:80", "0:81", "127.0.0.2:80", "80"], &[]), "").is_ok());
    }

    #[test]
    fn w1_what_a_manifest_asks_for_and_does_not_get_is_told_with_the_flag_that_grants_it() {
        let told = |flags: Flags, text| flags.not_granted(&declared(text));
        let all = "publish = ['8000', '0:80']\negress = ['a.com', 'b.a.com:22', '*.c.com:443', 'd.com:5432:private']";
        let none_granted = told(Flags::default(), all);
        let granting = [
            "--publish 8000",
            "--publish 0:80",
            "\"a.com\"",
            "\"b.a.com:22\"",
            "\"*.c.com:443\"",
            "private",
        ];
        assert_eq!(none_granted.len(), granting.len(), "{none_granted:?}");
        for (told, flag) in none_granted.iter().zip(granting) {
            assert!(told.contains(flag), "{told}");
        }
        let egress = ["a.com", "*.a.com:22", "*.c.com:80,443", "d.com:5432:private"];
        assert_eq!(told(flags(None, &["8000", "9000:80"], &egress), all), [""; 0]);
        // A suffix is not the name itself, another port is not the one, and a public address is not a private one.
        let egress = ["*.a.com:80", "b.a.com:23", "x.c.com", "d.com:5432"];
        assert_eq!(
            told(flags(None, &["8000:9000", "80:81"], &egress), all).len(),
            granting.len()
        );

        assert!(told(Flags::default(), "mode = 'host'")[0].contains("--network host grants it"));
        assert!(told(flags(Some(Mode::Host), &[], &[]), "mode = 'private'")[0].contains("no effect"));
        assert_eq!(told(flags(Some(Mode::Host), &[], &[]), "mode = 'host'"), [""; 0]);
        assert_eq!(told(Flags::default(), "mode = 'none'"), [""; 0]);
    }
}
