//! A child has no network unless it was granted: it has no interface but a loopback of its own, no route out, and none
//! of the host's sockets. A host may listen within the child's network, at addresses of 198.18.0.0/15, which no host has
//! (RFC 2544): to answer for names, for example.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "network"}]}"#: run);

/// The interfaces that an empty network namespace of Linux may have; the tunnels lead nowhere.
const KERNELS: [&str; 8] = [
    "lo", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0",
];

/// The local address of a socket in 198.18.0.0/15, as `/proc/net/tcp` writes it.
const SYNTHETIC: &str = ": [0-9A-F]\\{4\\}1[23]C6:";

fn run() -> Outcome {
    let interfaces = output("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; true")?;
    check!(
        interfaces.split_whitespace().all(|name| KERNELS.contains(&name)),
        "interfaces: {interfaces:?}"
    );
    let routes = output("tail -n +2 /proc/net/route 2>/dev/null; true")?;
    check!(routes.trim().is_empty(), "routes: {routes:?}");
    let listeners = output(&format!(
        "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp 2>/dev/null | grep -v local_address | grep -v '{SYNTHETIC}'; true"
    ))?;
    check!(listeners.trim().is_empty(), "sockets: {listeners:?}");
    let abstract_ones = output("cat /proc/net/unix 2>/dev/null | grep -c @; true")?;
    check!(
        abstract_ones.trim() == "0" || abstract_ones.trim().is_empty(),
        "abstract sockets of others: {abstract_ones:?}"
    );
    Ok("an empty network".into())
}
