//! The name server of one network: its sockets, and the rates and numbers that a tree may use of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::decision::NetworkOutcome;
use super::dns::{self, Answer, Asked, Query, Read, Transport};
use super::egress::Egress;
use super::shared::{Shared, accepted, reset};

/// The longest query that is read.
const QUERY_MAX: usize = dns::EDNS_SIZE as usize;

/// Queries that wait for an answer from outside at once. The threads that look up names are fewer, and a query waits for one: a
/// client that hears nothing asks again only after five seconds.
const LOOKUPS: usize = 128;

/// How long the server does not read when queries come faster than they may: the kernel drops those that do not fit into the
/// socket, which costs the host nothing.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct NameServer {
    shared: Arc<Shared>,
    /// None: no name is allowed.
    egress: Option<Arc<Egress>>,
    lookups: Arc<Semaphore>,
}

impl NameServer {
    /// Starts the tasks. They end with the network.
    pub(super) fn start(
        shared: &Arc<Shared>,
        egress: Option<Arc<Egress>>,
        udp: OwnedFd,
        tcp: OwnedFd,
    ) -> io::Result<()> {
        let server = Arc::new(Self {
            shared: Arc::clone(shared),
            egress,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        });
        let udp = Arc::new(UdpSocket::from_std(udp.into())?);
        let tcp = TcpListener::from_std(tcp.into())?;
        shared.spawn(Arc::clone(&server).serve_udp(udp));
        shared.spawn(server.serve_tcp(tcp));
        Ok(())
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut query = [0; QUERY_MAX];
        loop {
            // The kernel reports none of a client that is gone; in doubt this must not spin.
            let Ok((length, client)) = socket.recv_from(&mut query).await else {
                sleep(PAUSE).await;
                continue;
            };
            // It waits with those that the socket holds, for about a second at most. A client that hears nothing asks again after
            // five seconds, which is too long for programs that look up many names at once.
            while !self.admits() {
                sleep(PAUSE).await;
            }
            let query = query.get(..length).unwrap_or_default();
            match self.at_once(query, Transport::Udp) {
                AtOnce::Ignored => {}
                AtOnce::Answer(answer) => send(&socket, &answer, client).await,
                AtOnce::LookUp => {
                    let Ok(permit) = Arc::clone(&self.lookups).try_acquire_owned() else {
                        continue;
                    };
                    let (server, socket, query) = (Arc::clone(&self), Arc::clone(&socket), query.to_vec());
                    self.shared.spawn(async move {
                        if let Some(answer) = server.looked_up(&query, Transport::Udp).await {
                            send(&socket, &answer, client).await;
                        }
                        drop(permit);
                    });
                }
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.shared.limits.dns_connections));
        loop {
            let (stream, _) = accepted(|context| listener.poll_accept(context)).await;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                reset(stream);
                continue;
            };
            let server = Arc::clone(&self);
            self.shared.spawn(async move {
                drop(server.converse(stream).await);
                drop(place);
            });
        }
    }

    /// Answers the queries of one connection, one after the other.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let query = timeout(self.shared.limits.dns_idle, framed(&mut stream)).await??;
            let admitted = async {
                while !self.admits() {
                    sleep(PAUSE).await;
                }
            };
            timeout(self.shared.limits.dns_idle, admitted).await?;
            let answer = match self.at_once(&query, Transport::Tcp) {
                AtOnce::Ignored => return Ok(()),
                AtOnce::Answer(answer) => Some(answer),
                AtOnce::LookUp => {
                    let permit = self.lookups.acquire().await;
                    let answer = self.looked_up(&query, Transport::Tcp).await;
                    drop(permit);
                    answer
                }
            };
            let Some(answer) = answer else { return Ok(()) };
            let Ok(length) = u16::try_from(answer.len()) else {
                return Ok(());
            };
            let frame = [&length.to_be_bytes(), &*answer].concat();
            timeout(self.shared.limits.dns_idle, stream.write_all(&frame)).await??;
        }
    }

    fn admits(&self) -> bool {
        self.shared.usage.admits_query(self.shared.limits.queries_per_second)
    }

    /// The answer to a query that needs no look at the world outside.
    fn at_once(&self, query: &[u8], transport: Transport) -> AtOnce {
        let query = match dns::read(query, transport) {
            Read::Ignored => return AtOnce::Ignored,
            Read::Answered(answer) => return AtOnce::Answer(answer),
            Read::Asks(query) => query,
        };
        let is_known = |name: &str| self.egress.as_ref().is_some_and(|egress| egress.knows(name));
        match query.asked() {
            Asked::Address(name) if !is_known(name) => {
                self.shared.tell_refused(name, None, NetworkOutcome::NotAllowed);
                answered(query, &Answer::NoName)
            }
            // Clients ask for other kinds of addresses beside the first: that decides nothing more.
            Asked::Other(name) if !is_known(name) => answered(query, &Answer::NoName),
            Asked::Name(_) if self.egress.is_none() => answered(query, &Answer::NoName),
            Asked::Address(_) | Asked::Other(_) | Asked::Name(_) => AtOnce::LookUp,
        }
    }

    /// The answer to a query about a name that is allowed.
    async fn looked_up(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Read::Asks(query) = dns::read(query, transport) else {
            return None;
        };
        let (answer, outcome) = match &self.egress {
            Some(egress) => egress.answer(query.asked()).await,
            None => (Answer::NoName, None),
        };
        if let (Some(outcome), Asked::Address(name)) = (outcome, query.asked()) {
            self.shared.tell_refused(name, None, outcome);
        }
        query.answer(&answer)
    }
}

enum AtOnce {
    Ignored,
    Answer(Vec<u8>),
    LookUp,
}

fn answered(query: Query<'_>, answer: &Answer) -> AtOnce {
    query.answer(answer).map_or(AtOnce::Ignored, AtOnce::Answer)
}

/// A client that is gone, or whose socket is full, gets no answer.
async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    drop(socket.send_to(answer, client).await);
}

/// A message with its length in front.
async fn framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUERY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
