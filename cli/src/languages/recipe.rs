//! The program that builds a capsule, with its arguments: one for each language, or the author's own.

use std::path::{Path, PathBuf};

use capsule_host::sandbox::Toolchain;

use super::declared::{Declared, Language, Way};
use super::error::BuildError;
use super::site::Site;
use super::tools::{find, find_zig};

/// How each tool is installed. The versions are those that this command is tested with.
const INSTALL_PYTHON: &str =
    "install it in the capsule's folder with `python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1`";
const INSTALL_JS: &str = "install it in the capsule's folder with `npm install componentize-qjs@0.4.5`";
const INSTALL_NODE: &str =
    "install Node.js 18 or later from https://nodejs.org, or as the package `nodejs` of your distribution";
const INSTALL_ZIG: &str = "install it in the capsule's folder with `python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.1`, or \
                           from https://ziglang.org";
const INSTALL_OTHER: &str = "the `command` in Capsule.toml names it, so ask the capsule's author how it is installed";

/// A program to run.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// What messages call it.
    program: String,
    executable: PathBuf,
    /// A program that it starts by its name, through PATH.
    interpreter: Option<PathBuf>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    toolchains: &'static [Toolchain],
    shows_warnings: bool,
}

impl Recipe {
    /// Finds the program. It fails if the program is missing.
    pub(crate) fn choose(site: &Site, declared: &Declared) -> Result<Self, BuildError> {
        let interfaces = site.interfaces(declared);
        let (world, product) = (declared.world.clone(), site.product());
        match &declared.way {
            Way::Language(Language::Python, sources) => {
                let executable = require(site, "componentize-py", INSTALL_PYTHON)?;
                let source = Path::new(sources.first().map_or("", String::as_str));
                let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let folder = site.folder().join(source);
                let folder = folder.parent().unwrap_or(site.folder()).display().to_string();
                let arguments = [
                    "-d",
                    &interfaces,
                    "-w",
                    &world,
                    "componentize",
                    &stem,
                    "-p",
                    &folder,
                    "-o",
                    &product,
                ];
                Ok(Self {
                    program: "componentize-py".into(),
                    executable,
                    arguments: arguments.map(Into::into).into(),
                    env: vec![("VIRTUAL_ENV".into(), site.folder().join(".venv").display().to_string())],
                    interpreter: None,
                    toolchains: &[Toolchain::Pyenv],
                    shows_warnings: false,
                })
            }
            Way::Language(Language::Js, sources) => {
                let executable = require(site, "componentize-qjs", INSTALL_JS)?;
                let node = require(site, "node", INSTALL_NODE)?;
                let source = site.folder().join(sources.first().map_or("", String::as_str));
                let source = source.display().to_string();
                let arguments = [
                    "--sync",
                    "--wit",
                    &interfaces,
                    "-n",
                    &world,
                    "--js",
                    &source,
                    "-o",
                    &product,
                ];
                Ok(Self {
                    program: "componentize-qjs".into(),
                    executable,
                    arguments: arguments.map(Into::into).into(),
                    env: Vec::new(),
                    interpreter: Some(node),
                    toolchains: &[Toolchain::Nvm],
                    shows_warnings: false,
                })
            }
            Way::Language(Language::C, sources) => {
                let executable = find_zig(site.folder()).ok_or_else(|| missing(site, "zig", INSTALL_ZIG))?;
                let include = format!("-I{interfaces}");
                let mut arguments: Vec<String> = [
                    "cc",
                    "-target",
                    "wasm32-wasi",
                    "-mexec-model=reactor",
                    "-Oz",
                    "-Wall",
                    "-Wl,-z,stack-size=131072",
                    &include,
                    "-o",
                    &product,
                ]
                .map(Into::into)
                .into();
                arguments.extend(
                    sources
                        .iter()
                        .map(|source| site.folder().join(source).display().to_string()),
                );
                arguments.extend(["guest.c", "guest_component_type.o"].map(|name| format!("{interfaces}/{name}")));
                let cache = site.cache();
                let env = ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"].map(|name| (name.into(), cache.clone()));
                Ok(Self {
                    program: "zig".into(),
                    executable,
                    arguments,
                    env: env.into(),
                    interpreter: None,
                    toolchains: &[],
                    shows_warnings: true,
                })
            }
            Way::Command(command) => {
                let (program, arguments) = command
                    .split_first()
                    .map_or(("", &[][..]), |(first, rest)| (first, rest));
                Ok(Self {
                    program: program.to_owned(),
                    executable: require(site, program, INSTALL_OTHER)?,
                    arguments: arguments.to_vec(),
                    env: vec![("CAPSULE_OUTPUT".into(), product), ("CAPSULE_WIT".into(), interfaces)],
                    interpreter: None,
                    toolchains: &[Toolchain::Pyenv, Toolchain::Nvm, Toolchain::Go, Toolchain::Jdk],
                    shows_warnings: true,
                })
            }
        }
    }

    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    pub(crate) fn executable(&self) -> &Path {
        &self.executable
    }

    /// All programs that the build runs and that may lie outside of the system's folders.
    pub(crate) fn programs(&self) -> Vec<&Path> {
        std::iter::once(&self.executable)
            .chain(&self.interpreter)
            .map(PathBuf::as_path)
            .collect()
    }

    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.env
    }

    pub(crate) const fn toolchains(&self) -> &'static [Toolchain] {
        self.toolchains
    }

    /// Whether a person wants to see the messages of a build that succeeded.
    pub(crate) const fn shows_warnings(&self) -> bool {
        self.shows_warnings
    }
}

fn require(site: &Site, program: &str, install: &'static str) -> Result<PathBuf, BuildError> {
    find(site.folder(), program).ok_or_else(|| missing(site, program, install))
}

fn missing(site: &Site, program: &str, install: &'static str) -> BuildError {
    BuildError::Missing {
        program: program.to_owned(),
        folder: site.folder().to_owned(),
        install,
    }
}
