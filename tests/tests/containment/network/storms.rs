//! A tree that storms its own network takes little of the host's time, whatever the tree's own speed (W5, Q5).
//!
//! Each case has a process of its own, which does nothing else, so the time that it takes is the time that the storm costs.

use std::sync::Arc;
use std::time::Duration;

use capsule_host::sandbox::{EgressPolicy, NetworkLimits, Policy, PrivateNetwork};

use super::support::{ToTest, echoes, first_line, rules, start};
use crate::harness::{Host, zoo};

/// How long a storm is observed.
const LONG: Duration = Duration::from_secs(2);

/// The processor time of this process.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("it is there");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

async fn takes_little(host: &Host, behaviour: &[&str]) {
    let storm = start(host, &host.scope(), zoo(behaviour)).await;
    assert_eq!(first_line(&storm).await, "storming");
    let before = spent();
    tokio::time::sleep(LONG).await;
    let taken = spent().saturating_sub(before);
    storm.stop(Duration::ZERO).await;
    assert!(taken < LONG / 5, "{taken:?} of {LONG:?}");
}

async fn w5_q5_a_flood_of_queries_takes_little_of_the_hosts_time() {
    takes_little(&Host::new(), &["queries"]).await;
}

/// More than may be open at once.
async fn w5_q5_a_flood_of_connections_takes_little_of_the_hosts_time() {
    let limits = NetworkLimits {
        connections: 16,
        dials_per_second: 1,
        ..NetworkLimits::default()
    };
    let network = PrivateNetwork::default()
        .egress(EgressPolicy::new(rules(&["one.example:80"])))
        .connector(Arc::new(ToTest(echoes())))
        .limits(limits);
    takes_little(
        &Host::with(Policy::new().network(network)),
        &["connections", "one.example:80"],
    )
    .await;
}

crate::who::alone!(
    w5_q5_a_flood_of_connections_takes_little_of_the_hosts_time,
    w5_q5_a_flood_of_queries_takes_little_of_the_hosts_time,
);
