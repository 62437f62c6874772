//! Reads the pages of the guide, and checks what mdBook does not: that every code block is a file or is run.
//!
//! mdBook shows an include that leads nowhere as it stands, and builds a book from which a page is missing. These tests fail then,
//! and need no mdBook.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line of the page on which the block begins.
    pub(crate) line: usize,
    /// What is behind the fence: the language, and words for the tests, with commas between them.
    pub(crate) info: String,
    pub(crate) content: Vec<String>,
}

impl Block {
    /// Whether the information of the block has this word.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.info.split(',').any(|found| found == word)
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn folder() -> PathBuf {
    root().join("docs/guide/src")
}

/// The pages in the order of the book.
pub(crate) fn pages() -> Vec<PathBuf> {
    let summary = fs::read_to_string(folder().join("SUMMARY.md")).unwrap();
    let links = summary.split("](").skip(1);
    links
        .map(|rest| folder().join(rest.split_once(')').unwrap().0))
        .collect()
}

pub(crate) fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(info) => {
                is_inside = true;
                blocks.push(Block {
                    line: index + 1,
                    info: info.to_owned(),
                    content: Vec::new(),
                });
            }
            None if is_inside => blocks.last_mut().unwrap().content.push(line.to_owned()),
            None => {}
        }
    }
    assert!(!is_inside, "{}: a block has no end", page.display());
    blocks
}

/// The file and the part of it that mdBook puts in place of this line.
fn include(line: &str) -> Option<&str> {
    line.trim().strip_prefix("{{#include ")?.strip_suffix("}}")
}

/// Why mdBook puts nothing in place of `FILE`, `FILE:ANCHOR` or `FILE:LINE:`, or none.
fn problem_of(page: &Path, include: &str) -> Option<String> {
    let (file, part) = include.split_once(':').unwrap_or((include, ""));
    let path = match page.parent().unwrap().join(file).canonicalize() {
        Ok(path) => path,
        Err(error) => return Some(format!("{file}: {error}")),
    };
    if !path.starts_with(root().canonicalize().unwrap()) || path.starts_with(folder().canonicalize().unwrap()) {
        return Some(format!("{file} is not a file that is built or tested"));
    }
    let text = fs::read_to_string(path).unwrap();
    let included = match part.strip_suffix(':').map(str::parse::<usize>) {
        Some(Ok(line)) => text.lines().skip(line - 1).collect(),
        Some(Err(_)) => return Some(format!("{include}: the line is not a number")),
        None if part.is_empty() => text,
        None => {
            let (begin, end) = (format!("ANCHOR: {part}\n"), format!("ANCHOR_END: {part}\n"));
            let between = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
            match between {
                Some((between, _)) => between.to_owned(),
                None => return Some(format!("{file} has no anchor {part}")),
            }
        }
    };
    included.trim().is_empty().then(|| format!("{include} is empty"))
}

#[test]
fn every_code_block_is_a_file_or_is_run() {
    let mut problems = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            let is_run = block.has("console") && block.content.first().is_some_and(|line| line.starts_with("$ "));
            let is_file = !block.content.is_empty() && block.content.iter().all(|line| include(line).is_some());
            if !is_run && (!is_file || block.has("console")) {
                problems.push(format!("{}:{}: neither included nor run", page.display(), block.line));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_include_leads_to_a_part_of_a_file() {
    let mut problems = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let found = text.lines().filter_map(include);
        problems.extend(
            found
                .filter_map(|include| problem_of(&page, include))
                .map(|problem| format!("{}: {problem}", page.display())),
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let listed: BTreeSet<_> = pages().into_iter().collect();
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let pages: BTreeSet<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "md") && !file.ends_with("SUMMARY.md"))
        .collect();
    assert_eq!(listed, pages);
}
