//! Checks that the cases of the level `interface` quote the WIT as it was published.
//!
//! The comments of the WIT in this repository are this project's own words, so they cannot serve as the authority. The
//! published WIT is in the crate `astrid-sys`, on which the capsule of `tests/foreign` depends. Cargo says where its
//! sources are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use capsule_conformance::{CASES, Level};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

/// The most bytes of a quotation: two lines of the published text.
const LONGEST: usize = 160;

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn trial() -> Trial {
    Trial::test("quotations_stand_in_the_published_wit", || match published()? {
        Ok(texts) => compare(&texts),
        Err(missing) if std::env::var_os("CAPSULE_REQUIRE_ALL").is_none() => {
            eprintln!("skipped: the published WIT cannot be found: {missing}");
            Ok(())
        }
        Err(missing) => Err(format!("the published WIT cannot be found: {missing}").into()),
    })
}

fn compare(texts: &BTreeMap<String, String>) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for case in CASES {
        if (case.level == Level::Interface) == case.basis.is_empty() {
            wrong.push(format!(
                "{} is {:?} and rests on {:?}",
                case.name, case.level, case.basis
            ));
        }
        // The build script accepts no other form than `package: "words"; package: "words"`.
        let parts: Vec<_> = case.basis.split('"').collect();
        for [package, words] in parts.as_chunks::<2>().0 {
            let package = package.trim_matches([';', ':', ' ']);
            match texts.get(package) {
                None => wrong.push(format!("{}: no package {package} is published", case.name)),
                Some(text) if !text.contains(words) => {
                    wrong.push(format!("{}: {package} does not say {words:?}", case.name));
                }
                Some(_) if words.len() > LONGEST => {
                    wrong.push(format!("{}: {} bytes are too long: {words:?}", case.name, words.len()));
                }
                Some(_) => {}
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

/// The text of each published package, by its name and version (`process@1.1.0`), or the reason why there is none here.
fn published() -> Result<Result<BTreeMap<String, String>, String>, Failed> {
    let folder = match sources() {
        Ok(folder) => folder.join("wit-staging/deps"),
        Err(missing) => return Ok(Err(missing)),
    };
    let mut texts = BTreeMap::new();
    for package in fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        for file in fs::read_dir(package?.path())? {
            let file = file?.path();
            let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            texts.insert(name.to_owned(), plain(&fs::read_to_string(&file)?));
        }
    }
    Ok(Ok(texts))
}

/// The folder of the crate `astrid-sys`, without use of the network.
fn sources() -> Result<PathBuf, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foreign");
    #[expect(clippy::disallowed_methods, reason = "a test is no part of the host")]
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // The other targets have dependencies that may never have been downloaded.
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform=wasm32-unknown-unknown",
        ])
        .current_dir(&workspace)
        .output()
        .map_err(|error| format!("cargo cannot be run in {}: {error}", workspace.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.map_or(&[][..], Vec::as_slice);
    let found = packages
        .iter()
        .find(|package| package.get("name").is_some_and(|name| name == "astrid-sys"));
    let manifest = found.and_then(|package| package.get("manifest_path")?.as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    folder
        .map(Path::to_owned)
        .ok_or_else(|| "tests/foreign does not depend on astrid-sys".to_owned())
}

/// A text without the marks of comments, in which every gap is a space.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches('/'));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}
