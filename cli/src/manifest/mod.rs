//! The declarations of a capsule's author: in a `Capsule.toml`, in a `NAME.capsule.toml` beside a `NAME.wasm`, or in a crate's
//! `Cargo.toml` as `[package.metadata.capsule]`.
//!
//! A manifest describes the capsule's purpose and asks for grants. It grants nothing on this machine, except that it may name
//! topics, because under this command messages reach only this capsule and this principal.
//!
//! `document` reads a file key by key, `sections` and `actions` know the keys, `declared` holds what they say, and this file decides which file
//! is read.

mod actions;
mod declared;
mod document;
mod mcp_servers;
mod sections;

use std::path::{Path, PathBuf};

use capsule_host::runtime::Interceptor;
use thiserror::Error;

pub(crate) use self::declared::{Action, Manifest};
use self::declared::{Capabilities, Named};
pub(crate) use self::document::BadManifest;
use self::document::Document;
/// The file that describes the capsules of its folder.
pub(crate) const CAPSULE_TOML: &str = "Capsule.toml";

/// Why no component of a folder can be run.
#[derive(Debug, Error)]
pub(crate) enum NoComponent {
    #[error(
        "{} has no table [build] and names no [[component]]: say there how the component is built, or name its `file`, or give a \
         .wasm file",
        .0.display()
    )]
    None(PathBuf),
    #[error("{} names several components: give one of them, {}", .0.display(), .1)]
    Several(PathBuf, String),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
}

impl Manifest {
    /// The declarations for a crate: the `Capsule.toml` in `folder`; without it, its `Cargo.toml`.
    pub(crate) fn of_crate(folder: &Path) -> Result<Self, BadManifest> {
        let cargo = folder.join("Cargo.toml");
        let mut of_cargo = match Document::read(cargo.clone())? {
            Some(document) => sections::cargo(document)?,
            None => Self::default(),
        };
        let capsule = folder.join(CAPSULE_TOML);
        of_cargo.files = vec![cargo, capsule.clone()];
        let Some(document) = Document::read(capsule)? else {
            return Ok(of_cargo);
        };
        let mut manifest = sections::capsule(document)?;
        manifest.id = manifest.id.or_else(|| of_cargo.id.clone());
        let unused = Self {
            id: None,
            files: Vec::new(),
            ..of_cargo.clone()
        };
        if unused != Self::default() {
            let report = "`[package.metadata.capsule]` has no effect, because the folder has a Capsule.toml";
            manifest
                .reports
                .push(format!("{}: {report}", folder.join("Cargo.toml").display()));
        }
        if manifest.build.is_some() {
            let report = "`[build]` has no effect, because cargo builds a folder that has a Cargo.toml";
            manifest
                .reports
                .push(format!("{}: {report}", folder.join(CAPSULE_TOML).display()));
        }
        manifest.files = of_cargo.files;
        Ok(manifest)
    }

    /// The declarations for the component that the `Capsule.toml` in `folder` has built.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, BadManifest> {
        let path = folder.join(CAPSULE_TOML);
        let manifest = match Document::read(path.clone())? {
            Some(document) => sections::capsule(document)?,
            None => Self::default(),
        };
        // The reference's file also names the component, with what it asks for.
        let mut callable = manifest.components.iter().filter(|named| !named.is_library);
        let only = callable.next().filter(|_| callable.next().is_none());
        let manifest = match only.map(|only| folder.join(&only.file)) {
            Some(component) => manifest.about(&component),
            None => manifest,
        };
        Ok(Self {
            files: vec![path],
            ..manifest
        })
    }

    /// The declarations for a component: those of `NAME.capsule.toml` beside `NAME.wasm`; without it, those of a `Capsule.toml`
    /// beside it that names this component, or that names none.
    pub(crate) fn of_component(component: &Path) -> Result<Self, BadManifest> {
        let own = component.with_extension("capsule.toml");
        let shared = component.with_file_name(CAPSULE_TOML);
        let files = vec![own.clone(), shared.clone()];
        let manifest = if let Some(document) = Document::read(own)? {
            sections::capsule(document)?.about(component)
        } else if let Some(document) = Document::read(shared.clone())? {
            let manifest = sections::capsule(document)?;
            if manifest.components.is_empty() || manifest.named(component).is_some() {
                manifest.about(component)
            } else {
                Self {
                    reports: vec![format!(
                        "{} names other components, so it has no effect on {}: name the file there, or write a {}",
                        shared.display(),
                        component.display(),
                        component.with_extension("capsule.toml").display()
                    )],
                    ..Self::default()
                }
            }
        } else {
            Self::default()
        };
        Ok(Self { files, ..manifest })
    }

    /// The declarations for a component that is part of this program, and so is its `Capsule.toml`.
    pub(crate) fn of_bundled(text: &'static str) -> Result<Self, BadManifest> {
        sections::capsule(Document::bundled(text))
    }

    /// The one component that the `Capsule.toml` in `folder` names.
    pub(crate) fn only_component(folder: &Path) -> Result<PathBuf, NoComponent> {
        let path = folder.join(CAPSULE_TOML);
        let manifest = match Document::read(path.clone())? {
            Some(document) => sections::capsule(document)?,
            None => Self::default(),
        };
        let callable: Vec<&Named> = manifest.components.iter().filter(|named| !named.is_library).collect();
        match callable.as_slice() {
            [] => Err(NoComponent::None(path)),
            [only] => Ok(folder.join(&only.file)),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .map(|named| folder.join(&named.file).display().to_string())
                    .collect();
                Err(NoComponent::Several(path, names.join(", ")))
            }
        }
    }

    /// Of the manifest of a folder, what is about this component.
    fn about(self, component: &Path) -> Self {
        let Some(named) = self.named(component).cloned() else {
            return self;
        };
        let callable = self.components.iter().filter(|named| !named.is_library).count();
        let Named { id, capabilities, .. } = named;
        // The package's name is the capsule's, unless several capsules share it.
        let id = if callable > 1 { id } else { self.id.clone().or(id) };
        let mut manifest = Self { id, ..self };
        manifest.ask(capabilities);
        manifest
    }

    fn ask(&mut self, capabilities: Capabilities) {
        let Capabilities {
            allow,
            allow_persistent,
            publish,
            subscribe,
        } = capabilities;
        self.allow.extend(allow);
        self.allow_persistent |= allow_persistent;
        // As the reference has it: its tables replace these lists.
        if self.publish.is_empty() {
            self.publish = publish;
        }
        if self.subscribe.is_empty() {
            self.subscribe = subscribe;
        }
    }

    fn named(&self, component: &Path) -> Option<&Named> {
        let folder = component.parent().unwrap_or_else(|| Path::new(""));
        let is = |named: &&Named| {
            let path = folder.join(&named.file);
            path == component || path.canonicalize().ok() == component.canonicalize().ok()
        };
        self.components.iter().find(is)
    }

    pub(crate) fn interceptors(&self) -> Vec<Interceptor> {
        let declared = self.interceptors.iter().cloned();
        declared.map(|(topic, action)| Interceptor { topic, action }).collect()
    }

    /// Tells what the author wrote and has no effect.
    pub(crate) fn tell_of_reports(&self) {
        for report in &self.reports {
            tracing::warn!("{report}");
        }
    }
}

#[cfg(test)]
mod tests {
    use capsule_host::bus::Pattern;

    use super::*;

    const DECLARED: &str = r#"
        background = true
        publish = ["notes.v1.*"]
        subscribe = ["notes.v1.saved"]
        visible = ["rustup"]
        allow = ["python3"]
        allow-persistent = true
        interceptors = [{ topic = "astrid.process.v1.exited.*", action = "report" }]
    "#;

    /// A manifest of the reference's, with everything in it that this host has no use for.
    const REFERENCE: &str = r#"
        [package]
        name = "github-tools"
        version = "1.0.0"
        description = "Tools"
        authors = ["A. Author"]
        repository = "https://example.com/github-tools"
        keywords = ["git", "mcp"]
        astrid-version = ">=0.1.0"
        license = "MIT"
        publish = true
        exclude = ["tests/"]
        [package.metadata.custom_tool]
        my_custom_key = "value"

        [[component]]
        id = "default"
        file = "github_tools.wasm"
        type = "executable"
        hash = "sha256:00"

        [[component]]
        id = "shared"
        file = "lib/shared.wasm"
        type = "library"

        [imports]
        "astrid:session" = "^1.0"
        "astrid:kv" = { version = "^1.0", optional = true }
        [exports.astrid]
        context = "1.0.0"
        [dependencies]
        git-core-tools = "1.2.0"

        [capabilities]
        uplink = false
        net = ["api.github.com"]
        net_bind = []
        fs_read = ["cwd://", "home://"]
        host_process = ["git", "npx"]
        allow_persistent = true
        allow_prompt_injection = false
        identity = ["resolve"]

        [publish]
        "tool.v1.execute.*.result" = "@unicity-astrid/wit/types/tool-call-result"
        "github.v1.response" = "opaque"
        "llm.v1.request.generate.*" = { wit = "GenerateRequest", fanout = true }

        [subscribe]
        "github.v1.request" = { wit = "opaque", handler = "on_request", priority = 50 }
        "astrid.process.v1.exited.*" = { wit = "opaque", handler = "on_exit" }
        "github.v1.note" = "opaque"

        [env]
        API_KEY = { type = "secret", request = "Enter your API key" }

        [[command]]
        name = "deploy"
        description = "Deploy"

        [[mcp_server]]
        id = "my-server"
        type = "stdio"
        command = "npx"
        args = ["-y", "@scope/package"]

        [[skill]]
        name = "s"
        [[topic]]
        name = "t"
        [[tool]]
        name = "tool"
    "#;

    fn beside(folder: &Path, text: &str) -> Result<Manifest, BadManifest> {
        std::fs::write(folder.join(CAPSULE_TOML), text).unwrap();
        Manifest::of_component(&folder.join("x.wasm"))
    }

    fn without_files(manifest: Manifest) -> Manifest {
        Manifest {
            files: Vec::new(),
            ..manifest
        }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn every_file_says_the_same_with_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = without_files(beside(folder.path(), DECLARED).unwrap());
        assert!(manifest.background && manifest.allow_persistent);
        assert_eq!(manifest.publish, [pattern("notes.v1.*")]);
        assert_eq!(manifest.interceptors()[0].action, "report");
        assert_eq!(
            (&manifest.visible[..], &manifest.allow[..]),
            (&["rustup".into()][..], &["python3".into()][..])
        );
        assert_eq!(manifest.reports, [""; 0]);

        let metadata = format!("[package]\nname = \"x\"\n[package.metadata.capsule]{DECLARED}");
        let named = Manifest {
            id: Some("x".into()),
            ..manifest
        };
        assert_eq!(without_files(beside(folder.path(), &metadata).unwrap()), named);
        std::fs::remove_file(folder.path().join(CAPSULE_TOML)).unwrap();
        std::fs::write(folder.path().join("Cargo.toml"), metadata + "[dependencies]\n").unwrap();
        assert_eq!(without_files(Manifest::of_crate(folder.path()).unwrap()), named);
        // A crate may have a file of the reference's form too.
        std::fs::write(folder.path().join(CAPSULE_TOML), "background = true\n").unwrap();
        let manifest = Manifest::of_crate(folder.path()).unwrap();
        assert_eq!(
            (manifest.id.as_deref(), manifest.allow.len(), manifest.background),
            (Some("x"), 0, true)
        );
        assert!(
            manifest.reports[0].contains("has no effect, because the folder has a Capsule.toml"),
            "{manifest:?}"
        );
    }

    #[test]
    fn the_references_own_manifest_is_read_and_what_has_no_effect_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CAPSULE_TOML), REFERENCE).unwrap();
        let component = folder.path().join("github_tools.wasm");
        assert_eq!(Manifest::only_component(folder.path()).unwrap(), component);
        let manifest = Manifest::of_component(&component).unwrap();
        assert_eq!(manifest.id.as_deref(), Some("github-tools"));
        assert_eq!(manifest.allow, ["git", "npx"]);
        assert!(manifest.allow_persistent);
        assert_eq!(
            manifest.publish,
            [pattern("github.v1.response"), pattern("llm.v1.request.generate.*")]
        );
        assert_eq!(manifest.subscribe.len(), 3);
        let interceptors: Vec<_> = manifest
            .interceptors()
            .into_iter()
            .map(|Interceptor { topic, action }| (topic.to_string(), action))
            .collect();
        assert_eq!(
            interceptors,
            [
                ("github.v1.request".into(), "on_request".into()),
                ("astrid.process.v1.exited.*".into(), "on_exit".into())
            ]
        );
        let reports = manifest.reports.join("\n");
        for told in [
            "`hash`",
            "`imports`",
            "`exports`",
            "`dependencies`",
            "`env`",
            "`command`",
            "`skill`",
            "`topic`",
            "`tool`",
            "`net`",
            "`fs_read`",
            "`identity`",
            "line 46: a topic in `publish` has no effect",
        ] {
            assert!(reports.contains(told), "no {told} in {reports}");
        }
        for silent in ["unknown", "uplink", "net_bind", "custom", "mcp_server", "allow_prompt"] {
            assert!(!reports.contains(silent), "{silent} in {reports}");
        }
        assert_eq!(manifest.reports.len(), 13, "{reports}");
    }

    #[test]
    fn the_earlier_form_of_the_reference_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[capabilities]\nipc_publish = ['a.v1.*']\nipc_subscribe = ['b.v1']\n[[interceptor]]\nevent = 'b.v1'\n\
                    action = 'go'\npriority = 5\n[[component]]\nentrypoint = 'x.wasm'\n[component.capabilities]\n\
                    host_process = ['git']\n";
        let manifest = beside(folder.path(), text).unwrap();
        assert_eq!(
            (&manifest.publish[..], &manifest.subscribe[..]),
            (&[pattern("a.v1.*")][..], &[pattern("b.v1")][..])
        );
        assert_eq!(
            (&*manifest.interceptors()[0].action, &manifest.allow[..]),
            ("go", &["git".into()][..])
        );
        assert_eq!(manifest.reports, [""; 0]);
    }

    #[test]
    fn what_is_not_declared_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let none = Manifest::of_component(&folder.path().join("x.wasm")).unwrap();
        assert_eq!(without_files(none), Manifest::default());
        for cargo in [
            "",
            "[package]\nname = \"x\"\nversion.workspace = true\n",
            "[package.metadata.component]\npackage = \"a:b\"\n",
        ] {
            std::fs::write(folder.path().join("Cargo.toml"), cargo).unwrap();
            let manifest = Manifest::of_crate(folder.path()).unwrap();
            assert_eq!(without_files(Manifest { id: None, ..manifest }), Manifest::default());
        }
    }

    #[test]
    fn each_component_of_a_folder_has_its_own_manifest_or_a_part_of_the_common_one() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].map(|name| folder.path().join(name).with_extension("wasm"));
        for name in &names {
            std::fs::write(name, "").unwrap();
        }
        let text = "allow = ['make']\n[package]\nname = 'all'\n[[component]]\nid = 'first'\nfile = 'a.wasm'\n\
                    [component.capabilities]\nhost_process = ['git']\n[[component]]\nid = 'second'\nfile = './b.wasm'\n";
        std::fs::write(folder.path().join(CAPSULE_TOML), text).unwrap();
        let [a, b, c] = &names;
        let read = |component: &Path| Manifest::of_component(component).unwrap();
        assert_eq!(
            (read(a).id.as_deref(), &read(a).allow[..]),
            (Some("first"), &["make".into(), "git".into()][..])
        );
        assert_eq!(
            (read(b).id.as_deref(), &read(b).allow[..]),
            (Some("second"), &["make".into()][..])
        );
        let other = read(c);
        assert_eq!((other.id, other.allow.len(), other.reports.len()), (None, 0, 1));
        assert!(
            other.reports[0].contains("names other components"),
            "{:?}",
            other.reports
        );
        std::fs::write(folder.path().join("c.capsule.toml"), "allow = ['cc']\n").unwrap();
        assert_eq!((read(c).allow, read(c).reports.len()), (vec!["cc".to_owned()], 0));
        let several = Manifest::only_component(folder.path()).unwrap_err().to_string();
        assert!(
            several.contains("give one of them") && several.contains("a.wasm"),
            "{several}"
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
        let folder = tempfile::tempdir().unwrap();
        for (text, told) in [
            (
                "\nbackgruond = true",
                "line 2: the key `backgruond` is unknown and has no effect; did you mean `background`?",
            ),
            (
                "[limits]\nmax-everything = 1",
                "line 2: the key `max-everything` in `limits`",
            ),
            ("[limits]\nmax-pid = 1", "did you mean `max-pids`?"),
            ("[network]\nports = [\"80\"]", "line 2: the key `ports` in `network`"),
            (
                "[package]\nname = 'x'\nversoin = '1'",
                "line 3: the key `versoin` in `package`",
            ),
            (
                "[package.metadata.capsule]\nallow-persist = true",
                "did you mean `allow-persistent`?",
            ),
            ("[capabilities]\nhost-process = ['git']", "did you mean `host_process`?"),
            (
                "[[component]]\nfile = 'x.wasm'\nname = 'x'",
                "line 3: the key `name` in `component`",
            ),
            ("[subscribe.'a.b']\nhandlr = 'x'", "did you mean `handler`?"),
            ("'\\u001b[2J' = 1", "unknown"),
        ] {
            let manifest = beside(folder.path(), &text.replace("'\\u001b[2J'", "\"\\u001b[2J\"")).unwrap();
            assert_eq!(manifest.reports.len(), 1, "{manifest:?}");
            assert!(
                manifest.reports[0].contains(told) && manifest.reports[0].contains(CAPSULE_TOML),
                "{manifest:?}"
            );
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (text, told) in [
            ("background = 1", "background = 1"),
            ("publish = [\"a.*.b\"]", "\"a.*.b\""),
            ("interceptors = [{ topic = \"A\", action = \"x\" }]", "\"A\""),
            ("interceptors = [{ topic = \"a\" }]", "action"),
            ("limits = { max-pids = 0 }", "line 1"),
            ("[limits]\nmax-memory = \"much\"", "much"),
            ("=", "line 1"),
            ("a = 1\na = 2", "line 2"),
            (
                "background = true\n[network]\npublish = [\"8000\",\n\"0.0.0.0:80\"]",
                "line 3",
            ),
            ("[network]\npublish = [\"0.0.0.0:80\"]", "127.0.0.0/8"),
            ("[network]\n\negress = [\"10.0.0.1\"]", "line 3"),
            ("[network]\negress = [\"https://pypi.org\"]", "write its host alone"),
            ("\n[network]\nmode = \"open\"", "line 3"),
            ("network = { mode = \"host\", publish = [\"80\"] }", "private network"),
            ("limits = { max-dials = 0 }", "no process could run with 0"),
            ("allow = ['']", "line 1"),
            ("allow = 'git'", "line 1"),
            ("\npackage = 1", "line 2: `package` is a table"),
            ("component = 1", "line 1: `component` is a list of tables"),
            ("[[component]]\nid = 'x'", "line 1: a `component` has a `file`"),
            ("[[component]]\nfile = '../x.wasm'", "line 2: the `file` of a component"),
            ("[[component]]\nfile = '/x.wasm'", "line 2: the `file` of a component"),
            ("[package]\nname = 'a b'", "line 2: `name` is a name"),
            ("[package]\nname = ''", "line 2: `name` is a name"),
            ("[[component]]\nid = \"\\n\"\nfile = 'x.wasm'", "line 2: `id` is a name"),
            ("[subscribe]\n'a.b' = 1", "line 2: `subscribe.a.b` is a table"),
            ("[[interceptor]]\nevent = 'a'", "line 1: an `interceptor` has"),
            ("[capabilities]\nhost_process = 'git'", "line 2"),
            ("build = 1", "line 1"),
        ] {
            let error = beside(folder.path(), text).unwrap_err().to_string();
            assert!(
                error.contains(CAPSULE_TOML) && error.contains(told),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn a_hostile_file_takes_neither_time_nor_words() {
        let folder = tempfile::tempdir().unwrap();
        let many: String = (0..50_000).map(|number| format!("k{number}=1\n")).collect();
        let manifest = beside(folder.path(), &many).unwrap();
        assert_eq!(manifest.reports.len(), 17);
        assert!(
            manifest.reports[16].contains("49984 more keys"),
            "{:?}",
            manifest.reports[16]
        );
        let long = format!("\"{}\" = 1", "é".repeat(100_000));
        assert!(beside(folder.path(), &long).unwrap().reports[0].len() < 400);
        let topics: String = (0..2000).map(|number| format!("'t{number}' = 'opaque'\n")).collect();
        for (text, told) in [
            ("#".repeat(1 << 20) + "\n", "larger than 1 MiB"),
            ("a = ".to_owned() + &"[".repeat(10_000), "recurs"),
            ("a.".repeat(10_000) + "a = 1", "recurs"),
            (
                format!("allow = [{}]", "'x',".repeat(2000)),
                "line 1: a list has at most 1024",
            ),
            (format!("[subscribe]\n{topics}"), "more than 1024"),
            ("[[component]]\nfile = 'x.wasm'\n".repeat(2000), "more than 1024"),
            ("a = \"\0\"".into(), "line 1"),
        ] {
            let error = beside(folder.path(), &text).unwrap_err().to_string();
            assert!(error.contains(told) && error.len() < 1000, "{error:.300}");
        }
        std::fs::write(folder.path().join(CAPSULE_TOML), b"a = '\xff'").unwrap();
        assert!(Manifest::of_component(&folder.path().join("x.wasm")).is_err());
    }

    #[test]
    fn a_pipe_in_place_of_a_manifest_does_not_hold_the_command_up() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        mknodat(CWD, folder.path().join(CAPSULE_TOML), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = Manifest::of_component(&folder.path().join("x.wasm"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
