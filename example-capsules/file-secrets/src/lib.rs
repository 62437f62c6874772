//! Signs files of the workspace with a key that is never in the workspace.
//!
//! The key is in the capsule's store, which no process sees. `sign` injects it: the host shows `openssl` a read-only file outside of the
//! workspace, and removes it with the process. Other processes of the capsule do not see the file, and the audit has its hash alone.
//! An argument would be recorded in the audit, and a variable is handed on to every program that the command starts.

use capsule_sdk::{Command, Output, store};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[cfg(test)]
mod tests;

/// Where `openssl` sees the key.
const KEY: &str = "/run/secrets/key.pem";
/// The key in the store.
const STORED: &str = "key";

capsule_sdk::actions! {
    "generate" => generate,
    "sign" => sign,
    "search" => search,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, PartialEq, Serialize)]
struct Generated {
    public_key: String,
}

/// Makes a key, and returns its public half. The private half goes from the output of `openssl` into the store.
fn generate() -> Result<Generated> {
    let curve = "ec_paramgen_curve:P-256";
    let key = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", curve], None)?;
    store::set(STORED, &key)?;
    let public_key = openssl(&["pkey", "-in", KEY, "-pubout"], Some(&key))?;
    Ok(Generated { public_key })
}

#[derive(Deserialize)]
struct Sign {
    /// A file of the workspace.
    file: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Signed {
    /// In hexadecimal digits.
    signature: String,
}

/// Signs a file.
fn sign(sign: Sign) -> Result<Signed> {
    let key = store::get(STORED)?.ok_or("no key: `generate` makes one")?;
    let key = String::from_utf8(key)?;
    // `./` keeps a name with a hyphen in front from being an option.
    let file = format!("./{}", sign.file);
    let output = openssl(&["dgst", "-sha256", "-sign", KEY, "-hex", &file], Some(&key))?;
    // `EC-SHA2-256(./message.txt)= 30…`
    let signature = output.rsplit("= ").next().unwrap_or_default().trim().to_owned();
    Ok(Signed { signature })
}

#[derive(Deserialize)]
struct Search {
    #[serde(default = "begin")]
    text: String,
}

fn begin() -> String {
    "PRIVATE KEY".to_owned()
}

#[derive(Debug, PartialEq, Serialize)]
struct Found {
    /// The files of the workspace that contain the text.
    workspace: Vec<String>,
    /// Whether a process to which the key was not given sees a file there.
    injected: bool,
}

/// Searches the workspace and the place of the key, as a process sees them that did not get the key.
fn search(search: Search) -> Result<Found> {
    let grep = |place: &str| {
        let output = Command::new("grep")
            .args(["-r", "-l", "-s", "-F", "-e", &search.text, place])
            .output()?;
        let files = output.stdout_lossy().lines().map(str::to_owned).collect();
        Ok::<Vec<String>, capsule_sdk::Error>(files)
    };
    Ok(Found {
        workspace: grep(".")?,
        injected: !grep(KEY)?.is_empty(),
    })
}

/// Runs `openssl`, with the key as a file if one is given.
fn openssl(args: &[&str], key: Option<&str>) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(args.iter().copied());
    if let Some(key) = key {
        command.file_at(KEY, key);
    }
    let output: Output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout_lossy().into_owned());
    }
    Err(format!("openssl {}: {}", output.status, output.stderr_lossy().trim()).into())
}
