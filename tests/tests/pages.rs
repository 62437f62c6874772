//! Checks the pages of the repository against the files: every relative link leads to a file, and the table of
//! `docs/architecture.md` omits no file with a lock, a wake-up, a thread or a blocking job.
//!
//! The pages and sources are read as text, so the test needs nothing built.

#![expect(
    clippy::unwrap_used,
    reason = "a program about the files beside it, and no guest's input"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A file that contains one of these words needs a row in the table.
const WORDS: [&str; 9] = [
    "Condvar",
    "Mutex",
    "Notify",
    "RwLock",
    "Semaphore",
    "mpsc",
    "oneshot",
    "spawn_blocking",
    "thread::Builder",
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files in a folder and below it with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// The text of a page outside of its code.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let unfenced: String = text.split("```").step_by(2).collect();
    unfenced.split('`').step_by(2).collect()
}

/// The targets of the relative links of a page, as paths from the workspace.
fn links(page: &Path) -> BTreeSet<PathBuf> {
    let text = prose(page);
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '\n']).next());
    let defined = text
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: ").map(|(_, to)| to));
    let relative = inline
        .chain(defined)
        .filter(|to| !to.contains("://") && !to.starts_with('#'));
    let paths = relative.map(|to| page.parent().unwrap().join(to.split('#').next().unwrap()));
    paths
        .map(|path| normal(path.strip_prefix(workspace()).unwrap()))
        .collect()
}

fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        if component == Component::ParentDir {
            normal.pop();
        } else if component != Component::CurDir {
            normal.push(component);
        }
        normal
    })
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut pages = files("docs", "md");
    // Not what a tool of another language has put below them.
    let examples = workspace().join("example-capsules");
    let readmes = fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path());
    pages.push(examples.join("README.md"));
    pages.extend(
        readmes
            .map(|folder| folder.join("README.md"))
            .filter(|page| page.is_file()),
    );
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|page| workspace().join(page)));
    let mut broken = Vec::new();
    for page in pages {
        let missing = links(&page).into_iter().filter(|link| !workspace().join(link).exists());
        broken.extend(missing.map(|link| format!("{}: {}", page.display(), link.display())));
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_table_of_tasks_and_locks_leaves_no_file_out() {
    let linked = links(&workspace().join("docs/architecture.md"));
    let mut missing = Vec::new();
    for file in ["supervisor/src", "host/src", "init/src"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"))
        .filter(|file| !file.ends_with("tests.rs"))
    {
        let source = fs::read_to_string(&file).unwrap();
        let shipped = source.split("#[cfg(test)]\nmod ").next().unwrap();
        let code: Vec<_> = shipped
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let names = |word: &&str| code.iter().any(|line| line.contains(word));
        let file = file.strip_prefix(workspace()).unwrap();
        if let Some(word) = WORDS.iter().find(|word| names(word))
            && !linked.contains(file)
        {
            missing.push(format!("{}: {word}", file.display()));
        }
    }
    assert!(
        missing.is_empty(),
        "files that docs/architecture.md has no row for:\n{}",
        missing.join("\n")
    );
}
