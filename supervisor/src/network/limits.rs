//! Every default and ceiling of a private network, in one place (contract Q4, W5).

use std::time::Duration;

/// The longest time; a longer one is treated as this. The clock has an end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the trees of one private network may use together. All of it is the embedder's to set:
///
/// ```
/// use capsule_supervisor::sandbox::NetworkLimits;
///
/// let limits = NetworkLimits { connections: 64, ..NetworkLimits::default() };
/// assert_eq!(limits.dials_per_second, 50);
/// ```
///
/// An owner that ends its last tree and starts another one has another network, and no fresh rates: what it used of
/// `queries_per_second`, `dials_per_second` and `wildcard_names` lately counts for the next network too.
///
/// A number above its ceiling is treated as the ceiling. Zero is a limit like any other: nothing of that kind is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkLimits {
    /// Connections at once, published, egress and the host's own together; each has two descriptors of the host at most. One more is
    /// reset, or refused to the host. 1024; at
    /// most 16,384, and an eighth of the files that the host may have open (`RLIMIT_NOFILE`). All networks of a host together have at
    /// most a quarter of them, less the pipes by which fast streams are relayed: 16 at most.
    pub connections: usize,
    /// Sockets that listen for egress: one for each known name and port. Exact names that need more are refused when the network
    /// is made; a wildcard's name that needs more is not found (`SERVFAIL`). Each is a descriptor of the host. 1024; at most
    /// 8192.
    pub listeners: usize,
    /// Ports that are published, of one network. 32; at most 256.
    pub published_ports: usize,
    /// Names that were asked for and that only a wildcard allows, whether they exist or not. One more is not found (`SERVFAIL`). It
    /// bounds the memory of names, and what a tree tells by the labels it asks for. A name counts as long as its network is there, and
    /// for an hour after it was asked for. 256; at most 4096.
    pub wildcard_names: usize,
    /// Connections to the DNS server at once. One more is closed. 16; at most 256.
    pub dns_connections: usize,
    /// How long such a connection may be without a whole query. 10 seconds; at most a minute.
    pub dns_idle: Duration,
    /// DNS queries of one second, in the long run and at once. More wait. Those that come while some hundreds wait are not
    /// answered, and so are asked again. 200; at most 10,000.
    pub queries_per_second: u32,
    /// Connections of one second that the host dials, in the long run and at once. More wait, and are
    /// among `connections` all the while. 50; at most 5000.
    pub dials_per_second: u32,
    /// How long the host tries to reach a name, over all of its addresses. 10 seconds; at most 2 minutes, after which the system
    /// itself gives up.
    pub dial_time: Duration,
    /// How long a connection may carry nothing in either direction. 2 hours and 4 minutes, as RFC 5382 demands of what stands
    /// between two ends: TCP's own keep-alive, every 2 hours, keeps a quiet connection. At most a year.
    pub idle_time: Duration,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            listeners: 1024,
            published_ports: 32,
            wildcard_names: 256,
            dns_connections: 16,
            dns_idle: Duration::from_secs(10),
            queries_per_second: 200,
            dials_per_second: 50,
            dial_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(2 * 60 * 60 + 4 * 60),
        }
    }
}

impl NetworkLimits {
    /// Every number, at most its ceiling.
    pub(crate) fn clamped(&self) -> Self {
        Self {
            connections: self.connections.min(16_384),
            listeners: self.listeners.min(8192),
            published_ports: self.published_ports.min(256),
            wildcard_names: self.wildcard_names.min(4096),
            dns_connections: self.dns_connections.min(256),
            dns_idle: self.dns_idle.min(Duration::from_secs(60)),
            queries_per_second: self.queries_per_second.min(10_000),
            dials_per_second: self.dials_per_second.min(5000),
            dial_time: self.dial_time.min(Duration::from_secs(2 * 60)),
            idle_time: self.idle_time.min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w5_every_limit_of_a_network_has_a_ceiling_above_its_default() {
        let most = NetworkLimits {
            connections: usize::MAX,
            listeners: usize::MAX,
            published_ports: usize::MAX,
            wildcard_names: usize::MAX,
            dns_connections: usize::MAX,
            dns_idle: Duration::MAX,
            queries_per_second: u32::MAX,
            dials_per_second: u32::MAX,
            dial_time: Duration::MAX,
            idle_time: Duration::MAX,
        };
        let ceilings = NetworkLimits {
            connections: 16_384,
            listeners: 8192,
            published_ports: 256,
            wildcard_names: 4096,
            dns_connections: 256,
            dns_idle: Duration::from_secs(60),
            queries_per_second: 10_000,
            dials_per_second: 5000,
            dial_time: Duration::from_secs(120),
            idle_time: LONGEST,
        };
        assert_eq!(most.clamped(), ceilings);
        let default = NetworkLimits::default();
        assert_eq!(default.clamped(), default);
    }
}
