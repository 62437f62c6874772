//! The templates: what `capsule new` writes, by language and purpose.
//!
//! Each is a capsule in `example-capsules`, whose name is replaced. So every template is built, run and tested as it is, and holds
//! no placeholder. The files are named one by one, because a folder in use also holds what its tools made.

use clap::ValueEnum;

use crate::embedded::{File, SDK, WIT};
use crate::files::Content;

/// The languages of capsules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Built by cargo.
    Rust,
    /// Built by componentize-py.
    Python,
    /// Built by componentize-qjs.
    Js,
    /// Built by zig.
    C,
}

/// The purposes of templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// A greeting, the output of a command, and a process that counts calls.
    Hello,
    /// A web server that outlives the call that starts it (only in Rust).
    Server,
}

/// A template.
struct Template {
    /// The name of the example, which is replaced.
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const HELLO_RUST: Template = Template {
    name: "hello-rust",
    files: &[
        (".gitignore", include_str!("../../templates/rust/gitignore")),
        ("Cargo.toml", include_str!("../../templates/rust/manifest.toml")),
        ("README.md", include_str!("../../templates/rust/README.md")),
        ("src/lib.rs", include_str!("../../templates/rust/lib.rs")),
        ("src/tests.rs", include_str!("../../templates/rust/tests.rs")),
    ],
};

const HELLO_SERVER: Template = Template {
    name: "hello-server",
    files: &[
        (".gitignore", include_str!("../../templates/server/gitignore")),
        ("Cargo.toml", include_str!("../../templates/server/manifest.toml")),
        ("README.md", include_str!("../../templates/server/README.md")),
        ("src/lib.rs", include_str!("../../templates/server/lib.rs")),
        ("src/tests.rs", include_str!("../../templates/server/tests.rs")),
    ],
};

const HELLO_PYTHON: Template = Template {
    name: "hello-python",
    files: &[
        (".gitignore", include_str!("../../templates/python/gitignore")),
        ("Capsule.toml", include_str!("../../templates/python/Capsule.toml")),
        ("README.md", include_str!("../../templates/python/README.md")),
        ("actions.py", include_str!("../../templates/python/actions.py")),
        ("capsule.py", include_str!("../../templates/python/capsule.py")),
        (
            "test_actions.py",
            include_str!("../../templates/python/test_actions.py"),
        ),
    ],
};

const HELLO_JS: Template = Template {
    name: "hello-js",
    files: &[
        (".gitignore", include_str!("../../templates/js/gitignore")),
        ("Capsule.toml", include_str!("../../templates/js/Capsule.toml")),
        ("README.md", include_str!("../../templates/js/README.md")),
        ("actions.js", include_str!("../../templates/js/actions.js")),
        ("actions.test.js", include_str!("../../templates/js/actions.test.js")),
        ("capsule.js", include_str!("../../templates/js/capsule.js")),
        ("package.json", include_str!("../../templates/js/package.json")),
    ],
};

const HELLO_C: Template = Template {
    name: "hello-c",
    files: &[
        (".gitignore", include_str!("../../templates/c/gitignore")),
        ("Capsule.toml", include_str!("../../templates/c/Capsule.toml")),
        ("README.md", include_str!("../../templates/c/README.md")),
        ("capsule.c", include_str!("../../templates/c/capsule.c")),
        ("test.sh", include_str!("../../templates/c/test.sh")),
    ],
};

/// Where the examples find the SDK, and where a new capsule does: the SDK is not published, so the capsule gets a copy.
const SDK_PATHS: (&str, &str) = ("../../guest-sdk", "vendor/capsule-sdk");

/// A capsule is a workspace of its own, wherever its folder lies. The copy of the SDK is not part of it.
const WORKSPACE: &str = "\n[workspace]\nexclude = [\"vendor\"]\n";

/// The files of a new capsule. None if there is no such template in this language.
pub(crate) fn files(language: Language, purpose: Purpose, name: &str) -> Option<Vec<Content>> {
    let template = match (language, purpose) {
        (Language::Rust, Purpose::Hello) => HELLO_RUST,
        (Language::Rust, Purpose::Server) => HELLO_SERVER,
        (Language::Python, Purpose::Hello) => HELLO_PYTHON,
        (Language::Js, Purpose::Hello) => HELLO_JS,
        (Language::C, Purpose::Hello) => HELLO_C,
        (Language::Python | Language::Js | Language::C, Purpose::Server) => return None,
    };
    let mut files: Vec<Content> = template
        .files
        .iter()
        .map(|(path, text)| {
            let mut text = text.replace(template.name, name);
            if *path == "Cargo.toml" {
                text = text.replace(SDK_PATHS.0, SDK_PATHS.1) + WORKSPACE;
            }
            Content::new(*path, text)
        })
        .collect();
    if language == Language::Rust {
        files.extend(sdk());
    }
    Some(files)
}

/// The SDK, as a crate in [`SDK_PATHS`].
fn sdk() -> impl Iterator<Item = Content> {
    let below = |folder: &str, files: &'static [File]| {
        let folder = format!("{}/{folder}", SDK_PATHS.1);
        files
            .iter()
            .map(move |file| Content::new(format!("{folder}/{}", file.path), file.content))
    };
    let manifest = include_str!("../../sdk/manifest.toml");
    std::iter::once(Content::new(format!("{}/Cargo.toml", SDK_PATHS.1), manifest))
        .chain(below("src", SDK))
        .chain(below("wit", WIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Language, Purpose); 5] = [
        (Language::Rust, Purpose::Hello),
        (Language::Rust, Purpose::Server),
        (Language::Python, Purpose::Hello),
        (Language::Js, Purpose::Hello),
        (Language::C, Purpose::Hello),
    ];

    #[test]
    fn a_new_capsule_has_its_own_name_only() {
        for (language, purpose) in ALL {
            let files = files(language, purpose, "shop").unwrap();
            let own: Vec<_> = files.iter().filter(|file| !file.path.starts_with("vendor")).collect();
            let text: String = own.iter().map(|file| String::from_utf8_lossy(&file.bytes)).collect();
            assert!(text.contains("shop"));
            for other in [
                "hello-rust",
                "hello-server",
                "hello-python",
                "hello-js",
                "hello-c",
                "guest-sdk",
                "../..",
            ] {
                assert!(!text.contains(other), "{language:?}: {other}");
            }
            for needed in ["README.md", ".gitignore"] {
                assert!(
                    own.iter().any(|file| file.path == std::path::Path::new(needed)),
                    "{language:?}: {needed}"
                );
            }
        }
    }

    #[test]
    fn the_copy_of_the_sdk_needs_what_the_sdk_needs() {
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        let copy = table(include_str!("../../sdk/manifest.toml"));
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| table(&std::fs::read_to_string(root.join(path)).unwrap());
        let (original, workspace) = (read("guest-sdk/Cargo.toml"), read("Cargo.toml"));
        let package = workspace["workspace"]["package"].as_table().unwrap();
        for key in ["name", "version", "edition", "rust-version"] {
            let inherited = package.get(key).unwrap_or(&original["package"][key]);
            assert_eq!(&copy["package"][key], inherited, "{key}");
        }
        assert_eq!(copy["features"], original["features"]);
        let names = |table: &toml::Table| {
            table["dependencies"]
                .as_table()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&copy), names(&original));
        for name in names(&copy) {
            assert_eq!(
                copy["dependencies"][&name], workspace["workspace"]["dependencies"][&name],
                "{name}"
            );
        }
    }
}
