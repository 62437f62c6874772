//! The network of the capsule's processes: the flags of the command, the table `network` in a manifest, and the combination of
//! both.
//!
//! The user decides. A published port, and a name that processes connect to, are grants like a command or a visible folder. A
//! manifest comes with the capsule and grants nothing: it can ask for less than the user allows, and it then gets less. `asks`
//! reports each request for more, with the flag that would grant it.

use std::fmt::Display;

use capsule_host::sandbox::{
    self, EgressError, EgressPolicy, EgressRule, EgressRules, NetworkLimits, Publish, PublishAt,
};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use thiserror::Error;

use crate::written::Written;

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
    publish: Vec<Written<Publish>>,

    /// Let the processes connect to a host by its name, at TCP ports [default: 443 and 80]. May be given several times.
    ///
    /// `pypi.org`: this name only. `github.com:22,443`: these ports only. `*.example.com`: every name below example.com,
    /// but not that name itself. `db.example.com:5432:private`: the name may lead to a private address, to an address of a
    /// network that this machine is in, or to this machine's own address, other than its loopback. Clients need no proxy and
    /// no variable for it.
    #[arg(long, value_name = "NAME[:PORT,…][:private]", conflicts_with = "unconfined")]
    egress: Vec<Written<EgressRule>>,
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
    publish: Vec<Written<Publish>>,
    egress: Vec<Written<EgressRule>>,
}

/// The table in its written form. `manifest` reports its other keys.
#[derive(Deserialize)]
struct Table {
    mode: Option<Mode>,
    #[serde(default)]
    publish: Vec<Written<Publish>>,
    #[serde(default)]
    egress: Vec<Written<EgressRule>>,
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
    /// Whether the command line publishes ports.
    pub(crate) const fn publishes(&self) -> bool {
        !self.publish.is_empty()
    }

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
        for (number, Written { value: publish, .. }) in self.publish.iter().enumerate() {
            let is_free = matches!(publish.at(), PublishAt::Loopback(address) if address.port() == 0);
            let mut earlier = self.publish.iter().take(number);
            if !is_free && earlier.any(|earlier| earlier.value.at() == publish.at()) {
                return Err(BadNetwork::Twice(publish.at().clone()));
            }
            private = private.publish(publish.clone());
        }
        let rules = EgressRules::new(self.egress.iter().map(|rule| rule.value.clone()))?;
        Ok(if self.egress.is_empty() {
            private
        } else {
            private.egress(EgressPolicy::new(rules))
        })
    }

    fn allowed(&self) -> Mode {
        self.network.unwrap_or(Mode::Private)
    }

    /// Tells of a mode that has no effect.
    pub(crate) fn tell_of_mode(&self, declared: &Declared) {
        if let (Some(allowed), Some(mode)) = (self.network, declared.mode)
            && mode < allowed
        {
            tracing::warn!(
                "--network {allowed} has no effect, because the capsule's manifest asks for less: `mode = \"{mode}\"`"
            );
        }
    }

    /// What the manifest asks for and these flags do not grant.
    pub(crate) fn not_granted(&self, declared: &Declared) -> Granting {
        let allowed = self.allowed();
        let host = declared.mode == Some(Mode::Host) && allowed != Mode::Host;
        // With this machine's network the processes need no grant, and without a network they can use none.
        if allowed != Mode::Private {
            return Granting {
                host,
                ..Granting::default()
            };
        }
        let is_new = |asked: &&Written<Publish>| {
            self.publish
                .iter()
                .all(|given| given.value.guest() != asked.value.guest())
        };
        let (publish, egress) = (declared.publish.iter(), declared.egress.iter());
        Granting {
            host,
            publish: publish.filter(is_new).cloned().collect(),
            egress: egress.filter(|asked| !self.reaches(&asked.value)).cloned().collect(),
        }
    }

    /// Adds grants, as if their flags had been given.
    pub(crate) fn grant(&mut self, publish: Vec<Written<Publish>>, egress: Vec<Written<EgressRule>>) {
        self.publish.extend(publish);
        self.egress.extend(egress);
    }

    /// Adds what was granted before, as far as it fits to these flags, which count more, and to the manifest. Returns what was
    /// added.
    pub(crate) fn add_saved(&mut self, saved: &Granting, declared: &Declared) -> Granting {
        let mut added = Granting::default();
        let nothing_given = self.network.is_none() && self.publish.is_empty() && self.egress.is_empty();
        if saved.host && nothing_given {
            self.network = Some(Mode::Host);
            added.host = true;
        }
        if self.allowed() != Mode::Private || declared.mode == Some(Mode::None) {
            return added;
        }
        let (publish, egress) = (saved.publish.iter(), saved.egress.iter());
        let is_new = |saved: &&Written<Publish>| {
            self.publish
                .iter()
                .all(|given| given.value.guest() != saved.value.guest())
        };
        added.publish = publish.filter(is_new).cloned().collect();
        added.egress = egress.filter(|saved| !self.egress.contains(saved)).cloned().collect();
        self.grant(added.publish.clone(), added.egress.clone());
        added
    }

    /// The grants among these flags.
    pub(crate) fn to_save(&self) -> Granting {
        Granting {
            host: self.network == Some(Mode::Host),
            publish: self.publish.clone(),
            egress: self.egress.clone(),
        }
    }

    /// Whether the granted rules allow all that this one asks for.
    fn reaches(&self, asked: &EgressRule) -> bool {
        let covers = |granted: &EgressRule| {
            let by_suffix = granted.name().strip_prefix('*');
            granted.name() == asked.name() || by_suffix.is_some_and(|suffix| asked.name().ends_with(suffix))
        };
        let allow = |port: &u16| {
            let mut granted = self.egress.iter().map(|rule| &rule.value);
            granted.any(|granted| {
                covers(granted) && granted.ports().contains(port) && granted.is_private() >= asked.is_private()
            })
        };
        asked.ports().iter().all(allow)
    }
}

/// Grants of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granting {
    /// This machine's network.
    pub(crate) host: bool,
    pub(crate) publish: Vec<Written<Publish>>,
    pub(crate) egress: Vec<Written<EgressRule>>,
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
    fn w1_what_a_manifest_asks_for_is_not_granted_unless_a_flag_covers_it() {
        let asked = |flags: Flags, text| {
            let asked = flags.not_granted(&declared(text));
            let texts = asked.publish.iter().map(|asked| &asked.text);
            texts
                .chain(asked.egress.iter().map(|asked| &asked.text))
                .cloned()
                .collect::<Vec<_>>()
        };
        let all = "publish = ['8000', '0:80']\negress = ['a.com', 'b.a.com:22', '*.c.com:443', 'd.com:5432:private']";
        let texts = [
            "8000",
            "0:80",
            "a.com",
            "b.a.com:22",
            "*.c.com:443",
            "d.com:5432:private",
        ];
        assert_eq!(asked(Flags::default(), all), texts);
        let egress = ["a.com", "*.a.com:22", "*.c.com:80,443", "d.com:5432:private"];
        assert_eq!(asked(flags(None, &["8000", "9000:80"], &egress), all), [""; 0]);
        // A suffix is not the name itself, another port is not the one, and a public address is not a private one.
        let egress = ["*.a.com:80", "b.a.com:23", "x.c.com", "d.com:5432"];
        assert_eq!(asked(flags(None, &["8000:9000", "80:81"], &egress), all), texts);

        assert!(Flags::default().not_granted(&declared("mode = 'host'")).host);
        assert!(
            !flags(Some(Mode::Host), &[], &[])
                .not_granted(&declared("mode = 'host'"))
                .host
        );
        assert_eq!(asked(flags(Some(Mode::Host), &[], &[]), all), [""; 0]);
        assert_eq!(asked(flags(Some(Mode::None), &[], &[]), all), [""; 0]);
    }

    #[test]
    fn w1_saved_grants_never_contradict_the_flags_or_the_manifest() {
        let add = |mut flags: Flags, saved: &Flags, text| {
            let added = flags.add_saved(&saved.to_save(), &declared(text));
            assert!(flags.network(&declared(text), NetworkLimits::default()).is_ok());
            (added.host, added.publish.len(), added.egress.len())
        };
        let saved = flags(None, &["8000:80", "0:81"], &["a.com"]);
        assert_eq!(add(Flags::default(), &saved, ""), (false, 2, 1));
        assert_eq!(add(flags(Some(Mode::None), &[], &[]), &saved, ""), (false, 0, 0));
        assert_eq!(add(flags(Some(Mode::Host), &[], &[]), &saved, ""), (false, 0, 0));
        assert_eq!(add(Flags::default(), &saved, "mode = 'none'"), (false, 0, 0));
        assert_eq!(add(flags(None, &["9000:80"], &["a.com"]), &saved, ""), (false, 1, 0));
        let host = flags(Some(Mode::Host), &[], &[]);
        assert_eq!(add(Flags::default(), &host, ""), (true, 0, 0));
        assert_eq!(add(flags(None, &["80"], &[]), &host, ""), (false, 0, 0));
        assert_eq!(add(flags(Some(Mode::Private), &[], &[]), &host, ""), (false, 0, 0));
    }
}
