//! Circles of imports, and imports that point up an order, printed so that the reader sees which import to move.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::arrows::Arrows;

/// A strongly connected component: files each of which imports each of the others, directly or indirectly.
pub(crate) struct Circle {
    files: BTreeSet<String>,
    arrows: Arrows,
}

/// The circles, from the largest to the smallest.
pub(crate) fn circles(arrows: &Arrows) -> Vec<Circle> {
    let files: BTreeSet<_> = arrows.keys().flat_map(|(from, to)| [from, to]).collect();
    let below: BTreeMap<_, _> = files.iter().map(|file| (*file, reachable(arrows, file))).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let around = below[file].iter().filter(|other| below[*other].contains(file));
        let files: BTreeSet<String> = around.map(|file| (*file).clone()).collect();
        if !files.is_empty() && !seen.contains(file) {
            seen.extend(files.clone());
            let mut within = arrows.clone();
            within.retain(|(from, to), _| files.contains(from) && files.contains(to));
            found.push(Circle { files, arrows: within });
        }
    }
    found.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    found
}

/// Every file that `file` imports, directly or indirectly.
fn reachable<'a>(arrows: &'a Arrows, file: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next = vec![file];
    while let Some(at) = next.pop() {
        for (_, to) in arrows.keys().filter(|(from, _)| from == at) {
            if found.insert(to) {
                next.push(to);
            }
        }
    }
    found
}

impl Circle {
    /// The shortest path of imports from a file back to itself.
    fn shortest(&self) -> Vec<&String> {
        let ways = self.files.iter().filter_map(|file| self.way_back(file));
        ways.min_by_key(Vec::len).unwrap_or_default()
    }

    fn way_back<'a>(&'a self, start: &'a String) -> Option<Vec<&'a String>> {
        let mut seen = BTreeSet::new();
        let mut ways = VecDeque::from([vec![start]]);
        while let Some(way) = ways.pop_front() {
            for (_, to) in self.arrows.keys().filter(|(from, _)| Some(&from) == way.last()) {
                let way: Vec<_> = way.iter().copied().chain([to]).collect();
                if to == start {
                    return Some(way);
                }
                if seen.insert(to) {
                    ways.push_back(way);
                }
            }
        }
        None
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way: Vec<_> = self.shortest().into_iter().map(String::as_str).collect();
        writeln!(f, "{} files: {}", self.files.len(), way.join(" → "))?;
        for ((from, to), names) in &self.arrows {
            writeln!(f, "    {}", arrow(from, to, names))?;
        }
        Ok(())
    }
}

fn arrow(from: &str, to: &str, names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    format!("{from} → {to} ({})", names.join(", "))
}

/// Imports that point up `order`, whose parts are prefixes of paths, and imports of files that are in no part.
pub(crate) fn upward(arrows: &Arrows, order: &[&[&str]]) -> Vec<String> {
    // The longest prefix decides, because a folder may be a part apart from the folder that contains it.
    let place = |file: &str| {
        let beginnings = order
            .iter()
            .enumerate()
            .flat_map(|(place, part)| part.iter().map(move |beginning| (beginning, place)));
        let fitting = beginnings.filter(|(beginning, _)| file.starts_with(**beginning));
        fitting
            .max_by_key(|(beginning, _)| beginning.len())
            .map(|(_, place)| place)
    };
    let up = arrows.iter().filter(|((from, to), _)| match (place(from), place(to)) {
        (Some(from), Some(to)) => from > to,
        (None, _) | (_, None) => true,
    });
    up.map(|((from, to), names)| arrow(from, to, names)).collect()
}
