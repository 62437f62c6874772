//! Imports between the files of a crate point one way: no file imports, directly or indirectly, a file that imports it.
//! Between the folders of the host they point down the order in CONTRIBUTING.md.
//!
//! The sources are parsed as text, so the test needs nothing built. It also sees which file names which, which the
//! compiler no longer knows when it links. `modules` finds the files of a crate and the targets of paths in them,
//! `arrows` collects the paths, and `circles` finds the circles.
//!
//! These count as imports: a path in code that leads to an item of another file (a type, a function, the output of a
//! macro), a private `use` of one, and a call on `self` of a method that another file adds to the type. These do not:
//! `mod child;`, a re-export (`pub use child::Item` makes the name available, and a file that uses the name depends on
//! `child`), comments, attributes, and code that is compiled for tests only. Any other call of a method is not seen
//! unless its type is named.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a program about the sources beside it, and no guest's input; an item of a kind that is not known has no name"
)]

mod arrows;
mod circles;
mod modules;
mod rules;

use std::path::Path;

use arrows::{Arrows, arrows};
use circles::{circles, upward};
use modules::{Crate, Sources};

/// The crates whose files are read, by the root of each.
const CRATES: [&str; 6] = [
    "supervisor/src/lib.rs",
    "host/src/lib.rs",
    "host/benches/performance/main.rs",
    "cli/src/main.rs",
    "guest-sdk/src/lib.rs",
    "init/src/main.rs",
];

/// The parts of a crate, from the top down. A file may import from its own part and from the parts below.
const ORDERS: [(&str, &[&[&str]]); 2] = [
    (
        "host/src/lib.rs",
        &[
            &["host/src/runtime/"],
            &["host/src/wit/"],
            &[
                "host/src/bus/",
                "host/src/audit/",
                "host/src/fetch.rs",
                "host/src/keyvalue/",
                "host/src/locks.rs",
            ],
        ],
    ),
    (
        "supervisor/src/lib.rs",
        &[
            &["supervisor/src/fuzzing.rs", "supervisor/src/internals.rs"],
            &["supervisor/src/"],
            &["supervisor/src/sandbox/"],
            &["supervisor/src/network/"],
            &["supervisor/src/text/"],
            &["supervisor/src/os/"],
            &[
                "supervisor/src/interned.rs",
                "supervisor/src/owner.rs",
                "supervisor/src/printable.rs",
                "supervisor/src/rate.rs",
                "supervisor/src/sync.rs",
                "supervisor/src/topic.rs",
            ],
        ],
    ),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn arrows_of(root: &str) -> Arrows {
    let sources = Sources::read(workspace(), root);
    arrows(&Crate::find(&sources, root))
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let mut found = Vec::new();
    for root in CRATES {
        let arrows = arrows_of(root);
        assert!(
            !arrows.is_empty(),
            "nothing is imported within {root}: its sources were not understood"
        );
        found.extend(circles(&arrows));
    }
    let count = found.len();
    let found: String = found.iter().map(|circle| format!("{circle}\n")).collect();
    assert!(found.is_empty(), "{count} circles:\n\n{found}");
}

#[test]
fn folders_import_downwards() {
    for (root, order) in ORDERS {
        let found = upward(&arrows_of(root), order);
        assert!(
            found.is_empty(),
            "{} imports of {root} point up the order of its folders:\n{}",
            found.len(),
            found.join("\n")
        );
    }
}

/// Prints the circles, for work on removing them: `cargo test -p capsule-tests --test imports circles_as_they_are --
/// --ignored --nocapture`
#[test]
#[ignore = "prints, and checks nothing"]
fn circles_as_they_are() {
    for root in CRATES {
        for circle in circles(&arrows_of(root)) {
            println!("{circle}");
        }
    }
}
