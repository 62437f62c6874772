//! The interface cannot change unnoticed: `wit/` is read with wit-parser, written out again line by line, and compared
//! with the tables below. The tables are the published interface. A difference means that components which were
//! compiled elsewhere no longer link, so `wit/` must be mended and not the table.
//!
//! Notation: `?T` is `option<T>`, `[T]` is `list<T>`, `(T, U)` is `tuple<T, U>`, `-> T / E` is `result<T, E>` (`_` for
//! nothing).
//! An indented line continues the one before.

#![expect(
    clippy::indexing_slicing,
    reason = "ids index the arenas of the Resolve that they come from"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a kind that the tables do not use is written by its name, and so differs from them"
)]

use wit_parser::{
    Function, FunctionKind, Handle, Interface, InterfaceId, Param, Resolve, Span, Type, TypeDefKind, TypeId, TypeOwner,
    WorldId, WorldItem,
};

/// Both versions of `astrid:process`. Lines and fields marked `+` exist since 1.1.0.
const PROCESS: &str = "
interface host
use astrid:io/poll@1.0.0.{pollable}
variant error-code = capability-denied, invalid-input, boundary-escape, quota, too-large, closed,
  cancelled, wait-timeout, no-such-process, registry-full, persist-unsupported, unknown(string)
enum process-signal = term, hup, usr1, usr2, int, stop, cont
record env-var = key: string, value: string
enum overflow-policy = drop-oldest, backpressure
record resource-limits = max-memory-bytes: ?u64, max-cpu-secs: ?u64, max-pids: ?u32,
  max-open-files: ?u32
+ record file-injection = content: [u8], placement: injection-placement
+ variant injection-placement = env-pointer(string), fixed-path(string)
record spawn-request = cmd: string, args: [string], stdin: ?[u8], env: [env-var], cwd: ?string,
  limits: ?resource-limits, + file-injections: [file-injection], label: ?string,
  keep-stdin-open: ?bool, overflow: ?overflow-policy, log-ring-bytes: ?u32, max-lifetime-ms: ?u64,
  idle-timeout-ms: ?u64, exit-retention-ms: ?u64
record exit-info = exit-code: ?s32, signal: ?s32
record process-result = stdout: string, stderr: string, exit: exit-info
record read-logs-result = stdout: string, stderr: string, running: bool, exit: ?exit-info
record kill-result = killed: bool, exit: ?exit-info, stdout: string, stderr: string
type process-id = string
enum process-phase = starting, running, exited
record log-cursor = token: ?string
enum log-stream = stdout, stderr
record log-chunk = data: [u8], next: log-cursor, bytes-dropped: u64, drained-eof: bool
record process-info = id: process-id, label: string, command: string, os-pid: ?u32,
  phase: process-phase, exit: ?exit-info, age-ms: u64, idle-ms: u64, buffered-bytes: u64,
  bytes-dropped: u64, stdin-open: bool, cpu-ms: ?u64, mem-bytes-peak: ?u64
resource process-handle
method process-handle.read-logs() -> read-logs-result / error-code
method process-handle.write-stdin(data: [u8]) -> u32 / error-code
method process-handle.close-stdin() -> _ / error-code
method process-handle.signal(sig: process-signal) -> _ / error-code
method process-handle.kill() -> kill-result / error-code
method process-handle.wait(timeout-ms: ?u64) -> exit-info / error-code
method process-handle.wait-with-output(timeout-ms: ?u64) -> process-result / error-code
method process-handle.os-pid() -> u32 / error-code
method process-handle.subscribe-exit() -> pollable
method process-handle.subscribe-logs() -> pollable
func spawn(request: spawn-request) -> process-result / error-code
func spawn-background(request: spawn-request) -> process-handle / error-code
func spawn-persistent(request: spawn-request) -> process-id / error-code
func attach(id: process-id) -> process-handle / error-code
func list-processes(label-filter: ?string) -> [process-info] / error-code
func status(id: process-id) -> process-info / error-code
func status-many(ids: [process-id]) -> [process-info] / error-code
func read-logs(id: process-id) -> read-logs-result / error-code
func read-since(id: process-id, which-stream: log-stream, cursor: log-cursor, max-bytes: u32)
  -> log-chunk / error-code
func write-stdin(id: process-id, data: [u8]) -> u32 / error-code
func close-stdin(id: process-id) -> _ / error-code
func signal(id: process-id, sig: process-signal) -> _ / error-code
func wait(id: process-id, timeout-ms: u64) -> exit-info / error-code
func stop(id: process-id, grace-ms: ?u64) -> exit-info / error-code
func release-process(id: process-id) -> _ / error-code
func watch(id: process-id, suffix: ?string) -> _ / error-code
func unwatch(id: process-id) -> _ / error-code
";

const IO: &str = "
interface poll
variant error-code = invalid-input, closed, too-large, cancelled, unknown(string)
resource pollable
method pollable.ready() -> bool
method pollable.block() -> _ / error-code
func poll(pollables: [borrow<pollable>]) -> [u32] / error-code
interface error
resource error
method error.to-debug-string() -> string
";

const GUEST: &str = "
interface lifecycle
record capsule-result = action: string, data: ?string
world interceptor
import astrid:guest/lifecycle@1.0.0
use astrid:guest/lifecycle@1.0.0.{capsule-result}
export astrid-hook-trigger(action: string, payload: [u8]) -> capsule-result
world background
export run()
world installable
export astrid-install()
world upgradable
export astrid-upgrade()
";

const IPC: &str = "
interface host
use astrid:io/poll@1.0.0.{pollable}
variant error-code = capability-denied, invalid-input, closed, rate-limited, backpressure, quota,
  timeout, unknown(string)
variant principal-attribution = verified(string), claimed(string), system
record ipc-envelope = messages: [ipc-message], dropped: u64, lagged: u64
record ipc-message = topic: string, payload: string, source-id: string,
  principal: principal-attribution
record interceptor-binding = handle-id: u64, action: string, topic: string
resource subscription
method subscription.poll() -> ipc-envelope / error-code
method subscription.recv(timeout-ms: u64) -> ipc-envelope / error-code
method subscription.subscribe-readiness() -> pollable
func publish(topic: string, payload: string) -> _ / error-code
func publish-as(topic: string, payload: string, principal: string) -> _ / error-code
func subscribe(topic-pattern: string) -> subscription / error-code
func get-interceptor-bindings() -> [interceptor-binding] / error-code
";

const SYS: &str = "
interface host
variant error-code = capability-denied, config-key-reserved, too-large, registry-unavailable,
  cancelled, unknown(string)
enum log-level = trace, debug, info, warn, error
record caller-context = principal: ?string, source-id: string, timestamp: string
record capability-check-request = source-uuid: string, capability: string
record capability-check-response = allowed: bool
func get-config(key: string) -> ?string / error-code
func get-caller() -> caller-context / error-code
func log(level: log-level, message: string)
func signal-ready()
func clock-ms() -> u64
func clock-monotonic-ns() -> u64
func sleep-ns(duration-ns: u64) -> _ / error-code
func random-bytes(length: u64) -> [u8] / error-code
func check-capsule-capability(request: capability-check-request)
  -> capability-check-response / error-code
func enumerate-capabilities() -> [string]
";

/// Our own package. It may change until it is published as 1.0.0: with a new version, so that a component which was built
/// against the old one is refused by name.
const NET: &str = "
interface net
variant error-code = invalid-input(string), no-such-process, no-network, not-listening, exited,
  timeout, too-large, invalid-response, cancelled, unknown(string)
type process-id = string
record published-port = port: u16, address: published-address
variant published-address = tcp(tcp-address), unix(string)
record tcp-address = ip: (u8, u8, u8, u8), port: u16
record header = name: string, value: [u8]
record request = port: u16, method: string, path: string, headers: [header], body: [u8],
  timeout-ms: u64
record response = status: u16, headers: [header], body: [u8]
func ports(process: process-id) -> [u16] / error-code
func wait-for-port(process: process-id, port: u16, timeout-ms: u64) -> _ / error-code
func published() -> [published-port]
func fetch(request: request) -> response / error-code
";

/// As [`NET`].
const STORE: &str = "
interface keyvalue
variant error-code = invalid-input(string), too-large, quota, not-authenticated, unavailable,
  damaged, busy, cancelled, unknown(string)
variant swap = swapped, mismatch(?[u8])
record page = keys: [string], more: bool
func get(key: string) -> ?[u8] / error-code
func set(key: string, value: [u8]) -> _ / error-code
func delete(key: string) -> bool / error-code
func compare-and-set(key: string, expected: ?[u8], new: ?[u8]) -> swap / error-code
func list(prefix: string, after: ?string, limit: u32) -> page / error-code
";

/// As [`NET`].
const SYNC: &str = "
interface lock
variant error-code = invalid-input(string), timeout, quota, not-authenticated, unavailable,
  cancelled, unknown(string)
resource guard
func acquire(name: string, timeout-ms: u64) -> guard / error-code
";

/// Worlds only, so that the package adds nothing which a component could name.
const WORLDS: &str = "
world host
import astrid:io/poll@1.0.0
import astrid:process/host@1.0.0
import astrid:process/host@1.1.0
import astrid:io/error@1.0.0
import astrid:ipc/host@1.0.0
import astrid:sys/host@1.0.0
import capsule:net/net@0.1.0
import capsule:store/keyvalue@0.1.0
import capsule:sync/lock@0.1.0
world entry
import astrid:guest/lifecycle@1.0.0
use astrid:guest/lifecycle@1.0.0.{capsule-result}
export astrid-hook-trigger(action: string, payload: [u8]) -> capsule-result
world guest
import astrid:io/poll@1.0.0
import astrid:process/host@1.1.0
import astrid:ipc/host@1.0.0
import astrid:sys/host@1.0.0
import capsule:net/net@0.1.0
import capsule:store/keyvalue@0.1.0
import capsule:sync/lock@0.1.0
import astrid:guest/lifecycle@1.0.0
use astrid:guest/lifecycle@1.0.0.{capsule-result}
export astrid-hook-trigger(action: string, payload: [u8]) -> capsule-result
world guest-background
export run()
";

#[test]
fn every_name_type_and_order_is_the_published_one() {
    let resolve = resolve();
    let tables = [
        ("astrid:guest@1.0.0", GUEST.to_owned()),
        ("astrid:io@1.0.0", IO.to_owned()),
        ("astrid:ipc@1.0.0", IPC.to_owned()),
        ("astrid:process@1.0.0", without_marked(PROCESS)),
        ("astrid:process@1.1.0", PROCESS.replace("+ ", "")),
        ("astrid:sys@1.0.0", SYS.to_owned()),
        ("capsule:net@0.1.0", NET.to_owned()),
        ("capsule:store@0.1.0", STORE.to_owned()),
        ("capsule:sync@0.1.0", SYNC.to_owned()),
        ("capsule:worlds", WORLDS.to_owned()),
    ];
    let mut found: Vec<_> = (resolve.packages.iter())
        .map(|(_, package)| package.name.to_string())
        .collect();
    found.sort_unstable();
    assert_eq!(found, tables.each_ref().map(|(name, _)| *name), "the packages of wit/");

    let mut differences = String::new();
    for (name, table) in &tables {
        let (_, package) = (resolve.packages.iter())
            .find(|(_, package)| package.name.to_string() == *name)
            .expect("its presence was just asserted");
        let mut written = Vec::new();
        for interface in package.interfaces.values() {
            write_interface(&resolve, *interface, &mut written);
        }
        for world in package.worlds.values() {
            write_world(&resolve, *world, &mut written);
        }
        differences.push_str(&difference(name, &lines(table), &written));
    }
    assert!(differences.is_empty(), "wit/ is not what is published:\n{differences}");
}

#[test]
fn every_item_says_what_it_is_for() {
    let resolve = resolve();
    let mut silent = Vec::new();
    for (_, interface) in &resolve.interfaces {
        for (name, ty) in &interface.types {
            let def = &resolve.types[*ty];
            let used = matches!(def.kind, TypeDefKind::Type(Type::Id(_)));
            let parts: Vec<_> = match &def.kind {
                TypeDefKind::Record(it) => it.fields.iter().map(|f| (&f.name, &f.docs)).collect(),
                TypeDefKind::Variant(it) => it.cases.iter().map(|c| (&c.name, &c.docs)).collect(),
                TypeDefKind::Enum(it) => it.cases.iter().map(|c| (&c.name, &c.docs)).collect(),
                _ => Vec::new(),
            };
            silent.extend(
                (parts.into_iter().filter(|(_, docs)| docs.contents.is_none()))
                    .map(|(part, _)| format!("{name}.{part}")),
            );
            if def.docs.contents.is_none() && !used {
                silent.push(name.clone());
            }
        }
        silent.extend((interface.functions.values().filter(|f| f.docs.contents.is_none())).map(|f| f.name.clone()));
    }
    assert!(silent.is_empty(), "without a word of explanation: {silent:?}");
}

fn resolve() -> Resolve {
    let mut resolve = Resolve::default();
    resolve
        .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"))
        .expect("wit/ resolves");
    resolve
}

/// The table's lines, with continuations joined.
fn lines(table: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(rest), Some(last)) => {
                last.push(' ');
                last.push_str(rest);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The table without the lines and fields that `+` marks.
fn without_marked(table: &str) -> String {
    let kept = lines(table).into_iter().filter(|line| !line.starts_with("+ "));
    kept.map(|line| {
        let parts: Vec<_> = line.split(", ").filter(|part| !part.starts_with("+ ")).collect();
        parts.join(", ") + "\n"
    })
    .collect()
}

/// The first line at which the two differ, and how; empty if they are equal.
fn difference(name: &str, table: &[String], written: &[String]) -> String {
    if table == written {
        return String::new();
    }
    let at = table.iter().zip(written).take_while(|(a, b)| a == b).count();
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    format!(
        "{name}, line {at}\n  published: {}\n  in wit/:   {}\n",
        line(table),
        line(written)
    )
}

// wit-parser keeps types apart from functions and sorts types by dependency. Only the position in the source shows the
// order of declaration.
fn write_interface(resolve: &Resolve, id: InterfaceId, out: &mut Vec<String>) {
    let interface: &Interface = &resolve.interfaces[id];
    out.push(format!("interface {}", interface.name.as_deref().unwrap_or_default()));
    let types = (interface.types.values()).map(|ty| (resolve.types[*ty].span, write_type(resolve, *ty)));
    let functions = (interface.functions.values()).map(|f| (f.span, write_function(resolve, f)));
    out.extend(in_source_order(types.chain(functions)));
}

fn write_world(resolve: &Resolve, id: WorldId, out: &mut Vec<String>) {
    let world = &resolve.worlds[id];
    out.push(format!("world {}", world.name));
    for (key, item) in &world.imports {
        match item {
            WorldItem::Interface { .. } => {
                out.push(format!("import {}", resolve.name_world_key(key)));
            }
            WorldItem::Function(f) => out.push(format!("import {}", write_function(resolve, f))),
            WorldItem::Type { id, .. } => out.push(write_type(resolve, *id)),
        }
    }
    for (key, item) in &world.exports {
        out.push(match item {
            WorldItem::Function(f) => write_function(resolve, f).replacen("func", "export", 1),
            WorldItem::Interface { .. } | WorldItem::Type { .. } => {
                format!("export {}", resolve.name_world_key(key))
            }
        });
    }
}

fn in_source_order(items: impl Iterator<Item = (Span, String)>) -> Vec<String> {
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|(span, _)| span.start());
    items.into_iter().map(|(_, line)| line).collect()
}

fn write_type(resolve: &Resolve, id: TypeId) -> String {
    let def = &resolve.types[id];
    let name = def.name.as_deref().unwrap_or_default();
    match &def.kind {
        TypeDefKind::Record(it) => {
            let fields = it
                .fields
                .iter()
                .map(|f| format!("{}: {}", f.name, write_ref(resolve, &f.ty)));
            format!("record {name} = {}", join(fields))
        }
        TypeDefKind::Variant(it) => {
            let cases = it.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, write_ref(resolve, ty)),
                None => case.name.clone(),
            });
            format!("variant {name} = {}", join(cases))
        }
        TypeDefKind::Enum(it) => {
            format!("enum {name} = {}", join(it.cases.iter().map(|case| case.name.clone())))
        }
        TypeDefKind::Resource => format!("resource {name}"),
        TypeDefKind::Type(Type::Id(used)) => match resolve.types[*used].owner {
            TypeOwner::Interface(from) if resolve.types[*used].owner != def.owner => {
                let from = resolve.id_of(from).unwrap_or_default();
                format!("use {from}.{{{name}}}")
            }
            _ => format!("type {name} = {}", write_ref(resolve, &Type::Id(*used))),
        },
        TypeDefKind::Type(ty) => format!("type {name} = {}", write_ref(resolve, ty)),
        other => format!("{} {name}", other.as_str()),
    }
}

fn write_function(resolve: &Resolve, function: &Function) -> String {
    let (kind, name, params): (_, _, &[Param]) = match function.kind {
        FunctionKind::Freestanding => ("func", function.name.clone(), &function.params),
        // A method's first parameter is the resource itself.
        FunctionKind::Method(_) => (
            "method",
            function.name.replacen("[method]", "", 1),
            function.params.get(1..).unwrap_or_default(),
        ),
        _ => ("other", function.name.clone(), &function.params),
    };
    let params = join(
        params
            .iter()
            .map(|p| format!("{}: {}", p.name, write_ref(resolve, &p.ty))),
    );
    let result = match &function.result {
        Some(ty) => format!(" -> {}", write_ref(resolve, ty)),
        None => String::new(),
    };
    format!("{kind} {name}({params}){result}")
}

/// A type at a use: its name, if it has one.
fn write_ref(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase();
    };
    let def = &resolve.types[*id];
    if let Some(name) = &def.name {
        return name.clone();
    }
    let part = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| write_ref(resolve, ty));
    match &def.kind {
        TypeDefKind::Option(ty) => format!("?{}", write_ref(resolve, ty)),
        TypeDefKind::List(ty) => format!("[{}]", write_ref(resolve, ty)),
        TypeDefKind::Result(it) => format!("{} / {}", part(&it.ok), part(&it.err)),
        TypeDefKind::Tuple(it) => format!("({})", join(it.types.iter().map(|ty| write_ref(resolve, ty)))),
        TypeDefKind::Handle(Handle::Own(id)) => write_ref(resolve, &Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => {
            format!("borrow<{}>", write_ref(resolve, &Type::Id(*id)))
        }
        other => other.as_str().to_owned(),
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
