//! The keys of a manifest: this command's own, and those of the `Capsule.toml` that other hosts read.
//!
//! The reference's file must load as it is. What it says about processes and messages has the same meaning here. The rest
//! concerns interfaces that this host does not have, so it is reported, and fails nothing.

use std::path::{Component, Path, PathBuf};

use capsule_host::bus::Pattern;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::actions::read_actions;
use super::declared::{Capabilities, Manifest, Named};
use super::document::{BadManifest, Document, Section, Value};
use super::mcp_servers;

/// The most bytes of a capsule's name.
const ID_MAX: usize = 128;

/// The keys of a package that describe it for readers and registries, and mean nothing to a host.
const DESCRIPTIVE: [&str; 16] = [
    "version",
    "astrid-version",
    "description",
    "authors",
    "repository",
    "homepage",
    "documentation",
    "license",
    "license-file",
    "readme",
    "keywords",
    "categories",
    "publish",
    "include",
    "exclude",
    "edition",
];

/// The reference's tables for interfaces that this host does not have.
const ELSEWHERE: [&str; 10] = [
    "imports",
    "exports",
    "dependencies",
    "env",
    "command",
    "skill",
    "uplink",
    "context_file",
    "topic",
    "tool",
];

/// The reference's capabilities for interfaces that this host does not have.
const CAPABILITIES_ELSEWHERE: [&str; 11] = [
    "uplink",
    "net",
    "net_bind",
    "net_connect",
    "kv",
    "fs_read",
    "fs_write",
    "identity",
    "allow_prompt_injection",
    "allow_http",
    "allow_network",
];

/// Reads a `Capsule.toml` or a `NAME.capsule.toml`.
pub(super) fn capsule(document: Document) -> Result<Manifest, BadManifest> {
    let mut manifest = Manifest::default();
    let mut root = document.root()?;
    if let Some(mut package) = root.section("package")? {
        manifest.id = name(&mut package, "name")?;
        if let Some(mut metadata) = package.section("metadata")?
            && let Some(mut own) = metadata.section("capsule")?
        {
            read_own(&mut own, &mut manifest)?;
            own.finish();
        }
        for key in DESCRIPTIVE {
            package.value(key);
        }
        package.finish();
    }
    read_own(&mut root, &mut manifest)?;
    for component in root.sections("component")? {
        manifest.components.push(read_component(component)?);
    }
    if let Some(capabilities) = root.section("capabilities")? {
        manifest.ask(read_capabilities(capabilities)?);
    }
    for interceptor in root.sections("interceptor")? {
        manifest.interceptors.extend(read_event(interceptor)?);
    }
    for mut server in root.sections("mcp_server")? {
        let id = name(&mut server, "id")?;
        mcp_servers::read(id, server, &mut manifest)?;
    }
    for key in ELSEWHERE {
        report_elsewhere(&mut root, key);
    }
    root.finish();
    manifest.reports = document.into_reports();
    Ok(manifest)
}

/// Reads a `Cargo.toml`. Cargo judges everything in it but our part.
pub(super) fn cargo(document: Document) -> Result<Manifest, BadManifest> {
    let mut manifest = Manifest::default();
    if let Some(mut package) = document.root()?.section("package")? {
        manifest.id = package.get("name")?;
        if let Some(mut metadata) = package.section("metadata")?
            && let Some(mut own) = metadata.section("capsule")?
        {
            read_own(&mut own, &mut manifest)?;
            own.finish();
        }
    }
    manifest.reports = document.into_reports();
    Ok(manifest)
}

/// Reads this command's own keys, which have the names of its flags.
fn read_own(section: &mut Section<'_>, manifest: &mut Manifest) -> Result<(), BadManifest> {
    manifest.allow.extend(commands(section, "allow")?);
    manifest.allow_persistent |= section.get("allow-persistent")?.unwrap_or(false);
    manifest.visible.extend(section.list::<String>("visible")?);
    manifest.commits |= section.get("commits")?.unwrap_or(false);
    manifest.background |= section.get("background")?.unwrap_or(false);
    let interceptors = section.list::<Intercepted>("interceptors")?;
    let interceptors = interceptors
        .into_iter()
        .map(|declared| (declared.topic.0, declared.action));
    manifest.interceptors.extend(interceptors);
    if let Some(topics) = section.value("publish") {
        let (publish, _) = read_topics(topics, "publish")?;
        manifest.publish.extend(publish);
    }
    if let Some(topics) = section.value("subscribe") {
        let (subscribe, handled) = read_topics(topics, "subscribe")?;
        manifest.subscribe.extend(subscribe);
        manifest.interceptors.extend(handled);
    }
    if let Some(limits) = section.table("limits")? {
        manifest.limits = limits;
    }
    if let Some(network) = section.table("network")? {
        manifest.network = network;
    }
    if let Some(actions) = section.section("actions")? {
        manifest.actions = read_actions(actions)?;
    }
    if let Some(build) = section.table("build")? {
        manifest.build = Some(build);
    }
    Ok(())
}

fn commands(section: &mut Section<'_>, key: &'static str) -> Result<Vec<String>, BadManifest> {
    let commands = section.list::<Command>(key)?;
    Ok(commands.into_iter().map(|command| command.0).collect())
}

/// The topics, and of those with a handler also its name.
type Handled = (Vec<Pattern>, Vec<(Pattern, String)>);

/// Reads topics: a list of them, as this command has it, or the reference's table, where each topic has a value.
fn read_topics(value: Value<'_>, name: &str) -> Result<Handled, BadManifest> {
    if !value.is_table() {
        let topics = value.list::<Topics>()?;
        return Ok((topics.into_iter().map(|topic| topic.0).collect(), Vec::new()));
    }
    let (mut topics, mut handled) = (Vec::new(), Vec::new());
    for (topic, value) in value.section(name.to_owned())?.entries()? {
        // Another host knows patterns that this one cannot carry.
        let pattern = Pattern::parse(&topic);
        if let Err(bad) = pattern {
            value.report(|| format!("a topic in `{name}` has no effect: {bad}"));
        }
        let handler = if value.is_text() {
            None
        } else {
            let mut entry = value.section(format!("{name}.{topic}"))?;
            // The payload's type, where it comes from, and hints for tools. Each handler runs in an instance of its own, so that
            // priorities have nothing to order.
            for key in ["wit", "version", "tag", "rev", "branch", "path", "fanout", "priority"] {
                entry.value(key);
            }
            let handler = entry.get::<String>("handler")?;
            entry.finish();
            handler
        };
        if let Ok(pattern) = pattern {
            if let Some(handler) = handler {
                handled.push((pattern.clone(), handler));
            }
            topics.push(pattern);
        }
    }
    Ok((topics, handled))
}

fn read_component(mut component: Section<'_>) -> Result<Named, BadManifest> {
    let id = name(&mut component, "id")?;
    let file = match component.value("file") {
        Some(file) => Some(file),
        None => component.value("entrypoint"),
    };
    let file = match file {
        None => return Err(component.refuse("a `component` has a `file`, the path of its .wasm in this folder")),
        Some(value) => {
            let place = value.place();
            let file: PathBuf = value.read()?;
            if !stays_inside(&file) {
                return Err(place.refuse("the `file` of a component is a path in the folder of this manifest"));
            }
            file
        }
    };
    let is_library = component.get::<String>("type")?.is_some_and(|kind| kind == "library");
    if let Some(hash) = component.value("hash") {
        hash.report(|| "the `hash` of a component is not checked by this host".to_owned());
    }
    let capabilities = component.section("capabilities")?.map(read_capabilities).transpose()?;
    component.finish();
    Ok(Named {
        id,
        file,
        is_library,
        capabilities: capabilities.unwrap_or_default(),
    })
}

fn read_capabilities(mut section: Section<'_>) -> Result<Capabilities, BadManifest> {
    let capabilities = Capabilities {
        allow: commands(&mut section, "host_process")?,
        allow_persistent: section.get("allow_persistent")?.unwrap_or(false),
        publish: legacy_topics(&mut section, "ipc_publish")?,
        subscribe: legacy_topics(&mut section, "ipc_subscribe")?,
    };
    for key in CAPABILITIES_ELSEWHERE {
        report_elsewhere(&mut section, key);
    }
    section.finish();
    Ok(capabilities)
}

/// The reference's earlier list of topics.
fn legacy_topics(section: &mut Section<'_>, key: &'static str) -> Result<Vec<Pattern>, BadManifest> {
    let Some(value) = section.value(key) else {
        return Ok(Vec::new());
    };
    let place = value.place();
    let mut topics = Vec::new();
    for topic in value.list::<String>()? {
        match Pattern::parse(&topic) {
            Ok(topic) => topics.push(topic),
            Err(bad) => place.report(|| format!("a topic in `{key}` has no effect: {bad}")),
        }
    }
    Ok(topics)
}

/// The reference's earlier form of an interceptor.
fn read_event(mut section: Section<'_>) -> Result<Option<(Pattern, String)>, BadManifest> {
    section.value("priority");
    let (event, action) = (section.value("event"), section.get::<String>("action")?);
    let (Some(event), Some(action)) = (event, action) else {
        return Err(section.refuse("an `interceptor` has an `event`, its topic, and an `action`"));
    };
    section.finish();
    let place = event.place();
    match Pattern::parse(&event.read::<String>()?) {
        Ok(topic) => Ok(Some((topic, action))),
        Err(bad) => {
            place.report(|| format!("the `event` has no effect: {bad}"));
            Ok(None)
        }
    }
}

/// A name for a capsule, which messages, topics and records then carry.
fn name(section: &mut Section<'_>, key: &'static str) -> Result<Option<String>, BadManifest> {
    let Some(value) = section.value(key) else {
        return Ok(None);
    };
    let place = value.place();
    let name: String = value.read()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > ID_MAX || !name.bytes().all(is_plain) {
        return Err(place.refuse(format!(
            "`{key}` is a name of 1 to {ID_MAX} letters, digits, dots, `-` and `_`"
        )));
    }
    Ok(Some(name))
}

fn report_elsewhere(section: &mut Section<'_>, key: &'static str) {
    if let Some(value) = section.value(key)
        && !value.is_empty()
    {
        value.report(|| format!("`{key}` has no effect on this host, which has no such interface"));
    }
}

/// A command that a manifest asks for.
struct Command(String);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(D::Error::custom("a command is not empty"));
        }
        Ok(Self(text))
    }
}

/// A topic or a pattern of topics.
struct Topics(Pattern);

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::parse(&text)
            .map(Self)
            .map_err(|bad| D::Error::custom(format!("{text:?}: {bad}")))
    }
}

/// An interceptor in this command's own form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Intercepted {
    topic: Topics,
    action: String,
}

/// Whether a path stays in the folder that it is relative to, as far as its words say.
fn stays_inside(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
