//! Builds an untrusted crate: cargo, and all code that it runs, is confined like a capsule's own commands (contract B6).
//!
//! The build of a crate runs code of its authors: build scripts, macros, a toolchain file, a `.cargo/config.toml`.
//! So every program that reads the crate's folder runs in the sandbox. It sees the crate's workspace, the
//! toolchains and the registry's cache, read-only, and has no network. It may write to:
//! - a target folder of its own, beneath the usual target folder. It must not write to the usual one, which holds build scripts and
//!   programs that cargo later runs as the host's user, unconfined, without checking who made them.
//! - `Cargo.lock`, which cargo completes.
//!
//! If sources are missing, cargo fetches them with the network, by a separate call that compiles nothing, into a
//! folder beneath that target folder. In the user's own cache, one crate's configuration could replace another crate's sources.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capsule_host::sandbox::{Confined, Network, Policy, Workspace};
use capsule_host::supervisor::{
    Ask, ExitInfo, Gate, Limits, Owner, Principal, Registry, RunOutput, Scope, SpawnRequest,
};
use tokio::runtime::Handle;

use crate::build_inputs::Found;
use crate::cargo::{BuildError, Built, TARGET, artifacts, build_arguments, choose};
use crate::console::{self, Spinner};
use crate::tool::{is_left_over, rustup_adds};

/// The output folder of a confined build, beneath the folder of cargo's workspace.
const OUTPUT: &str = "target/confined";

/// Has cargo read the sources of the crate and of its dependencies for the target and for the build, and none for other crates of
/// the workspace. Cargo fetches missing sources, or fails if it may not. Nothing is compiled.
const SOURCES: &[&str] = &["tree", "--target", TARGET, "--edges", "normal,build"];

/// Builds the crate in `folder` (an absolute path without symlinks) for release.
///
/// Cargo's messages go to standard error when it has ended. Dropping the future ends the build.
pub(crate) async fn build(folder: &Path) -> Result<Built, BuildError> {
    let site = Site::prepare(folder)?;
    let own = site.root.join(OUTPUT).join("cargo-home");
    let offline = Builder::new(&site, false, &site.cargo_home)?;
    ensure_target(&offline).await?;
    let spinner = Spinner::start(format!("building {}", folder.display()));
    let builder = if offline.has_sources().await? {
        offline
    } else {
        let offline = Builder::new(&site, false, &own)?;
        if !offline.has_sources().await? {
            spinner.say(format!("fetching what {} needs", folder.display()));
            let online = Builder::new(&site, true, &own)?;
            let fetched = online.run("cargo", SOURCES).await?;
            if !fetched.is_ok() {
                console::relay(&fetched.0.stderr).await;
                return Err(BuildError::Fetch {
                    folder: folder.to_owned(),
                });
            }
            spinner.say(format!("building {}", folder.display()));
        }
        offline
    };
    let mut arguments = build_arguments();
    arguments.push("--offline");
    if console::is_terminal() {
        arguments.push("--quiet");
    }
    let built = builder.run("cargo", &arguments).await?;
    drop(spinner);
    let output = built.or_told(folder).await?;
    console::relay(&output.stderr).await;
    let found = artifacts(output.stdout.as_slice(), &Spinner::hidden())
        .await
        .map_err(|error| BuildError::Read {
            program: "cargo",
            error,
        })?;
    let built = choose(folder, &found)?;
    // The crate may have forged the printed path.
    match built.wasm.canonicalize() {
        Ok(wasm) if wasm.starts_with(site.root.join(OUTPUT)) => Ok(Built { wasm, ..built }),
        Ok(_) | Err(_) => Err(BuildError::NoComponent { folder: folder.into() }),
    }
}

/// The files of a crate folder that `capsule run` trusts. A workspace that contains them shows them read-only to the capsule's
/// processes.
pub(crate) fn trusted(folder: &Path) -> Vec<PathBuf> {
    const OWN: [&str; 6] = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "target", ".cargo"];
    let root = root(folder);
    let of = |base: &Path| OWN.map(|name| base.join(name));
    std::iter::once(folder.to_owned())
        .chain(of(folder))
        .chain(of(&root))
        .collect()
}

/// What the build of the crate in `folder` reads, so that the capsule's processes must not have made it: sources, and the files by
/// which cargo and rustup decide what to build and to run.
pub(crate) fn found(folder: &Path) -> Found {
    Found {
        // Of build scripts and macros, those that are usual.
        extensions: Some(&["rs", "toml", "wit", "c", "h"]),
        names: &["Capsule.toml", "build.rs", "src", "target"],
        above: &[
            "Cargo.toml",
            "Cargo.lock",
            ".cargo",
            ".cargo/config",
            ".cargo/config.toml",
            "rust-toolchain",
            "rust-toolchain.toml",
        ],
        paths: vec![root(folder).join("target")],
    }
}

/// The crate, and the folders that its build needs.
struct Site {
    folder: PathBuf,
    /// The folder of the cargo workspace that the crate belongs to.
    root: PathBuf,
    cargo_home: PathBuf,
    rustup_home: PathBuf,
}

impl Site {
    fn prepare(folder: &Path) -> Result<Self, BuildError> {
        let home = |name: &str, otherwise: &str| {
            let named = std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute());
            named.unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(otherwise))
        };
        let site = Self {
            folder: folder.to_owned(),
            root: root(folder),
            cargo_home: home("CARGO_HOME", ".cargo"),
            rustup_home: home("RUSTUP_HOME", ".rustup"),
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| BuildError::Place { path, error }
        };
        let owner = site.root.metadata().map_err(failed(&site.root))?;
        let mut made = site.root.clone();
        for name in Path::new(OUTPUT) {
            made.push(name);
            make(&made, fs::create_dir(&made), &owner).map_err(failed(&made))?;
            if !made.symlink_metadata().map_err(failed(&made))?.is_dir() {
                return Err(failed(&made)(io::ErrorKind::NotADirectory.into()));
            }
        }
        let lock = site.root.join("Cargo.lock");
        make(&lock, File::create_new(&lock).map(drop), &owner).map_err(failed(&lock))?;
        Ok(site)
    }
}

/// Completes the making of a file or folder. If root made it, it gets the owner of the crate's folder, as whom the build runs.
fn make(path: &Path, made: io::Result<()>, owner: &fs::Metadata) -> io::Result<()> {
    match made {
        Ok(()) if rustix::process::geteuid().is_root() => {
            std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The folder of the cargo workspace that the crate in `folder` belongs to, found as cargo finds it: the nearest folder at or above
/// it whose manifest declares a workspace, unless that excludes the crate.
fn root(folder: &Path) -> PathBuf {
    for above in folder.ancestors() {
        let manifest = fs::read_to_string(above.join("Cargo.toml")).unwrap_or_default();
        let Ok(manifest) = toml::from_str::<toml::Table>(&manifest) else {
            continue;
        };
        let Some(workspace) = manifest.get("workspace") else {
            continue;
        };
        let excluded = workspace.get("exclude").and_then(toml::Value::as_array);
        let mut excluded = excluded.into_iter().flatten().filter_map(toml::Value::as_str);
        return if excluded.any(|path| folder.starts_with(above.join(path))) {
            folder
        } else {
            above
        }
        .to_owned();
    }
    folder.to_owned()
}

/// Runs programs in the crate's folder, confined.
struct Builder<'a> {
    site: &'a Site,
    scope: Scope,
    workspace: Workspace,
    env: Vec<(String, String)>,
}

/// The output of a program, and how it ended.
struct Ran(RunOutput);

impl<'a> Builder<'a> {
    fn new(site: &'a Site, network: bool, cargo_home: &Path) -> Result<Self, BuildError> {
        let mut policy = Policy::new()
            .network(if network { Network::Host } else { Network::None })
            .writable_only([OUTPUT, "Cargo.lock"]);
        // The rest of the folder is not shown, because it holds credentials.
        for part in ["bin", "registry", "git"] {
            policy = policy.visible(site.cargo_home.join(part));
        }
        policy = policy.visible(&site.rustup_home);
        let launcher = Arc::new(Confined::new(policy).map_err(BuildError::Confinement)?);
        let registry = Registry::new(Handle::current(), launcher, Limits::default()).map_err(BuildError::Registry)?;
        let scope = registry.scope(Owner {
            principal: Principal::Named("build".into()),
            capsule: "build".into(),
        });
        Ok(Self {
            site,
            scope,
            workspace: Workspace::open(&site.root).map_err(BuildError::Workspace)?,
            env: environment(site, cargo_home),
        })
    }

    async fn has_sources(&self) -> Result<bool, BuildError> {
        Ok(self.run("cargo", &[SOURCES, &["--offline"]].concat()).await?.is_ok())
    }

    async fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Ran, BuildError> {
        let cwd = self
            .site
            .folder
            .strip_prefix(&self.site.root)
            .ok()
            .and_then(Path::to_str)
            .unwrap_or_default();
        let request = SpawnRequest {
            cmd: program.into(),
            args: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            env: self.env.clone(),
            cwd: (!cwd.is_empty()).then(|| cwd.to_owned()),
            ..SpawnRequest::default()
        };
        match self.scope.spawn(request, &self.workspace, &mut Allowed).await {
            Ok(output) => Ok(Ran(output)),
            Err(error) => Err(BuildError::NoStart { program, error }),
        }
    }
}

impl Ran {
    fn is_ok(&self) -> bool {
        self.0.exit
            == ExitInfo {
                exit_code: Some(0),
                signal: None,
            }
    }

    /// The output. If the program failed, its error messages are shown to the user.
    async fn or_told(self, folder: &Path) -> Result<RunOutput, BuildError> {
        if self.is_ok() {
            return Ok(self.0);
        }
        console::relay(&self.0.stderr).await;
        Err(BuildError::Confined {
            folder: folder.to_owned(),
            root: root(folder),
        })
    }
}

/// Allows every program, because this command itself chooses them.
struct Allowed;

impl Gate for Allowed {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}

/// The environment of cargo and rustup: the user's own variables for cargo, without secrets.
fn environment(site: &Site, cargo_home: &Path) -> Vec<(String, String)> {
    let below_rustup = std::env::var_os("RUST_RECURSION_COUNT").is_some();
    let is_secret = |name: &str| {
        ["TOKEN", "CREDENTIAL", "SECRET", "PASSWORD"]
            .iter()
            .any(|word| name.contains(word))
    };
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("CARGO_") || name == "RUSTUP_TOOLCHAIN")
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "CARGO_HOME" | "CARGO_TARGET_DIR" | "CARGO_BUILD_TARGET_DIR"
            )
        })
        .filter(|(name, _)| !is_left_over(name, below_rustup) && !is_secret(name))
        .collect();
    let output = site.root.join(OUTPUT);
    for (name, path) in [
        ("CARGO_HOME", cargo_home),
        ("RUSTUP_HOME", &site.rustup_home),
        ("CARGO_TARGET_DIR", &output),
        ("HOME", Path::new("/tmp")),
    ] {
        variables.push((name.into(), path.to_string_lossy().into_owned()));
    }
    // rustup could not write the installed files. With this it reports the missing part instead.
    variables.push(("RUSTUP_AUTO_INSTALL".into(), "0".into()));
    // The crate controls the output, so it is shown with its control characters escaped.
    variables.retain(|(name, _)| name != "CARGO_TERM_COLOR");
    variables.push(("CARGO_TERM_COLOR".into(), "never".into()));
    variables
}

/// Adds the wasm target to the toolchain that applies in the crate's folder, unless it is there.
///
/// Rustup has to write to the user's toolchains, so it runs unconfined: outside of the crate's folder, for a toolchain that
/// is there, by its name.
async fn ensure_target(builder: &Builder<'_>) -> Result<(), BuildError> {
    let asked = ["--print", "sysroot", "--print", "target-libdir", "--target", TARGET];
    let answer = builder
        .run("rustc", &asked)
        .await?
        .or_told(&builder.site.folder)
        .await?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    let mut lines = answer.lines().map(Path::new);
    let (Some(sysroot), Some(library)) = (lines.next(), lines.next()) else {
        return Err(BuildError::NoTarget {
            folder: builder.site.folder.clone(),
        });
    };
    if library.is_dir() {
        return Ok(());
    }
    // The crate may have replaced the compiler, so its answer is used only if it names a folder of a toolchain.
    let is_ours = sysroot.is_dir() && sysroot.parent() == Some(&builder.site.rustup_home.join("toolchains"));
    let Some(toolchain) = sysroot.file_name().and_then(|name| name.to_str()).filter(|_| is_ours) else {
        return Err(BuildError::NoTarget {
            folder: builder.site.folder.clone(),
        });
    };
    rustup_adds(Path::new("/"), &["--toolchain", toolchain], &builder.site.folder).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b6_the_root_is_the_one_that_cargo_finds() {
        let base = tempfile::tempdir().unwrap();
        let member = base.path().join("a/b");
        let excluded = base.path().join("c/d");
        for folder in [&member, &excluded] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
        }
        assert_eq!(root(&member), member);
        fs::write(base.path().join("Cargo.toml"), "[workspace]\nexclude = [\"c\"]\n").unwrap();
        assert_eq!(root(&member), base.path());
        assert_eq!(root(&excluded), excluded);
        fs::write(member.join("Cargo.toml"), "[workspace]\n").unwrap();
        assert_eq!(root(&member), member);
    }
}
