//! The grants of a capsule that the runtime loads.

use crate::bus::{Pattern, Reach};
use crate::wit::{CapsuleHooks, TopicAsk};
use capsule_supervisor::sandbox::Network;
use capsule_supervisor::{Ask, Owner};

/// The grants of one capsule. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The commands that the capsule may run, by exact spelling: `python3` does not grant `/usr/bin/python3`, and the
    /// reverse. Without a command it may run nothing.
    pub commands: Vec<String>,
    /// Whether its processes may outlive the instance that starts them. This has no effect without a command.
    pub persistent: bool,
    /// The network of its processes. None: the launcher's policy decides. The processes of each principal have a private network of
    /// their own; its [`EgressPolicy`](capsule_supervisor::sandbox::EgressPolicy) holds for all of them, and a published port can
    /// be had by one principal at a time. An unconfined process always has the host's network, whatever is said here.
    pub network: Option<Network>,
    /// The messages that the capsule may publish and receive.
    pub topics: Topics,
}

/// The grants of a capsule on the [`bus`](crate::bus). The default is none. A capsule that may run a command receives
/// the events of its own processes without a further grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// The topics to which it may publish. No pattern includes the host's own topics, `astrid.process` and below.
    pub publish: Vec<Pattern>,
    /// The topics to which it may publish on behalf of a principal that it names. Interceptors of all capsules then run
    /// on behalf of that principal, so grant this only to capsules that authenticate their principals.
    pub publish_as: Vec<Pattern>,
    /// The patterns to which it may subscribe. A pattern also grants every narrower pattern.
    pub subscribe: Vec<Pattern>,
    /// Which messages its granted subscriptions and its interceptors receive in addition to its own.
    pub reach: Reach,
}

impl Grants {
    /// The names under which `astrid:sys` tells the capsule what it was granted: `process`, then `process:cmd:…` for
    /// each command, `process:persistent`, and `process:network` if its processes reach other machines: by the host's
    /// network, or by a private one with an egress policy that is granted here. None of these without a command, since nothing can
    /// be done then. After them `ipc:publish:…`, `ipc:publish-as:…` and `ipc:subscribe:…` for each pattern.
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        let mut names = Vec::new();
        if !self.commands.is_empty() {
            names.push("process".to_owned());
            names.extend(self.commands.iter().map(|command| format!("process:cmd:{command}")));
            names.extend(self.persistent.then(|| "process:persistent".to_owned()));
            names.extend(self.reaches_out().then(|| "process:network".to_owned()));
        }
        let topics = &self.topics;
        names.extend(topics.publish.iter().map(|pattern| format!("ipc:publish:{pattern}")));
        names.extend(
            topics
                .publish_as
                .iter()
                .map(|pattern| format!("ipc:publish-as:{pattern}")),
        );
        names.extend(
            topics
                .subscribe
                .iter()
                .map(|pattern| format!("ipc:subscribe:{pattern}")),
        );
        names
    }

    fn reaches_out(&self) -> bool {
        match &self.network {
            Some(Network::Host) => true,
            Some(Network::Private(private)) => private.egress_policy().is_some(),
            Some(Network::None) | None => false,
        }
    }
}

impl CapsuleHooks for Grants {
    fn authorize(&mut self, _owner: &Owner, ask: Ask<'_>) -> bool {
        match ask {
            Ask::Process => !self.commands.is_empty(),
            Ask::Command(command) => self.commands.iter().any(|granted| granted == command.cmd),
            Ask::Persistent => self.persistent,
            // A capability that is unknown to this function is not granted.
            _ => false,
        }
    }

    fn network(&mut self, _owner: &Owner) -> Option<Network> {
        self.network.clone()
    }

    fn authorize_topic(&mut self, _owner: &Owner, ask: TopicAsk<'_>) -> bool {
        let topics = &self.topics;
        match ask {
            TopicAsk::Publish(topic) => topics.publish.iter().any(|granted| granted.matches(topic)),
            TopicAsk::PublishAs(topic, _) => topics.publish_as.iter().any(|granted| granted.matches(topic)),
            TopicAsk::Subscribe(pattern) => topics.subscribe.iter().any(|granted| granted.covers(pattern)),
        }
    }

    fn reach(&mut self, _owner: &Owner, _pattern: &Pattern) -> Reach {
        self.topics.reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Topic;
    use capsule_supervisor::sandbox::{EgressPolicy, PrivateNetwork};
    use capsule_supervisor::{CommandView, Principal};

    fn allows(grants: &Grants, ask: Ask<'_>) -> bool {
        let owner = Owner {
            principal: Principal::Named("p".into()),
            capsule: "c".into(),
        };
        grants.clone().authorize(&owner, ask)
    }

    fn command(cmd: &str) -> Ask<'_> {
        Ask::Command(CommandView {
            cmd,
            args: &[],
            cwd: None,
            env_keys: Vec::new(),
            injections: Vec::new(),
        })
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = Grants::default();
        assert!(!allows(&none, Ask::Process));
        assert!(!allows(&none, command("python3")));
        assert!(!allows(&none, Ask::Persistent));
        assert!(none.capabilities().is_empty());
    }

    #[test]
    fn a_command_is_granted_by_its_exact_spelling_only() {
        let grants = Grants {
            commands: vec!["python3".into()],
            ..Grants::default()
        };
        assert!(allows(&grants, Ask::Process));
        assert!(allows(&grants, command("python3")));
        for other in ["python", "python3 ", "Python3", "/usr/bin/python3", "./python3", ""] {
            assert!(!allows(&grants, command(other)), "{other:?}");
        }
        assert!(!allows(&grants, Ask::Persistent));
        assert_eq!(grants.capabilities(), ["process", "process:cmd:python3"]);
    }

    #[test]
    fn capabilities_without_a_command_are_none() {
        let grants = Grants {
            persistent: true,
            network: Some(Network::Host),
            ..Grants::default()
        };
        assert!(grants.capabilities().is_empty());
        let grants = Grants {
            commands: vec!["a".into()],
            ..grants
        };
        assert_eq!(
            grants.capabilities(),
            ["process", "process:cmd:a", "process:persistent", "process:network"]
        );
        let reaches_out = |network| {
            let grants = Grants {
                network,
                ..grants.clone()
            };
            grants.capabilities().contains(&"process:network".to_owned())
        };
        let private = PrivateNetwork::default();
        assert!(!reaches_out(None));
        assert!(!reaches_out(Some(Network::None)));
        assert!(!reaches_out(Some(private.clone().into())));
        assert!(reaches_out(Some(private.egress(EgressPolicy::default()).into())));
    }

    #[test]
    fn e3_a_topic_is_granted_by_a_pattern_that_covers_it() {
        let owner = Owner {
            principal: Principal::Named("p".into()),
            capsule: "c".into(),
        };
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        let topic = Topic::parse("notes.v1.saved").unwrap();
        let mut grants = Grants::default();
        let asks = |grants: &mut Grants| {
            [
                TopicAsk::Publish(&topic),
                TopicAsk::PublishAs(&topic, "q"),
                TopicAsk::Subscribe(&pattern("notes.v1.*")),
                TopicAsk::Subscribe(&pattern("notes.*")),
            ]
            .map(|ask| grants.authorize_topic(&owner, ask))
        };
        assert_eq!(asks(&mut grants), [false; 4]);
        grants.topics.publish.push(pattern("notes.v1.*"));
        assert_eq!(asks(&mut grants), [true, false, false, false]);
        grants.topics.publish_as.push(pattern("notes.v1.saved"));
        assert_eq!(asks(&mut grants), [true, true, false, false]);
        grants.topics.subscribe.push(pattern("notes.v1.*"));
        assert_eq!(asks(&mut grants), [true, true, true, false]);
        assert_eq!(
            grants.capabilities(),
            [
                "ipc:publish:notes.v1.*",
                "ipc:publish-as:notes.v1.saved",
                "ipc:subscribe:notes.v1.*"
            ]
        );
        assert_eq!(grants.reach(&owner, &pattern("notes.v1.*")), Reach::Own);
    }
}
