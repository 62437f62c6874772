//! `capsule:net`: the ports of a capsule's processes, and plain HTTP to them.

use std::time::Duration;

use super::CapsuleCtxView;
use super::bindings::capsule::net::net::{
    ErrorCode, Header, Host, ProcessId, PublishedAddress, PublishedPort, Request, Response, TcpAddress,
};
use super::error::NetError;
use crate::fetch::{self, FetchError};
use capsule_supervisor::PortError;
use capsule_supervisor::sandbox::{self, GuestPort, PublishAt};

impl Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: NetError) -> wasmtime::Result<ErrorCode> {
        Ok(match error {
            NetError::Port(error) | NetError::Fetch(FetchError::Connect(error)) => of_port(error),
            NetError::Fetch(error @ FetchError::Invalid(_)) => ErrorCode::InvalidInput(error.to_string()),
            NetError::Fetch(FetchError::TooLarge) => ErrorCode::TooLarge,
            NetError::Fetch(FetchError::Timeout) => ErrorCode::Timeout,
            NetError::Fetch(FetchError::Response(_)) => ErrorCode::InvalidResponse,
        })
    }

    async fn ports(&mut self, process: ProcessId) -> Result<Vec<u16>, NetError> {
        let call = self.call("ports").about(&process);
        call.wait(async |access| Ok(access.state.scope.ports(&process).await?))
            .await
    }

    async fn wait_for_port(&mut self, process: ProcessId, port: u16, timeout_ms: u64) -> Result<(), NetError> {
        let call = self.call("wait-for-port").about(&process);
        let timeout = Duration::from_millis(timeout_ms);
        call.wait(async |access| Ok(access.state.scope.wait_for_port(&process, port, timeout).await?))
            .await
    }

    fn published(&mut self) -> wasmtime::Result<Vec<PublishedPort>> {
        self.call("published").run(|access| {
            let network = access.state.scope.network();
            let published = network.iter().flat_map(|network| network.published());
            Ok(published.map(Into::into).collect())
        })
    }

    async fn fetch(&mut self, request: Request) -> Result<Response, NetError> {
        let call = self.call("fetch");
        call.wait(async |access| {
            let network = access.state.scope.network().ok_or(PortError::NoNetwork)?;
            Ok(fetch::fetch(&network, request.into()).await?.into())
        })
        .await
    }
}

fn of_port(error: PortError) -> ErrorCode {
    match error {
        PortError::NoSuchProcess => ErrorCode::NoSuchProcess,
        PortError::NoNetwork => ErrorCode::NoNetwork,
        PortError::NotListening => ErrorCode::NotListening,
        PortError::Exited => ErrorCode::Exited,
        PortError::Timeout => ErrorCode::Timeout,
        PortError::Cancelled => ErrorCode::Cancelled,
        PortError::LimitReached | PortError::Host(_) => ErrorCode::Unknown(error.to_string()),
        // An error that is added later has no other case, because the interface is fixed.
        _ => ErrorCode::Unknown(error.to_string()),
    }
}

impl From<&sandbox::PublishedPort> for PublishedPort {
    fn from(published: &sandbox::PublishedPort) -> Self {
        Self {
            port: match published.guest {
                GuestPort::Number(port) => port,
                // Any port, of the process with the label.
                GuestPort::Label(_) => 0,
            },
            address: match &published.at {
                PublishAt::Loopback(address) => {
                    let [a, b, c, d] = address.ip().octets();
                    PublishedAddress::Tcp(TcpAddress {
                        ip: (a, b, c, d),
                        port: address.port(),
                    })
                }
                PublishAt::Unix(path) => PublishedAddress::Unix(path.to_string_lossy().into_owned()),
            },
        }
    }
}

impl From<Request> for fetch::Request {
    fn from(request: Request) -> Self {
        Self {
            port: request.port,
            method: request.method,
            path: request.path,
            headers: (request.headers.into_iter())
                .map(|header| (header.name, header.value))
                .collect(),
            body: request.body,
            timeout: Duration::from_millis(request.timeout_ms),
        }
    }
}

impl From<fetch::Response> for Response {
    fn from(response: fetch::Response) -> Self {
        Self {
            status: response.status,
            headers: (response.headers.into_iter())
                .map(|(name, value)| Header { name, value })
                .collect(),
            body: response.body,
        }
    }
}
