//! Egress by name: listeners on the addresses that stand for allowed names, and the connections that come in by them.
//!
//! A listener is there before a tree learns of its address, so no tree can listen there itself. Rules may change at any time: a
//! listener that is no longer allowed is closed, and so is each connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connector::{ConnectError, Connection, Target};
use super::decision::{NetworkDecision, NetworkOutcome};
use super::dns::{Answer, Asked};
use super::names::Names;
use super::relay::{End, relay};
use super::shared::{Shared, accepted, listen_at, reset};
use super::{EgressPolicy, EgressRule, EgressRules};

/// The egress of one network.
#[derive(Debug)]
pub(super) struct Egress {
    shared: Arc<Shared>,
    rules: watch::Receiver<EgressRules>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    names: Names,
    /// What closes each listener.
    listeners: HashMap<(Ipv4Addr, u16), CancellationToken>,
}

impl Egress {
    /// With a listener for each exact name and port. Blocks while sockets are made.
    ///
    /// # Errors
    /// A listener cannot be had, or the limit of listeners is lower.
    pub(super) fn new(shared: Arc<Shared>, policy: &EgressPolicy) -> io::Result<Arc<Self>> {
        let egress = Arc::new(Self {
            state: Mutex::new(State {
                names: Names::new(shared.limits.wildcard_names),
                listeners: HashMap::new(),
            }),
            rules: policy.subscribe(),
            shared,
        });
        let rules = egress.rules.borrow().clone();
        let wanted: usize = rules
            .exact_names()
            .into_iter()
            .map(|name| rules.ports(name).len())
            .sum();
        while egress.shared.namespace.sockets() < wanted.min(egress.shared.limits.listeners) {
            egress.shared.namespace.make_sockets()?;
        }
        egress.follow(&rules)?;
        Ok(egress)
    }

    /// Follows the rules until the network ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut rules = self.rules.clone();
        // What changed between the first look at the rules and now is a change, too.
        rules.mark_changed();
        while rules.changed().await.is_ok() {
            let now = rules.borrow_and_update().clone();
            let wanted: usize = now.exact_names().into_iter().map(|name| now.ports(name).len()).sum();
            let room = wanted.min(self.shared.limits.listeners);
            let reserved = self.shared.reserve_sockets(room).await;
            if let Err(error) = reserved.and_then(|()| self.follow(&now)) {
                tracing::error!(%error, owner = ?self.shared.owner, "a private network cannot follow all of its new rules");
            }
        }
        // The policy is gone, and its rules with it no longer change.
        std::future::pending().await
    }

    /// Opens and closes listeners as these rules say.
    fn follow(self: &Arc<Self>, rules: &EgressRules) -> io::Result<()> {
        let mut state = self.locked();
        let (forgotten, named) = state.names.set_rules(rules);
        drop(forgotten);
        let mut wanted = HashMap::new();
        for (name, address) in state.names.all() {
            for port in rules.ports(name) {
                wanted.insert((address, port), Arc::clone(name));
            }
        }
        state.listeners.retain(|at, close| {
            let stays = wanted.remove(at).is_some();
            if !stays {
                close.cancel();
            }
            stays
        });
        let mut opened =
            named.map_err(|_| io::Error::other("more names are allowed than there are addresses for them"));
        for ((address, port), name) in wanted {
            opened = opened.and(self.open(&mut state, address, port, name));
        }
        opened
    }

    fn open(self: &Arc<Self>, state: &mut State, address: Ipv4Addr, port: u16, name: Arc<str>) -> io::Result<()> {
        if state.listeners.len() >= self.shared.limits.listeners {
            return Err(io::Error::other(
                "more names and ports are allowed than may be listened on (NetworkLimits::listeners)",
            ));
        }
        let Entry::Vacant(vacant) = state.listeners.entry((address, port)) else {
            return Ok(());
        };
        let socket = self.shared.namespace.socket();
        let socket = socket.ok_or_else(|| io::Error::other("no socket is left in a private network"))?;
        let listener = listen_at(socket, SocketAddrV4::new(address, port))?;
        let close = vacant.insert(CancellationToken::new()).clone();
        let egress = Arc::clone(self);
        self.shared.spawn(async move {
            close.run_until_cancelled(egress.serve(&listener, &name, port)).await;
        });
        Ok(())
    }

    /// Decides a query for a name, and listens for it before its address is told.
    pub(super) async fn answer(self: &Arc<Self>, asked: &Asked) -> Answer {
        let rules = self.rules.borrow().clone();
        if let Asked::Address(name) = asked
            && rules.knows(name).is_some()
        {
            match timeout(self.shared.limits.dial_time, self.shared.connector.is_there(name)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false) | Err(_)) => return Answer::NoName,
                Err(_) => return Answer::Failed,
            }
            if self.shared.reserve_sockets(EgressRule::PORTS_MAX).await.is_err() {
                return Answer::Failed;
            }
        }
        // They may have changed in the meantime.
        let rules = self.rules.borrow().clone();
        let mut state = self.locked();
        let answer = asked.decide(&rules, &mut state.names);
        if let (Answer::Address(address), Asked::Address(name)) = (&answer, asked) {
            for port in rules.ports(name) {
                if self.open(&mut state, *address, port, name.as_str().into()).is_err() {
                    return Answer::Failed;
                }
            }
        }
        answer
    }

    /// Whether the rules allow a name at some port.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.rules.borrow().knows(name).is_some()
    }

    async fn serve(self: Arc<Self>, listener: &TcpListener, name: &Arc<str>, port: u16) {
        loop {
            let (stream, _) = accepted(|context| listener.poll_accept(context)).await;
            let Ok(permit) = Arc::clone(&self.shared.connections).try_acquire_owned() else {
                reset(stream);
                self.shared.tell_refused(name, Some(port), NetworkOutcome::LimitReached);
                continue;
            };
            let connection = Arc::clone(&self).carry(stream, Arc::clone(name), port, permit);
            self.shared.spawn_to_its_end(connection);
        }
    }

    /// One connection of a tree, to its end.
    async fn carry(self: Arc<Self>, stream: TcpStream, name: Arc<str>, port: u16, permit: OwnedSemaphorePermit) {
        let mut decision = NetworkDecision {
            owner: self.shared.owner.clone(),
            name: (*name).to_owned(),
            port: Some(port),
            address: None,
            sent: 0,
            received: 0,
            outcome: NetworkOutcome::Cut,
        };
        decision.outcome = self.relayed(stream, &name, port, &mut decision).await;
        // Before a reader of the record may count connections.
        drop(permit);
        self.shared.tell(&decision);
    }

    async fn relayed(
        &self,
        stream: TcpStream,
        name: &str,
        port: u16,
        decision: &mut NetworkDecision,
    ) -> NetworkOutcome {
        let mut rules = self.rules.clone();
        let allowed = rules.borrow_and_update().allows(name, port).map(EgressRule::is_private);
        let Some(private) = allowed else {
            reset(stream);
            return NetworkOutcome::NotAllowed;
        };
        if self.shared.limits.dials_per_second == 0 {
            reset(stream);
            return NetworkOutcome::LimitReached;
        }
        let target = Target { name, port, private };
        let connected = tokio::select! {
            biased;
            () = self.shared.cut.cancelled() => Err(NetworkOutcome::Cut),
            () = revoked(&mut rules, name, port, private) => Err(NetworkOutcome::Cut),
            _ = stream.ready(Interest::ERROR) => Err(NetworkOutcome::Reset),
            connected = self.dialled(&stream, target, decision) => connected,
        };
        let Connection {
            stream: upstream,
            address,
        } = match connected {
            Ok(connection) => connection,
            Err(outcome) => {
                reset(stream);
                return outcome;
            }
        };
        decision.address = address;
        let cut = self.shared.cut.child_token();
        let mut relayed = pin!(relay(stream.into(), upstream, &self.shared.relays, &cut));
        let ended = tokio::select! {
            ended = &mut relayed => ended,
            () = revoked(&mut rules, name, port, private) => {
                cut.cancel();
                relayed.await
            }
        };
        decision.sent = ended.up;
        decision.received = ended.down;
        match ended.why {
            End::Finished => NetworkOutcome::Finished,
            End::Reset => NetworkOutcome::Reset,
            End::Idle => NetworkOutcome::Idle,
            End::Cut => NetworkOutcome::Cut,
        }
    }

    /// Connects for a tree when it is its turn.
    async fn dialled(
        &self,
        stream: &TcpStream,
        target: Target<'_>,
        decision: &mut NetworkDecision,
    ) -> Result<Connection, NetworkOutcome> {
        // A reset would fail programs that need a few more connections in a second than others do. It does not wait in the
        // listener's queue, because that holds its bytes beyond the limit of connections.
        self.shared.turn_to_dial().await;
        if has_hung_up(stream) {
            return Err(NetworkOutcome::Reset);
        }
        match timeout(self.shared.limits.dial_time, self.shared.connector.connect(target)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(ConnectError::Refused(ip))) => {
                decision.address = Some(SocketAddr::new(ip, target.port));
                Err(NetworkOutcome::AddressRefused)
            }
            Ok(Err(ConnectError::Unreachable(address, _))) => {
                decision.address = address;
                Err(NetworkOutcome::Unreachable)
            }
            Err(_) => Err(NetworkOutcome::Unreachable),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when the rules no longer allow a connection that they allowed.
async fn revoked(rules: &mut watch::Receiver<EgressRules>, name: &str, port: u16, private: bool) {
    while rules.changed().await.is_ok() {
        let allowed = rules.borrow_and_update().allows(name, port).map(EgressRule::is_private);
        if allowed.is_none_or(|now| private && !now) {
            return;
        }
    }
    std::future::pending().await
}

/// Whether the tree has ended its direction without a byte, which a client does that has changed its mind.
fn has_hung_up(stream: &TcpStream) -> bool {
    let peeked = recv(stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Ok((_, 0)))
}
