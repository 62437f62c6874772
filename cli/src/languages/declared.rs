//! The table `[build]` of a `Capsule.toml`: how the component is made in a folder that cargo does not build.
//!
//! ```toml
//! [build]
//! language = "python"      # python, js or c
//! source = "capsule.py"
//! ```
//!
//! Or `command = ["make", "component"]` instead of the language and the source. `manifest` reads the file, and tells of unknown keys
//! and values of another type; this file checks what the table means in its folder.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Build {
    language: Option<Language>,
    source: Option<Sources>,
    wit: Option<String>,
    world: Option<String>,
    command: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    Python,
    Js,
    C,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`source` is a path or a list of paths")]
enum Sources {
    One(String),
    Several(Vec<String>),
}

/// How a capsule is built.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// The name of the capsule, which is also that of its component's file.
    pub(crate) name: String,
    pub(crate) way: Way,
    /// The folder with the interfaces, if the capsule has its own, and the world in it.
    pub(crate) wit: Option<String>,
    pub(crate) world: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// The tool of a language, with these sources.
    Language(Language, Vec<String>),
    /// A program of the author's choice, with its arguments.
    Command(Vec<String>),
}

/// Why the table cannot be used.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct BadDeclaration {
    path: PathBuf,
    reason: String,
}

impl Declared {
    /// Checks the table of the manifest in `folder`. `id` is the name of the capsule there; without one, the folder's counts.
    pub(crate) fn new(folder: &Path, id: Option<&str>, build: &Build) -> Result<Self, BadDeclaration> {
        let wrong = |reason: String| BadDeclaration {
            path: folder.join("Capsule.toml"),
            reason,
        };
        let name = id.or_else(|| folder.file_name().and_then(|name| name.to_str()));
        let name = name.filter(|name| is_file_name(name)).ok_or_else(|| {
            let shape = "begins with a letter or a digit, and has at most 64 letters, digits, dots, `-` and `_`";
            wrong(format!(
                "a capsule that is built needs a `name` in `[package]` that {shape}"
            ))
        })?;
        if let Some(wit) = &build.wit {
            check_path(folder, wit).map_err(|objection| wrong(format!("`wit` in `[build]`: {wit:?} {objection}")))?;
        }
        Ok(Self {
            name: name.to_owned(),
            way: way(folder, build).map_err(|reason| wrong(format!("`[build]`: {reason}")))?,
            wit: build.wit.clone(),
            world: build.world.clone().unwrap_or_else(|| "guest".to_owned()),
        })
    }

    /// The sources that the table names; none if a program of the author's builds.
    pub(crate) fn sources(&self) -> &[String] {
        match &self.way {
            Way::Language(_, sources) => sources,
            Way::Command(_) => &[],
        }
    }

    /// The endings of the files that make up the component; none if that may be any file.
    pub(crate) fn extensions(&self) -> Option<&'static [&'static str]> {
        match self.way {
            Way::Language(Language::Python, _) => Some(&["py", "wit"]),
            Way::Language(Language::Js, _) => Some(&["js", "mjs", "json", "wit"]),
            Way::Language(Language::C, _) => Some(&["c", "h"]),
            Way::Command(_) => None,
        }
    }

    /// The endings of all files that a build may read, and not only of those that an author writes; none if that may be any file.
    pub(crate) fn read_extensions(&self) -> Option<&'static [&'static str]> {
        match self.way {
            Way::Language(Language::Python, _) => Some(&["py", "pyc", "pth", "so", "toml", "wit"]),
            Way::Language(Language::Js, _) => Some(&["js", "mjs", "cjs", "json", "wit"]),
            Way::Language(Language::C, _) => Some(&["c", "h"]),
            Way::Command(_) => None,
        }
    }
}

fn way(folder: &Path, build: &Build) -> Result<Way, String> {
    match (build.language, &build.command) {
        (Some(_), Some(_)) => Err("name a `language` or a `command`, not both".into()),
        (None, None) => {
            Err("name a `language` (\"python\", \"js\" or \"c\"), or a `command` with its arguments".into())
        }
        (None, Some(_)) if build.source.is_some() => {
            Err("`source` belongs to a `language`; a `command` has arguments".into())
        }
        (None, Some(command)) if command.first().is_none_or(String::is_empty) => {
            Err("`command` names a program and its arguments".into())
        }
        (None, Some(command)) => {
            // A confined build sees the folder that its program lies in, and the author must not choose that folder.
            let is_elsewhere = command.first().is_some_and(|program| leads_out(program));
            if is_elsewhere {
                return Err("`command` names a program in PATH, or by its path in the capsule's folder".into());
            }
            Ok(Way::Command(command.clone()))
        }
        (Some(Language::C), None) if build.wit.is_some() || build.world.is_some() => Err(
            "a capsule in C uses the world `guest` of this command; for other interfaces, build it by a `command`"
                .into(),
        ),
        (Some(language), None) => {
            let sources = match &build.source {
                None => vec![language.usual_source().to_owned()],
                Some(Sources::One(source)) => vec![source.clone()],
                Some(Sources::Several(sources)) => sources.clone(),
            };
            if sources.is_empty() || (sources.len() > 1 && language != Language::C) {
                return Err("`source` is one file, the one with the entry point, which imports the others".into());
            }
            for source in &sources {
                check_path(folder, source).map_err(|objection| format!("the source {source:?} {objection}"))?;
                if !source.ends_with(language.extension()) {
                    return Err(format!(
                        "the source {source:?} does not end in {:?}",
                        language.extension()
                    ));
                }
            }
            Ok(Way::Language(language, sources))
        }
    }
}

impl Language {
    const fn extension(self) -> &'static str {
        match self {
            Self::Python => ".py",
            Self::Js => ".js",
            Self::C => ".c",
        }
    }

    const fn usual_source(self) -> &'static str {
        match self {
            Self::Python => "capsule.py",
            Self::Js => "capsule.js",
            Self::C => "capsule.c",
        }
    }
}

/// It becomes the name of a file, so it must not lead elsewhere, nor hide the file.
fn is_file_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.len() <= 64 && name.bytes().all(is_usual)
}

/// Whether a program has a path that leads, or could lead, out of the capsule's folder.
fn leads_out(program: &str) -> bool {
    let is_inside = |part: Component<'_>| matches!(part, Component::CurDir | Component::Normal(_));
    !Path::new(program).components().all(is_inside)
}

/// Why a path is no file or folder of the capsule, if so. A tool would take a path that begins with a hyphen for an option.
fn check_path(folder: &Path, path: &str) -> Result<(), &'static str> {
    let mut parts = Path::new(path).components();
    let is_inside = parts.all(|part| matches!(part, Component::Normal(_))) && !path.is_empty();
    if !is_inside || path.starts_with('-') {
        Err("does not lie in the capsule's folder")
    } else if !folder.join(path).exists() {
        Err("does not exist in the capsule's folder")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(build: &str, name: &str) -> Result<Declared, String> {
        let folder = tempfile::tempdir().unwrap();
        for source in ["capsule.py", "other.py", "capsule.c", "-x.py"] {
            std::fs::write(folder.path().join(source), "").unwrap();
        }
        let build: Build = toml::from_str(build).map_err(|error| error.to_string())?;
        Declared::new(folder.path(), Some(name), &build).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_names_a_language_or_a_command() {
        let declared = new("language = 'python'", "x").unwrap();
        assert_eq!((declared.name.as_str(), declared.world.as_str()), ("x", "guest"));
        assert!(matches!(declared.way, Way::Language(Language::Python, sources) if sources == ["capsule.py"]));
        let declared = new("command = ['make', 'x']", "x").unwrap();
        assert!(matches!(declared.way, Way::Command(command) if command == ["make", "x"]));
        for own in ["./build.sh", "tools/build.sh"] {
            assert!(new(&format!("command = ['{own}']"), "x").is_ok(), "{own}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_the_file() {
        for (build, told) in [
            ("", "language"),
            ("language = 'c'\ncommand = ['make']", "not both"),
            ("command = []", "program"),
            ("command = ['']", "program"),
            ("language = 'python'\nsource = '../x.py'", "does not lie"),
            ("language = 'python'\nsource = '/etc/x.py'", "does not lie"),
            ("language = 'python'\nsource = '-x.py'", "does not lie"),
            ("language = 'python'\nsource = ''", "does not lie"),
            ("language = 'python'\nsource = 'none.py'", "does not exist"),
            ("language = 'python'\nsource = 'capsule.c'", "does not end"),
            ("language = 'python'\nsource = ['capsule.py', 'other.py']", "one file"),
            ("language = 'python'\nwit = 'wit'", "does not exist"),
            ("language = 'c'\nworld = 'x'", "world `guest`"),
            ("command = ['make']\nsource = 'capsule.c'", "arguments"),
            // The folder of the program is shown to the build, so the author must not choose one outside of the capsule.
            ("command = ['/home/user/project/gradlew']", "in PATH"),
            ("command = ['../project/gradlew']", "in PATH"),
            ("command = ['./a/../../b']", "in PATH"),
        ] {
            let error = new(build, "x").unwrap_err();
            assert!(
                error.contains("Capsule.toml") && error.contains(told),
                "{build}: {error}"
            );
        }
        for (build, told) in [("language = 'cobol'", "python"), ("source = 1", "a path or a list")] {
            let error = new(build, "x").unwrap_err();
            assert!(error.contains(told), "{build}: {error}");
        }
    }

    #[test]
    fn a_name_that_is_no_plain_file_name_is_refused() {
        for name in ["", ".", "..", ".x", "-x", "../x", "a/b", "a\0", "é", &"a".repeat(65)] {
            let error = new("language = 'c'", name).unwrap_err();
            assert!(error.contains("needs a `name`"), "{name:?}: {error}");
        }
    }
}
