//! A child has a pid namespace of its own: it sees its own tree in `/proc` and can signal no other.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "processes"}]}"#: run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let other = spawn_persistent(&command("sh", &["-c", "echo up; read x < gate", "conformance-other"]))?;
    printed(&other, "up")?;
    let own = output(
        "ls /proc | grep -c '^[0-9]*$'; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'conformance-othe[r]'; echo $$",
    )?;
    let numbers: Vec<u32> = own.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    check!(
        numbers.len() == 3 && numbers[0] < 8 && numbers[2] < 20,
        "processes, others, own pid: {numbers:?}"
    );
    check!(numbers[1] == 0, "it sees another spawn's process");
    // To every process that it can reach, itself included.
    spawn(&sh("kill -9 -1"))?;
    check!(
        status(&other)?.phase == ProcessPhase::Running,
        "it killed another spawn's process"
    );
    Ok("its own tree".into())
}
