//! Egress by name: listeners on the addresses that stand for allowed names, and the connections that come in by them.
//!
//! A listener is there before a tree learns of its address, so no tree can listen there itself. Rules may change at any time: a
//! listener that is no longer allowed is closed, and so is each connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connector::{ConnectError, Connection, Target};
use super::decision::{NetworkDecision, NetworkOutcome};
use super::dns::{Answer, Asked};
use super::names::Names;
use super::relay::{End, relay};
use super::rules::Allowed;
use super::shared::{PAUSE, Place, Shared, accepted, listen_at, reset};
use super::{EgressPolicy, EgressRule, EgressRules};

/// The egress of one network.
#[derive(Debug)]
pub(super) struct Egress {
    shared: Arc<Shared>,
    rules: watch::Receiver<EgressRules>,
    /// The rules by which listeners are closed. Connections follow these, so that a tree whose connection was cut finds no listener.
    applied: watch::Sender<EgressRules>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    names: Names,
    listeners: HashMap<(Ipv4Addr, u16), Listener>,
}

/// A listener, which is closed when [`Listener::close`] returns, and not when its task runs next. Clones are the same.
#[derive(Clone, Debug)]
struct Listener {
    open: Arc<Mutex<Option<TcpListener>>>,
    closed: CancellationToken,
}

impl Listener {
    fn new(listener: TcpListener) -> Self {
        Self {
            open: Arc::new(Mutex::new(Some(listener))),
            closed: CancellationToken::new(),
        }
    }

    fn close(&self) {
        *self.locked() = None;
        self.closed.cancel();
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match &*self.locked() {
            Some(listener) => listener.poll_accept(context),
            None => Poll::Pending,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            applied: watch::Sender::new(policy.rules()),
            rules: policy.subscribe(),
            shared,
        });
        let mut sockets = egress.shared.sockets_now(egress.wanted())?;
        egress.apply(&mut sockets)?;
        Ok(egress)
    }

    /// Follows the rules until the network ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut rules = self.rules.clone();
        // What changed between the first look at the rules and now is a change, too.
        rules.mark_changed();
        while rules.changed().await.is_ok() {
            self.close_disallowed();
            let applied = match self.shared.sockets(self.wanted()).await {
                Ok(mut sockets) => self.apply(&mut sockets),
                Err(error) => Err(error),
            };
            if let Err(error) = applied {
                tracing::error!(%error, owner = ?self.shared.owner, "a private network cannot follow all of its new rules");
            }
        }
        // The policy is gone, so its rules do not change any more.
        std::future::pending::<()>().await;
    }

    /// How many sockets the exact names of the rules need beside those that listen, at most.
    fn wanted(&self) -> usize {
        let rules = self.rules.borrow().clone();
        let all: usize = rules
            .exact_names()
            .into_iter()
            .map(|name| rules.ports(name).len())
            .sum();
        let open = self.locked().listeners.len();
        all.min(self.shared.limits.listeners.saturating_sub(open))
    }

    /// Closes the listeners that the rules no longer allow, and then has connections follow.
    fn close_disallowed(&self) {
        let mut state = self.locked();
        let rules = self.rules.borrow().clone();
        let State { names, listeners } = &mut *state;
        listeners.retain(|(address, port), listener| {
            let stays = names
                .name(*address)
                .is_some_and(|name| rules.ports(name).contains(port));
            if !stays {
                listener.close();
            }
            stays
        });
        self.applied.send_replace(rules);
    }

    /// Opens and closes listeners as the rules say now. Takes the sockets that it needs.
    fn apply(self: &Arc<Self>, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut state = self.locked();
        // Read after the lock, so that of two changes the later one is applied last.
        let rules = self.rules.borrow().clone();
        let now = Instant::now();
        state.names.release(now);
        for (name, _) in state.names.retain(&rules, now) {
            self.shared.usage.forget(&name);
        }
        let named = state.names.add_exact(&rules);
        let mut wanted = HashMap::new();
        for (name, address) in state.names.all() {
            for port in rules.ports(name) {
                wanted.insert((address, port), Arc::clone(name));
            }
        }
        state.listeners.retain(|at, listener| {
            let stays = wanted.remove(at).is_some();
            if !stays {
                listener.close();
            }
            stays
        });
        let mut opened =
            named.map_err(|_| io::Error::other("more names are allowed than there are addresses for them"));
        // Names of wildcards get their listeners when they are asked for again.
        wanted.retain(|_, name| rules.knows(name) == Some(Allowed::Exact));
        for ((address, port), name) in wanted {
            opened = opened.and(self.open(&mut state, sockets, address, port, name));
        }
        opened
    }

    fn open(
        self: &Arc<Self>,
        state: &mut State,
        sockets: &mut Vec<OwnedFd>,
        address: Ipv4Addr,
        port: u16,
        name: Arc<str>,
    ) -> io::Result<()> {
        let is_full = state.listeners.len() >= self.shared.limits.listeners;
        let Entry::Vacant(vacant) = state.listeners.entry((address, port)) else {
            return Ok(());
        };
        if is_full {
            return Err(io::Error::other(
                "more names and ports are allowed than may be listened on (NetworkLimits::listeners)",
            ));
        }
        let socket = sockets.pop();
        let socket = socket.ok_or_else(|| io::Error::other("no socket is left in a private network"))?;
        let listener = listen_at(socket, SocketAddrV4::new(address, port))?;
        let listener = vacant.insert(Listener::new(listener)).clone();
        let egress = Arc::clone(self);
        self.shared.spawn(async move {
            let serving = egress.serve(&listener, &name, port);
            listener.closed.run_until_cancelled(serving).await;
        });
        Ok(())
    }

    /// Decides a query for a name that was allowed, and listens for it before its address is told.
    pub(super) async fn answer(self: &Arc<Self>, asked: &Asked) -> (Answer, Option<NetworkOutcome>) {
        // The name gets its place before anything outside hears of it, so that the limit of names bounds what a tree can tell by the
        // names that it asks for.
        let answer = self.decide(asked);
        let (address, name) = match (&answer, asked) {
            (Answer::Address(address), Asked::Address(name)) => (address, name),
            // Clients ask for both kinds of addresses at once. glibc takes a failure and an answer without data for a name that
            // exists and has no address. A name without a place is not looked up, as above.
            (Answer::NoData, Asked::Other(name)) if self.locked().names.contains(name) => {
                return (self.absence(name).await.unwrap_or(answer), None);
            }
            _ => {
                let used_up = (answer == Answer::Failed).then_some(NetworkOutcome::LimitReached);
                return (answer, used_up);
            }
        };
        if let Some(absent) = self.absence(name).await {
            return (absent, Some(NetworkOutcome::Unreachable));
        }
        match self.listens(name, *address).await {
            Ok(()) => (answer, None),
            Err(outcome) => (Answer::Failed, Some(outcome)),
        }
    }

    /// What a query for a name is answered that does not exist, or cannot be found now; none if it exists.
    async fn absence(&self, name: &str) -> Option<Answer> {
        match timeout(self.shared.limits.dial_time, self.shared.connector.exists(name)).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(Answer::NoName),
            // It may exist: clients that hear of a failure ask again, and keep nothing of it.
            Ok(Err(_)) | Err(_) => Some(Answer::Failed),
        }
    }

    /// Listens for a name on all ports that the rules allow: on one of them at least, because a tree that listens on all of its own
    /// addresses may have another.
    async fn listens(self: &Arc<Self>, name: &str, address: Ipv4Addr) -> Result<(), NetworkOutcome> {
        let missing = |state: &State| {
            let ports = self.rules.borrow().ports(name).into_iter();
            ports
                .filter(|port| !state.listeners.contains_key(&(address, *port)))
                .count()
        };
        let count = missing(&self.locked());
        let sockets = self.shared.sockets(count).await;
        let mut sockets = sockets.map_err(|_| NetworkOutcome::LimitReached)?;
        let mut state = self.locked();
        let rules = self.rules.borrow().clone();
        // They may have changed in the meantime.
        let name = state.names.name(address).filter(|now| ***now == *name).map(Arc::clone);
        let name = name.ok_or(NetworkOutcome::NotAllowed)?;
        let mut listens = Err(NetworkOutcome::NotAllowed);
        for port in rules.ports(&name) {
            let Err(error) = self.open(&mut state, &mut sockets, address, port, Arc::clone(&name)) else {
                listens = Ok(());
                continue;
            };
            tracing::debug!(%error, port, "no listener for a port of an allowed name");
            let outcome = if error.kind() == io::ErrorKind::AddrInUse {
                NetworkOutcome::PortInUse
            } else {
                NetworkOutcome::LimitReached
            };
            listens = listens.or(Err(outcome));
        }
        listens
    }

    fn decide(&self, asked: &Asked) -> Answer {
        let mut state = self.locked();
        let rules = self.rules.borrow().clone();
        state.names.release(Instant::now());
        let of_wildcard = match asked {
            Asked::Address(name) | Asked::Other(name) => {
                Some(name).filter(|name| rules.knows(name) == Some(Allowed::Wildcard))
            }
            Asked::Name(_) => None,
        };
        let most = self.shared.limits.wildcard_names;
        if of_wildcard.is_some_and(|name| !self.shared.usage.has_room_for(name, most)) {
            return Answer::Failed;
        }
        let answer = asked.decide(&rules, &mut state.names);
        if let (Answer::Address(_), Some(name)) = (&answer, of_wildcard) {
            self.shared.usage.told(name);
        }
        answer
    }

    /// Whether the rules allow a name at some port.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.rules.borrow().knows(name).is_some()
    }

    async fn serve(self: Arc<Self>, listener: &Listener, name: &Arc<str>, port: u16) {
        loop {
            let (stream, _) = accepted(|context| listener.poll_accept(context)).await;
            let Some(place) = self.shared.place() else {
                reset(stream);
                self.shared.tell_refused(name, Some(port), NetworkOutcome::LimitReached);
                // A tree that goes on cannot make more records than this.
                sleep(PAUSE).await;
                continue;
            };
            let connection = Arc::clone(&self).carry(stream, Arc::clone(name), port, place);
            self.shared.spawn_detached(connection);
        }
    }

    /// One connection of a tree, to its end.
    async fn carry(self: Arc<Self>, stream: TcpStream, name: Arc<str>, port: u16, place: Place) {
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
        drop(place);
        self.shared.tell(&decision);
    }

    async fn relayed(
        &self,
        stream: TcpStream,
        name: &str,
        port: u16,
        decision: &mut NetworkDecision,
    ) -> NetworkOutcome {
        let mut rules = self.applied.subscribe();
        let allowed = self.rules.borrow().allows(name, port).map(EgressRule::is_private);
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
        self.shared.bound_buffers(&upstream);
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
    std::future::pending::<()>().await;
}

/// Whether the tree has ended its direction without a byte, which a client does that has changed its mind.
fn has_hung_up(stream: &TcpStream) -> bool {
    let peeked = recv(stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Ok((_, 0)))
}
