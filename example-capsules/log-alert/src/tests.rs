//! One round of the background run, over the SDK's mock: no host, no server, no time.

use super::*;
use capsule_sdk::mock::{Host, Script};

const SECOND: Duration = Duration::from_secs(1);

fn published(host: &Host) -> usize {
    host.published().iter().filter(|message| message.topic == TOPIC).count()
}

#[test]
fn each_line_with_a_404_is_one_alert() {
    let host = Host::new();
    host.command("python3", |_| {
        Script::new()
            .listens(8000)
            .stderr("\"GET / HTTP/1.1\" 200 -\n\"GET /a HTTP/1.1\" 4")
            .after(SECOND)
            .stderr("04 -\n\"GET /b HTTP/1.1\" 404 -\n")
    });
    start().unwrap();
    let mut logs = HashMap::new();
    read_on(&mut logs).unwrap();
    assert_eq!(published(&host), 0, "the line is not finished");
    host.advance(SECOND);
    read_on(&mut logs).unwrap();
    read_on(&mut logs).unwrap();
    let expected = ["/a", "/b"].map(|path| Alert {
        line: format!("\"GET {path} HTTP/1.1\" 404 -"),
    });
    assert_eq!(published(&host), 2, "each is published once");
    assert_eq!(alerts(Wait { wait_ms: 0 }).unwrap(), expected);

    stop().unwrap();
    read_on(&mut logs).unwrap();
    assert!(logs.is_empty());
    start().unwrap();
    assert!(alerts(Wait { wait_ms: 0 }).unwrap().is_empty(), "of the server before");
}

#[test]
fn the_run_ends_when_the_capsule_is_unloaded() {
    let host = Host::new();
    host.unload();
    watch().unwrap();
}
