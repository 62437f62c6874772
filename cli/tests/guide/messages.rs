//! The page *Troubleshooting* quotes messages in its headings. Each is in the sources, so that the page cannot go stale.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{book, console};

/// The crates whose messages a reader sees.
const SOURCES: [&str; 5] = ["cli/src", "host/src", "supervisor/src", "init/src", "guest-sdk/src"];

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            found.push((path, plain(shipped)));
        }
    }
}

/// The text with each string on one line and without its escapes.
fn plain(source: &str) -> String {
    let mut parts = source.split("\\\n");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.trim_start());
    }
    text.replace("\\\"", "\"")
}

/// Whether a line of the text has these parts, in this order.
fn contains(text: &str, parts: &[&str]) -> bool {
    text.lines().any(|line| {
        parts
            .iter()
            .try_fold(line, |rest, part| rest.split_once(part).map(|(_, rest)| rest))
            .is_some()
    })
}

/// The messages in the headings: between backticks, where `…` stands for what differs.
fn quoted(page: &str) -> Vec<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    headings
        .map(|heading| heading.trim().trim_matches('`').trim().to_owned())
        .collect()
}

#[test]
fn every_message_of_the_troubleshooting_page_is_in_the_sources() {
    let mut found = Vec::new();
    for folder in SOURCES {
        sources(&book::root().join(folder), &mut found);
    }
    let page = fs::read_to_string(book::folder().join("troubleshooting.md")).unwrap();
    let messages = quoted(&page);
    assert!(messages.len() > 10, "{messages:?}");
    let missing: Vec<_> = messages
        .into_iter()
        .filter(|message| {
            let parts: Vec<_> = message
                .split('…')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect();
            !found.iter().any(|(_, text)| contains(text, &parts))
        })
        .collect();
    assert!(missing.is_empty(), "in no source: {missing:#?}");
}

#[test]
fn every_warning_of_the_machine_is_in_the_sources() {
    let mut found = Vec::new();
    sources(&book::root().join("supervisor/src"), &mut found);
    for part in console::OF_MACHINE {
        assert!(
            found.iter().any(|(_, text)| contains(text, &[part])),
            "in no source: {part}"
        );
    }
}

#[test]
fn a_message_over_several_lines_of_source_is_found() {
    let source = plain("warn!(\n    \"no \\\"{name}\\\" is \\\n     here: {error}\"\n)");
    assert!(contains(&source, &["no \"", "\" is here:"]), "{source}");
    assert!(!contains(&source, &["is here:", "no \""]));
}
