//! Names and ports of a private network by the programs that users run, none of which is told of it by a variable.
//!
//! Each client reaches an allowed name. It is told within a second that another name does not exist, and that another port of
//! the allowed name is refused. The clients that can list the interfaces find the loopback.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use capsule_host::sandbox::{EgressPolicy, Policy, PrivateNetwork};
use capsule_host::supervisor::RunOutput;

use super::support::{ToTest, http, rules, serves};
use crate::harness::{AllowAll, Host, code, sh};
use crate::who::{program, skip};

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

/// The options of resolv.conf, of which glibc takes most from variables: by TCP, with EDNS, one query at a time, by a search list.
async fn w3_resolvers_find_a_name_by_any_options() {
    let options = "for options in use-vc edns0 single-request single-request-reopen ndots:5 'edns0 use-vc trust-ad'; do
    export RES_OPTIONS=\"$options\" LOCALDOMAIN='absent.test example'
    quick getent ahostsv4 one.example | cut -d ' ' -f 1 | uniq
    quick getent ahostsv4 one | cut -d ' ' -f 1 | uniq
    quick getent hosts other.example
done";
    let each = "198.18.0.2\n0\n198.18.0.2\n0\n2 1\n";
    shell("/usr/bin/getent", options, each.repeat(6).trim_end()).await;
}

/// A bare repository with one commit, in a folder of this name.
fn repository(folder: &Path) {
    let script = "git init -q --bare r.git && git init -q w && cd w && git config user.email a@b && git config user.name a && \
        echo hello > word && git add word && git commit -qm one && git push -q ../r.git HEAD:refs/heads/main && cd ../r.git && \
        git symbolic-ref HEAD refs/heads/main && git update-server-info";
    let made = program("/bin/sh").args(["-c", script]).current_dir(folder).status();
    assert!(made.expect("a shell").success(), "a repository");
}

/// All files beneath a folder, by their paths.
fn files(folder: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), &name, found);
        } else {
            found.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
}

async fn w3_git_clones_over_http() {
    if !Path::new("/usr/bin/git").exists() {
        return skip("/usr/bin/git");
    }
    let folder = tempfile::tempdir().expect("a folder");
    repository(folder.path());
    let mut found = BTreeMap::new();
    files(&folder.path().join("r.git"), "/r.git", &mut found);
    let host = host(&["one.example:80"], serves(found));
    let script = "git clone -q http://one.example/r.git c && cat c/word; git clone -q http://other.example/r.git 2>&1 | tail -n 1";
    let expected =
        "hello\nfatal: unable to access 'http://other.example/r.git/': Could not resolve host: other.example";
    assert_eq!(host.printed(sh(script)).await.trim_end(), expected);
}

/// A web server with a certificate for `one.example`, which ends with this.
struct Secure {
    server: Child,
    port: u16,
}

impl Secure {
    /// For the files of a folder, in which the certificate is put.
    fn new(folder: &Path) -> Self {
        let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
            -subj /CN=one.example -addext subjectAltName=DNS:one.example -days 2 2>/dev/null";
        let made = program("/bin/sh").args(["-c", make]).current_dir(folder).status();
        assert!(made.expect("a shell").success(), "a certificate");
        let mut server = program("/usr/bin/openssl")
            .args("s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -WWW".split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a server");
        let said = BufReader::new(server.stdout.take().expect("it is piped"));
        let port = said.lines().find_map(|line| {
            let line = line.expect("a line");
            line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse().ok()
        });
        Self {
            server,
            port: port.expect("a port"),
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it was started here");
    }
}

/// The certificate is that of the name: nothing on the way takes the encryption off.
async fn w3_clients_reach_a_name_over_https() {
    let programs = ["openssl", "git", "curl", "python3", "node"].map(|name| format!("/usr/bin/{name}"));
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        return skip(missing);
    }
    let folder = tempfile::tempdir().expect("a folder");
    repository(folder.path());
    std::fs::write(folder.path().join("word"), "hello\n").expect("a file");
    let server = Secure::new(folder.path());
    let host = host(&["one.example:443"], server.port);
    std::fs::copy(folder.path().join("cert.pem"), host.dir().join("cert.pem")).expect("a certificate");
    let script = "curl -sS --cacert cert.pem https://one.example/word
SSL_CERT_FILE=cert.pem /usr/bin/python3 -c \"import urllib.request as u; print(u.urlopen('https://one.example/word').read().decode(), end='')\"
NODE_EXTRA_CA_CERTS=cert.pem node -e \"require('https').get('https://one.example/word', (answer) => answer.pipe(process.stdout))\"
GIT_SMART_HTTP=0 GIT_SSL_CAINFO=$PWD/cert.pem git clone -q https://one.example/r.git c && cat c/word";
    assert_eq!(host.printed(sh(script)).await, "hello\nhello\nhello\nhello\n");
}

/// A server that greets as one of SSH does, and tells the greeting that it gets.
fn greets() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let _reset = connection.write_all(b"SSH-2.0-test\r\n");
            let mut line = String::new();
            let _reset = BufReader::new(&connection).read_line(&mut line);
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    (port, told)
}

async fn w3_ssh_and_git_over_ssh_reach_a_name() {
    let programs = ["/usr/bin/ssh", "/usr/bin/git"];
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        return skip(missing);
    }
    let (server, told) = greets();
    let host = host(&["one.example:22"], server);
    let script = "export GIT_SSH_COMMAND='ssh -o BatchMode=yes'
$GIT_SSH_COMMAND git@one.example; git clone -q ssh://git@one.example/r
ssh -o BatchMode=yes git@other.example 2>&1; ssh -o BatchMode=yes -p 23 git@one.example 2>&1; true";
    let printed = host.printed(sh(script)).await;
    let lines: Vec<_> = printed
        .lines()
        .filter(|line| line.starts_with("ssh: "))
        .map(str::trim)
        .collect();
    let expected = [
        "ssh: Could not resolve hostname other.example: Name or service not known",
        "ssh: connect to host one.example port 23: Connection refused",
    ];
    assert_eq!(lines, expected, "{printed}");
    for _ in 0..2 {
        let greeting = told.recv().expect("a greeting");
        assert!(greeting.starts_with("SSH-2.0-OpenSSH"), "{greeting}");
    }
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
    w3_resolvers_find_a_name_by_any_options,
    w3_git_clones_over_http,
    w3_clients_reach_a_name_over_https,
    w3_ssh_and_git_over_ssh_reach_a_name,
);
