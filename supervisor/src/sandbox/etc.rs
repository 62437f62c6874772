//! `/etc` and the other folders that programs look for by name, as a command sees them.
//!
//! There are three kinds of parts:
//! - Settings of programs are the host's own files, by an allow-list. It excludes files in which the machine's owner may have
//!   written a password or a token (`environment`, `profile.d`, `gitconfig`, `npmrc`, `pip.conf`, `wgetrc`).
//! - Files about users and hosts (`passwd`, `hosts`, `nsswitch.conf`) are written for the command. They name the accounts of the
//!   system and the account that the command runs as, and no other user of the machine.
//! - Folders and files that only have to exist (`/run`, `/var`, settings without which a program does not start) are empty.
//!
//! Each part that is the host's own needs a mount for each command, which takes time. So there are few such parts, and only those
//! that software needs. Small files that all users may read are copied when the first command starts, and an empty folder is simply made.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use capsule_init::{Confinement, DNS_SERVER, Identity, NetworkMode, View};

use super::accounts::{field, lines, number};

/// Parts of the host's `/etc`, in this order: the dynamic linker; the name of the system; language, time and terminals;
/// certificates and names; shells and editors; languages and the settings of their programs; documents, fonts and pictures;
/// graphics.
const PARTS: &[&str] = &[
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alpine-release",
    "arch-release",
    "debian_version",
    "fedora-release",
    "lsb-release",
    "os-release",
    "redhat-release",
    "system-release",
    "inputrc",
    "locale.alias",
    "locale.conf",
    "localtime",
    "terminfo",
    "timezone",
    "crypto-policies",
    "gai.conf",
    "gnutls",
    "host.conf",
    "networks",
    "pki",
    "protocols",
    "rpc",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "bash.bashrc",
    "nanorc",
    "profile",
    "screenrc",
    "shells",
    "tmux.conf",
    "vim",
    "maven/logging",
    "maven/m2.conf",
    "mono/config",
    "perl",
    "php",
    "postgresql-common",
    "R",
    "fonts",
    "ghostscript",
    "groff",
    "libreoffice/registry",
    "magic",
    "magic.mime",
    "mime.types",
    "papersize",
    "sgml",
    "texmf",
    "xml",
    "OpenCL",
    "drirc",
    "glvnd",
    "vulkan",
];

/// The same, where a version belongs to the name.
const PARTS_OF_A_VERSION: &[&str] = &["ImageMagick-", "java-", "python3"];

/// Parts that are left out where a file in them has a name that ends so: LibreOffice keeps in it the password for a server of
/// addresses.
const WITHHELD: &[(&str, &str)] = &[("libreoffice/registry", "ldap.xcd")];

/// Folders of which a command sees an empty stand-in, if the host has the folder. Without the folder Debian's Chromium, Emacs and
/// lynx end at once. The host's own folder may hold keys of Chromium's, code of the owner's, or the password of lynx's proxy.
const STAND_INS: &[(&str, Option<&str>)] = &[
    ("chromium.d", Some("README")),
    ("emacs/site-start.d", None),
    ("lynx", Some("lynx.cfg")),
];

/// Folders in which programs look for temporary state. They are empty, and writes that follow the links go to `/tmp`.
const FOLDERS: &[&str] = &["/run", "/var/cache", "/var/lib", "/var/log"];
const LINKS: &[(&str, &str)] = &[
    ("/etc/mtab", "/proc/self/mounts"),
    ("/run/lock", "/tmp"),
    ("/var/lock", "/run/lock"),
    ("/var/run", "/run"),
    ("/var/tmp", "/tmp"),
];

/// The name of the machine that a command sees.
pub(crate) const HOSTNAME: &str = "capsule";

/// The name of an account for which the host has no name.
const NAMELESS: &str = "capsule";

/// The same in every tree of every machine: it identifies no machine, and a build that reads it can be repeated. The letters of the
/// name, in hexadecimal.
const MACHINE_ID: &str = "63617073756c65000000000000000000\n";

/// Accounts below this number belong to the system, as distributions number them. So does the account below, which owns no files.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65534;

/// The longest part that is copied, in bytes: a page, because the kernel keeps a file in memory in whole pages.
const SMALL: u64 = 4096;

/// How deep an empty folder is looked through.
const DEPTH: u32 = 3;

/// The longest file that is copied from the host, in bytes, and the most accounts; the root of a tree is small.
const MAX_BYTES: u64 = 64 << 10;
const MAX_ACCOUNTS: usize = 512;

/// The parts that are the same for every command, read once.
#[derive(Debug)]
pub(crate) struct Etc {
    view: Vec<View>,
    passwd: Vec<Vec<u8>>,
    group: Vec<Vec<u8>>,
}

impl Etc {
    pub(crate) fn of_host() -> Self {
        let folders = FOLDERS.iter().map(|at| View::Folder { at: (*at).into() });
        let links = LINKS.iter().map(|(at, target)| View::Link {
            at: (*at).into(),
            target: (*target).into(),
        });
        let files = [
            ("/etc/hostname", format!("{HOSTNAME}\n")),
            ("/etc/machine-id", MACHINE_ID.to_owned()),
        ];
        let files = files.into_iter().map(|(at, content)| file(at, content.into_bytes()));
        Self {
            view: folders
                .chain(links)
                .chain(files)
                .chain(parts_of(Path::new("/etc")))
                .collect(),
            passwd: lines("/etc/passwd", 7),
            group: lines("/etc/group", 4),
        }
    }

    /// Adds all of these parts to the view of a command, beneath the parts that a policy names.
    pub(crate) fn furnish(&self, confinement: &mut Confinement) {
        let host = || Identity {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let identity = confinement.seen_as.unwrap_or_else(host);
        let view = self.view(identity, confinement.network);
        confinement.view.splice(0..0, view);
    }

    /// All of it, for a command that is `identity` inside of its confinement.
    fn view(&self, identity: Identity, network: NetworkMode) -> Vec<View> {
        let mut view = self.view.clone();
        view.push(file("/etc/passwd", self.passwd(identity.uid, identity.gid)));
        view.push(file("/etc/group", self.group(identity)));
        let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{HOSTNAME}\n");
        let sources = match network {
            NetworkMode::None => "files",
            NetworkMode::Private | NetworkMode::Host => "files dns",
        };
        let switch = format!(
            "passwd: files\ngroup: files\nshadow: files\nhosts: {sources}\nnetworks: files\nprotocols: files\nservices: \
             files\nethers: files\nrpc: files\n"
        );
        view.push(file("/etc/nsswitch.conf", switch.into_bytes()));
        match network {
            NetworkMode::None => view.push(file("/etc/hosts", hosts.into_bytes())),
            NetworkMode::Private => {
                // Without the host's names: their addresses are not reached from there.
                view.push(file("/etc/hosts", hosts.into_bytes()));
                let server = Ipv4Addr::from_bits(DNS_SERVER);
                view.push(file("/etc/resolv.conf", format!("nameserver {server}\n").into_bytes()));
            }
            NetworkMode::Host => {
                // The names of that network. If a service of the host writes the file elsewhere and `/etc` holds a link to it, the
                // link is followed.
                view.push(file("/etc/hosts", [hosts.into_bytes(), content("/etc/hosts")].concat()));
                view.push(file("/etc/resolv.conf", content("/etc/resolv.conf")));
            }
        }
        view
    }

    /// The accounts of the system, and the command's own first: by the name that the host has for it, at home in `/tmp`.
    fn passwd(&self, uid: u32, gid: u32) -> Vec<u8> {
        let own = name(&self.passwd, uid);
        let mut passwd = [&own[..], format!(":x:{uid}:{gid}::/tmp:/bin/sh\n").as_bytes()].concat();
        for line in system(&self.passwd, uid) {
            // Without the password field, which once held the password, and without the person's details.
            let fields = [0, 2, 3, 5, 6].map(|index| field(line, index).unwrap_or_default());
            let [name, uid, gid, home, shell] = fields;
            passwd.extend([name, b"x", uid, gid, b"", home, shell].join(&b':'));
            passwd.push(b'\n');
        }
        passwd
    }

    /// The same of groups, which are shown without members.
    fn group(&self, identity: Identity) -> Vec<u8> {
        let gid = identity.gid;
        let mut own = name(&self.group, gid);
        if own == NAMELESS.as_bytes() {
            own = name(&self.passwd, identity.uid);
        }
        let mut group = [&own[..], format!(":x:{gid}:\n").as_bytes()].concat();
        for line in system(&self.group, gid).filter(|line| field(line, 0) != Some(&own)) {
            let [name, gid] = [0, 2].map(|index| field(line, index).unwrap_or_default());
            group.extend([name, b"x", gid, b"\n"].join(&b':'));
        }
        group
    }
}

/// The name of an account, or a name that no other account has.
fn name(lines: &[Vec<u8>], id: u32) -> Vec<u8> {
    let named = |line: &&Vec<u8>| number(line) == Some(id);
    let taken = |line: &Vec<u8>| field(line, 0) == Some(NAMELESS.as_bytes());
    match lines.iter().find(named).and_then(|line| field(line, 0)) {
        Some(name) if !name.is_empty() => name.to_vec(),
        _ if lines.iter().any(taken) => format!("{NAMELESS}-{id}").into_bytes(),
        _ => NAMELESS.into(),
    }
}

/// The system's own accounts but one.
fn system(lines: &[Vec<u8>], but: u32) -> impl Iterator<Item = &Vec<u8>> {
    let is_system = move |id| (id < FIRST_PERSON || id == NOBODY) && id != but;
    lines
        .iter()
        .filter(move |line| number(line).is_some_and(is_system))
        .take(MAX_ACCOUNTS)
}

/// The host's settings that commands see, which are in `etc`, and the stand-ins for some of them.
fn parts_of(etc: &Path) -> Vec<View> {
    let parts: BTreeSet<_> = PARTS.iter().map(|part| (*part).to_owned()).collect();
    let versions = names(etc)
        .into_iter()
        .filter(|name| PARTS_OF_A_VERSION.iter().any(|part| name.starts_with(part)));
    let may_be_shown = |part: &String| {
        let is_secret =
            |&(folder, end)| part == folder && names(&etc.join(folder)).iter().any(|name| name.ends_with(end));
        !WITHHELD.iter().any(is_secret)
    };
    let parts = parts.into_iter().chain(versions).filter(may_be_shown);
    let stand_ins = STAND_INS.iter().filter(|(folder, _)| etc.join(folder).is_dir());
    let stand_ins = stand_ins.map(|&(folder, name)| match name {
        Some(name) => file(&format!("/etc/{folder}/{name}"), Vec::new()),
        None => View::Folder {
            at: format!("/etc/{folder}").into_bytes(),
        },
    });
    stand_ins.chain(parts.filter_map(|part| part_of(etc, &part))).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// A part of the host's, if it exists. A link into the system's own folders stays a link, because programs read the name of its
/// target (the time zone).
fn part_of(etc: &Path, part: &str) -> Option<View> {
    let source = etc.join(part);
    let resolved = source.canonicalize().ok()?;
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_owned();
    let at = bytes(&Path::new("/etc").join(part));
    if let (Ok(target), true) = (std::fs::read_link(&source), resolved.starts_with("/usr")) {
        let target = bytes(&target);
        return Some(View::Link { at, target });
    }
    if is_empty(&resolved, DEPTH) {
        return Some(View::Folder { at });
    }
    Some(match small(&resolved) {
        // A file of this list that has only comments sets nothing, so it is left out.
        Some(content) if is_comment(&content) && !content.is_empty() => return None,
        Some(content) => View::File { at, content },
        None => View::Bind {
            source: bytes(&source),
            at,
            writable: false,
        },
    })
}

/// Whether it is a folder that holds no files, only empty folders.
fn is_empty(folder: &Path, depth: u32) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.all(|entry| depth > 0 && entry.is_ok_and(|entry| is_empty(&entry.path(), depth - 1)))
}

fn is_comment(content: &[u8]) -> bool {
    let mut lines = content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_start);
    lines.all(|line| line.is_empty() || line.starts_with(b"#"))
}

/// The content of a small file that any user may read.
fn small(path: &Path) -> Option<Vec<u8>> {
    let found = std::fs::metadata(path).ok()?;
    let is_open = found.permissions().mode() & 0o004 != 0;
    if !found.is_file() || !is_open || found.len() > SMALL {
        return None;
    }
    let mut content = Vec::new();
    File::open(path).ok()?.take(SMALL + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= SMALL).then_some(content)
}

fn file(at: &str, content: Vec<u8>) -> View {
    View::File {
        at: OsStr::new(at).as_bytes().to_owned(),
        content,
    }
}

/// The content of a file of the host's, as far as it can be read and is not too long.
fn content(path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    if let Ok(file) = File::open(path) {
        drop(file.take(MAX_BYTES).read_to_end(&mut content));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etc() -> Etc {
        let lines = |text: &str| text.lines().map(|line| line.as_bytes().to_vec()).collect();
        Etc {
            view: Vec::new(),
            passwd: lines(
                "root:$1$hash:0:0:Ann Admin:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/sbin/nologin\nalice:x:1000:1000:Alice \
                 Liddell:/home/alice:/bin/zsh\nbob:x:1001:1001::/home/bob:/bin/sh",
            ),
            group: lines("root:x:0:alice\nsudo:x:27:alice,bob\nnogroup:x:65534:\nalice:x:1000:"),
        }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn b1_accounts_are_the_systems_and_the_commands_own() {
        let alice = Identity { uid: 1000, gid: 1000 };
        assert_eq!(
            text(etc().passwd(1000, 1000)),
            "alice:x:1000:1000::/tmp:/bin/sh\nroot:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/sbin/nologin\n"
        );
        assert_eq!(
            text(etc().group(alice)),
            "alice:x:1000:\nroot:x:0:\nsudo:x:27:\nnogroup:x:65534:\n"
        );
    }

    /// Where a command sees a part, and the content that it sees there: none for the host's own, otherwise the content of a file or
    /// folder made for the command.
    fn seen(etc: &Path) -> Vec<(String, Option<String>)> {
        let parts = parts_of(etc).into_iter().map(|view| match view {
            View::Bind { at, .. } | View::Link { at, .. } => (text(at), None),
            View::Folder { at } => (text(at), Some(String::new())),
            View::File { at, content } => (text(at), Some(text(content))),
        });
        parts.collect()
    }

    #[test]
    fn b1_s6_settings_that_may_hold_a_secret_are_there_and_empty() {
        let etc = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("chromium.d/apikeys", "hush"),
            ("emacs/site-start.d/50own.el", "hush"),
            ("lynx/lynx.cfg", "http_proxy:http://me:hush@proxy"),
            ("inputrc", "set editing-mode vi"),
            ("wgetrc", "hush"),
        ] {
            let path = etc.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let empty = |at: &str| (at.to_owned(), Some(String::new()));
        let all = [
            empty("/etc/chromium.d/README"),
            empty("/etc/emacs/site-start.d"),
            empty("/etc/lynx/lynx.cfg"),
            ("/etc/inputrc".to_owned(), Some("set editing-mode vi".to_owned())),
        ];
        assert_eq!(seen(etc.path()), all);
    }

    #[test]
    fn b1_what_is_small_is_copied_unless_it_is_not_for_all() {
        let etc = tempfile::tempdir().unwrap();
        let file = |name: &str, length: usize, mode: u32| {
            let path = etc.path().join(name);
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        file("inputrc", 4096, 0o644);
        file("profile", 4097, 0o644);
        file("shells", 10, 0o640);
        std::fs::write(etc.path().join("gai.conf"), "# precedence ::1/128 50\n\n  # more\n").unwrap();
        std::fs::create_dir_all(etc.path().join("vulkan/icd.d")).unwrap();
        std::fs::create_dir_all(etc.path().join("xml")).unwrap();
        file("xml/catalog", 0, 0o644);
        let all = [
            ("/etc/inputrc", Some("x".repeat(4096))),
            ("/etc/profile", None),
            ("/etc/shells", None),
            ("/etc/vulkan", Some(String::new())),
            ("/etc/xml", None),
        ];
        assert_eq!(seen(etc.path()), all.map(|(at, seen)| (at.to_owned(), seen)));
    }

    #[test]
    fn b1_settings_are_withheld_where_a_secret_is_among_them() {
        let etc = tempfile::tempdir().unwrap();
        let registry = etc.path().join("libreoffice/registry");
        std::fs::create_dir_all(&registry).unwrap();
        std::fs::write(registry.join("oo-ldap.xcd.sample"), "").unwrap();
        assert_eq!(seen(etc.path()), [("/etc/libreoffice/registry".to_owned(), None)]);
        std::fs::write(registry.join("oo-ldap.xcd"), "hush").unwrap();
        assert_eq!(seen(etc.path()), []);
    }

    #[test]
    fn an_account_that_the_host_does_not_know_has_a_name_too() {
        let unknown = Identity {
            uid: 70_000,
            gid: 70_000,
        };
        assert!(text(etc().passwd(70_000, 70_000)).starts_with("capsule:x:70000:70000:"));
        assert!(text(etc().group(unknown)).starts_with("capsule:x:70000:\n"));
        let mut etc = etc();
        etc.passwd.push(b"capsule:x:999:999::/:/bin/false".to_vec());
        assert!(text(etc.passwd(70_000, 70_000)).starts_with("capsule-70000:x:70000:"));
        assert!(text(etc.passwd(65534, 65534)).starts_with("nobody:x:65534:65534::/tmp:/bin/sh\n"));
    }
}
