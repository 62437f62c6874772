//! Each spawn has an empty `/tmp` of its own, and `/dev` has the harmless devices only.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "filesystem"}]}"#: run);

fn run() -> Outcome {
    let first = output(
        "p=$(pwd -P); ls -A /tmp | grep -v -x \"$(echo \"$p\" | cut -d/ -f3)\"; echo secret > /tmp/left; ls /tmp | grep left",
    )?;
    check!(first.trim() == "left", "/tmp holds {first:?}");
    check!(
        holds("test ! -e /tmp/left")?,
        "the next spawn sees the first one's /tmp"
    );
    let devices = output("ls /dev")?;
    let odd: Vec<_> = devices
        .split_whitespace()
        .filter(|name| {
            ![
                "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
                "zero", "core", "console", "mqueue",
            ]
            .contains(name)
        })
        .collect();
    check!(odd.is_empty(), "devices: {odd:?}");
    output("echo x > /dev/null; head -c 4 /dev/zero; head -c 4 /dev/urandom > /dev/null")?;
    Ok("private".into())
}
