//! A private network that is up: its namespace, and what the host does in it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use super::connector::{Connector, SystemConnector};
use super::decision::NetworkObserver;
use super::egress::Egress;
use super::name_server::NameServer;
use super::port_stream::PortStream;
use super::publisher::{Publication, PublishedPort, publish};
use super::shared::Shared;
use super::thread::NetworkThread;
use super::usage::OwnerUsage;
use super::{PrivateNetwork, Publish};
use crate::os::init::Init;
use crate::os::network::{Namespace, NewNetwork};
use crate::os::usage::Meter;
use crate::owner::Owner;

/// The private network of one owner's trees, while it is up.
///
/// It is there from the owner's first tree on, until the last tree has ended and this value and its clones (in an `Arc`) are
/// dropped. Then its published ports are free, its connections are reset, and nothing of it is left.
#[derive(Debug)]
pub struct OwnerNetwork {
    policy: PrivateNetwork,
    published: Vec<PublishedPort>,
    _publications: Vec<Publication>,
    shared: Arc<Shared>,
    ended: Arc<EndedNetworks>,
    /// Ends the tasks.
    _cut: DropGuard,
}

/// What is left to do for networks that have ended.
#[derive(Debug)]
pub(crate) struct EndedNetworks {
    /// Their connections, as long as they are not told to the embedder.
    connections: Mutex<Vec<TaskTracker>>,
    init: Arc<Init>,
}

/// How long no init is made after the end of a network. A command that is started just then needs the processor more.
const QUIET: Duration = Duration::from_millis(5);

impl EndedNetworks {
    pub(crate) fn new(init: Arc<Init>) -> Self {
        Self {
            connections: Mutex::default(),
            init,
        }
    }

    fn add(&self, network: &Shared) {
        network.namespace.end();
        if network.namespace.has_inits_inside() {
            // The init that waited ended with the network. The next one waits in the network that is made in advance.
            let init = Arc::clone(&self.init);
            network.spawn_after(async move {
                sleep(QUIET).await;
                drop(spawn_blocking(move || init.prepare(true)).await);
            });
        }
        let connections = &network.detached;
        connections.close();
        let mut ended = self.locked();
        ended.retain(|connections| !connections.is_empty());
        if !connections.is_empty() {
            ended.push(connections.clone());
        }
    }

    /// Completes when the connections of every network that has ended by now are told.
    pub(crate) async fn told(&self) {
        while let Some(connections) = { self.locked().pop() } {
            connections.wait().await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<TaskTracker>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnerNetwork {
    fn drop(&mut self) {
        // First: no connection begins any more.
        self.shared.cut.cancel();
        self.ended.add(&self.shared);
    }
}

/// Why a private network could not be set up. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A port cannot be published where it was said.
    #[error("port {} cannot be published at {}: {error}; choose another port, or 0 for any that is free", publish.guest(), publish.at())]
    Publish {
        /// What was said.
        publish: Publish,
        /// The system's reason, such as an address that is in use.
        #[source]
        error: io::Error,
    },
    /// More ports are published than the network may have.
    #[error("more ports are published than a network may have, {0} (NetworkLimits::published_ports)")]
    TooManyPorts(usize),
    /// A listener or the name server could not be set up.
    #[error("the network could not be set up: {0}")]
    Host(#[from] io::Error),
}

impl OwnerNetwork {
    /// Sets up what the policy says in a namespace that was just made. Blocks for a moment.
    pub(crate) fn new(
        made: NewNetwork,
        owner: Option<Owner>,
        policy: &PrivateNetwork,
        observer: Option<Arc<dyn NetworkObserver>>,
        ended: &Arc<EndedNetworks>,
        usage: &Arc<OwnerUsage>,
        thread: &Arc<NetworkThread>,
    ) -> Result<Self, NetworkError> {
        static WARNED: Once = Once::new();
        if !made.is_bounded {
            WARNED.call_once(|| {
                tracing::warn!(
                    "the kernel's buffers of private networks have no bound, because /proc/sys cannot be written to: commands can \
                     hold more memory in them than their limits say"
                );
            });
        }
        let limits = policy.clamped_limits();
        if policy.published().len() > limits.published_ports {
            return Err(NetworkError::TooManyPorts(limits.published_ports));
        }
        let connector = policy.chosen_connector().cloned();
        let connector = connector.unwrap_or_else(|| Arc::new(SystemConnector::default()) as Arc<dyn Connector>);
        let (usage, thread) = (Arc::clone(usage), Arc::clone(thread));
        let shared = Shared::new(owner, limits, made.namespace, connector, observer, usage, thread)?;
        let shared = Arc::new(shared);
        let _entered = shared.enter();
        let cut = shared.cut.clone().drop_guard();
        let egress = policy
            .egress_policy()
            .map(|policy| Egress::new(Arc::clone(&shared), policy))
            .transpose()?;
        if let Some(egress) = &egress {
            shared.spawn(Arc::clone(egress).run());
        }
        let has_names = egress.is_some();
        match NameServer::start(&shared, egress, made.dns_udp, made.dns_tcp) {
            // The user has no epoll watches left. The sockets are closed, so look-ups fail at once, as they would anyway.
            Err(error) if !has_names => {
                tracing::debug!(%error, "a private network without egress has no name server");
            }
            started => started?,
        }
        let published = policy.published().iter().map(|wanted| {
            publish(&shared, wanted).map_err(|error| NetworkError::Publish {
                publish: wanted.clone(),
                error,
            })
        });
        let (published, publications) = published.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(Self {
            published,
            _publications: publications,
            policy: policy.clone(),
            shared,
            ended: Arc::clone(ended),
            _cut: cut,
        })
    }

    /// The published ports, and where each is reached.
    #[must_use]
    pub fn published(&self) -> &[PublishedPort] {
        &self.published
    }

    /// Connects to a port on which a tree listens, by 127.0.0.1 or else ::1, without a relay in between: the socket is in the
    /// trees' network.
    ///
    /// # Errors
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nothing listens there.
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded): the network has as many connections as it may
    /// ([`NetworkLimits::connections`](super::NetworkLimits::connections)).
    /// [`TimedOut`](io::ErrorKind::TimedOut): no answer within [`NetworkLimits::dial_time`](super::NetworkLimits::dial_time).
    ///
    /// Dropping the future gives up the connection.
    pub async fn connect(&self, port: u16) -> io::Result<PortStream> {
        let place = self.shared.place().ok_or(io::ErrorKind::QuotaExceeded)?;
        let stream = timeout(self.shared.limits.dial_time, self.shared.connect(port)).await??;
        Ok(PortStream::new(stream, place))
    }

    /// Lets ports that are published for this label lead to a tree that was started in it.
    pub(crate) fn add(&self, label: String, meter: &Arc<Meter>) {
        self.shared.labelled.add(label, meter);
    }

    pub(crate) fn policy(&self) -> &PrivateNetwork {
        &self.policy
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }
}
