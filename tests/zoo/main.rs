//! The zoo: badly behaved programs for the containment tests, one behaviour for each call.
//!
//! `zoo try ATTEMPT…` makes attempts that should be refused, and prints the kernel's answer to each. The other calls
//! misbehave for as long as they can. The tests judge the output; the program does not know which answer is right. Root
//! may run all of it unconfined: it harms nothing but its working directory.

mod attempts;
mod flood;
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
    // One write for each line, because several processes print to one pipe.
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}

fn main() {
    // Its name may not be text.
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
        || hoard::behave(behaviour, args)
        || flood::behave(behaviour, args);
    assert!(known, "no such behaviour: {behaviour}");
}
