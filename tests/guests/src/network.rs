//! The ports of a process, and requests to it.

use std::time::Duration;

use capsule_sdk::net::{self, Request};
use capsule_sdk::{Error, Process, ProcessId};
use serde::{Deserialize, Serialize};

use super::{Answer, answer_of};

fn answer<T>(result: net::Result<T>) -> Answer<T> {
    answer_of(result, net::Error::kind)
}

#[derive(Deserialize)]
pub(crate) struct Which {
    id: ProcessId,
}

pub(crate) fn ports(which: Which) -> Answer<Vec<u16>> {
    answer(Process::attach(&which.id)?.ports())
}

#[derive(Deserialize)]
pub(crate) struct Wait {
    id: ProcessId,
    port: u16,
    ms: u64,
}

pub(crate) fn wait_for_port(wait: Wait) -> Answer<()> {
    let time = Duration::from_millis(wait.ms);
    answer(Process::attach(&wait.id)?.wait_for_port(wait.port, time))
}

pub(crate) fn published() -> Result<Vec<(u16, String)>, Error> {
    let published = net::published().into_iter();
    Ok(published.map(|one| (one.port, one.address.to_string())).collect())
}

#[derive(Deserialize)]
pub(crate) struct Fetch {
    method: String,
    port: u16,
    path: String,
    #[serde(default)]
    body: String,
    ms: u64,
}

#[derive(Serialize)]
pub(crate) struct Fetched {
    status: u16,
    kind: Option<String>,
    body: String,
}

pub(crate) fn fetch(fetch: Fetch) -> Answer<Fetched> {
    let request = Request::new(fetch.method, fetch.port, fetch.path)
        .header("x-of-test", "1")
        .body(fetch.body)
        .timeout(Duration::from_millis(fetch.ms));
    let kind = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    answer(net::fetch(&request).map(|answer| Fetched {
        status: answer.status,
        kind: answer.value("Content-Type").map(kind),
        body: answer.text_lossy().into_owned(),
    }))
}
