//! Each tree has terminals of its own: programs that need one get it, and no terminal of the host is visible (B1).

use std::path::Path;

use crate::harness::{Host, command, sh, zoo};
use crate::who::skip;

const PYTHON: &str = "/usr/bin/python3";

/// Opens terminals until the kernel refuses one, and prints their number and the error.
const ALL_OF_THEM: &str = "
import os
held = []
try:
    while len(held) < 10000:
        held.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))
except OSError as error:
    print(len(held), error.errno)
";

async fn b1_python_runs_a_program_in_a_terminal() {
    if !Path::new(PYTHON).exists() {
        return skip("python3");
    }
    // Its output comes through the terminal, which is also its controlling terminal.
    let script = "import pty, sys; sys.exit(pty.spawn(['sh', '-c', 'tty; test -t 0 && echo hello > /dev/tty']))";
    let printed = Host::new().printed(command(PYTHON, &["-c", script])).await;
    assert_eq!(printed.replace('\r', ""), "/dev/pts/0\nhello\n");
}

async fn b1_script_records_a_terminal() {
    if !Path::new("/usr/bin/script").exists() {
        return skip("script");
    }
    let host = Host::new();
    let printed = host.printed(sh("script -qec 'tty; stty size' record </dev/null")).await;
    assert!(printed.contains("/dev/pts/0"), "{printed}");
    let record = std::fs::read_to_string(host.dir().join("record")).expect("a record");
    assert!(record.contains("/dev/pts/0"), "{record}");
}

async fn b1_no_terminal_of_the_hosts_is_there() {
    let host = Host::new();
    let printed = host.printed(sh("ls /dev/pts")).await;
    assert_eq!(printed, "ptmx\n");
    // It starts without a terminal.
    host.refused(&[("read=/dev/tty", &[libc::ENXIO])]).await;
    host.allowed(&["read=/dev/null"]).await;
    drop(host.printed(zoo(&["look"])).await);
}

async fn r3_terminals_are_bounded() {
    if !Path::new(PYTHON).exists() {
        return skip("python3");
    }
    let printed = Host::new().printed(command(PYTHON, &["-c", ALL_OF_THEM])).await;
    assert_eq!(printed, format!("64 {}\n", libc::ENOSPC));
}

crate::who::each_user!(
    b1_python_runs_a_program_in_a_terminal,
    b1_script_records_a_terminal,
    b1_no_terminal_of_the_hosts_is_there,
    r3_terminals_are_bounded,
);
