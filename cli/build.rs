//! Puts into the command what it writes for capsule authors: the interfaces, the SDK's sources, and the interfaces as C.
//!
//! Cargo leaves a folder with a `Cargo.toml` out of a package, so `sdk` and `templates` name their manifests otherwise.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Short names for the interfaces in C. The generator's own begin with the package and the version.
const NAMES: [(&str, &str); 6] = [
    ("astrid:process/host@1.1.0", "process"),
    ("astrid:sys/host@1.0.0", "sys"),
    ("astrid:ipc/host@1.0.0", "ipc"),
    ("astrid:io/poll@1.0.0", "poll"),
    ("astrid:guest/lifecycle@1.0.0", "lifecycle"),
    ("capsule:net/net@0.1.0", "net"),
];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=wit");
    println!("cargo::rerun-if-changed=sdk");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bindings = out.join("c");
    generate_c(&bindings)?;
    let mut tables = String::new();
    for (name, folder) in [
        ("WIT", Path::new("wit")),
        ("SDK", Path::new("sdk/src")),
        ("C", bindings.as_path()),
    ] {
        let mut files = Vec::new();
        list(folder, folder, &mut files)?;
        files.sort();
        writeln!(tables, "pub(crate) static {name}: &[File] = &[")?;
        for (path, from) in files {
            writeln!(
                tables,
                "    File {{ path: {path:?}, content: include_bytes!({from:?}) }},"
            )?;
        }
        writeln!(tables, "];")?;
    }
    fs::write(out.join("embedded.rs"), tables)?;
    Ok(())
}

/// The files in `folder`, each by its path below `base` and its whole path.
fn list(base: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(base, &path, files)?;
        } else {
            let below = path.strip_prefix(base)?.to_str().ok_or("a file's name is not UTF-8")?;
            files.push((below.to_owned(), path.canonicalize()?));
        }
    }
    Ok(())
}

/// Writes the interfaces of the world `guest` as C into `folder`.
fn generate_c(folder: &Path) -> Result<()> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path("wit")?;
    let world = resolve.select_world(&[package], Some("guest"))?;
    let options = wit_bindgen_c::Opts {
        rename: NAMES.map(|(interface, name)| (interface.into(), name.into())).to_vec(),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = wit_bindgen_core::Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(folder)?;
    for (name, content) in files.iter() {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
