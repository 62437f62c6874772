//! `capsule:net/net`.

use crate::{
    http,
    mock::world::{self, World},
    published,
    wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError,
};
use std::time::Duration;

pub(crate) use crate::wit::generated::capsule::net::net::*;

type Answer<T> = Result<T, ErrorCode>;

/// The index of a process that runs.
fn running(world: &mut World, id: &str) -> Answer<usize> {
    world.advance_to(world.now);
    let index = world.find(id).map_err(|_| ErrorCode::NoSuchProcess)?;
    match world.process(index).exit {
        Some(_) => Err(ErrorCode::Exited),
        None => Ok(index),
    }
}

pub(crate) fn ports(id: &str) -> Answer<Vec<u16>> {
    world::with(|world| {
        let index = running(world, id)?;
        Ok(world.process(index).ports.iter().copied().collect())
    })
}

pub(crate) fn wait_for_port(id: &str, port: u16, timeout_ms: u64) -> Answer<()> {
    let index = world::with(|world| running(world, id))?;
    let timeout = Some(Duration::from_millis(timeout_ms));
    let waited = world::wait(timeout, "a port", |world| {
        let process = world.process(index);
        process.ports.contains(&port) || process.exit_ready()
    });
    match waited {
        Ok(true) if world::with(|world| world.process(index).exit_ready()) => Err(ErrorCode::Exited),
        Ok(true) => Ok(()),
        Ok(false) => Err(ErrorCode::NotListening),
        Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
        Err(other) => Err(ErrorCode::Unknown(other.to_string())),
    }
}

pub(crate) fn published() -> Vec<PublishedPort> {
    let address = |address| match address {
        published::PublishedAddress::Tcp(address) => {
            let [a, b, c, d] = address.ip().octets();
            PublishedAddress::Tcp(TcpAddress {
                ip: (a, b, c, d),
                port: address.port(),
            })
        }
        published::PublishedAddress::Unix(path) => PublishedAddress::Unix(path.to_string_lossy().into_owned()),
    };
    let published = world::with(|world| world.published_ports.clone()).into_iter();
    published
        .map(|published| PublishedPort {
            port: published.port,
            address: address(published.address),
        })
        .collect()
}

pub(crate) fn fetch(request: &Request) -> Answer<Response> {
    let port = request.port;
    world::with(|world| {
        world.advance_to(world.now);
        let mut live = world
            .processes
            .iter()
            .filter(|process| process.exit.is_none())
            .peekable();
        if world.unloading {
            Err(ErrorCode::Cancelled)
        } else if live.peek().is_none() {
            Err(ErrorCode::NoNetwork)
        } else if live.any(|process| process.ports.contains(&port)) {
            Ok(())
        } else {
            Err(ErrorCode::NotListening)
        }
    })?;
    let headers = request.headers.iter();
    let asked = http::Request::new(&request.method, port, &request.path)
        .body(&*request.body)
        .timeout(Duration::from_millis(request.timeout_ms));
    let asked = headers.fold(asked, |asked, header| asked.header(&header.name, &*header.value));
    let answer = world::serve(&asked).ok_or(ErrorCode::InvalidResponse)?;
    let headers = answer.headers.into_iter();
    Ok(Response {
        status: answer.status,
        headers: headers.map(|(name, value)| Header { name, value }).collect(),
        body: answer.body,
    })
}
