//! The files that a component is built from.
//!
//! The folder is the author's, who may be hostile: symbolic links to folders are not followed, and the number of files is bounded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::declared::Declared;

/// Folders that hold what tools made. Folders whose name begins with a dot are left out, too.
const MADE: [&str; 5] = ["build", "target", "venv", "node_modules", "__pycache__"];

/// The most files and folders that are looked at.
pub(super) const MOST: usize = 10_000;

/// The files that the capsule in `folder` is built from, sorted, by their paths in the folder: those that are declared, wherever they
/// lie, and the others that [`inputs`] finds, also beside the declared ones.
///
/// # Errors
/// Those of [`inputs`].
pub(crate) fn of(folder: &Path, declared: &Declared) -> io::Result<Vec<PathBuf>> {
    let mut files = inputs(folder, declared.extensions())?;
    let mut below = |place: &Path, extensions| -> io::Result<()> {
        let found = inputs(&folder.join(place), extensions)?;
        files.extend(found.iter().map(|file| place.join(file)));
        Ok(())
    };
    for source in declared.sources().iter().map(Path::new) {
        match source.parent() {
            // It may be one that is left out above.
            Some(parent) if !parent.as_os_str().is_empty() => below(parent, declared.extensions())?,
            Some(_) | None => {}
        }
    }
    if let Some(wit) = declared.wit.as_deref().map(Path::new) {
        if folder.join(wit).is_dir() {
            below(wit, Some(&["wit"]))?;
        }
        files.push(wit.to_owned());
    }
    files.extend(declared.sources().iter().map(PathBuf::from));
    files.sort();
    files.dedup();
    Ok(files)
}

/// The files in `folder` with one of these endings, sorted, by their paths in the folder. None for the endings is every file.
/// Tests are left out by their usual names.
///
/// # Errors
/// A folder that cannot be read, or more than [`MOST`] files and folders.
fn inputs(folder: &Path, extensions: Option<&[&str]>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::new()];
    let mut seen = 0_usize;
    while let Some(below) = left.pop() {
        let place = folder.join(&below);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", place.display()));
        for entry in fs::read_dir(&place).map_err(named)? {
            let entry = entry.map_err(named)?;
            seen += 1;
            if seen > MOST {
                return Err(io::Error::other(format!("too many files, more than {MOST}")));
            }
            let name = entry.file_name();
            let path = below.join(&name);
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !MADE.contains(&&*name) {
                    left.push(path);
                }
                continue;
            }
            let is_source = extensions.is_none_or(|extensions| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                extension.is_some_and(|extension| extensions.contains(&extension))
            });
            if is_source && !is_test(&name) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_test(name: &str) -> bool {
    name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
        || name.ends_with(".test.js")
        || name.ends_with(".test.mjs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_a_source_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        for (source, beside) in [
            ("target/capsule.py", Some("target/help.py")),
            (".hidden/capsule.py", Some(".hidden/help.py")),
            ("test_capsule.py", None),
        ] {
            let wit = ".wit/deps/a.wit";
            for file in [source, wit].into_iter().chain(beside) {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let build = toml::from_str(&format!("language = 'python'\nsource = '{source}'\nwit = '.wit'")).unwrap();
            let declared = Declared::new(folder.path(), Some("x"), &build).unwrap();
            let found = of(folder.path(), &declared).unwrap();
            for file in [source, wit].into_iter().chain(beside) {
                assert!(found.contains(&file.into()), "{file}: {found:?}");
            }
        }
    }

    #[test]
    fn sources_are_found_and_what_tools_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "capsule.py",
            "lib/help.py",
            "lib/data.txt",
            "test_actions.py",
            "build/x.py",
            ".venv/lib/y.py",
            "node_modules/z.py",
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("/", folder.path().join("all")).unwrap();
        let found = inputs(folder.path(), Some(&["py"])).unwrap();
        assert_eq!(found, [Path::new("capsule.py"), Path::new("lib/help.py")]);
        assert_eq!(inputs(folder.path(), None).unwrap().len(), 4);
    }
}
