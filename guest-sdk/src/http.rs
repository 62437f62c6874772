//! An HTTP request and its answer, as plain data.

use std::{borrow::Cow, time::Duration};

/// The longest time of an exchange, unless the request sets another.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP/1.1 request to a server of this capsule, for [`fetch`](crate::net::fetch).
///
/// ```no_run
/// # fn main() -> capsule_sdk::net::Result<()> {
/// use capsule_sdk::net::{self, Request};
///
/// let order = Request::new("POST", 8080, "/orders").header("content-type", "application/json").body("{}");
/// let answer = net::fetch(&order)?;
/// assert_eq!(answer.status, 201, "{}", answer.text_lossy());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: String,
    /// The port in the capsule's network.
    pub port: u16,
    /// The path, with the query.
    pub path: String,
    /// The headers, in the order in which they were added.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The longest time of the whole exchange.
    pub timeout: Duration,
}

impl Request {
    /// A request without headers or a body, which may take 30 seconds.
    ///
    /// ```
    /// let request = capsule_sdk::net::Request::new("DELETE", 8080, "/orders/7");
    /// assert_eq!(request.method, "DELETE");
    /// ```
    #[must_use]
    pub fn new(method: impl Into<String>, port: u16, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            port,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// A `GET` of a path.
    ///
    /// ```
    /// let request = capsule_sdk::net::Request::get(8080, "/orders?open=1");
    /// assert_eq!((request.port, &*request.path), (8080, "/orders?open=1"));
    /// ```
    #[must_use]
    pub fn get(port: u16, path: impl Into<String>) -> Self {
        Self::new("GET", port, path)
    }

    /// Adds a header. The host adds `Host`, unless it is given here, and the headers that tell the body's length.
    ///
    /// ```
    /// let request = capsule_sdk::net::Request::get(8080, "/").header("accept", "text/html");
    /// assert_eq!(request.headers, [("accept".to_owned(), b"text/html".to_vec())]);
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body, of 1 MiB at most.
    ///
    /// ```
    /// let request = capsule_sdk::net::Request::new("PUT", 8080, "/greeting").body("hello");
    /// assert_eq!(request.body, b"hello");
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the longest time of the whole exchange; more than a minute is treated as a minute.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let request = capsule_sdk::net::Request::get(8080, "/").timeout(Duration::from_secs(1));
    /// assert_eq!(request.timeout, Duration::from_secs(1));
    /// ```
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// The answer of a server, whatever its status.
///
/// ```
/// use capsule_sdk::net::Response;
///
/// let answer = Response::new(404, "no such page").header("content-type", "text/plain");
/// assert_eq!((answer.status, &*answer.text_lossy()), (404, "no such page"));
/// assert_eq!(answer.value("Content-Type"), Some(&b"text/plain"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status. Redirects are not followed.
    pub status: u16,
    /// The headers; their names are in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body, as the server encoded it.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer, for a test's server: `mock::Host::serve`.
    ///
    /// ```
    /// let created = capsule_sdk::net::Response::new(201, "");
    /// ```
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Adds a header.
    ///
    /// ```
    /// let moved = capsule_sdk::net::Response::new(302, "").header("location", "/new");
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The first value of a header, whatever the case of its name.
    ///
    /// ```
    /// # let answer = capsule_sdk::net::Response::new(302, "").header("location", "/new");
    /// assert_eq!(answer.value("Location"), Some(&b"/new"[..]));
    /// ```
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let mut same = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value.as_slice())
    }

    /// The body as text; what is not UTF-8 becomes U+FFFD.
    ///
    /// ```
    /// # let answer = capsule_sdk::net::Response::new(200, "hello");
    /// assert_eq!(answer.text_lossy(), "hello");
    /// ```
    #[must_use]
    pub fn text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}
