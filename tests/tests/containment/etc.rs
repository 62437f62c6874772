//! The files that programs look for by name in `/etc`, `/run` and `/var` exist, and name no user of the machine (B1).

use std::path::Path;

use capsule_host::sandbox::{Network, Policy};

use crate::harness::{Host, command, sh};
use crate::who::{ORDINARY, is_root, skip};

const PYTHON: &str = "/usr/bin/python3";

/// The user that commands run as here.
fn uid() -> u32 {
    if is_root() {
        ORDINARY
    } else {
        rustix::process::geteuid().as_raw()
    }
}

/// The name of an account of this machine.
fn name_here(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("accounts");
    let named = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields.first().map(|name| (*name).to_owned()))?
    };
    passwd.lines().find_map(named)
}

async fn b1_the_command_has_a_name_and_no_other_person_has() {
    let printed = Host::new()
        .printed(sh(
            "id -un; id -gn; getent passwd $(id -u) | cut -d: -f6; cat /etc/passwd",
        ))
        .await;
    let lines: Vec<_> = printed.lines().collect();
    let [who, group, home, passwd @ ..] = lines.as_slice() else {
        panic!("{printed}");
    };
    let name = name_here(uid()).unwrap_or_else(|| "capsule".into());
    assert_eq!((*who, *home), (name.as_str(), "/tmp"), "{printed}");
    assert!(group.parse::<u32>().is_err(), "{printed}");
    let people: Vec<_> = passwd
        .iter()
        .filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok())
        .filter(|&id| id >= 1000 && id != 65534)
        .collect();
    assert!(people.iter().all(|&id| id == uid()), "{printed}");
    assert!(passwd.iter().any(|line| line.starts_with("root:x:0:")), "{printed}");
}

async fn b1_names_of_this_machine_and_no_trace_of_which_it_is() {
    let host = Host::new();
    let printed = host
        .printed(sh(
            "cat /etc/hostname; getent ahosts localhost | head -1; grep -c capsule /etc/hosts; cat /etc/machine-id",
        ))
        .await;
    let lines: Vec<_> = printed.lines().collect();
    let [name, localhost, count, id] = lines.as_slice() else {
        panic!("{printed}");
    };
    assert_eq!((*name, *count), ("capsule", "1"), "{printed}");
    assert!(
        localhost.starts_with("127.0.0.1") || localhost.starts_with("::1"),
        "{printed}"
    );
    let own = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert!(id.len() == 32 && *id != own.trim(), "{printed}");
}

async fn b1_with_the_network_the_names_of_that() {
    let printed = Host::with(Policy::new().network(Network::Host))
        .printed(sh("cat /etc/resolv.conf; grep hosts: /etc/nsswitch.conf"))
        .await;
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(printed, format!("{own}hosts: files dns\n"));
    let private = Host::new()
        .printed(sh("cat /etc/resolv.conf; grep hosts: /etc/nsswitch.conf"))
        .await;
    assert_eq!(private, "nameserver 198.18.0.1\nhosts: files dns\n");
    let absent = Host::with(Policy::new().network(Network::None))
        .printed(sh("ls /etc/resolv.conf || grep hosts: /etc/nsswitch.conf"))
        .await;
    assert_eq!(absent, "hosts: files\n");
}

async fn b1_nothing_of_etc_in_which_a_token_may_be() {
    let printed = Host::new().printed(command("/bin/ls", &["-A", "/etc"])).await;
    for absent in [
        "environment",
        "profile.d",
        "gitconfig",
        "npmrc",
        "pip.conf",
        "wgetrc",
        "shadow",
        "sudoers",
        "ssh",
    ] {
        assert!(!printed.lines().any(|line| line == absent), "{absent}: {printed}");
    }
    for there in ["passwd", "group", "hosts", "nsswitch.conf", "machine-id", "mtab", "ssl"] {
        assert!(printed.lines().any(|line| line == there), "{there}: {printed}");
    }
}

async fn b1_what_comes_and_goes_has_its_usual_places() {
    let host = Host::new();
    let printed = host
        .printed(sh(
            "echo x > /var/tmp/a && cat /tmp/a; : > /run/lock/b && : > /var/lock/c && ls /tmp; ls /run /var/lib /var/log",
        ))
        .await;
    assert_eq!(printed, "x\na\nb\nc\n/run:\nlock\n\n/var/lib:\n\n/var/log:\n");
    host.refused(&[
        ("create=/run/x", &[libc::EROFS]),
        ("create=/var/x", &[libc::EROFS]),
        ("create=/var/lib/x", &[libc::EROFS]),
        ("write=/etc/hosts", &[libc::EROFS, libc::EACCES]),
    ])
    .await;
}

async fn b1_shared_memory_by_name() {
    if !Path::new(PYTHON).exists() {
        return skip("python3");
    }
    let script = "
from multiprocessing import shared_memory
one = shared_memory.SharedMemory('name', create=True, size=4096)
one.buf[0] = 7
two = shared_memory.SharedMemory('name')
print(two.buf[0])
two.close(); one.close(); one.unlink()
";
    let printed = Host::new().printed(command(PYTHON, &["-c", script])).await;
    assert_eq!(printed, "7\n");
}

crate::who::each_user!(
    b1_the_command_has_a_name_and_no_other_person_has,
    b1_names_of_this_machine_and_no_trace_of_which_it_is,
    b1_with_the_network_the_names_of_that,
    b1_nothing_of_etc_in_which_a_token_may_be,
    b1_what_comes_and_goes_has_its_usual_places,
    b1_shared_memory_by_name,
);
