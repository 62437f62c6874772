//! The actions as plain functions, over the SDK's mock: no host, no python, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};
use capsule_sdk::net::Response;

const SECOND: Duration = Duration::from_secs(1);

/// A server that comes up after a while and logs a request later.
fn server() -> Script {
    Script::new()
        .after(SECOND * 3)
        .listens(4711)
        .stdout("Serving HTTP on 127.0.0.1 port 4711 (http://127.0.0.1:4711/) ...\n")
        .after(SECOND)
        .stderr("\"GET / HTTP/1.1\" 200 -\n")
}

fn on_4711() -> Start {
    Start { port: 4711 }
}

#[test]
fn a_server_is_started_found_read_and_stopped() {
    let host = Host::new();
    host.command("python3", |_| server());
    let started = start(on_4711()).unwrap();
    assert_eq!(started.port, 4711);
    let late = host.now() - SECOND * 3;
    assert!(
        late <= SECOND / 10,
        "a wait with a deadline notices output a tenth of a second late at most"
    );
    assert_eq!(host.runs()[0].args[3], "4711");
    assert_eq!(host.runs()[0].label.as_deref(), Some(LABEL));

    let logged = |cursor| {
        logs(Since {
            id: None,
            cursor,
            stream: Stream::Stderr,
            wait_ms: 5000,
        })
    };
    let first = logged(Cursor::default()).unwrap();
    assert_eq!(first.lines, ["\"GET / HTTP/1.1\" 200 -"]);
    assert!(logged(first.cursor).unwrap().lines.is_empty(), "nothing is told twice");

    let waited = wait(Wait {
        id: None,
        wait_ms: 1000,
    });
    assert!(waited.unwrap().exit.is_none(), "it runs on");
    let stopped = stop(Which { id: Some(started.id) }).unwrap();
    assert_eq!(stopped.exit.signal(), Some(15));
    let again = stop(Which { id: None });
    assert!(again.is_err_and(|error| error.to_string().contains("no server is running")));
}

#[test]
fn a_server_that_does_not_come_up_is_told_about_and_not_left_running() {
    let host = Host::new();
    host.command("python3", |_| Script::new().stderr("no module named http\n"));
    let error = start(on_4711()).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("wait-timeout") && error.contains("no module named http"),
        "{error}"
    );
    assert_eq!(host.now(), START);
    assert!(host.runs()[0].exit.is_some());
}

#[test]
fn a_page_is_fetched_from_the_port_that_the_server_told() {
    let host = Host::new();
    host.command("python3", |_| server());
    host.serve(4711, |request| Response::new(200, format!("got {}", request.path)));
    assert_eq!(start(on_4711()).unwrap().url, None, "the port is not published");
    let page = get(Get {
        id: None,
        path: "/a?b".to_owned(),
    });
    let page = page.unwrap();
    assert_eq!((page.status, &*page.body), (200, "got /a?b"));
}

#[test]
fn a_published_port_has_a_url() {
    let host = Host::new();
    host.command("python3", |_| server());
    host.publish(80, PublishedAddress::Tcp("127.0.0.1:80".parse().unwrap()));
    host.publish(4711, PublishedAddress::Tcp("127.0.0.1:8080".parse().unwrap()));
    let started = start(on_4711()).unwrap();
    assert_eq!(started.url.as_deref(), Some("http://127.0.0.1:8080/"));
}
