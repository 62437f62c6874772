//! What a command may not see, reach or become (B1, B4, S2). Where an attempt does no harm, it is also made unconfined
//! and must succeed there. So it is the confinement that refuses it.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::time::Duration;

use capsule_host::sandbox::{Network, Policy, Workspace};
use tempfile::TempDir;

use crate::harness::{Host, command, marker, workspace, zoo};
use crate::who::{ORDINARY, is_root, program, skip};

const EPERM: &[i32] = &[libc::EPERM];
const ENOSYS: &[i32] = &[libc::ENOSYS];
const ABSENT: &[i32] = &[libc::ENOENT];
const READ_ONLY: &[i32] = &[libc::EROFS, libc::EACCES, libc::EPERM];
const NO_FAMILY: &[i32] = &[libc::EAFNOSUPPORT];
/// The errors for a path that does not exist or is not permitted.
const OUT_OF_REACH: &[i32] = &[libc::ENOENT, libc::EACCES, libc::EPERM, libc::EROFS];

async fn b1_mounts_and_roots_stay_as_they_are() {
    Host::new()
        .refused(&[
            ("mount=/tmp", EPERM),
            ("remount=/", EPERM),
            ("remount=/usr", EPERM),
            ("bind=.", EPERM),
            ("umount=/proc", EPERM),
            ("umount=.", EPERM),
            ("pivot-root=.", EPERM),
            ("chroot=.", EPERM),
            ("open-tree=/usr", EPERM),
            ("fsopen", EPERM),
            ("mount-setattr=/usr", EPERM),
            ("move-mount=.", EPERM),
            ("handle=/usr", EPERM),
        ])
        .await;
}

async fn b1_no_new_namespaces() {
    let host = Host::new();
    let mut attempts = Vec::new();
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
        0x80,
    ] {
        attempts.push(format!("unshare={flag}"));
        if flag != 0x80 {
            attempts.push(format!("clone={flag}"));
        }
    }
    attempts.push("setns=/proc/self/ns/user".to_owned());
    let attempts: Vec<_> = attempts.iter().map(|attempt| (attempt.as_str(), EPERM)).collect();
    host.refused(&attempts).await;
    host.refused(&[("clone3", ENOSYS)]).await;
    // An ordinary child may be traced.
    host.allowed(&["clone=0"]).await;
    let user = format!("unshare={}", libc::CLONE_NEWUSER);
    Host::unconfined().allowed(&[&user, "clone3"]).await;
}

async fn b4_the_kernels_machinery_is_out_of_reach() {
    Host::new()
        .refused(&[
            ("bpf", EPERM),
            ("perf", EPERM),
            ("keyctl", EPERM),
            ("add-key", EPERM),
            ("request-key", EPERM),
            ("userfaultfd", EPERM),
            ("io-uring", EPERM),
            ("openat2=/", ENOSYS),
            ("init-module", EPERM),
            ("kexec", EPERM),
            ("reboot", EPERM),
            ("swapoff=/", EPERM),
            ("syslog", EPERM),
            ("acct=/tmp/x", EPERM),
            ("sethostname=x", EPERM),
            ("settime", EPERM),
        ])
        .await;
    Host::unconfined()
        .allowed(&["keyctl", "add-key", "userfaultfd", "openat2=/"])
        .await;
}

#[cfg(target_arch = "x86_64")]
async fn b4_no_other_interface_of_the_kernel() {
    Host::new()
        .refused(&[
            ("x32", ENOSYS),
            ("x32-chmod=./zoo", ENOSYS),
            ("iopl", EPERM),
            // The process dies of the filter, or because the interface is missing.
            ("int80", &[libc::SIGSYS, libc::SIGSEGV]),
        ])
        .await;
}

async fn b4_no_process_becomes_another_user() {
    Host::new()
        .refused(&[
            ("setuid=0", &[libc::EPERM, libc::EINVAL]),
            ("setgid=0", &[libc::EPERM, libc::EINVAL]),
            ("setuid=1", &[libc::EPERM, libc::EINVAL]),
            ("setgroups", EPERM),
            ("chown=0,./zoo", &[libc::EPERM, libc::EINVAL]),
            ("chown=1,./zoo", &[libc::EPERM, libc::EINVAL]),
            ("xattr=security.capability,./zoo", EPERM),
            ("xattr=trusted.x,./zoo", EPERM),
        ])
        .await;
}

async fn b4_no_set_id_file_is_left_in_the_workspace() {
    let attempts = [
        ("suid-chmod=./zoo", EPERM),
        ("suid-fchmod=./zoo", EPERM),
        ("suid-fchmodat=./zoo", EPERM),
        ("suid-fchmodat2=./zoo", EPERM),
        ("suid-chmod-wide=./zoo", EPERM),
        ("suid-creat=./creat", EPERM),
        ("suid-open=./open", EPERM),
        ("suid-openat=./openat", EPERM),
        ("suid-openat2=./openat2", ENOSYS),
        ("suid-tmpfile=.", EPERM),
        ("suid-mknod=./mknod", EPERM),
        ("suid-mknodat=./mknodat", EPERM),
    ];
    let set_id = |host: &Host| {
        let entries = std::fs::read_dir(host.dir()).expect("a workspace").flatten();
        entries
            .filter(|entry| entry.metadata().is_ok_and(|file| file.mode() & 0o4000 != 0))
            .count()
    };
    let owners: &[u32] = if is_root() { &[ORDINARY, 0] } else { &[ORDINARY] };
    for owner in owners {
        let host = Host::new();
        if *owner == 0 {
            // Files that are made there may belong to root, and such a bit would do the most harm on them.
            for path in [host.dir(), &host.dir().join("zoo")] {
                std::os::unix::fs::chown(path, Some(0), Some(0)).expect("root's own");
            }
        }
        host.refused(&attempts).await;
        host.attempt(&["sgid-mkdir=./mkdir", "create=./made"]).await;
        assert_eq!(set_id(&host), 0);
    }
    let unconfined = Host::unconfined();
    unconfined.allowed(&attempts.map(|(name, _)| name)).await;
    assert!(set_id(&unconfined) >= 7, "unconfined they are made");
}

async fn b1_no_devices() {
    let host = Host::new();
    host.refused(&[
        ("device=./null", EPERM),
        ("block-device=./disk", EPERM),
        ("device=/tmp/null", EPERM),
    ])
    .await;
    let printed = host.printed(zoo(&["look"])).await;
    let devices = line(&printed, "/dev ");
    assert_eq!(
        devices,
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
}

fn line<'a>(printed: &'a str, name: &str) -> &'a str {
    let line = printed.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {printed}"))
}

async fn b1_little_is_to_be_seen() {
    let host = Host::new();
    let mut printed = host.printed(zoo(&["look"])).await;
    // The process that mapped the tree's user may still be ending, which is rare. A process that stays is seen each
    // time.
    for _ in 0..10 {
        if line(&printed, "processes ") == "2" {
            break;
        }
        printed = host.printed(zoo(&["look"])).await;
    }
    assert_eq!(line(&printed, "processes "), "2", "init and the command");
    for absent in ["/home ", "/root ", "/sys ", "/boot ", "/mnt ", "/srv "] {
        assert_eq!(line(&printed, absent), "", "{absent}");
    }
    // The socket of the tree itself.
    assert_eq!(line(&printed, "/run "), "lock");
    assert_eq!(line(&printed, "/var "), "cache lib lock log run tmp");
    let names: Vec<_> = line(&printed, "/ ").split(' ').collect();
    let known = [
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "run", "sbin", "tmp", "usr",
        "var",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert_eq!(line(&printed, "hostname "), "capsule");
    let map: Vec<_> = line(&printed, "uid_map ").split(' ').collect();
    assert!(
        matches!(map.as_slice(), [uid, outside, "1"] if *uid != "0" && *outside != "0" && is_root() == (uid != outside)),
        "{map:?}"
    );
}

async fn b1_nothing_of_the_system_can_be_changed() {
    let host = Host::new();
    let own = host.dir().join("zoo").display().to_string();
    // The private one.
    let in_tmp = format!("/tmp/{}", marker());
    host.refused(&[
        ("read=/etc/shadow", OUT_OF_REACH),
        ("write=/etc/passwd", READ_ONLY),
        ("read=/proc/kcore", OUT_OF_REACH),
        ("read=/proc/kmsg", OUT_OF_REACH),
        ("write=/proc/sys/kernel/core_pattern", READ_ONLY),
        ("write=/proc/sysrq-trigger", OUT_OF_REACH),
        ("create=/new", READ_ONLY),
        ("create=/usr/new", READ_ONLY),
        ("create=/etc/new", READ_ONLY),
        ("create=/dev/new", READ_ONLY),
        ("chmod=/usr/bin/env", READ_ONLY),
        ("chmod=/", READ_ONLY),
        ("touch=/usr/bin/env", READ_ONLY),
        ("touch=/etc/passwd", READ_ONLY),
        ("xattr=user.x,/usr/bin/env", READ_ONLY),
        ("remove=/usr/bin/env", READ_ONLY),
        ("truncate=/usr/bin/env", READ_ONLY),
        ("rename=./zoo,/usr/bin/env", &[libc::EROFS, libc::EXDEV, libc::EACCES]),
        ("hard-link=/usr/bin/env,./env", &[libc::EXDEV, libc::EPERM]),
    ])
    .await;
    host.allowed(&[
        "create=./new",
        &format!("read={own}"),
        "chmod=./new",
        "touch=./new",
        &format!("create={in_tmp}"),
    ])
    .await;
    assert!(!Path::new(&in_tmp).exists());
}

async fn b1_no_setting_of_the_kernel_can_be_changed() {
    let printed = Host::new().printed(zoo(&["sysctls"])).await;
    let looked: u32 = line(&printed, "looked ").parse().expect("a number");
    assert!(looked > 100, "{printed}");
    assert_eq!(
        printed.lines().filter(|line| line.starts_with("changed ")).count(),
        0,
        "{printed}"
    );
}

/// A file that all users may read, in a folder that all may enter.
fn planted(folder: &TempDir) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("secret");
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(b"hush"))
        .expect("a secret");
    for (path, mode) in [(folder.path(), 0o777), (path.as_path(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("for all");
    }
    path.display().to_string()
}

async fn b1_a_secret_elsewhere_is_out_of_reach() {
    let mut folders = vec![
        TempDir::new().expect("a folder"),
        TempDir::new_in("/var/tmp").expect("a folder"),
    ];
    let home = std::env::var_os("HOME").and_then(|home| TempDir::new_in(home).ok());
    match home {
        Some(home) => folders.push(home),
        None => skip("a home folder that this user can write to"),
    }
    for folder in &folders {
        let secret = planted(folder);
        let host = Host::new();
        let up = format!("{}/../../../../../../{secret}", host.dir().display());
        let (near, away) = (
            folder.path().join("near").display().to_string(),
            folder.path().display().to_string(),
        );
        host.refused(&[
            (&format!("read={secret}"), ABSENT),
            (&format!("read=../../../../../../../{secret}"), ABSENT),
            (&format!("read={up}"), ABSENT),
            (&format!("read=/proc/self/root/{secret}"), ABSENT),
            (&format!("read=/proc/self/cwd/../../../../{secret}"), ABSENT),
            (&format!("symlink-read={secret},./link"), ABSENT),
            (
                &format!("symlink-read=../../../../../../../{secret},./relative"),
                ABSENT,
            ),
            (&format!("hard-link={secret},./hard"), ABSENT),
            (&format!("rename={secret},./moved"), ABSENT),
            (&format!("rename=./zoo,{near}"), ABSENT),
            (&format!("write={secret}"), ABSENT),
            (&format!("create={near}"), ABSENT),
            (&format!("chmod={secret}"), ABSENT),
            (&format!("touch={secret}"), ABSENT),
            (&format!("xattr=user.x,{secret}"), ABSENT),
            (&format!("truncate={secret}"), ABSENT),
            (&format!("remove={secret}"), ABSENT),
            (&format!("list={away}"), ABSENT),
            (&format!("look-up={secret}"), ABSENT),
        ])
        .await;
        Host::unconfined()
            .allowed(&[
                &format!("read={secret}"),
                &format!("symlink-read={secret},./link"),
                &format!("write={secret}"),
                &format!("create={near}"),
                &format!("touch={secret}"),
            ])
            .await;
        assert_eq!(std::fs::read(&secret).expect("it is there"), b"hush");
    }
}

async fn b1_a_link_out_that_the_host_put_there_leads_nowhere() {
    let elsewhere = TempDir::new().expect("a folder");
    let secret = planted(&elsewhere);
    let host = Host::new();
    std::os::unix::fs::symlink(&secret, host.dir().join("file")).expect("a link");
    std::os::unix::fs::symlink(elsewhere.path(), host.dir().join("folder")).expect("a link");
    host.refused(&[
        ("read=./file", ABSENT),
        ("read=./folder/secret", ABSENT),
        ("list=./folder", ABSENT),
    ])
    .await;
}

/// One socket type for each family that this kernel may have and that needs no network.
const FAMILIES: [&str; 8] = [
    "socket=16,3",
    "socket=17,3",
    "socket=40,1",
    "socket=38,5",
    "socket=31,3",
    "socket=29,3",
    "socket=30,1",
    "socket=44,3",
];

async fn b1_without_a_network_no_sockets_but_by_path() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (tcp, udp) = (
        tcp.local_addr().expect("an address"),
        udp.local_addr().expect("an address"),
    );
    let host = Host::with(Policy::new().network(Network::None));
    let mut attempts = FAMILIES.map(|attempt| (attempt, NO_FAMILY)).to_vec();
    let (by_tcp, by_udp) = (format!("tcp={tcp}"), format!("udp={udp}"));
    attempts.extend([
        (by_tcp.as_str(), NO_FAMILY),
        (by_udp.as_str(), NO_FAMILY),
        ("socket=2,1", NO_FAMILY),
        ("socket=2,2", NO_FAMILY),
        ("socket=10,1", NO_FAMILY),
    ]);
    host.refused(&attempts).await;
    host.allowed(&["socket=1,1"]).await;
    Host::unconfined().allowed(&[&by_tcp, &by_udp, "socket=16,3"]).await;
}

async fn b1_a_private_network_is_the_trees_own_loopback() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let heard = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    heard.set_nonblocking(true).expect("a mode");
    let (tcp, udp) = (
        tcp.local_addr().expect("an address"),
        heard.local_addr().expect("an address"),
    );
    let host = Host::new();
    let (by_tcp, by_udp) = (format!("tcp={tcp}"), format!("udp={udp}"));
    let mut attempts: Vec<_> = FAMILIES.iter().skip(1).map(|&attempt| (attempt, NO_FAMILY)).collect();
    attempts.extend([
        (by_tcp.as_str(), &[libc::ECONNREFUSED][..]),
        ("tcp=192.0.2.1:80", &[libc::ENETUNREACH]),
        ("tcp=[2001:db8::1]:80", &[libc::ENETUNREACH]),
    ]);
    host.refused(&attempts).await;
    host.allowed(&[&by_udp, "socket=2,1", "socket=10,1", "socket=16,3"])
        .await;
    let outside = heard.recv(&mut [0]);
    assert!(outside.is_err(), "{outside:?} of what was sent inside");
    let meets = "import socket, threading
for family, address in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'):
    listener = socket.create_server((address, 0), family=family)
    client = socket.create_connection(listener.getsockname()[:2])
    listener.accept()[0].sendall(b'met')
    print(client.recv(3).decode())
print(*sorted(name for _, name in socket.if_nameindex()))";
    let printed = host.printed(command("/usr/bin/python3", &["-c", meets])).await;
    assert_eq!(printed.lines().take(2).collect::<Vec<_>>(), ["met", "met"], "{printed}");
    assert!(printed.ends_with("lo\n"), "{printed}");
}

async fn b1_with_the_grant_the_hosts_network_and_no_more() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = tcp.local_addr().expect("an address");
    let host = Host::with(Policy::new().network(Network::Host));
    host.allowed(&[&format!("tcp={address}"), "socket=2,2", "socket=16,3"])
        .await;
    let others: Vec<_> = FAMILIES.iter().skip(1).map(|&attempt| (attempt, NO_FAMILY)).collect();
    host.refused(&others).await;
}

async fn b1_the_hosts_own_sockets_are_out_of_reach() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("socket");
    let _by_path = UnixListener::bind(&path).expect("a listener");
    planted(&folder);
    let name = marker();
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _by_name = UnixListener::bind_addr(&address).expect("a listener");
    let (by_path, by_name) = (format!("unix={}", path.display()), format!("abstract={name}"));
    for network in [Network::None, Network::default(), Network::Host] {
        Host::with(Policy::new().network(network))
            .refused(&[(&by_path, ABSENT), (&by_name, &[libc::ECONNREFUSED, libc::EPERM])])
            .await;
    }
    Host::unconfined().allowed(&[&by_path, &by_name]).await;
}

async fn b1_no_process_of_the_host_is_there() {
    let this = std::process::id();
    for network in [Network::None, Network::default(), Network::Host] {
        let host = Host::with(Policy::new().network(network));
        host.refused(&[
            (&format!("kill={this},0"), &[libc::ESRCH, libc::EPERM]),
            (&format!("read=/proc/{this}/environ"), ABSENT),
            (&format!("list=/proc/{this}/fd"), ABSENT),
        ])
        .await;
    }
    let kill = format!("kill={this},0");
    Host::unconfined().allowed(&[&kill]).await;
}

async fn b4_three_descriptors_and_no_more() {
    let dir = workspace();
    let output = program(crate::who::binary("zoo-host"))
        .arg(marker())
        .arg(dir.path())
        .args(["run", "/bin/ls", "/proc/self/fd"])
        .env("ZOO_DESCRIPTORS", "1")
        .output()
        .expect("a host");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen: Vec<_> = output.lines().skip(2).filter(|line| !line.is_empty()).collect();
    // The last descriptor is that of the folder which is being read.
    assert_eq!(seen, ["0", "1", "2", "3"], "{output}");
}

async fn s2_nothing_of_the_hosts_environment() {
    let dir = workspace();
    let output = program(crate::who::binary("zoo-host"))
        .arg(marker())
        .arg(dir.path())
        .args(["run", "/usr/bin/env"])
        .env("AWS_SECRET_ACCESS_KEY", "hush")
        .env("SSH_AUTH_SOCK", "/hush")
        .env("HOME", "/hush")
        .output()
        .expect("a host");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let allowed = |key: &str| ["PATH", "LANG", "TZ", "HOME"].contains(&key) || key.starts_with("LC_");
    let keys: Vec<_> = output
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert!(
        keys.contains(&"PATH") && keys.iter().all(|key| allowed(key)),
        "{output}"
    );
    assert!(output.contains("HOME=/tmp") && !output.contains("hush"), "{output}");
}

async fn b4_no_rights_default_dispositions_and_an_empty_mask() {
    let host = Host::new();
    let status = host.printed(command("/bin/cat", &["/proc/self/status"])).await;
    let field = |name: &str| line(&status, name).trim().to_owned();
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    for signals in ["SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"] {
        assert_eq!(field(signals), "0000000000000000", "{signals}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
}

async fn b4_the_kernel_never_takes_it_for_root() {
    let host = Host::new();
    let marker = marker();
    let process = host.start(zoo(&["stay", &marker])).await;
    process.prints("up").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.os_pid())).expect("it runs");
    let numbers: Vec<u32> = line(&status, "Uid:").split_whitespace().flat_map(str::parse).collect();
    let host_user = rustix::process::geteuid().as_raw();
    let expected = |number: &u32| match host_user {
        0 => ![0, ORDINARY, 65534].contains(number),
        host_user => *number == host_user,
    };
    assert!(numbers.len() == 4 && numbers.iter().all(expected), "{numbers:?}");
    assert!(!line(&status, "Gid:").split_whitespace().any(|gid| gid == "0"));
    if is_root() {
        assert_eq!(line(&status, "Groups:").trim(), "");
    }
    process.stop(Duration::ZERO).await;
}

async fn b4_root_is_an_ordinary_user_in_a_workspace_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = workspace();
    std::os::unix::fs::chown(dir.path(), Some(0), Some(0)).expect("root's own again");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("for all");
    let host = Host::new();
    let workspace = Workspace::open(dir.path()).expect("a workspace");
    let mut gate = crate::harness::AllowAll;
    let output = host
        .scope()
        .spawn(command("/usr/bin/id", &["-u"]), &workspace, &mut gate)
        .await
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000");
}

async fn b1_the_home_folder_is_no_workspace() {
    let home = workspace();
    let inside = home.path().join("project");
    std::fs::create_dir(&inside).expect("a folder");
    if is_root() {
        std::os::unix::fs::chown(&inside, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
    }
    let run = |workspace: &Path| {
        let mut host = program(crate::who::binary("zoo-host"));
        host.arg(marker())
            .arg(workspace)
            .args(["run", "/bin/echo", "it ran"])
            .env("HOME", home.path());
        let output = host.output().expect("a host");
        String::from_utf8_lossy(&output.stdout).contains("it ran")
    };
    assert!(run(&inside), "a folder in it is");
    assert!(!run(home.path()), "the home folder itself");
}

crate::who::each_user!(
    b1_mounts_and_roots_stay_as_they_are,
    b1_no_new_namespaces,
    b4_the_kernels_machinery_is_out_of_reach,
    b4_no_other_interface_of_the_kernel,
    b4_no_process_becomes_another_user,
    b4_no_set_id_file_is_left_in_the_workspace,
    b1_no_devices,
    b1_little_is_to_be_seen,
    b1_nothing_of_the_system_can_be_changed,
    b1_no_setting_of_the_kernel_can_be_changed,
    b1_a_secret_elsewhere_is_out_of_reach,
    b1_a_link_out_that_the_host_put_there_leads_nowhere,
    b1_without_a_network_no_sockets_but_by_path,
    b1_a_private_network_is_the_trees_own_loopback,
    b1_with_the_grant_the_hosts_network_and_no_more,
    b1_the_hosts_own_sockets_are_out_of_reach,
    b1_no_process_of_the_host_is_there,
    b4_three_descriptors_and_no_more,
    s2_nothing_of_the_hosts_environment,
    b4_no_rights_default_dispositions_and_an_empty_mask,
    b4_the_kernel_never_takes_it_for_root,
    b1_the_home_folder_is_no_workspace,
);

crate::who::root!(b4_root_is_an_ordinary_user_in_a_workspace_of_its_own);
