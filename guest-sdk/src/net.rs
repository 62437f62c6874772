//! The private network of this capsule's processes: published ports, and plain HTTP to a server that the capsule started.
//!
//! All processes of a capsule and a principal share a network of their own. The capsule itself is not in it: the host sends its
//! requests. See also [`Process::ports`](crate::Process::ports) and [`Process::wait_for_port`](crate::Process::wait_for_port).
//!
//! ```no_run
//! use capsule_sdk::{Command, net};
//! use std::{error::Error, time::Duration};
//!
//! fn start() -> Result<String, Box<dyn Error>> {
//!     let server = Command::new("python3").args(["-m", "http.server", "8000"]).spawn_persistent()?;
//!     server.wait_for_port(8000, Duration::from_secs(20))?;
//!     Ok(net::get(8000, "/index.html")?.text_lossy().into_owned())
//! }
//! ```
//!
//! These calls are of the package `capsule:net`, which a host may lack. A capsule that makes none of them does not import the package,
//! and runs on every host; one that makes some is refused when such a host loads it, with the name of the package.

use crate::{ErrorKind, millis::millis, wit::net as wit};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    result,
};

pub use crate::http::{Request, Response};
pub use crate::published::{PublishedAddress, PublishedPort};

/// The result of a call about the network.
///
/// ```no_run
/// fn is_up(port: u16) -> capsule_sdk::net::Result<bool> {
///     Ok(capsule_sdk::net::get(port, "/health")?.status == 200)
/// }
/// ```
pub type Result<T> = result::Result<T, Error>;

/// Why the host did not do what was asked.
///
/// ```no_run
/// use capsule_sdk::net::{self, Error};
///
/// match net::get(8080, "/") {
///     Ok(answer) => println!("{}", answer.status),
///     Err(Error::NotListening) => println!("the server is not up yet"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is malformed; the text says where. Nothing was sent.
    #[error("{0}")]
    InvalidInput(String),
    /// There is no such process for this principal and capsule.
    #[error("no-such-process: no process of this capsule has this id")]
    NoSuchProcess,
    /// The process, or every process of this capsule, has no private network; or the caller is not authenticated, so that its
    /// instances share none.
    #[error("no-network: no process of this capsule is in a private network")]
    NoNetwork,
    /// Nothing listens on the port, or a process did not begin to listen in time.
    #[error("not-listening: nothing listens on the port")]
    NotListening,
    /// The process has ended.
    #[error("exited: the process has ended")]
    Exited,
    /// The server did not accept the connection, or give its whole answer, in time.
    #[error("timeout: the server gave no whole answer in time")]
    Timeout,
    /// The request, or the body of the answer, is larger than it may be.
    #[error("too-large: a body of more than 1 MiB, or headers of more than 64 KiB")]
    TooLarge,
    /// The answer is not HTTP/1.1, has headers of more than 64 KiB, or ended before it was whole.
    #[error("invalid-response: the answer is not HTTP/1.1, has too large headers, or is not whole")]
    InvalidResponse,
    /// The capsule is being unloaded.
    #[error("cancelled: the capsule is being unloaded")]
    Cancelled,
    /// Another error, as the host describes it: `kind: text`.
    #[error("{0}")]
    Unknown(String),
}

impl Error {
    /// Its kind, of which [`ErrorKind::as_str`] gives the interface's name.
    ///
    /// ```
    /// assert_eq!(capsule_sdk::net::Error::NotListening.kind().as_str(), "not-listening");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidInput(_) => ErrorKind::InvalidInput,
            Self::NoSuchProcess => ErrorKind::NoSuchProcess,
            Self::NoNetwork => ErrorKind::NoNetwork,
            Self::NotListening => ErrorKind::NotListening,
            Self::Exited => ErrorKind::Exited,
            Self::Timeout => ErrorKind::Timeout,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::InvalidResponse => ErrorKind::InvalidResponse,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unknown(_) => ErrorKind::Unknown,
        }
    }
}

impl From<wit::ErrorCode> for Error {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::InvalidInput(text) => Self::InvalidInput(text),
            wit::ErrorCode::NoSuchProcess => Self::NoSuchProcess,
            wit::ErrorCode::NoNetwork => Self::NoNetwork,
            wit::ErrorCode::NotListening => Self::NotListening,
            wit::ErrorCode::Exited => Self::Exited,
            wit::ErrorCode::Timeout => Self::Timeout,
            wit::ErrorCode::TooLarge => Self::TooLarge,
            wit::ErrorCode::InvalidResponse => Self::InvalidResponse,
            wit::ErrorCode::Cancelled => Self::Cancelled,
            wit::ErrorCode::Unknown(text) => Self::Unknown(text),
        }
    }
}

/// For functions that start a process and wait for its port.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidInput(_) => Self::InvalidInput,
            Error::NoSuchProcess => Self::NoSuchProcess,
            Error::Timeout => Self::WaitTimeout,
            Error::TooLarge => Self::TooLarge,
            Error::Cancelled => Self::Cancelled,
            Error::NoNetwork | Error::NotListening | Error::Exited | Error::InvalidResponse | Error::Unknown(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

/// The published ports of the capsule's network; none while no process of the capsule is in one.
///
/// ```no_run
/// let url = capsule_sdk::net::published().first().map(|published| format!("http://{}", published.address));
/// ```
#[must_use]
pub fn published() -> Vec<PublishedPort> {
    let address = |address| match address {
        wit::PublishedAddress::Tcp(wit::TcpAddress { ip: (a, b, c, d), port }) => {
            PublishedAddress::Tcp(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
        }
        wit::PublishedAddress::Unix(path) => PublishedAddress::Unix(path.into()),
    };
    let published = wit::published().into_iter();
    published
        .map(|published| PublishedPort::new(published.port, address(published.address)))
        .collect()
}

/// Sends a request to a server in the capsule's network, and returns its whole answer. Each request has a connection of its own.
///
/// # Errors
/// [`Error::NotListening`] if nothing listens on the port, [`Error::NoNetwork`] if no process of the capsule runs;
/// [`Error::Timeout`], [`Error::TooLarge`] or [`Error::InvalidResponse`], depending on what the server does.
///
/// ```no_run
/// # fn main() -> capsule_sdk::net::Result<()> {
/// use capsule_sdk::net::{self, Request};
///
/// let answer = net::fetch(&Request::new("HEAD", 8080, "/"))?;
/// println!("{:?}", answer.value("server"));
/// # Ok(()) }
/// ```
pub fn fetch(request: &Request) -> Result<Response> {
    let headers = request.headers.iter();
    let answer = wit::fetch(&wit::Request {
        port: request.port,
        method: request.method.clone(),
        path: request.path.clone(),
        headers: headers
            .map(|(name, value)| wit::Header {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        body: request.body.clone(),
        timeout_ms: millis(request.timeout),
    })?;
    let headers = answer.headers.into_iter();
    Ok(
        headers.fold(Response::new(answer.status, answer.body), |answer, header| {
            answer.header(header.name, header.value)
        }),
    )
}

/// [`fetch`] of a [`Request::get`].
///
/// # Errors
/// As of [`fetch`].
///
/// ```no_run
/// # fn main() -> capsule_sdk::net::Result<()> {
/// let page = capsule_sdk::net::get(8080, "/")?.text_lossy().into_owned();
/// # Ok(()) }
/// ```
pub fn get(port: u16, path: &str) -> Result<Response> {
    fetch(&Request::get(port, path))
}
