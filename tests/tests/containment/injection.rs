//! Files that a request injects (J1): they exist, the tree cannot change them, and they exist nowhere else, at no time.

use std::path::Path;
use std::time::Duration;

use capsule_host::sandbox::{Policy, Workspace};
use capsule_host::supervisor::{Ask, Error, FileInjection, Gate, Owner, Placement, SpawnRequest};
use tempfile::TempDir;

use crate::harness::{AT_ONCE, AllowAll, Host, code, command, sh, soon, watchdog, zoo};
use crate::who::{ORDINARY, is_root};

/// The errors of a refusal, whatever the reason. That the file exists already, or is on another file system, is one of
/// them.
const REFUSED: &[i32] = &[
    libc::EROFS,
    libc::EPERM,
    libc::EACCES,
    libc::EBUSY,
    libc::EXDEV,
    libc::EEXIST,
    libc::ENOTEMPTY,
];

/// The kernel's errors for a write to read-only memory through `/proc/self/mem`.
const NO_POKE: &[i32] = &[libc::EIO, libc::EFAULT, libc::EACCES];

const CONF: &str = "/etc/zoo/zoo.conf";
const HOSTS: &str = "/etc/hosts";
const SECRET: &str = "/run/secrets/token";
const IN_TMP: &str = "/tmp/plain";
const IN_FOLDER: &str = "/tmp/.config/zoo/deep";

fn at(path: &str, content: impl Into<Vec<u8>>) -> FileInjection {
    FileInjection::new(content.into(), Placement::FixedPath(path.to_owned()))
}

fn pointed(name: &str, content: impl Into<Vec<u8>>) -> FileInjection {
    FileInjection::new(content.into(), Placement::EnvPointer(name.to_owned()))
}

fn with(files: Vec<FileInjection>, request: SpawnRequest) -> SpawnRequest {
    SpawnRequest {
        file_injections: files,
        ..request
    }
}

/// One file for each kind of path.
fn everywhere() -> Vec<FileInjection> {
    vec![
        at(CONF, "conf\n"),
        at(HOSTS, "hosts\n"),
        at(SECRET, "secret\n"),
        at(IN_TMP, "tmp\n"),
        at(IN_FOLDER, "deep\n"),
        pointed("FILE", "pointed\n"),
    ]
}

const ALL: &str = r#"cat /etc/zoo/zoo.conf /etc/hosts /run/secrets/token /tmp/plain /tmp/.config/zoo/deep "$FILE""#;
const CONTENT: &str = "conf\nhosts\nsecret\ntmp\ndeep\npointed\n";

/// Bytes of every value, which are not text.
fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Keeps the records.
#[derive(Default)]
struct Shown(Vec<(Placement, u64, [u8; 32])>);

impl Gate for Shown {
    fn allows(&mut self, _: &Owner, ask: Ask<'_>) -> bool {
        if let Ask::Command(view) = ask {
            let injections = view.injections.into_iter();
            self.0 = injections.map(|it| (it.placement.clone(), it.bytes, it.hash)).collect();
        }
        true
    }
}

async fn j1_the_child_finds_what_was_injected_and_the_gate_its_hash() {
    let host = Host::new();
    let content = noise(300_001, 1);
    let files = vec![
        pointed("A", content.clone()),
        at("/etc/zoo.bin", content.clone()),
        pointed("B", ""),
    ];
    for script in [r#"cat "$A""#, "cat /etc/zoo.bin"] {
        let mut gate = Shown::default();
        let request = with(files.clone(), sh(script));
        let output = watchdog(host.scope().spawn(request, &host.workspace, &mut gate)).await;
        let seen = output.expect("it runs").stdout;
        let hash = *blake3::hash(&seen).as_bytes();
        assert_eq!(
            gate.0,
            [
                (Placement::EnvPointer("A".into()), 300_001, hash),
                (Placement::FixedPath("/etc/zoo.bin".into()), 300_001, hash),
                (Placement::EnvPointer("B".into()), 0, *blake3::hash(b"").as_bytes()),
            ]
        );
        assert!(seen == content);
    }
    let empty = sh(r#"test -f "$B" && ! test -s "$B" && test -r "$B" && ! test -w "$B" && ! test -x "$B""#);
    host.printed(with(files, empty)).await;
}

async fn j1_every_tier_and_every_place() {
    let host = Host::new();
    assert_eq!(host.printed(with(everywhere(), sh(ALL))).await, CONTENT);
    let (scope, mut gate) = (host.scope(), AllowAll);
    let spawn = scope.spawn_background(with(everywhere(), sh(ALL)), &host.workspace, &mut gate);
    let handle = watchdog(spawn).await.expect("a handle");
    let output = watchdog(handle.wait_with_output(None)).await.expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), CONTENT);
    let process = host.start(with(everywhere(), sh(ALL))).await;
    assert_eq!(process.exit().await, code(0));
    assert_eq!(process.output(), CONTENT);
}

fn attempts_on(place: &str) -> Vec<(String, &'static [i32])> {
    let mut attempts: Vec<_> = [
        "write",
        "read-write",
        "create",
        "chmod",
        "touch",
        "truncate",
        "remove",
        "umount",
        "remount",
        "bind",
        "mount-setattr",
        "move-mount",
        "open-tree",
        "map-write",
        "map-exec",
    ]
    .map(|attempt| (format!("{attempt}={place}"), REFUSED))
    .into();
    attempts.push((format!("poke={place}"), NO_POKE));
    for attempt in [
        format!("rename={place},./taken"),
        format!("rename={place},/tmp/taken"),
        format!("rename={place},{place}.taken"),
        format!("rename=./zoo,{place}"),
        format!("rename=/tmp/mine,{place}"),
        format!("hard-link={place},./hard"),
        format!("hard-link={place},/tmp/hard"),
        format!("chown={ORDINARY},{place}"),
        format!("xattr=user.x,{place}"),
    ] {
        attempts.push((attempt, REFUSED));
    }
    attempts
}

async fn j1_nothing_of_the_tree_can_change_it() {
    let host = Host::new();
    let mut attempts: Vec<(String, &[i32])> = [CONF, HOSTS, SECRET, IN_TMP, IN_FOLDER, "/injected/5"]
        .into_iter()
        .flat_map(attempts_on)
        .collect();
    // The folders on the way to it.
    for attempt in [
        "rename=/tmp/.config,/tmp/other",
        "rename=/tmp/.config/zoo,/tmp/.config/other",
        "rename=/tmp/.config/zoo,/tmp/other",
        "rename=/tmp/empty,/tmp/.config",
        "rename=/etc/zoo,/etc/other",
        "umount=/tmp/.config",
        "umount=/tmp",
        "umount=/injected",
        "create=/injected/new",
        "create=/etc/zoo/new",
        "create=/run/secrets/new",
    ] {
        attempts.push((attempt.to_owned(), REFUSED));
    }
    // By a child, by a grandchild, and by a background process. Afterwards everything is unchanged.
    let script = format!(
        r#"mkdir /tmp/empty && : >/tmp/mine || exit 9
        ./zoo try "$@"; (./zoo try "$@"); ./zoo try "$@" & wait; echo; {ALL}"#
    );
    let mut args = vec!["-c", script.as_str(), "sh"];
    args.extend(attempts.iter().map(|(attempt, _)| attempt.as_str()));
    let printed = host.printed(with(everywhere(), command("/bin/sh", &args))).await;
    let (answers, content) = printed.split_once("\n\n").expect("both parts");
    assert_eq!(content, CONTENT);
    let answers: Vec<_> = answers
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(attempt, errno)| (attempt, errno.parse().expect("an errno")))
        .collect();
    assert!(answers.len() >= 3 * attempts.len(), "{}", answers.len());
    let wrong: Vec<_> = answers
        .iter()
        .filter(|(attempt, errno)| {
            let wanted = attempts.iter().find(|(name, _)| name == attempt);
            !wanted.is_some_and(|(_, wanted)| wanted.contains(errno))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The tree may use the folders on the way.
    let file = vec![at(IN_FOLDER, "deep")];
    let script =
        "echo mine >/tmp/.config/mine && mv /tmp/.config/mine /tmp/.config/zoo/mine && cat /tmp/.config/zoo/mine";
    assert_eq!(host.printed(with(file, sh(script))).await, "mine\n");
}

async fn j1_it_is_no_program() {
    let host = Host::new();
    let file = || vec![pointed("FILE", "#!/bin/sh\necho ran\n")];
    assert_eq!(host.printed(with(file(), sh(r#". "$FILE""#))).await, "ran\n");
    let output = host.run(with(file(), sh(r#""$FILE""#))).await.expect("the shell runs");
    assert_eq!(output.exit, code(126));
    let direct = host
        .run(with(vec![at("/zoo.sh", "#!/bin/sh\n")], command("/zoo.sh", &[])))
        .await;
    assert!(matches!(direct, Err(Error::PermissionDenied(_))), "{direct:?}");
}

async fn j1_it_is_nowhere_else() {
    let host = Host::new();
    let script = format!("{ALL} && read line");
    let process = host
        .start(SpawnRequest {
            keep_stdin_open: true,
            ..with(everywhere(), sh(&script))
        })
        .await;
    process.prints("pointed").await;
    let absent: &[i32] = &[libc::ENOENT];
    host.refused(&[
        (&format!("look-up={CONF}"), absent),
        (&format!("look-up={SECRET}"), absent),
        (&format!("look-up={IN_TMP}"), absent),
        (&format!("look-up={IN_FOLDER}"), absent),
        ("look-up=/injected", absent),
    ])
    .await;
    for place in [CONF, SECRET, IN_TMP, IN_FOLDER, "/injected"] {
        assert!(!Path::new(place).exists(), "{place}");
    }
    assert_eq!(only_the_zoo(&host), ["zoo"]);
    // The host keeps no descriptor of them, although the process runs.
    assert!(soon(AT_ONCE, || injected_descriptors() == 0).await);
    process.stop(Duration::ZERO).await;
    assert_eq!(only_the_zoo(&host), ["zoo"]);
}

fn only_the_zoo(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.dir()).expect("a workspace").flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The number of descriptors of injected content that this process holds. Other tests may hold some for a moment.
fn injected_descriptors() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|target| target.to_string_lossy().contains("memfd:capsule-injected"))
        .count()
}

async fn j1_nothing_is_left_of_a_spawn_that_fails() {
    let host = Host::new();
    let missing = host.run(with(everywhere(), command("./no-such-program", &[]))).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    let files = vec![pointed("FILE", noise(1 << 20, 3)), at("/usr/share/zoo-injected", "x")];
    let refused = host.run(with(files, zoo(&["try", "create=./ran"]))).await;
    assert!(matches!(refused, Err(Error::InjectionUnsupported(_))), "{refused:?}");
    assert_eq!(only_the_zoo(&host), ["zoo"]);
    assert!(soon(AT_ONCE, || injected_descriptors() == 0).await);
}

async fn j1_128_files_and_16_mib_and_no_more() {
    const MIB: usize = 1 << 20;
    let host = Host::new();
    let (mut files, mut expected, mut script) = (Vec::new(), Vec::new(), String::from("cat"));
    for number in 0..128_u8 {
        let content = noise(16 * MIB / 128, number);
        expected.extend_from_slice(&content);
        files.push(if number % 2 == 0 {
            script += &format!(" \"$F{number}\"");
            pointed(&format!("F{number}"), content)
        } else {
            let path = format!("/tmp/many/{}/{number}", number % 8);
            script += &format!(" {path}");
            at(&path, content)
        });
    }
    let output = host.run(with(files.clone(), sh(&script))).await.expect("it runs");
    assert_eq!(output.exit, code(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == expected);

    let touch = || zoo(&["try", "create=./ran"]);
    files.push(pointed("ONE_MORE", ""));
    let many = (0..129).map(|number| pointed(&format!("F{number}"), "")).collect();
    let large = vec![pointed("A", vec![0; 8 * MIB + 1])];
    let together = vec![
        pointed("A", vec![0; 8 * MIB]),
        pointed("B", vec![0; 8 * MIB]),
        pointed("C", "x"),
    ];
    for files in [files, many, large, together] {
        assert_eq!(host.run(with(files, touch())).await, Err(Error::TooLarge));
    }
    assert_eq!(only_the_zoo(&host), ["zoo"]);
}

async fn j1_the_workspace_is_not_covered() {
    let host = Host::new();
    let workspace = host.dir().display().to_string();
    let above = host.dir().parent().expect("a folder above").display().to_string();
    for path in [
        workspace.clone(),
        format!("{workspace}/x"),
        format!("{workspace}/zoo"),
        above,
    ] {
        let refused = host
            .run(with(vec![at(&path, "x")], zoo(&["try", "create=./ran"])))
            .await;
        assert!(matches!(refused, Err(Error::InvalidInput(_))), "{path}: {refused:?}");
    }
    assert_eq!(only_the_zoo(&host), ["zoo"]);
}

async fn j1_a_workspace_beside_a_file_is_one_as_ever() {
    let host = Host::new();
    let folder = TempDir::new().expect("a folder");
    let inner = folder.path().join("a/b/workspace");
    std::fs::create_dir_all(&inner).expect("a workspace");
    if is_root() {
        std::os::unix::fs::chown(&inner, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
    }
    let beside = folder.path().join("a/b/beside").display().to_string();
    let script = format!(r#"echo x >made && mv made "$(pwd)/moved" && cat moved {beside} && pwd"#);
    let request = with(vec![at(&beside, "beside\n")], sh(&script));
    let workspace = Workspace::open(&inner).expect("a workspace");
    let output = watchdog(host.scope().spawn(request, &workspace, &mut AllowAll)).await;
    let output = output.expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed, format!("x\nbeside\n{}\n", inner.display()), "{stderr}");
    assert!(!Path::new(&beside).exists() && inner.join("moved").exists());
}

async fn j1_no_place_in_a_folder_of_the_hosts() {
    let shared = TempDir::new_in("/var/tmp").expect("a folder");
    std::fs::write(shared.path().join("there"), "the host's").expect("a file");
    if is_root() {
        std::os::unix::fs::chown(shared.path(), Some(ORDINARY), Some(ORDINARY)).expect("an owner");
    }
    let host = Host::with(Policy::new().writable(shared.path()));
    let there = shared.path().join("there").display().to_string();
    let new = shared.path().join("new/x").display().to_string();
    for path in [
        "/usr/bin/env",
        "/usr/share/zoo-injected",
        "/bin/zoo-injected",
        "/etc/ssl/certs/zoo-injected",
        "/etc",
        "/etc/hosts/x",
        &there,
        &new,
    ] {
        let refused = host.run(with(vec![at(path, "x")], zoo(&["try", "create=./ran"]))).await;
        let Err(Error::InjectionUnsupported(why)) = refused else {
            panic!("{path}: {refused:?}");
        };
        assert!(why.contains(path) && why.contains("choose"), "{why}");
    }
    assert_eq!(only_the_zoo(&host), ["zoo"]);
    let left = std::fs::read_dir(shared.path()).expect("a folder").flatten();
    assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["there"]);
    assert_eq!(std::fs::read(&there).expect("a file"), b"the host's");
}

async fn j1_three_descriptors_and_no_more() {
    let host = Host::new();
    let printed = host
        .printed(with(everywhere(), command("/bin/ls", &["/proc/self/fd"])))
        .await;
    // The last descriptor is that of the folder which is being read.
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

crate::who::each_user!(
    j1_the_child_finds_what_was_injected_and_the_gate_its_hash,
    j1_every_tier_and_every_place,
    j1_nothing_of_the_tree_can_change_it,
    j1_it_is_no_program,
    j1_it_is_nowhere_else,
    j1_nothing_is_left_of_a_spawn_that_fails,
    j1_128_files_and_16_mib_and_no_more,
    j1_the_workspace_is_not_covered,
    j1_a_workspace_beside_a_file_is_one_as_ever,
    j1_no_place_in_a_folder_of_the_hosts,
    j1_three_descriptors_and_no_more,
);
