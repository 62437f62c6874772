//! Which network a tree has.

use std::sync::Arc;

use capsule_init::NetworkMode;

use super::connector::Connector;
use super::{EgressPolicy, NetworkLimits, Publish};

/// The network of a confined tree. The default is a private one with no published port and no egress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// None: no sockets but those of `AF_UNIX`.
    None,
    /// A network of the owner's own, with a loopback, and with nothing else unless it is said.
    Private(PrivateNetwork),
    /// The host's. The tree reaches all that the host reaches, may listen on the host's addresses, and is held to no rule.
    Host,
}

impl Network {
    /// As init sees it.
    pub(crate) const fn mode(&self) -> NetworkMode {
        match self {
            Self::None => NetworkMode::None,
            Self::Private(_) => NetworkMode::Private,
            Self::Host => NetworkMode::Host,
        }
    }
}

/// Private, with nothing published and no egress.
impl Default for Network {
    fn default() -> Self {
        Self::Private(PrivateNetwork::default())
    }
}

impl From<PrivateNetwork> for Network {
    fn from(private: PrivateNetwork) -> Self {
        Self::Private(private)
    }
}

/// A network of an owner's own. All trees of one owner for which it is the same share it, and see each other's ports.
///
/// ```
/// use capsule_supervisor::sandbox::{EgressPolicy, EgressRules, Network, PrivateNetwork};
///
/// let egress = EgressPolicy::new(EgressRules::new(["pypi.org".parse()?, "files.pythonhosted.org".parse()?])?);
/// let network: Network = PrivateNetwork::default().publish("8080:80".parse()?).egress(egress).into();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Two are the same if they publish the same ports in the same order, share their egress policy (an [`EgressPolicy`] and its
/// clones) and their connector, and have equal limits.
#[derive(Clone, Debug, Default)]
pub struct PrivateNetwork {
    publish: Vec<Publish>,
    egress: Option<EgressPolicy>,
    limits: NetworkLimits,
    connector: Option<Arc<dyn Connector>>,
}

impl PartialEq for PrivateNetwork {
    fn eq(&self, other: &Self) -> bool {
        let connectors = match (&self.connector, &other.connector) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.publish == other.publish && self.egress == other.egress && self.limits == other.limits && connectors
    }
}

impl Eq for PrivateNetwork {}

impl PrivateNetwork {
    /// Publishes a port, besides those that are already published. More than
    /// [`published_ports`](NetworkLimits::published_ports) are refused when a tree starts.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.publish.push(publish);
        self
    }

    /// Allows what these rules allow, in place of what was allowed before. Without any, trees reach no other host.
    #[must_use]
    pub fn egress(mut self, egress: EgressPolicy) -> Self {
        self.egress = Some(egress);
        self
    }

    /// Sets the limits of what all trees of the network use together.
    #[must_use]
    pub fn limits(mut self, limits: NetworkLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Has this connect to the names that are allowed, in place of the system's resolver and sockets.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// The published ports, in the order in which they were added.
    #[must_use]
    pub fn published(&self) -> &[Publish] {
        &self.publish
    }

    /// The egress policy, if there is any.
    #[must_use]
    pub const fn egress_policy(&self) -> Option<&EgressPolicy> {
        self.egress.as_ref()
    }

    pub(crate) const fn chosen_connector(&self) -> Option<&Arc<dyn Connector>> {
        self.connector.as_ref()
    }

    /// The limits, each at most its ceiling.
    pub(crate) fn clamped_limits(&self) -> NetworkLimits {
        self.limits.clamped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::EgressRules;

    #[test]
    fn w1_the_default_network_is_private_with_nothing_published_and_no_egress() {
        let Network::Private(private) = Network::default() else {
            panic!("not private");
        };
        assert_eq!((private.published(), private.egress_policy()), (&[][..], None));
        assert_eq!(private.clamped_limits(), NetworkLimits::default());
    }

    #[test]
    fn w1_networks_are_the_same_if_their_ports_policy_and_limits_are() {
        let policy = EgressPolicy::new(EgressRules::default());
        let publish: Publish = "8080:80".parse().expect("a port");
        let one = PrivateNetwork::default()
            .publish(publish.clone())
            .egress(policy.clone());
        assert_eq!(
            one,
            PrivateNetwork::default()
                .egress(policy.clone())
                .publish(publish.clone())
        );
        assert_ne!(one, PrivateNetwork::default().egress(policy.clone()));
        let alike = EgressPolicy::new(policy.rules());
        assert_ne!(one, PrivateNetwork::default().egress(alike).publish(publish));
        let fewer = NetworkLimits {
            connections: 1,
            ..NetworkLimits::default()
        };
        assert_ne!(one.clone().limits(fewer), one);
    }
}
