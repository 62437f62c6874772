//! The zoo: badly behaved children for the containment tests, one behaviour a call.
//!
//! `zoo try ATTEMPT…` makes attempts that ought to be refused, and says of each what the kernel answered. Everything else
//! misbehaves for as long as it is let. What is printed is for the tests to judge; a child knows nothing of right and
//! wrong. All of it may be run unconfined by root, where it does harm to nothing but its working directory.

mod attempts;
mod greed;
mod hoard;
mod prey;
mod sharing;
mod sys;
mod syscalls;
mod trees;

/// Prints a line at once.
fn say(line: &str) {
    use std::io::Write;
    // One write a line: several processes say things on one pipe.
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}

fn main() {
    // What it is called may be no text.
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned());
    let args: Vec<String> = args.collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (&behaviour, args) = args.split_first().expect("a behaviour");
    let known = attempts::behave(behaviour, args)
        || trees::behave(behaviour, args)
        || greed::behave(behaviour, args)
        || prey::behave(behaviour, args)
        || sharing::behave(behaviour, args)
        || hoard::behave(behaviour, args);
    assert!(known, "no such behaviour: {behaviour}");
}
