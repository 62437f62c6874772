//! Where compiled cases are kept, by all hosts of the tests.

use std::path::{Path, PathBuf};

/// Compiling a case takes longer than running it, and each case is loaded at least twice.
pub(crate) fn dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}
