//! `capsule doctor`: reports which parts of the default confinement this machine supports, as a table or as one JSON object.
//!
//! [`ConfinementSupport`] collects the facts. This file only prints them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use capsule_host::printable::{Printable, printable_json};
use capsule_host::sandbox::{
    Cgroup, ConfinementSupport, Enforcement, Layer, NetworkSupport, Policy, RunsAs, State, UnavailableLayer, Workspace,
};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::exit_code::{FAILED, SUCCEEDED};
use crate::fix::fix;
use crate::{console, report};

/// Examines the machine, prints the report, and returns the exit code.
pub(crate) fn doctor(args: &DoctorArgs) -> u8 {
    if args.fix {
        return fix(args.yes);
    }
    let policy = match &args.cgroup {
        Some(group) => Policy::new().cgroup(group),
        None => Policy::new(),
    };
    let facts = ConfinementSupport::probe_for(policy.clone());
    // A machine that cannot confine commands can confine none in the folder either.
    let there = facts.is_sufficient().then(|| runs_in(&args.dir, policy));
    let printed = if args.json {
        json(&facts, &args.dir, there.as_ref()).map_err(io::Error::from)
    } else {
        Ok(table(&facts, &args.dir, there.as_ref()).into_bytes())
    };
    if let Err(error) = printed.and_then(|text| report::write(&text)) {
        // A reader that stops reading, such as `head`, is not worth an error message.
        if error.kind() != io::ErrorKind::BrokenPipe {
            console::error(&format!("cannot write to standard output: {error}"));
        }
        return FAILED;
    }
    if facts.is_sufficient() {
        return SUCCEEDED;
    }
    let named_group = args.cgroup.as_ref().and(facts.groups.as_ref().err());
    let layers = facts.layers.iter().filter(|layer| layer.needed).filter_map(missing);
    let network = facts.network.as_ref().and_then(|network| network.as_ref().err());
    for missing in layers.chain(network).chain(named_group) {
        console::error(&format!("commands cannot be confined here: {missing}"));
    }
    FAILED
}

/// The user that commands run as in a folder, or why they cannot be confined there.
fn runs_in(folder: &Path, policy: Policy) -> Result<RunsAs, String> {
    let workspace = Workspace::open(folder).map_err(|error| error.to_string())?;
    ConfinementSupport::probe_workspace(policy, &workspace).map_err(|missing| missing.to_string())
}

fn missing(layer: &Layer) -> Option<&UnavailableLayer> {
    match &layer.state {
        State::Unavailable(missing) => Some(missing),
        State::Available | State::Unknown => None,
    }
}

fn table(facts: &ConfinementSupport, folder: &Path, there: Option<&Result<RunsAs, String>>) -> String {
    let works = if facts.is_sufficient() {
        "works"
    } else {
        "does not work here"
    };
    let mut rows = Rows(format!("Confinement of commands: {works}.\n\nLayers\n"));
    for layer in &facts.layers {
        let optional = match layer.state {
            State::Unavailable(_) if !layer.needed => " (not needed)",
            State::Unavailable(_) | State::Available | State::Unknown => "",
        };
        let detail = layer
            .detail
            .as_ref()
            .map_or_else(String::new, |detail| format!(" ({detail})"));
        let state = format!("{}{optional}", state(layer));
        rows.row(layer.name, &state, &format!("{}{detail}", layer.purpose));
        if let Some(missing) = missing(layer) {
            rows.row("", "", &format!("reason: {}", missing.reason()));
            if let Some(remedy) = missing.remedy() {
                rows.row("", "", &format!("remedy: {remedy}"));
            }
        }
    }
    rows.heading("Limits of a command and its descendants");
    let limits = facts.limits;
    for (name, held) in [
        ("memory", limits.memory),
        ("cpu time", limits.cpu),
        ("processes", limits.pids),
        ("open files", limits.open_files),
    ] {
        let (state, meaning) = held.map_or(("refused", "a request for it fails"), |held| {
            (word(held), meaning(held))
        });
        rows.row(name, state, meaning);
    }
    rows.heading("This machine");
    let identity = match facts.runs_as {
        RunsAs::Host { uid } => format!("as this user ({uid})"),
        RunsAs::OwnUser { first, count } => {
            let last = first.saturating_add(count.saturating_sub(1));
            format!("each as a user of its own, from {first} to {last}; its files belong to the workspace's owner")
        }
        RunsAs::Named { uid } => format!("as user {uid}, which the policy names"),
        RunsAs::Owner { uid } => format!("as user {uid}, who owns the workspace"),
    };
    rows.row("commands run", "", &identity);
    if !matches!(facts.runs_as, RunsAs::OwnUser { .. }) {
        shared(&mut rows, facts);
    }
    let name = format!("in {}", folder.display());
    match there {
        Some(Ok(RunsAs::Owner { uid })) => rows.row(
            &name,
            "",
            &format!(
                "as its owner ({uid}), shared with all processes of that user, because the file system has no id-mapped \
                 mounts; remedy: a workspace on another file system (ext4, xfs, btrfs, tmpfs)"
            ),
        ),
        Some(Ok(_)) => rows.row(&name, "", "the same"),
        Some(Err(reason)) => rows.row(&name, "", &format!("no command runs there: {reason}")),
        None => {}
    }
    if let Some(network) = &facts.network {
        private_network(&mut rows, network);
    }
    let counted = match facts.live_cpu {
        Some(true) => "counted while a command runs, with its descendants",
        Some(false) => {
            "sampled process by process while a command runs: a process that starts and ends between two samples is counted \
             only at the end; the sysctl kernel.perf_event_paranoid above 2, or a seccomp profile, forbids a counter"
        }
        None => "unknown",
    };
    rows.row("cpu time", "", counted);
    rows.row(
        "control groups",
        "",
        &facts
            .cgroup
            .as_ref()
            .map_or_else(|| "version 2 is not mounted".into(), groups),
    );
    match &facts.groups {
        Ok(given) => rows.row("", "", &format!("used: one for each command, in {}", given.display())),
        Err(missing) => {
            rows.row("", "", &format!("not used: {}", missing.reason()));
            if let Some(remedy) = missing.remedy() {
                rows.row("", "", &format!("remedy: {remedy}"));
            }
        }
    }
    rows.0
}

/// The remedy where the buffers of private networks have no bound.
const READ_ONLY_SYSCTLS: &str =
    "a container with a /proc/sys that can be written to (docker: --security-opt systempaths=unconfined)";

fn private_network(rows: &mut Rows, network: &Result<NetworkSupport, UnavailableLayer>) {
    let name = "private network";
    let network = match network {
        Ok(network) => network,
        Err(missing) => return rows.row(name, "", &format!("none can be made: {}", missing.reason())),
    };
    rows.row(
        name,
        "",
        "works: loopback, published ports, and connections to names that are granted",
    );
    if network.bounded_buffers {
        rows.row(
            "",
            "",
            "the kernel buffers at most 256 KiB for each TCP socket and direction",
        );
    } else {
        rows.row(
            "",
            "",
            "what the kernel buffers for TCP sockets has no bound, because /proc/sys is read-only: a command can hold more memory \
             than its limit",
        );
        rows.row("", "", &format!("remedy: {READ_ONLY_SYSCTLS}"));
    }
    if !network.ipv6 {
        rows.row(
            "",
            "",
            "the kernel has no IPv6: a server that listens only on ::1 does not start",
        );
    }
}

/// The resources that commands share if they have no users of their own.
fn shared(rows: &mut Rows, facts: &ConfinementSupport) {
    rows.row(
        "",
        "",
        "shared with each other and with all processes of this user: the resources that the kernel counts for a user \
         (descriptors in flight, pages of pipes), and the right to stop the processes",
    );
    match &facts.counted_for {
        Some(Ok((first, last))) => rows.row(
            "",
            "",
            &format!("epoll watches of a command are counted for a user of its own, from {first} to {last}"),
        ),
        Some(Err(missing)) => {
            rows.row(
                "",
                "",
                &format!(
                    "also shared: epoll watches, all of which one command can take: {}",
                    missing.reason()
                ),
            );
            if let Some(remedy) = missing.remedy() {
                rows.row("", "", &format!("remedy: {remedy}"));
            }
        }
        None => rows.row("", "", "also shared: epoll watches, all of which one command can take"),
    }
    if matches!(facts.runs_as, RunsAs::Host { .. }) {
        rows.row(
            "",
            "",
            "remedy: run the host as root, which gives each command a user of its own",
        );
    }
}

/// Lines of three columns.
struct Rows(String);

impl Rows {
    fn heading(&mut self, text: &str) {
        self.0.push('\n');
        self.line(format_args!("{text}"));
    }

    fn row(&mut self, name: &str, state: &str, text: &str) {
        match state {
            "" => self.line(format_args!("  {name:<18} {text}")),
            _ => self.line(format_args!("  {name:<18} {state:<12} {text}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // The line contains names of folders and groups. A write to a string cannot fail.
        let _ = writeln!(self.0, "{}", Printable(&line.to_string()));
    }
}

fn state(layer: &Layer) -> &'static str {
    match layer.state {
        State::Available => "available",
        State::Unavailable(_) => "missing",
        State::Unknown => "unknown",
    }
}

fn word(held: Enforcement) -> &'static str {
    match held {
        Enforcement::Kernel => "kernel",
        Enforcement::Sampled => "sampled",
        Enforcement::PerProcess => "per-process",
    }
}

fn meaning(held: Enforcement) -> &'static str {
    match held {
        Enforcement::Kernel => "cannot be exceeded",
        Enforcement::Sampled => "all processes are sampled repeatedly, and killed when they exceed it together",
        Enforcement::PerProcess => "no single process can exceed it; together they can",
    }
}

fn groups(cgroup: &Cgroup) -> String {
    let controllers = if cgroup.controllers.is_empty() {
        "no controllers".into()
    } else {
        cgroup.controllers.join(" ")
    };
    let group = cgroup.group.as_deref().unwrap_or(&cgroup.mount).display();
    let writable = if cgroup.writable { "writable" } else { "not writable" };
    format!("version 2 at {group}: {controllers}; {writable}")
}

/// The report as JSON, with a newline. Programs read the keys, so the keys never change.
fn json(
    facts: &ConfinementSupport,
    folder: &Path,
    there: Option<&Result<RunsAs, String>>,
) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string(&Facts {
        sufficient: facts.is_sufficient(),
        layers: facts.layers.iter().map(LayerFacts::of).collect(),
        limits: LimitFacts {
            memory: facts.limits.memory.map(word),
            cpu: facts.limits.cpu.map(word),
            pids: facts.limits.pids.map(word),
            open_files: facts.limits.open_files.map(word),
        },
        live_cpu: facts.live_cpu,
        runs_as: Identity::of(facts.runs_as),
        workspace: there.map(|there| FolderFacts {
            dir: folder.to_string_lossy(),
            runs_as: there.as_ref().ok().copied().map(Identity::of),
            reason: there.as_ref().err().map(String::as_str),
        }),
        counted_for: facts.counted_for.as_ref().map(|counted| CountedFacts {
            first: counted.as_ref().ok().map(|(first, _)| *first),
            last: counted.as_ref().ok().map(|(_, last)| *last),
            reason: counted.as_ref().err().map(UnavailableLayer::reason),
            remedy: counted.as_ref().err().and_then(UnavailableLayer::remedy),
        }),
        network: facts.network.as_ref().map(|network| NetworkFacts {
            bounded_buffers: network.as_ref().ok().map(|network| network.bounded_buffers),
            ipv6: network.as_ref().ok().map(|network| network.ipv6),
            reason: network.as_ref().err().map(UnavailableLayer::reason),
            remedy: network.as_ref().err().and_then(UnavailableLayer::remedy),
        }),
        cgroup: facts.cgroup.as_ref().map(|cgroup| CgroupFacts {
            mount: &cgroup.mount,
            group: cgroup.group.as_deref(),
            controllers: &cgroup.controllers,
            writable: cgroup.writable,
        }),
        groups: GroupsFacts {
            given: facts.groups.as_deref().ok(),
            reason: facts.groups.as_ref().err().map(UnavailableLayer::reason),
            remedy: facts.groups.as_ref().err().and_then(UnavailableLayer::remedy),
        },
    })?;
    Ok((printable_json(text) + "\n").into_bytes())
}

#[derive(Serialize)]
struct Facts<'a> {
    sufficient: bool,
    layers: Vec<LayerFacts<'a>>,
    limits: LimitFacts,
    live_cpu: Option<bool>,
    runs_as: Identity,
    workspace: Option<FolderFacts<'a>>,
    counted_for: Option<CountedFacts<'a>>,
    network: Option<NetworkFacts<'a>>,
    cgroup: Option<CgroupFacts<'a>>,
    groups: GroupsFacts<'a>,
}

#[derive(Serialize)]
struct LayerFacts<'a> {
    name: &'a str,
    purpose: &'a str,
    needed: bool,
    state: &'a str,
    detail: Option<&'a str>,
    reason: Option<&'a str>,
    remedy: Option<&'a str>,
}

impl<'a> LayerFacts<'a> {
    fn of(layer: &'a Layer) -> Self {
        let missing = missing(layer);
        Self {
            name: layer.name,
            purpose: layer.purpose,
            needed: layer.needed,
            state: state(layer),
            detail: layer.detail.as_deref(),
            reason: missing.map(UnavailableLayer::reason),
            remedy: missing.and_then(UnavailableLayer::remedy),
        }
    }
}

/// How each limit is enforced; null where a request for it is refused.
#[derive(Serialize)]
struct LimitFacts {
    memory: Option<&'static str>,
    cpu: Option<&'static str>,
    pids: Option<&'static str>,
    open_files: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Identity {
    Host { uid: u32 },
    OwnUser { first: u32, count: u32 },
    Named { uid: u32 },
    Owner { uid: u32 },
}

impl Identity {
    const fn of(runs_as: RunsAs) -> Self {
        match runs_as {
            RunsAs::Host { uid } => Self::Host { uid },
            RunsAs::OwnUser { first, count } => Self::OwnUser { first, count },
            RunsAs::Named { uid } => Self::Named { uid },
            RunsAs::Owner { uid } => Self::Owner { uid },
        }
    }
}

/// The examined folder; null where no command can be confined at all.
#[derive(Serialize)]
struct FolderFacts<'a> {
    dir: Cow<'a, str>,
    runs_as: Option<Identity>,
    reason: Option<&'a str>,
}

/// The users for whom the kernel counts the epoll watches of commands that run as the host's user; null, with the reason, where
/// it counts them for the host's user.
#[derive(Serialize)]
struct CountedFacts<'a> {
    first: Option<u32>,
    last: Option<u32>,
    reason: Option<&'a str>,
    remedy: Option<&'a str>,
}

/// The features of a private network; null, with the reason, where none can be made.
#[derive(Serialize)]
struct NetworkFacts<'a> {
    bounded_buffers: Option<bool>,
    ipv6: Option<bool>,
    reason: Option<&'a str>,
    remedy: Option<&'a str>,
}

#[derive(Serialize)]
struct CgroupFacts<'a> {
    mount: &'a Path,
    group: Option<&'a Path>,
    controllers: &'a [String],
    writable: bool,
}

/// Where a group is made for each command; null, with the reason, where there is none.
#[derive(Serialize)]
struct GroupsFacts<'a> {
    given: Option<&'a Path>,
    reason: Option<&'a str>,
    remedy: Option<&'a str>,
}
