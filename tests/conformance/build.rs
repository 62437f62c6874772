//! Compiles the cases, makes components of them, and writes their table and the archive of the components.
//!
//! - The cases are a package and a workspace of their own, which is assembled in the target folder. Cargo excludes each
//!   folder with a `Cargo.toml` from the package around it, so their manifest has another name.
//! - They are compiled for `wasm32-unknown-unknown`. For another target the standard library imports WASI, which a host of
//!   `astrid:process` need not serve.
//! - All components are compressed as one, because nearly all of each is library code that the others have too.

mod nested_build;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_component::ComponentEncoder;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let guests = here.join("guests");
    for input in [
        "build.rs",
        "nested_build.rs",
        "guests/src",
        "guests/manifest.toml",
        "guests/manifest.lock",
        "wit",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(input).display());
    }
    if env::var_os("DOCS_RS").is_some() {
        // The builders of documentation have no network, and run no case.
        write(&out, "&[]", &[]);
        return;
    }
    let package = assemble(&here, &nested_build::target_dir().join("conformance"));
    let built = nested_build::build(&package, "wasm32-unknown-unknown", &["--bins"]);

    let mut names: Vec<String> = fs::read_dir(guests.join("src/bin"))
        .expect("the cases are there")
        .map(|entry| entry.expect("the cases can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    // S2 before S10.
    names.sort_by_key(|name| {
        let (clause, rest) = name.split_once('_').expect("a case is named <clause>_<behaviour>");
        let (letter, number) = clause.split_at(1);
        let number: u32 = number.parse().expect("a clause is a letter and a number");
        (letter.to_owned(), number, rest.to_owned())
    });
    let mut table = String::from("&[\n");
    let mut components = Vec::new();
    for name in names {
        let module = fs::read(built.join(format!("{name}.wasm"))).expect("a case was built");
        let component = component(&module);
        let (title, level, basis) = header(&guests.join("src/bin").join(format!("{name}.rs")));
        let (start, end) = (components.len(), components.len() + component.len());
        writeln!(
            table,
            "Case {{ name: {name:?}, title: {title:?}, level: Level::{level}, basis: {basis:?}, start: {start}, end: {end} }},"
        )
        .expect("a string takes it");
        components.extend(component);
    }
    table.push(']');
    write(&out, &table, &components);
}

/// The component of a module, whose interfaces the bindings left in it.
fn component(module: &[u8]) -> Vec<u8> {
    let mut encoder = ComponentEncoder::default();
    // A call of an older version would otherwise go to the newer one.
    encoder.merge_imports_based_on_semver(false);
    encoder.module(module).expect("a module with its interfaces");
    encoder.encode().expect("a module that fits its interfaces")
}

/// Writes the files that `src/case.rs` includes.
fn write(out: &Path, table: &str, components: &[u8]) {
    // Higher levels save at most a fifth more, and take seconds.
    let archive = zstd::bulk::compress(components, 9).expect("memory can be compressed");
    for (name, content) in [
        ("cases.rs", table.as_bytes()),
        ("components.len", components.len().to_string().as_bytes()),
        ("components.zst", &archive),
    ] {
        fs::write(out.join(name), content).expect("OUT_DIR can be written to");
    }
}

/// Assembles the cases' package in `package`, and returns that path.
fn assemble(here: &Path, package: &Path) -> PathBuf {
    fs::create_dir_all(package).expect("the target folder can be written to");
    for (from, to) in [
        ("guests/manifest.toml", "Cargo.toml"),
        ("guests/manifest.lock", "Cargo.lock"),
    ] {
        fs::copy(here.join(from), package.join(to)).expect("a manifest can be copied");
    }
    for (from, to) in [("guests/src", "src"), ("wit", "wit")] {
        // Files of an earlier run, or of another checkout.
        drop(fs::remove_file(package.join(to)));
        symlink(here.join(from), package.join(to)).expect("the target folder can hold a link");
    }
    package.to_owned()
}

/// The title of a case, and what the case rests on: the first two paragraphs of the header of its file.
fn header(path: &Path) -> (String, &'static str, String) {
    let source = fs::read_to_string(path).expect("a case can be read");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let lines: Vec<_> = lines.collect();
    let mut paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    let title = paragraphs.next().filter(|title| !title.is_empty());
    let title = title.unwrap_or_else(|| panic!("{} has no header that says what is to hold", path.display()));
    let rests_on = paragraphs.next().unwrap_or_default();
    let (level, basis) = level(&rests_on).unwrap_or_else(|| {
        panic!(
            "{}: the second paragraph of the header says what the case rests on, and is `Contract.`, `Platform.`, or \
             `Interface process@1.1.0: \"…\"` with the exact words of the published WIT (several such quotations are \
             separated by `; `), and not {rests_on:?}",
            path.display()
        )
    });
    (title, level, basis.to_owned())
}

/// The name of the level, and the quotations.
fn level(rests_on: &str) -> Option<(&'static str, &str)> {
    match rests_on {
        "Contract." => Some(("Contract", "")),
        "Platform." => Some(("Platform", "")),
        _ => {
            let basis = rests_on.strip_prefix("Interface ")?;
            is_basis(basis).then_some(("Interface", basis))
        }
    }
}

/// Whether a text consists of quotations, each with the name and version of its package. A test compares their words with
/// the published ones.
fn is_basis(text: &str) -> bool {
    let parts: Vec<_> = text.split('"').collect();
    let (quotations, rest) = parts.as_chunks::<2>();
    let is_quotation = |(place, [package, words]): (usize, &[&str; 2])| {
        let package = if place == 0 {
            Some(*package)
        } else {
            package.strip_prefix("; ")
        };
        let package = package.and_then(|package| package.strip_suffix(": "));
        package.is_some_and(|package| package.contains('@') && !package.contains(' ')) && words.len() > 10
    };
    !quotations.is_empty() && rest == [""] && quotations.iter().enumerate().all(is_quotation)
}
