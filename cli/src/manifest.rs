//! The declarations of a capsule's author: in a crate's `Cargo.toml` as `[package.metadata.capsule]`, or beside a
//! `.wasm` in a `Capsule.toml`, with the same keys at its top.
//!
//! A manifest describes the capsule's purpose and grants nothing on this machine: only the command line grants commands, and
//! requests for visible folders, published ports and egress are only reported. A manifest may name topics, because under this command messages reach only
//! this capsule and this principal.

use std::io;
use std::path::{Path, PathBuf};

use capsule_host::bus::Pattern;
use capsule_host::runtime::Interceptor;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;

use crate::{ceilings, network};

/// The declarations. Each may be left out, and no other is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Manifest {
    /// Messages that start an instance.
    interceptors: Vec<Declared>,
    /// Whether `run` is started.
    pub(crate) background: bool,
    /// The topics on which it publishes.
    #[serde(deserialize_with = "patterns")]
    pub(crate) publish: Vec<Pattern>,
    /// The topics that it subscribes to.
    #[serde(deserialize_with = "patterns")]
    pub(crate) subscribe: Vec<Pattern>,
    /// The requests for `--visible`, in the same form. They grant nothing: see `visible`.
    pub(crate) visible: Vec<String>,
    /// The most resources that its processes need.
    pub(crate) limits: ceilings::Declared,
    /// The network that they need. It grants nothing: see `network`.
    pub(crate) network: network::Declared,
    /// The name of the package, if this is a crate's.
    #[serde(skip)]
    pub(crate) package: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    #[serde(deserialize_with = "pattern")]
    topic: Pattern,
    action: String,
}

/// Why a declaration cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BadManifest {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Malformed { path: PathBuf, error: toml::de::Error },
}

/// The part of a `Cargo.toml` that this command reads.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Cargo {
    package: Package,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Package {
    name: Option<String>,
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    capsule: Manifest,
}

impl Manifest {
    /// The declarations of the `Cargo.toml` in `folder`.
    pub(crate) fn of_crate(folder: &Path) -> Result<Self, BadManifest> {
        let cargo: Option<Cargo> = read(folder.join("Cargo.toml"))?;
        let Package { name, metadata } = cargo.unwrap_or_default().package;
        Ok(Self {
            package: name,
            ..metadata.capsule
        })
    }

    /// The declarations of a `Capsule.toml` beside `component`; none if the file does not exist.
    pub(crate) fn beside(component: &Path) -> Result<Self, BadManifest> {
        Ok(read(component.with_file_name("Capsule.toml"))?.unwrap_or_default())
    }

    pub(crate) fn interceptors(&self) -> Vec<Interceptor> {
        let declared = self.interceptors.iter().cloned();
        declared
            .map(|Declared { topic, action }| Interceptor { topic, action })
            .collect()
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: PathBuf) -> Result<Option<T>, BadManifest> {
    match std::fs::read_to_string(&path) {
        Ok(text) => match toml::from_str(&text) {
            Ok(read) => Ok(Some(read)),
            Err(error) => Err(BadManifest::Malformed { path, error }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BadManifest::Unreadable { path, error }),
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    Pattern::parse(&text).map_err(|bad| D::Error::custom(format!("{text:?}: {bad}")))
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| Pattern::parse(text).map_err(|bad| D::Error::custom(format!("{text:?}: {bad}")));
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &str = r#"
        background = true
        publish = ["notes.v1.*"]
        subscribe = ["notes.v1.saved"]
        visible = ["rustup"]
        interceptors = [{ topic = "astrid.process.v1.exited.*", action = "report" }]
    "#;

    fn declared(folder: &Path) -> Manifest {
        std::fs::write(folder.join("Capsule.toml"), DECLARED).unwrap();
        Manifest::beside(&folder.join("x.wasm")).unwrap()
    }

    #[test]
    fn both_files_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let beside = declared(folder.path());
        assert!(beside.background);
        assert_eq!(beside.publish, [Pattern::parse("notes.v1.*").unwrap()]);
        assert_eq!(beside.interceptors()[0].action, "report");
        assert_eq!(beside.visible, ["rustup"]);

        let cargo = format!("[package]\nname = \"x\"\n[package.metadata.capsule]{DECLARED}[dependencies]\n");
        std::fs::write(folder.path().join("Cargo.toml"), cargo).unwrap();
        let of_crate = Manifest::of_crate(folder.path()).unwrap();
        assert_eq!(of_crate.package.as_deref(), Some("x"));
        assert_eq!(
            Manifest {
                package: None,
                ..of_crate
            },
            beside
        );
    }

    #[test]
    fn what_is_not_declared_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Manifest::beside(&folder.path().join("x.wasm")).unwrap(),
            Manifest::default()
        );
        for cargo in [
            "",
            "[package]\nname = \"x\"\n",
            "[package.metadata.component]\npackage = \"a:b\"\n",
        ] {
            std::fs::write(folder.path().join("Cargo.toml"), cargo).unwrap();
            let manifest = Manifest::of_crate(folder.path()).unwrap();
            assert_eq!(
                Manifest {
                    package: None,
                    ..manifest
                },
                Manifest::default()
            );
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (text, told) in [
            ("backgruond = true", "backgruond"),
            ("background = 1", "background = 1"),
            ("publish = [\"a.*.b\"]", "\"a.*.b\""),
            ("interceptors = [{ topic = \"A\", action = \"x\" }]", "\"A\""),
            ("interceptors = [{ topic = \"a\" }]", "action"),
            ("limits = { max-pids = 0 }", "max-pids"),
            ("[limits]\nmax-memory = \"much\"", "much"),
            ("[limits]\nmax-everything = 1", "max-everything"),
            ("=", "line 1"),
            (
                "background = true\n[network]\npublish = [\"8000\",\n\"0.0.0.0:80\"]",
                "line 3",
            ),
            ("[network]\npublish = [\"0.0.0.0:80\"]", "127.0.0.0/8"),
            ("[network]\n\negress = [\"10.0.0.1\"]", "line 3"),
            ("[network]\negress = [\"https://pypi.org\"]", "write its host alone"),
            ("\n[network]\nmode = \"open\"", "line 3"),
            ("[network]\nports = [\"80\"]", "ports"),
            ("network = { mode = \"host\", publish = [\"80\"] }", "private network"),
            ("limits = { max-dials = 0 }", "max-dials"),
        ] {
            std::fs::write(folder.path().join("Capsule.toml"), text).unwrap();
            let error = Manifest::beside(&folder.path().join("x.wasm")).unwrap_err().to_string();
            assert!(error.contains("Capsule.toml") && error.contains(told), "{error}");
        }
    }
}
