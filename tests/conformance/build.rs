//! Compiles the cases and makes the table of them.
//!
//! They go into a target folder of their own: the one that this build script is part of is locked while it runs. They are a
//! package and a workspace of their own, which is put together in `OUT_DIR`: cargo leaves each folder with a `Cargo.toml`
//! out of the package around it, so their manifest has another name.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let guests = here.join("guests");
    for input in [
        "build.rs",
        "guests/src",
        "guests/manifest.toml",
        "guests/manifest.lock",
        "wit",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(input).display());
    }
    if env::var_os("DOCS_RS").is_some() {
        // What builds documentation has no network, and runs no case.
        fs::write(out.join("cases.rs"), "&[]").expect("OUT_DIR can be written to");
        return;
    }
    let target_dir = out.join("guests");
    build(&assemble(&here, &out.join("package")), &target_dir);

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
    for name in names {
        let component = target_dir.join(TARGET).join("release").join(format!("{name}.wasm"));
        let title = title(&guests.join("src/bin").join(format!("{name}.rs")));
        writeln!(
            table,
            "Case {{ name: {name:?}, title: {title:?}, component: include_bytes!({component:?}) }},"
        )
        .expect("a string takes it");
    }
    table.push(']');
    fs::write(out.join("cases.rs"), table).expect("OUT_DIR can be written to");
}

/// Puts the cases' package together in `package`, and returns that.
fn assemble(here: &Path, package: &Path) -> PathBuf {
    fs::create_dir_all(package).expect("OUT_DIR can be written to");
    for (from, to) in [
        ("guests/manifest.toml", "Cargo.toml"),
        ("guests/manifest.lock", "Cargo.lock"),
    ] {
        fs::copy(here.join(from), package.join(to)).expect("a manifest can be copied");
    }
    for (from, to) in [("guests/src", "src"), ("wit", "wit")] {
        // From an earlier run, or of another checkout.
        drop(fs::remove_file(package.join(to)));
        symlink(here.join(from), package.join(to)).expect("OUT_DIR can hold a link");
    }
    package.to_owned()
}

/// The first paragraph of a file's header.
fn title(path: &Path) -> String {
    let source = fs::read_to_string(path).expect("a case can be read");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let title = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    assert!(
        !title.is_empty(),
        "{} says in no header what is to hold",
        path.display()
    );
    title
}

fn build(guests: &Path, target_dir: &Path) {
    add_target();
    let mut command = tool("CARGO", "cargo");
    command
        .current_dir(guests)
        .args(["build", "--release", "--locked", "--bins", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    // What cargo sets for this script is not meant for another build: flags, the linter in place of the compiler.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let ours = [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
        ];
        if ours.contains(&&*name) || name.starts_with("CARGO_CFG_") || name.starts_with("CARGO_FEATURE_") {
            command.env_remove(&key);
        }
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the cases do not compile");
}

/// Adds the target where the toolchain lacks it; a toolchain file alone does not on every machine.
fn add_target() {
    let sysroot = tool("RUSTC", "rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc starts")
        .stdout;
    let sysroot = String::from_utf8(sysroot).expect("a path that is text");
    let installed = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    if fs::exists(&installed).unwrap_or(false) {
        return;
    }
    let added = tool("RUSTUP", "rustup").args(["target", "add", TARGET]).status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "the target {TARGET} is missing; add it with `rustup target add {TARGET}`"
    );
}

fn tool(variable: &str, name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a build script is no part of the host")]
    Command::new(env::var_os(variable).unwrap_or_else(|| name.into()))
}
