//! The actions as plain functions, over the SDK's mock: no host, no PostgreSQL, no time.

use super::*;
use capsule_sdk::mock::{Host, Run, Script};

/// A server that listens at once and takes connections after so many questions. The second query fails.
fn postgres(mut questions: u32) -> impl FnMut(&Run) -> Script {
    let mut queries = 0;
    move |run| match &*run.args[3] {
        "postgres" => Script::new()
            .stderr("LOG: starting\n")
            .listens(PORT)
            .on_signal(Signal::Int, Script::new().exit(0)),
        "pg_isready" if questions > 0 => {
            questions -= 1;
            Script::new().exit(1)
        }
        "psql" => {
            queries += 1;
            if queries == 2 {
                return Script::new().stderr("ERROR: syntax error\n").exit(3);
            }
            Script::new().stdout("1,one\n2,two\n").exit(0)
        }
        _ => Script::new().exit(0),
    }
}

#[test]
fn a_start_returns_when_the_server_takes_connections() {
    let host = Host::new();
    host.command("sh", postgres(3));
    start().unwrap();
    assert_eq!(host.now(), Duration::from_millis(300));
    start().unwrap();
    let servers = host.runs().into_iter().filter(|run| run.args[3] == "postgres");
    assert_eq!(servers.count(), 1, "the second start finds the first one's server");
}

#[test]
fn rows_and_errors_are_returned_and_the_stop_is_in_order() {
    let host = Host::new();
    host.command("sh", postgres(0));
    start().unwrap();
    let query = |sql: &str| query(Query { sql: sql.to_owned() });
    assert_eq!(query("select").unwrap(), ["1,one", "2,two"]);
    let error = query("bad").unwrap_err().to_string();
    assert!(error.contains("syntax error"), "{error}");
    assert!(stop().unwrap().success());
    assert!(stop().unwrap_err().to_string().contains("no server"));
}

#[test]
fn a_server_that_does_not_start_is_told_of() {
    let host = Host::new();
    host.command("sh", |run| match &*run.args[3] {
        "postgres" => Script::new().stderr("FATAL: no space\n").exit(1),
        _ => Script::new().exit(0),
    });
    let error = start().unwrap_err().to_string();
    assert!(error.contains("FATAL: no space"), "{error}");
}
