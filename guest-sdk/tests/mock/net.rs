//! Ports, and requests to a server of the capsule's own.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::net::{self, Error, PublishedAddress, Request, Response};
use capsule_sdk::{Command, Process};

use crate::SECOND;

#[test]
fn w2_a_port_is_waited_for_until_it_is_there_or_the_time_or_the_process_ends() {
    let host = Host::new();
    host.command("server", |_| {
        Script::new().after(3 * SECOND).listens(80).after(5 * SECOND).exit(0)
    });
    let server = Command::new("server").label("web").spawn_persistent().unwrap();
    assert_eq!(server.ports(), Ok(vec![]));
    assert_eq!(server.wait_for_port(80, SECOND), Err(Error::NotListening));
    assert_eq!(server.wait_for_port(80, 10 * SECOND), Ok(()));
    assert_eq!(host.now(), 3 * SECOND);
    assert_eq!(Process::find("web").unwrap().unwrap().ports(), Ok(vec![80]));
    assert_eq!(server.wait_for_port(81, 10 * SECOND), Err(Error::Exited));
    assert_eq!(host.now(), 8 * SECOND);
    assert_eq!(server.ports(), Err(Error::Exited));
    host.forget(server.id());
    assert_eq!(server.ports(), Err(Error::NoSuchProcess));
    let gone: capsule_sdk::Error = server.ports().unwrap_err().into();
    assert!(gone.is_gone());
}

#[test]
fn w2_a_request_reaches_the_server_that_listens() {
    let host = Host::new();
    host.command("server", |_| Script::new().after(SECOND).listens(80));
    host.serve(80, |request| {
        assert_eq!(request, &Request::new("PUT", 80, "/a").header("x", "1").body("b"));
        Response::new(201, "made").header("location", "/a")
    });
    let put = Request::new("PUT", 80, "/a").header("x", "1").body("b");
    assert_eq!(net::fetch(&put), Err(Error::NoNetwork));
    let server = Command::new("server").spawn_persistent().unwrap();
    assert_eq!(net::fetch(&put), Err(Error::NotListening));
    server.wait_for_port(80, SECOND).unwrap();
    assert_eq!(
        net::fetch(&put),
        Ok(Response::new(201, "made").header("location", "/a"))
    );
    host.publish(80, PublishedAddress::Unix("/run/web".into()));
    assert_eq!(net::published()[0].address.to_string(), "/run/web");
    host.unload();
    assert_eq!(net::fetch(&put), Err(Error::Cancelled));
}
