//! Grants that are remembered: `--save-grants` writes what a run was granted, so that the next run of this capsule needs no flags.
//!
//! These constraints shape it:
//! - A capsule, and a workspace, may be hostile, and must not be able to grant themselves anything. So the file lies in the user's
//!   configuration folder, which no workspace and no writable visible folder may contain. It must belong to the user alone.
//! - A grant belongs to one capsule: to the path of what is run, without symbolic links, and to the capsule's name. What another
//!   path holds under the same name has none.
//! - What is not saved is never granted silently. A manifest that asks for more than before is reported as any other.
//! - Several commands may save at once, and each may be killed: the file is replaced as a whole, under a lock.
//! - Saved grants are for confined processes. `--commits` and `--unprotect` are about one workspace, and are not saved.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use capsule_host::sandbox::{EgressRule, Publish, Visible};
use nix::unistd::Uid;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::args::HostArgs;
use crate::network;
use crate::option_text::option;
use crate::written::Written;

/// The name of the file.
const NAME: &str = "capsule.grants.toml";
/// Where the next version of the file is written.
const NEW: &str = ".capsule.grants.toml.new";
/// The most bytes of the file.
const BYTES_MAX: u64 = 4 << 20;

const HEADER: &str = "\
# What you granted to capsules with `capsule run --save-grants`. Each `path` with its `id` has the grants below it.
# Delete a table to take its grants back. `--save-grants` writes this file anew and keeps no comments.

";

/// Why saved grants cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum BadGrants {
    #[error(
        "there is no folder for saved grants: $XDG_CONFIG_HOME/capsule, or ~/.config/capsule, must be yours, and writable for you \
         alone"
    )]
    NoFolder,
    #[error("the grants in {} cannot be used: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the grants in {} are not used: {why}", path.display())]
    NotPrivate { path: PathBuf, why: &'static str },
    #[error("the grants in {} cannot be read: {error}; correct the file, or leave it out with --no-saved-grants", path.display())]
    Malformed { path: PathBuf, error: Box<toml::de::Error> },
    #[error("cannot save the grants of {}: its path is not UTF-8", .0.display())]
    Path(PathBuf),
    #[error("cannot save grants before the capsule has a name: give one with --capsule-id")]
    NoName,
    #[error("cannot save grants: {0}")]
    Encode(toml::ser::Error),
}

/// The capsule that grants belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    path: String,
    id: String,
}

impl Key {
    /// The key of what lies at `path` and has the name `id`.
    pub(crate) fn new(path: &Path, id: &str) -> Result<Self, BadGrants> {
        let failed = |error| BadGrants::Io {
            path: path.to_owned(),
            error,
        };
        let path = path.canonicalize().map_err(failed)?;
        match path.into_os_string().into_string() {
            Ok(path) => Ok(Self {
                path,
                id: id.to_owned(),
            }),
            Err(path) => Err(BadGrants::Path(path.into())),
        }
    }
}

/// The grants of one capsule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Saved {
    path: String,
    id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    allow_persistent: bool,
    /// Not parsed here, because a folder may not exist any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    visible: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<Host>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    publish: Vec<Written<Publish>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    egress: Vec<Written<EgressRule>>,
}

/// The only mode of a network that is a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Host {
    Host,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The whole file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(default)]
    capsule: Vec<Saved>,
}

impl Saved {
    /// The grants of a run, to be saved.
    pub(crate) fn of(key: Key, args: &HostArgs) -> Self {
        let network::Granting { host, publish, egress } = args.network.to_save();
        let mut allow = args.allow.clone();
        allow.sort();
        allow.dedup();
        Self {
            path: key.path,
            id: key.id,
            allow,
            allow_persistent: args.allow_persistent,
            visible: args.visible.iter().map(|visible| lasting(&visible.text)).collect(),
            network: host.then_some(Host::Host),
            publish,
            egress,
        }
    }

    /// The options that grant the same.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = self.allow.iter().map(|command| option("allow", command)).collect();
        options.extend(self.allow_persistent.then(|| "--allow-persistent".to_owned()));
        options.extend(self.visible.iter().map(|folder| option("visible", folder)));
        options.extend(self.network.map(|Host::Host| option("network", "host")));
        options.extend(self.publish.iter().map(|port| option("publish", &port.text)));
        options.extend(self.egress.iter().map(|rule| option("egress", &rule.text)));
        options
    }

    /// Adds these grants to what the command line grants. Returns the grants that were added.
    pub(crate) fn add_to(&self, args: &mut HostArgs, declared: &network::Declared) -> Self {
        let network = network::Granting {
            host: self.network.is_some(),
            publish: self.publish.clone(),
            egress: self.egress.clone(),
        };
        let network::Granting { host, publish, egress } = args.network.add_saved(&network, declared);
        let allow = self.allow.iter().filter(|command| !args.allow.contains(command));
        let mut added = Self {
            allow: allow.cloned().collect(),
            allow_persistent: self.allow_persistent && !args.allow_persistent,
            network: host.then_some(Host::Host),
            publish,
            egress,
            ..Self::default()
        };
        args.allow.extend(added.allow.iter().cloned());
        args.allow_persistent |= self.allow_persistent;
        for text in &self.visible {
            match text.parse::<Written<Visible>>() {
                Ok(visible) if args.visible.iter().any(|given| given.value.covers(&visible.value)) => {}
                Ok(visible) => {
                    added.visible.push(text.clone());
                    args.visible.push(visible);
                }
                Err(error) => tracing::warn!("the saved grant {} is not used: {error}", option("visible", text)),
            }
        }
        added
    }
}

/// A folder that does not depend on the current one. The name of a toolchain stays as it is.
fn lasting(visible: &str) -> String {
    let (folder, writable) = match visible.strip_suffix(":rw") {
        Some(folder) => (folder, ":rw"),
        None => (visible, ""),
    };
    if !folder.contains('/') {
        return visible.to_owned();
    }
    match Path::new(folder).canonicalize().map(PathBuf::into_os_string) {
        Ok(path) => path.into_string().map_or(visible.to_owned(), |path| path + writable),
        Err(_) => visible.to_owned(),
    }
}

/// The file of saved grants.
#[derive(Debug)]
pub(crate) struct GrantFile {
    folder: PathBuf,
}

impl GrantFile {
    /// The file in this folder, which is the user's own.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// The grants of a capsule; none if none were saved.
    pub(crate) fn read(&self, key: &Key) -> Result<Option<Saved>, BadGrants> {
        let Contents { capsule } = self.contents()?;
        Ok(capsule.into_iter().find(|saved| is_of(saved, &key.path, &key.id)))
    }

    /// Replaces the grants of a capsule. Without a grant it then has no table.
    pub(crate) fn save(&self, saved: Saved) -> Result<(), BadGrants> {
        let lock = File::open(&self.folder).and_then(|folder| folder.lock().map(|()| folder));
        let lock = lock.map_err(|error| self.failed(error))?;
        let mut contents = self.contents()?;
        contents.capsule.retain(|other| !is_of(other, &saved.path, &saved.id));
        if !saved.options().is_empty() {
            contents.capsule.push(saved);
        }
        let text = toml::to_string(&contents).map_err(BadGrants::Encode)?;
        self.replace(&format!("{HEADER}{text}"))
            .map_err(|error| self.failed(error))?;
        drop(lock);
        Ok(())
    }

    fn contents(&self) -> Result<Contents, BadGrants> {
        let path = self.path();
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(self.failed(error)),
        };
        if let Some(why) = not_private(&file.metadata().map_err(|error| self.failed(error))?) {
            return Err(BadGrants::NotPrivate { path, why });
        }
        let mut text = String::new();
        file.take(BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| self.failed(error))?;
        toml::from_str(&text).map_err(|error| BadGrants::Malformed {
            path,
            error: Box::new(error),
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let new = self.folder.join(NEW);
        // Left by a command that was killed.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    fn failed(&self, error: io::Error) -> BadGrants {
        BadGrants::Io {
            path: self.path(),
            error,
        }
    }
}

fn is_of(saved: &Saved, path: &str, id: &str) -> bool {
    saved.path == path && saved.id == id
}

/// Opens the file itself: a link could lead to a file of the capsule's, and a pipe would wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Why other programs than the user's could have written the file.
fn not_private(file: &Metadata) -> Option<&'static str> {
    if !file.is_file() {
        Some("it is not a regular file")
    } else if file.uid() != Uid::effective().as_raw() {
        Some("it belongs to another user")
    } else if file.mode() & 0o077 != 0 {
        Some("other users have access to it: `chmod 600` takes it away")
    } else if file.nlink() != 1 {
        Some("it has a second name, by which it can be changed elsewhere")
    } else if file.len() > BYTES_MAX {
        Some("it is larger than 4 MiB")
    } else {
        None
    }
}
