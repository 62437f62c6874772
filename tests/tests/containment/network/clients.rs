//! Names and ports of a private network by the programs that users run, none of which is told of it by a variable.
//!
//! Each client reaches an allowed name. It is told within a second that another name does not exist, and that another port of
//! the allowed name is refused. The clients that can list the interfaces find the loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{EgressPolicy, Policy, PrivateNetwork};
use capsule_host::supervisor::RunOutput;

use super::support::{ToTest, http, rules};
use crate::harness::{AllowAll, Host, code, sh};
use crate::who::skip;

/// Longer than it takes to build a client and to run it.
const BUILD: Duration = Duration::from_secs(180);

/// A host whose trees reach a server of the test by these rules.
pub(super) fn host(allowed: &[&str], server: u16) -> Host {
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(allowed)))
        .connector(Arc::new(ToTest(server)));
    Host::with(Policy::new().network(network))
}

/// Runs a script if these programs are installed. It has to print exactly this.
async fn prints(programs: &[&str], file: (&str, &str), script: &str, expected: &str) {
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        return skip(missing);
    }
    let host = host(&["one.example:80"], http([("/word", b"hello\n".to_vec())]));
    std::fs::write(host.dir().join(file.0), file.1).expect("a source");
    let scope = host.scope();
    let output = tokio::time::timeout(BUILD, scope.spawn(sh(script), &host.workspace, &mut AllowAll)).await;
    expect(&output.expect("an end").expect("it runs"), expected);
}

fn expect(output: &RunOutput, expected: &str) {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(stdout.trim_end(), expected, "{stderr}");
    assert_eq!(output.exit, code(0), "{stderr}");
}

async fn w3_python_reaches_a_name_by_sockets_urllib_and_asyncio() {
    let source = ("client.py", include_str!("clients/client.py"));
    let expected = "hello\nhello\nTrue True\nTrue True\nlo";
    prints(&["/usr/bin/python3"], source, "/usr/bin/python3 client.py", expected).await;
}

async fn w3_node_reaches_a_name_by_http_fetch_and_c_ares() {
    let source = ("client.js", include_str!("clients/client.js"));
    let expected = "hello\nhello\ntrue\nENOTFOUND true\nENOTFOUND true\nECONNREFUSED true\nlo";
    prints(&["/usr/bin/node"], source, "node client.js", expected).await;
}

const GO: (&str, &str) = ("client.go", include_str!("clients/client.go"));
const BY_GO: &str = "hello <nil>\ntrue true\ntrue true\nlo true <nil>\n<nil>";

async fn w3_go_reaches_a_name_by_the_resolver_of_the_c_library() {
    let script =
        "export GOCACHE=/tmp/cache GOTOOLCHAIN=local CGO_ENABLED=1 GODEBUG=netdns=cgo; go build client.go && ./client";
    prints(&["/usr/bin/go", "/usr/bin/gcc"], GO, script, BY_GO).await;
}

async fn w3_go_reaches_a_name_by_its_own_resolver() {
    let script = "export GOCACHE=/tmp/cache GOTOOLCHAIN=local CGO_ENABLED=0; go build client.go && ./client";
    prints(&["/usr/bin/go"], GO, script, BY_GO).await;
}

async fn w3_java_reaches_a_name_by_url_http_client_and_channel() {
    let source = ("Client.java", include_str!("clients/Client.java"));
    let expected = "hello\nhello\ntrue true\ntrue true\nlo";
    prints(
        &["/usr/bin/java", "/usr/bin/javac"],
        source,
        "java Client.java",
        expected,
    )
    .await;
}

/// The C program, built in one way.
async fn c(compiler: &str, command: &str) {
    let source = ("client.c", include_str!("clients/client.c"));
    let script = format!("{command} -w client.c -o client && ./client");
    prints(&[compiler], source, &script, "hello\nno name 1\nrefused 1\nlo").await;
}

async fn w3_the_c_library_reaches_a_name() {
    c("/usr/bin/gcc", "gcc").await;
}

async fn w3_a_static_c_library_reaches_a_name() {
    c("/usr/bin/gcc", "gcc -static").await;
}

/// Its resolver asks again for five seconds if it is refused an answer.
async fn w3_a_static_musl_reaches_a_name() {
    c("/usr/bin/musl-gcc", "musl-gcc -static").await;
}

/// Runs a client by its options, without a source. `ERROR` shows the rest of what is run behind it, and how long that took.
async fn shell(program: &str, script: &str, expected: &str) {
    let quick = "quick() { begun=$(date +%s%N); \"$@\" 2>&1; echo $? $(($(date +%s%N) - begun < 1000000000)); }";
    prints(&[program], ("unused", ""), &format!("{quick}; {script}"), expected).await;
}

async fn w3_curl_reaches_a_name() {
    let script = "curl -sS http://one.example/word; quick curl -s http://other.example/word; quick curl -s http://one.example:81/";
    shell("/usr/bin/curl", script, "hello\n6 1\n7 1").await;
}

async fn w3_wget_reaches_a_name() {
    let script = "wget -qO- http://one.example/word; quick wget -q http://other.example/word; quick wget -q http://one.example:81/";
    shell("/usr/bin/wget", script, "hello\n4 1\n4 1").await;
}

async fn w3_busybox_reaches_a_name() {
    let script = "busybox wget -qO- http://one.example/word; quick busybox wget -q http://other.example/word; \
                  quick busybox wget -q http://one.example:81/";
    let expected = "hello\nwget: bad address 'other.example'\n1 1\nwget: can't connect to remote host (198.18.0.2): Connection \
                    refused\n1 1";
    shell("/usr/bin/busybox", script, expected).await;
}

async fn w3_getent_finds_a_name() {
    let script = "getent ahostsv4 one.example | head -n 1; quick getent hosts other.example";
    shell("/usr/bin/getent", script, "198.18.0.2      STREAM one.example\n2 1").await;
}

crate::who::each_user!(
    w3_python_reaches_a_name_by_sockets_urllib_and_asyncio,
    w3_node_reaches_a_name_by_http_fetch_and_c_ares,
    w3_go_reaches_a_name_by_the_resolver_of_the_c_library,
    w3_go_reaches_a_name_by_its_own_resolver,
    w3_java_reaches_a_name_by_url_http_client_and_channel,
    w3_the_c_library_reaches_a_name,
    w3_a_static_c_library_reaches_a_name,
    w3_a_static_musl_reaches_a_name,
    w3_curl_reaches_a_name,
    w3_wget_reaches_a_name,
    w3_busybox_reaches_a_name,
    w3_getent_finds_a_name,
);
