//! Builds capsules that cargo does not build: their folder has a `Capsule.toml` with a table `[build]`.
//!
//! `declared` checks the table, `recipe` chooses the program that builds, `tools` finds it, `runner` runs it (confined, unless the
//! user trusts the build), `component` makes a component of a core module, and `site` holds the files of a build, with `inputs`
//! (the sources), `owner` (whose they are) and `stamp` (whether they changed since).

mod component;
pub(crate) mod declared;
pub(crate) mod error;
mod inputs;
mod owner;
mod recipe;
mod runner;
mod site;
mod stamp;
mod tools;

use std::path::{Path, PathBuf};

use crate::build_flags::BuildFlags;
use crate::build_inputs::{Found, check};
use crate::console::{self, Spinner};
use declared::{Declared, Language, Way};
use error::BuildError;
use recipe::Recipe;
use runner::Runner;
use site::Site;
use stamp::Stamp;

/// Builds the capsule in `folder` (an absolute path without symlinks), unless it is built and nothing changed since, and returns
/// the path of the component.
///
/// The messages of the tools go to standard error. Dropping the future ends the build.
pub(crate) async fn build(folder: &Path, declared: &Declared, flags: BuildFlags) -> Result<PathBuf, BuildError> {
    let site = Site::prepare(folder, &declared.name)?;
    let _lock = site.lock().await?;
    let recipe = Recipe::choose(&site, declared);
    // A capsule that is built runs without its tools.
    let stamp = Stamp::of(&site, declared, recipe.as_ref().ok());
    if stamp.is_fresh(&site) {
        tracing::info!(component = %site.component().display(), "it is built already");
        return Ok(site.component());
    }
    check(folder, flags.accept_changes)?;
    let recipe = recipe?;
    site.clear(declared)?;
    let runner = Runner::new(&site, &recipe, flags.trust_build)?;
    let spinner = Spinner::start(format!("building {} with {}", declared.name, recipe.program()));
    let ended = runner.run(&recipe).await?;
    drop(spinner);
    if !ended.succeeded || recipe.shows_warnings() {
        console::relay(&ended.messages).await;
    }
    if !ended.succeeded {
        return Err(BuildError::Failed {
            folder: folder.to_owned(),
            program: recipe.program().to_owned(),
            confined: !flags.trust_build,
        });
    }
    let product = site.take_product(recipe.program())?;
    let component = component::from_product(product).await?;
    site.keep(&component)?;
    stamp.write(&site)?;
    Ok(site.component())
}

/// The files of the capsule in `folder` that `capsule run` trusts, beside its manifest. A workspace that contains them shows them
/// read-only to the capsule's processes.
///
/// # Errors
/// The sources cannot be listed. To leave them out would let a process write them, and make that happen.
pub(crate) fn trusted(folder: &Path, declared: &Declared) -> Result<Vec<PathBuf>, BuildError> {
    const OWN: [&str; 5] = ["build", ".venv", "venv", "node_modules", "package.json"];
    let inputs = inputs::of(folder, declared).map_err(|error| BuildError::Unlisted {
        folder: folder.to_owned(),
        error,
    })?;
    let tops = inputs.iter().filter_map(|path| path.iter().next());
    let mut paths: Vec<PathBuf> = OWN
        .iter()
        .map(AsRef::as_ref)
        .chain(tops)
        .map(|name| folder.join(name))
        .collect();
    paths.sort();
    paths.dedup();
    paths.push(folder.to_owned());
    Ok(paths)
}

/// What the build of a capsule reads, so that its processes must not have made it. More than the sources: the tools also use compiled
/// modules, packages in folders that [`inputs`] leaves out, and tests, where another source imports them.
pub(crate) fn found(declared: &Declared) -> Found {
    Found {
        extensions: declared.read_extensions(),
        // A `Cargo.toml` would have cargo build the folder.
        names: &[
            "Cargo.toml",
            "Capsule.toml",
            "build",
            ".venv",
            "venv",
            "node_modules",
            "package.json",
        ],
        above: match declared.way {
            Way::Language(Language::Python | Language::C, _) => &[],
            Way::Language(Language::Js, _) | Way::Command(_) => &["node_modules", "package.json"],
        },
        paths: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn declared(folder: &Path) -> Declared {
        fs::write(folder.join("capsule.py"), "").unwrap();
        let build = toml::from_str("language = 'python'").unwrap();
        Declared::new(folder, Some("x"), &build).unwrap()
    }

    /// A process of the capsule may make as many files as it likes.
    #[test]
    fn b6_sources_that_cannot_be_listed_are_not_left_unprotected() {
        let folder = tempfile::tempdir().unwrap();
        let declared = declared(folder.path());
        let path = |name: &str| folder.path().join(name);
        assert!(trusted(folder.path(), &declared).unwrap().contains(&path("capsule.py")));
        fs::create_dir(path("many")).unwrap();
        for number in 0..inputs::MOST {
            fs::write(path("many").join(number.to_string()), "").unwrap();
        }
        let error = trusted(folder.path(), &declared).unwrap_err().to_string();
        assert!(error.contains("too many files"), "{error}");
    }
}
