//! A plain HTTP/1.1 request to a port of an owner's private network.
//!
//! The server is a guest's process, and so as hostile as the guest: it may never answer, send headers or a body without end, send
//! them a byte at a time, or send something else than HTTP. So the whole exchange has one time, and every part of the answer has a
//! size. An answer that is larger is refused and not cut.

use std::pin::pin;
use std::time::Duration;

use capsule_supervisor::PortError;
use capsule_supervisor::sandbox::OwnerNetwork;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most bytes of a body, in either direction.
pub(crate) const BODY_MAX: usize = 1 << 20;
/// The most headers of a message.
const HEADERS_MAX: usize = 128;
/// The most bytes of the headers of a message.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// The longest path, in bytes.
const PATH_MAX: usize = 8 << 10;
/// The longest method, in bytes.
const METHOD_MAX: usize = 32;
/// The longest exchange.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(60);

/// Headers that say where a message ends, or what becomes of the connection: they are the host's to send.
const OF_THE_HOST: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request, as a guest made it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) port: u16,
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Of the whole exchange.
    pub(crate) timeout: Duration,
}

/// The answer of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In the order in which they came, but those of one name together.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The request is malformed; the text says where. Nothing was sent.
    #[error("invalid-input: {0}")]
    Invalid(&'static str),
    /// The request, or the body of the answer, is larger than it may be.
    #[error("too-large: a body of more than 1 MiB, or headers of more than 64 KiB")]
    TooLarge,
    /// The exchange took longer than it may.
    #[error("timeout: no whole answer in time")]
    Timeout,
    /// The answer is not HTTP/1.1, has too many headers, or ended too early.
    #[error("invalid-response: {0}")]
    Response(#[from] hyper::Error),
    /// The server could not be reached.
    #[error(transparent)]
    Connect(#[from] PortError),
}

/// Sends the request, and takes the whole answer. Dropped, it closes the connection.
pub(crate) async fn fetch(network: &OwnerNetwork, request: Request) -> Result<Response, FetchError> {
    let (port, timeout) = (request.port, request.timeout.min(TIME_MAX));
    let request = checked(request)?;
    let exchange = async {
        let stream = network.connect(port).await.map_err(PortError::from)?;
        exchange(stream, request).await
    };
    let answered = tokio::time::timeout(timeout, exchange).await;
    answered.unwrap_or(Err(FetchError::Timeout))
}

/// The request as it is sent, if it can be.
fn checked(request: Request) -> Result<hyper::Request<Full<Bytes>>, FetchError> {
    let Request {
        port,
        method,
        path,
        headers: given,
        body,
        ..
    } = request;
    let bytes = given.iter().map(|(name, value)| name.len() + value.len());
    let is_large = given.len() > HEADERS_MAX || bytes.sum::<usize>() > HEADER_BYTES_MAX;
    if is_large || body.len() > BODY_MAX || path.len() > PATH_MAX || method.len() > METHOD_MAX {
        return Err(FetchError::TooLarge);
    }
    if port == 0 {
        return Err(FetchError::Invalid("the port is 0"));
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| FetchError::Invalid("the method is no token"))?;
    if method == Method::CONNECT {
        return Err(FetchError::Invalid("the method is CONNECT, which makes a tunnel"));
    }
    let path = Some(path).filter(|path| path.starts_with('/'));
    let path: Uri = path.and_then(|path| path.parse().ok()).ok_or(FetchError::Invalid(
        "the path is none; it begins with / and has no spaces",
    ))?;
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name: HeaderName = name
            .parse()
            .map_err(|_| FetchError::Invalid("the name of a header is no token"))?;
        let value = HeaderValue::from_bytes(&value);
        let value = value.map_err(|_| FetchError::Invalid("the value of a header holds a control character"))?;
        if OF_THE_HOST.contains(&name) {
            return Err(FetchError::Invalid("a header is one that only the host sends"));
        }
        headers.append(name, value);
    }
    // Servers of developers' pages answer no other name, against DNS rebinding.
    headers.entry(header::HOST).or_insert_with(|| {
        let name = format!("localhost:{port}");
        HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    });
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut sent = hyper::Request::new(Full::new(Bytes::from(body)));
    *sent.method_mut() = method;
    *sent.uri_mut() = path;
    *sent.headers_mut() = headers;
    Ok(sent)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<Bytes>>,
) -> Result<Response, FetchError> {
    let mut client = http1::Builder::new();
    client.max_headers(HEADERS_MAX).max_buf_size(HEADER_BYTES_MAX);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(of_body)?;
        let headers = head.headers.iter();
        Ok(Response {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
                .collect(),
            body: body.to_bytes().into(),
        })
    };
    let (mut answered, connection) = (pin!(answered), pin!(connection));
    tokio::select! {
        biased;
        answered = &mut answered => answered,
        // The server has closed it, and perhaps after a whole answer.
        _ = connection => answered.await,
    }
}

/// An error of a body with a limit.
fn of_body(error: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
    match error.downcast::<hyper::Error>() {
        Ok(error) => (*error).into(),
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>(), "{error}");
            FetchError::TooLarge
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;

    fn request() -> Request {
        Request {
            port: 80,
            method: "POST".into(),
            path: "/a?b=c".into(),
            headers: vec![("x-test".into(), b"1".to_vec())],
            body: b"body".to_vec(),
            timeout: TIME_MAX,
        }
    }

    /// Sends the request to a server that reads its head and then does as `serve` says; also returns what it read.
    async fn answered(
        serve: fn(&mut std::net::TcpStream) -> std::io::Result<()>,
    ) -> (Result<Response, FetchError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\nbody") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            // A client that has heard enough closes.
            let _closed = serve(&mut stream);
            String::from_utf8(head).unwrap()
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = exchange(stream, checked(request()).unwrap()).await;
        (answer, server.join().unwrap())
    }

    #[tokio::test]
    async fn w2_a_request_is_sent_and_its_answer_taken_whole() {
        let (answer, head) = answered(|stream| {
            stream.write_all(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: 1\r\nB: 2\r\nA: 3\r\n\r\nto the end",
            )
        })
        .await;
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_owned());
        let expected = Response {
            status: 201,
            headers: vec![header("a", b"1"), header("a", b"3"), header("b", b"2")],
            body: b"to the end".to_vec(),
        };
        assert_eq!(answer.unwrap(), expected);
        let mut lines: Vec<_> = head.lines().collect();
        lines[1..5].sort_unstable();
        let sent = [
            "connection: close",
            "content-length: 4",
            "host: localhost:80",
            "x-test: 1",
        ];
        assert_eq!(lines, [&["POST /a?b=c HTTP/1.1"], &sent[..], &["", "body"]].concat());
        let (chunked, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        })
        .await;
        assert_eq!(chunked.unwrap().body, b"abcd");
    }

    #[tokio::test]
    async fn w2_a_hostile_server_is_refused_with_a_named_error() {
        let (answer, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"x: endless\r\n")?;
            }
        })
        .await;
        assert!(matches!(answer, Err(FetchError::Response(_))), "{answer:?}");
        let (answer, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        })
        .await;
        assert!(matches!(answer, Err(FetchError::Response(_))), "{answer:?}");
        let (answer, _) = answered(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        })
        .await;
        assert!(matches!(answer, Err(FetchError::TooLarge)), "{answer:?}");
        for answer in [
            answered(|stream| stream.write_all(b"SSH-2.0-OpenSSH\r\n")).await.0,
            answered(|stream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"))
                .await
                .0,
            answered(|_| Ok(())).await.0,
        ] {
            assert!(matches!(answer, Err(FetchError::Response(_))), "{answer:?}");
        }
    }

    #[test]
    fn w2_a_request_that_cannot_be_sent_is_refused() {
        type Change = fn(&mut Request);
        let invalid: [Change; 9] = [
            |request| request.port = 0,
            |request| request.method = String::new(),
            |request| request.method = "GET / HTTP/1.1\r\nx: y".into(),
            |request| request.method = "CONNECT".into(),
            |request| request.path = String::new(),
            |request| request.path = "http://other/".into(),
            |request| request.path = "/ HTTP/1.1\r\nx: y".into(),
            |request| request.headers[0].1 = b"1\r\ny: z".to_vec(),
            |request| request.headers[0].0 = "Transfer-Encoding".into(),
        ];
        let large: [Change; 5] = [
            |request| request.body = vec![0; BODY_MAX + 1],
            |request| request.path = format!("/{}", "x".repeat(PATH_MAX)),
            |request| request.method = "X".repeat(METHOD_MAX + 1),
            |request| request.headers = vec![("x".into(), Vec::new()); HEADERS_MAX + 1],
            |request| request.headers[0].1 = vec![b'x'; HEADER_BYTES_MAX],
        ];
        let refused = |change: Change| {
            let mut request = request();
            change(&mut request);
            checked(request).expect_err("it cannot be sent")
        };
        for (at, change) in invalid.into_iter().enumerate() {
            assert!(matches!(refused(change), FetchError::Invalid(_)), "{at}");
        }
        for (at, change) in large.into_iter().enumerate() {
            assert!(matches!(refused(change), FetchError::TooLarge), "{at}");
        }
    }
}
