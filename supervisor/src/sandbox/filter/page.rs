//! Generates `docs/syscalls.md` from the table and the rules; a test compares the page with them.

use std::fmt::Write;
use std::path::Path;

use super::rules::RULES;
use super::table::{ABSENT, ALLOWED, Aarch64, Call, DENIED, Family, Group};

/// The command that writes the page.
const COMMAND: &str = "CAPSULE_WRITE_DOCS=1 cargo test -p capsule-supervisor --lib syscalls_page";

const START: &str = "# System calls of a confined command

This page is generated from `supervisor/src/sandbox/filter/table.rs` and `rules.rs`; a test fails if it differs. `COMMAND` \
    generates it.

A confined command may make only the calls that are listed here ([contract](contract.md), B7). The list contains the calls that real \
    programs make, and each entry gives the reason. A call that is in no list, including every future call, is answered with \
    `ENOSYS`, as by a kernel without it: libraries then fall back to what they did before the call existed. A call through \
    another interface of the kernel, such as that of 32-bit programs, ends the process.

A workspace is *mapped* if the command sees it as its own while it belongs to another user on the disk. Memory is *sampled* \
    if it is limited and the kernel has no control group to count it in.
";

fn page() -> String {
    let mut page = START.replace("COMMAND", COMMAND);
    section(&mut page, "Allowed", "", ALLOWED);
    page.push_str("\n## Allowed with some arguments\n\n| Calls | Conditions, and why |\n|---|---|\n");
    for rule in RULES {
        let names: Vec<_> = rule.calls.iter().map(|name| format!("`{name}`")).collect();
        let _written = writeln!(page, "| {} | {} |", names.join(", "), rule.text);
    }
    section(
        &mut page,
        "Denied",
        "The answer is `EPERM`, for which programs are prepared.",
        DENIED,
    );
    section(
        &mut page,
        "Not implemented",
        "The answer is `ENOSYS`, as for every call that this page does not name.",
        ABSENT,
    );
    page.push_str(
        "\n## What aarch64 lacks\n\nPrograms for aarch64 make a newer call in place of an older one that x86-64 still has.\n\n\
        | Call of x86-64 | aarch64 |\n|---|---|\n",
    );
    for call in [ALLOWED, DENIED, ABSENT].into_iter().flat_map(super::program::calls) {
        let instead = match call.aarch64 {
            Aarch64::Number(_) => continue,
            Aarch64::Newer(name) => format!("`{name}`"),
            Aarch64::None(why) => format!("none: {why}"),
        };
        let _written = writeln!(page, "| `{}` | {instead} |", call.name);
    }
    page
}

fn section(page: &mut String, title: &str, what: &str, groups: &[Group]) {
    let _written = writeln!(page, "\n## {title}");
    if !what.is_empty() {
        let _written = writeln!(page, "\n{what}");
    }
    for Group { title, families } in groups {
        let _written = writeln!(page, "\n### {title}\n\n| Calls | Why |\n|---|---|");
        for Family { why, calls } in *families {
            let names: Vec<_> = calls.iter().map(numbered).collect();
            let _written = writeln!(page, "| {} | {why} |", names.join(", "));
        }
    }
}

/// With its numbers, of x86-64 and of aarch64.
fn numbered(call: &Call) -> String {
    match call.aarch64 {
        Aarch64::Number(number) => format!("`{}` ({}, {number})", call.name, call.x86_64),
        Aarch64::Newer(_) | Aarch64::None(_) => format!("`{}` ({}, –)", call.name, call.x86_64),
    }
}

#[test]
fn b7_the_syscalls_page_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/syscalls.md");
    if std::env::var_os("CAPSULE_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the page is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/syscalls.md is stale: {COMMAND}");
}
