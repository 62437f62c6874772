//! Starting a command: what is refused and with which error, and that nothing ran then (S1 to S8, S10, B4).

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use capsule_host::sandbox::Unconfined;
use capsule_host::supervisor::{
    Ask, Error, FileInjection, Gate, Limits, LogStream, Overflow, Owner, Placement, RESERVED_ENV, Registry,
    ResourceLimits, SpawnRequest,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use capsule_tests::{
    AllowAll, Host, cat, code, command, exit, follow, forever, lines, noise, runs, sh, until, watchdog,
};

/// One slot of each kind, so that a refusal that kept a slot shows in the next spawn.
fn narrow() -> Host {
    Host::with(|limits| {
        limits.processes_per_principal = 1;
        limits.retained_per_owner = 1;
        limits.retained_total = 1;
        limits.ring_memory_per_principal = 2 * limits.ring_default;
    })
}

/// A command that makes a file if it runs.
fn trace(path: &Path) -> SpawnRequest {
    command("/usr/bin/touch", &[path.to_str().expect("a plain path")])
}

fn with_env(request: SpawnRequest, env: &[(&str, &str)]) -> SpawnRequest {
    SpawnRequest {
        env: env
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ..request
    }
}

/// Both tiers give the error that `expected` accepts, nothing ran, and nothing is held afterwards.
async fn refused(host: &Host, what: &str, request: SpawnRequest, expected: fn(&Error) -> bool) {
    let error = host.run(request.clone()).await.expect_err(&format!("spawn: {what}"));
    assert!(expected(&error), "spawn: {what}: {error:?}");
    let error = host
        .try_start(request)
        .await
        .map(|_| ())
        .expect_err(&format!("spawn_persistent: {what}"));
    assert!(expected(&error), "spawn_persistent: {what}: {error:?}");
    assert_eq!(host.registry.retained(), 0, "{what}");
    let started = host.start(command("/bin/true", &[])).await;
    exit(&host.scope(), &started).await;
    host.scope().release(&started).await.expect("it has exited");
}

fn invalid_input(error: &Error) -> bool {
    matches!(error, Error::InvalidInput(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_malformed_command_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let long = "x".repeat(4097);
    for cmd in [
        "",
        &long,
        "/bin/true\0",
        "\0",
        "/bin/\ntrue",
        "true\t",
        "\u{7f}",
        "true\r",
        "tr\u{1b}[31mue",
        "\u{85}",
    ] {
        let request = SpawnRequest {
            cmd: cmd.to_owned(),
            ..trace(&marker)
        };
        refused(&host, &format!("{cmd:.20?}"), request, invalid_input).await;
    }
    let program = host.dir().join("a\nb");
    std::fs::copy("/usr/bin/touch", &program).expect("a program");
    let request = SpawnRequest {
        cmd: program.to_str().expect("a plain path").to_owned(),
        ..trace(&marker)
    };
    refused(&host, "a program whose name has a line break", request, invalid_input).await;
    // The longest well-formed command fails later, with another error.
    let request = command(&"x".repeat(4096), &[]);
    refused(&host, "4 KiB", request, |error| !invalid_input(error)).await;
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_nul_in_an_argument_or_a_value_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let mut request = trace(&marker);
    request.args.push("a\0b".to_owned());
    refused(&host, "argument", request, invalid_input).await;
    let request = with_env(trace(&marker), &[("A", "a\0b")]);
    refused(&host, "value", request, invalid_input).await;
    assert!(!marker.exists());
    // They may contain any other character.
    let mut request = with_env(sh("printf '%s|%s' \"$1\" \"$A\""), &[("A", "x\n\u{1}=ä\u{7f}")]);
    request.args.extend(["sh".to_owned(), "\n\t\u{1b}ü".to_owned()]);
    let output = host.run(request).await.expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\n\t\u{1b}ü|x\n\u{1}=ä\u{7f}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_malformed_or_repeated_variable_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    for key in ["", "1A", "A-B", "A=B", "A B", " A", "A ", "Ä", "A\0", "A\n", "=", "."] {
        let request = with_env(trace(&marker), &[(key, "x")]);
        refused(&host, &format!("{key:?}"), request, invalid_input).await;
    }
    let request = with_env(trace(&marker), &[("A", "1"), ("B", "2"), ("A", "1")]);
    refused(&host, "twice", request, invalid_input).await;
    assert!(!marker.exists());
    let request = with_env(sh("echo $_9aZ$a"), &[("_9aZ", "x"), ("a", "y"), ("A", "z")]);
    assert_eq!(host.run(request).await.expect("it runs").stdout, b"xy\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_reserved_variable_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let named = [
        "PATH",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "LD_",
        "DYLD_INSERT_LIBRARIES",
        "BASH_ENV",
        "ENV",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PYTHONHOME",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "RUBYLIB",
        "NODE_OPTIONS",
        "NODE_PATH",
        "JAVA_TOOL_OPTIONS",
        "LUA_INIT",
    ];
    let documented = RESERVED_ENV.iter().map(|key| key.replace('*', "X"));
    for key in named.into_iter().map(str::to_owned).chain(documented) {
        let request = with_env(trace(&marker), &[(&key, "x")]);
        refused(&host, &key, request, invalid_input).await;
    }
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_more_than_256_variables_or_1_mib_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let variables = |count: usize| {
        (0..count)
            .map(|number| (format!("V{number}"), "x".to_owned()))
            .collect::<Vec<_>>()
    };
    let request = SpawnRequest {
        env: variables(257),
        ..trace(&marker)
    };
    refused(&host, "257 variables", request, invalid_input).await;
    let request = SpawnRequest {
        env: variables(256),
        ..sh("env | grep -c '^V[0-9]*=x'")
    };
    assert_eq!(host.run(request).await.expect("it runs").stdout, b"256\n");

    let mut args = trace(&marker);
    args.args.extend((0..16).map(|_| "y".repeat(65_536)));
    refused(&host, "args", args, invalid_input).await;
    let mut env = trace(&marker);
    env.env = (0..16).map(|n| (format!("V{n}"), "y".repeat(65_536))).collect();
    refused(&host, "env", env, invalid_input).await;
    let mut both = trace(&marker);
    both.args.extend((0..8).map(|_| "y".repeat(65_536)));
    both.env = (0..8).map(|n| (format!("V{n}"), "y".repeat(65_536))).collect();
    refused(&host, "args and env", both, invalid_input).await;
    assert!(!marker.exists());

    let mut much = sh("echo $#");
    much.args.extend((0..16).map(|_| "y".repeat(60_000)));
    assert_eq!(host.run(much).await.expect("it runs").stdout, b"15\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_limit_that_cannot_be_held_refuses_the_spawn() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let none = ResourceLimits {
        max_memory_bytes: None,
        max_cpu_secs: None,
        max_pids: None,
        max_open_files: None,
    };
    let each = [
        ResourceLimits {
            max_memory_bytes: Some(1 << 30),
            ..none
        },
        ResourceLimits {
            max_pids: Some(100),
            ..none
        },
    ];
    for limits in each {
        let what = format!("{limits:?}");
        let request = SpawnRequest {
            limits: Some(limits),
            ..trace(&marker)
        };
        refused(&host, &what, request, |error| {
            matches!(error, Error::LimitUnenforceable(_)) && error.to_string().starts_with("limit-unenforceable: ")
        })
        .await;
    }
    assert!(!marker.exists());
}

/// The variables of this process's environment that S2 lets through.
fn passthrough() -> Vec<String> {
    std::env::vars_os()
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            matches!(&*key, "PATH" | "LANG" | "TZ") || key.starts_with("LC_")
        })
        .map(|(key, value)| format!("{}={}", key.display(), value.display()))
        .collect()
}

fn sorted(output: &[u8]) -> Vec<String> {
    let mut all: Vec<_> = String::from_utf8_lossy(output).lines().map(str::to_owned).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_the_environment_is_the_requests_and_the_passthrough() {
    let host = Host::new();
    assert!(
        std::env::vars_os().count() > passthrough().len(),
        "cargo sets variables that must not pass"
    );
    let output = host.run(command("/usr/bin/env", &[])).await.expect("it runs");
    let mut expected = passthrough();
    expected.push("HOME=/tmp".to_owned());
    expected.sort();
    assert_eq!(sorted(&output.stdout), expected);

    let own = [("HOME", "/nowhere"), ("A", "b=c"), ("EMPTY", "")];
    let request = with_env(command("/usr/bin/env", &[]), &own);
    let id = host.start(request).await;
    let (stdout, _) = follow(&host.scope(), &id, LogStream::Stdout, u32::MAX).await;
    let mut expected = passthrough();
    expected.extend(own.map(|(key, value)| format!("{key}={value}")));
    expected.sort();
    assert_eq!(sorted(&stdout), expected);
}

/// If a name came twice, the child would decide which value counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_requested_variable_replaces_the_passed_one() {
    let host = Host::new();
    let own = [("LANG", "xx"), ("TZ", "UTC+3"), ("LC_ALL", "C"), ("LC_X", "y")];
    let output = host
        .run(with_env(command("/usr/bin/env", &[]), &own))
        .await
        .expect("it runs");
    let said = sorted(&output.stdout);
    for (key, value) in own {
        let all: Vec<_> = said
            .iter()
            .filter(|line| line.starts_with(&format!("{key}=")))
            .collect();
        assert_eq!(all, [&format!("{key}={value}")]);
    }
}

/// Makes a file in the workspace. Another process writes it: if this process had a descriptor to write with, a child
/// that another test starts at that moment would hold it too, and the file could not be executed.
async fn file(host: &Host, name: &str, mode: &str, content: &[u8]) -> String {
    let path = host.dir().join(name).to_str().expect("a plain path").to_owned();
    let write = SpawnRequest {
        stdin: Some(content.to_owned()),
        ..command("/bin/sh", &["-c", "cat >\"$0\" && chmod \"$1\" \"$0\"", &path, mode])
    };
    assert_eq!(host.run(write).await.expect("it runs").exit, code(0), "{name}");
    path
}

/// Runs itself again, with a `PATH` that leads into the workspace in every possible way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_bare_name_is_never_found_beneath_the_workspace() {
    let host = Host::new();
    let bin = host.dir().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for name in ["only-here", "cat", "bin/only-here", "bin/cat"] {
        file(&host, name, "755", b"#!/bin/sh\necho trapped\n").await;
    }
    let elsewhere = tempfile::TempDir::new().expect("a folder");
    symlink(&bin, elsewhere.path().join("link")).expect("a link");
    let path = format!(
        "{ws}:{bin}::.:bin:{ws}/../{name}/bin:{link}:/usr/bin:/bin",
        ws = host.dir().display(),
        bin = bin.display(),
        name = host.dir().file_name().expect("a name").display(),
        link = elsewhere.path().join("link").display(),
    );
    let test = std::env::current_exe().expect("this test");
    let request = with_env(
        sh(&format!(
            "PATH='{path}' exec '{}' --exact spawn::with_a_path_into_the_workspace --ignored",
            test.display()
        )),
        &[("WORKSPACE", host.dir().to_str().expect("a plain path"))],
    );
    let output = host.run(request).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!(output.exit, code(0), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by s2_a_bare_name_is_never_found_beneath_the_workspace, with another PATH"]
async fn with_a_path_into_the_workspace() {
    let workspace = PathBuf::from(std::env::var_os("WORKSPACE").expect("set by the caller"));
    std::env::set_current_dir(&workspace).expect("it is there");
    let mut host = Host::new();
    host.workspace = capsule_host::sandbox::Workspace::open(&workspace).expect("it is there");
    for cwd in [None, Some("bin".to_owned())] {
        let request = SpawnRequest {
            cwd: cwd.clone(),
            ..command("only-here", &[])
        };
        let error = host.run(request).await.expect_err("only in the workspace");
        assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        let request = SpawnRequest {
            stdin: Some(b"real".to_vec()),
            cwd,
            ..command("cat", &[])
        };
        assert_eq!(host.run(request).await.expect("it runs").stdout, b"real");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_bare_name_is_found_in_the_passthrough_path() {
    let host = Host::new();
    let output = host.run(command("printf", &["x"])).await.expect("it runs");
    assert_eq!(output.stdout, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_name_with_a_slash_is_asked_for_as_it_is_spelled() {
    let host = Host::new();
    std::fs::create_dir(host.dir().join("bin")).expect("a folder");
    file(&host, "bin/tool", "755", b"#!/bin/sh\necho here\n").await;
    let mut gate = Recorder::allowing("bin/tool");
    let scope = host.scope();
    let request = command("bin/tool", &[]);
    let output = scope.spawn(request, &host.workspace, &mut gate).await;
    assert_eq!(output.expect("granted").stdout, b"here\n");
    for other in ["./bin/tool", "bin//tool", "bin/../bin/tool", "tool"] {
        let result = scope.spawn(command(other, &[]), &host.workspace, &mut gate).await;
        assert_eq!(result, Err(Error::CapabilityDenied), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_working_directory_that_leads_out_is_boundary_escape() {
    let host = narrow();
    let outside = tempfile::TempDir::new().expect("a folder");
    let marker = outside.path().join("ran");
    let dir = host.dir();
    std::fs::create_dir_all(dir.join("a/b")).expect("a folder");
    symlink(outside.path(), dir.join("absolute")).expect("a link");
    symlink(dir.join("a"), dir.join("absolute-inside")).expect("a link");
    symlink("/", dir.join("root")).expect("a link");
    symlink("..", dir.join("up")).expect("a link");
    symlink("../..", dir.join("a/up-two")).expect("a link");
    symlink("absolute", dir.join("by-way-of")).expect("a link");
    symlink("/proc/self/cwd", dir.join("magic")).expect("a link");
    symlink(
        format!("../{}", outside.path().file_name().expect("a name").display()),
        dir.join("neighbour"),
    )
    .expect("a link");
    let own_name = dir.file_name().expect("a name").display().to_string();
    for cwd in [
        "/",
        "/tmp",
        "//",
        dir.to_str().expect("a plain path"),
        outside.path().to_str().expect("a plain path"),
        "..",
        "../",
        "./..",
        "a/../..",
        "a/b/../../..",
        &format!("../{own_name}"),
        "absolute",
        "absolute/",
        "absolute-inside",
        "absolute-inside/b",
        "root",
        "root/tmp",
        "up",
        "a/up-two",
        "by-way-of",
        "magic",
        "neighbour",
    ] {
        let request = SpawnRequest {
            cwd: Some(cwd.to_owned()),
            ..trace(&marker)
        };
        refused(&host, cwd, request, |error| matches!(error, Error::BoundaryEscape)).await;
    }
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_working_directory_that_does_not_exist_is_invalid_input() {
    let host = narrow();
    let marker = host.dir().join("ran");
    std::fs::create_dir(host.dir().join("a")).expect("a folder");
    symlink("nowhere", host.dir().join("dangling")).expect("a link");
    symlink("loop", host.dir().join("loop")).expect("a link");
    std::fs::write(host.dir().join("file"), "").expect("a file");
    for cwd in ["b", "a/b", "a/b/c", "dangling", "a\0", "file", "file/x", "loop"] {
        let request = SpawnRequest {
            cwd: Some(cwd.to_owned()),
            ..trace(&marker)
        };
        refused(&host, cwd, request, invalid_input).await;
    }
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_the_child_starts_in_the_directory_it_asked_for() {
    let host = Host::new();
    let dir = std::fs::canonicalize(host.dir()).expect("it is there");
    std::fs::create_dir_all(dir.join("a/b c/ü")).expect("a folder");
    symlink("b c", dir.join("a/inside")).expect("a link");
    symlink("../a/b c", dir.join("a/round")).expect("a link");
    for (cwd, real) in [
        (None, dir.clone()),
        (Some("."), dir.clone()),
        (Some("a"), dir.join("a")),
        (Some("a/"), dir.join("a")),
        (Some("./a/./b c"), dir.join("a/b c")),
        (Some("a/b c/ü"), dir.join("a/b c/ü")),
        (Some("a/inside/ü"), dir.join("a/b c/ü")),
        (Some("a/round"), dir.join("a/b c")),
    ] {
        let request = SpawnRequest {
            cwd: cwd.map(str::to_owned),
            ..command("/bin/pwd", &["-P"])
        };
        let output = host.run(request.clone()).await.expect("it runs");
        let pwd = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        assert_eq!(Path::new(&pwd), real, "{cwd:?}");
        let id = host.start(request).await;
        assert_eq!(lines(&host.scope(), &id, 1).await, [pwd], "{cwd:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_the_workspace_stays_the_directory_that_was_opened() {
    let parent = tempfile::TempDir::new().expect("a folder");
    let place = parent.path().join("workspace");
    std::fs::create_dir_all(place.join("sub")).expect("a folder");
    std::fs::write(place.join("sub/inside"), "").expect("a file");
    let mut host = Host::new();
    host.workspace = capsule_host::sandbox::Workspace::open(&place).expect("it is there");
    std::fs::rename(&place, parent.path().join("moved")).expect("moved");
    std::fs::create_dir_all(place.join("sub")).expect("another folder");
    for (cwd, expected) in [(Some("sub"), "inside\n"), (None, "sub\n")] {
        let request = SpawnRequest {
            cwd: cwd.map(str::to_owned),
            ..command("/bin/ls", &[])
        };
        let output = host.run(request).await.expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

/// A thread swaps a directory with a link to the outside, as fast as the kernel does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_directory_that_becomes_a_link_is_never_followed_out() {
    let host = Host::new();
    let outside = tempfile::TempDir::new().expect("a folder");
    std::fs::create_dir(outside.path().join("sub")).expect("a folder");
    std::fs::write(outside.path().join("sub/outside"), "").expect("a file");
    let (dir, link) = (host.dir().join("dir"), host.dir().join("link"));
    std::fs::create_dir_all(dir.join("sub")).expect("a folder");
    std::fs::write(dir.join("sub/inside"), "").expect("a file");
    symlink(outside.path(), &link).expect("a link");
    let done = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).expect("swapped");
            }
        }
    });
    let mut inside = 0;
    let mut spawned = 0;
    while spawned < 200 || inside == 0 {
        spawned += 1;
        let request = SpawnRequest {
            cwd: Some("dir/sub".to_owned()),
            ..command("/bin/ls", &[])
        };
        match host.run(request).await {
            Ok(output) => {
                assert_eq!(String::from_utf8_lossy(&output.stdout), "inside\n");
                inside += 1;
            }
            Err(error) => assert!(
                matches!(error, Error::BoundaryEscape | Error::InvalidInput(_)),
                "{error:?}"
            ),
        }
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().expect("it only swapped");
}

/// Refuses from a certain question on, and records the questions.
struct Recorder {
    process: bool,
    command: Option<&'static str>,
    persistent: bool,
    asked: Vec<String>,
    owners: Vec<Owner>,
}

impl Recorder {
    fn new(process: bool, command: Option<&'static str>, persistent: bool) -> Self {
        Self {
            process,
            command,
            persistent,
            asked: Vec::new(),
            owners: Vec::new(),
        }
    }

    fn allowing(command: &'static str) -> Self {
        Self::new(true, Some(command), true)
    }

    fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }
}

impl Gate for Recorder {
    fn allows(&mut self, owner: &Owner, ask: Ask<'_>) -> bool {
        self.owners.push(owner.clone());
        match ask {
            Ask::Process => {
                self.asked.push("process".to_owned());
                self.process
            }
            Ask::Command(view) => {
                self.asked.push(format!(
                    "{} {:?} {:?} {:?}",
                    view.cmd, view.args, view.cwd, view.env_keys
                ));
                self.command == Some(view.cmd)
            }
            Ask::Persistent => {
                self.asked.push("persistent".to_owned());
                self.persistent
            }
            other => panic!("an unknown question: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_the_first_failure_in_the_documented_order_is_the_answer() {
    let host = narrow();
    let scope = host.scope();
    let missing = "/nonexistent/program";
    let view = format!(r#"{missing} ["-x"] Some("..") ["A"]"#);
    let everything_wrong = SpawnRequest {
        cmd: missing.to_owned(),
        args: vec!["-x".to_owned()],
        env: vec![("A".to_owned(), "secret".to_owned())],
        cwd: Some("..".to_owned()),
        stdin: Some(vec![0; (4 << 20) + 1]),
        ..SpawnRequest::default()
    };
    let blocker = host.start(forever()).await;
    let mut gate = Recorder::new(false, None, false);
    let mut request = everything_wrong.clone();
    request.env.push((String::new(), String::new()));

    // Nothing is checked before the grant for processes.
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::CapabilityDenied));
    assert_eq!(gate.asked(), ["process"]);
    // The shapes of the request are checked before the gate is asked about the command.
    gate.process = true;
    let result = scope.spawn_persistent(request, &host.workspace, &mut gate).await;
    assert!(matches!(result, Err(Error::InvalidInput(_))), "{result:?}");
    assert_eq!(gate.asked(), ["process"]);
    // So is the prelude's size.
    let result = scope
        .spawn_persistent(everything_wrong.clone(), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::TooLarge));
    assert_eq!(gate.asked(), ["process"]);
    // The gate for the command comes before the working directory, and sees neither values nor stdin.
    let request = SpawnRequest {
        stdin: Some(b"secret".to_vec()),
        ..everything_wrong
    };
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::CapabilityDenied));
    assert_eq!(gate.asked(), ["process", &view]);
    // The working directory comes before the persistent grant.
    gate.command = Some(missing);
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::BoundaryEscape));
    assert_eq!(gate.asked(), ["process", &view]);
    // The persistent grant comes before the quotas.
    let request = SpawnRequest { cwd: None, ..request };
    let view = format!(r#"{missing} ["-x"] None ["A"]"#);
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::CapabilityDenied));
    assert_eq!(gate.asked(), ["process", &view, "persistent"]);
    // The quotas come before the program.
    gate.persistent = true;
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert!(matches!(result, Err(Error::Quota | Error::RegistryFull)), "{result:?}");
    // Without these faults, it is the program.
    scope.stop(&blocker, None).await.expect("it ran");
    let result = scope
        .spawn_persistent(request.clone(), &host.workspace, &mut gate)
        .await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    assert_eq!(host.registry.retained(), 0);
    // A captured run is never asked about persistence.
    gate.asked();
    let result = scope.spawn(request, &host.workspace, &mut gate).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    assert_eq!(gate.asked(), ["process", &view]);
    // Every question named the owner of the request.
    assert_eq!(gate.owners, vec![scope.owner().clone(); gate.owners.len()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s6_a_program_that_cannot_be_executed_fails_the_spawn() {
    let host = narrow();
    let plain = file(&host, "plain", "644", b"#!/bin/sh\necho ran\n").await;
    let lost = file(&host, "lost", "755", b"#!/nonexistent/interpreter\n").await;
    let garbage = file(&host, "garbage", "755", &noise(1, 4000)).await;
    let text = file(&host, "text", "755", b"echo ran\n").await;
    let cut = file(&host, "cut", "755", b"\x7fELF").await;
    let folder = host.dir().to_str().expect("a plain path").to_owned();

    for cmd in [
        "/nonexistent/program",
        "no-such-program-anywhere",
        "./nothing",
        "missing/dir/program",
        &lost,
    ] {
        refused(&host, cmd, command(cmd, &[]), |error| {
            matches!(error, Error::NotFound(_)) && error.to_string().starts_with("not-found: ")
        })
        .await;
    }
    for cmd in [plain.as_str(), "./plain", &folder, "/", "/etc/passwd"] {
        refused(&host, cmd, command(cmd, &[]), |error| {
            matches!(error, Error::PermissionDenied(_)) && error.to_string().starts_with("permission-denied: ")
        })
        .await;
    }
    // Names that no program can have.
    for cmd in [".", "..", "./", "/usr/bin/", "//", "-"] {
        refused(&host, cmd, command(cmd, &[]), |error| {
            matches!(
                error,
                Error::NotFound(_) | Error::PermissionDenied(_) | Error::ExecFailed(_)
            )
        })
        .await;
    }
    for cmd in [&garbage, &text, &cut] {
        refused(&host, cmd, command(cmd, &[]), |error| {
            matches!(error, Error::ExecFailed(_)) && error.to_string().starts_with("exec-failed: ")
        })
        .await;
    }
    // An argument that is longer than the kernel accepts.
    let long = command("/bin/true", &[&"x".repeat(200 * 1024)]);
    refused(&host, "a long argument", long, |error| {
        matches!(error, Error::ExecFailed(_))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s6_a_shells_codes_for_a_missing_program_are_only_codes() {
    let host = Host::new();
    for (script, expected) in [
        ("exit 127", 127),
        ("exit 126", 126),
        ("exit 125", 125),
        ("/nonexistent/program", 127),
        ("/etc/passwd", 126),
    ] {
        let output = host.run(sh(script)).await.expect("the shell ran");
        assert_eq!(output.exit, code(expected), "{script}");
        let id = host.start(sh(script)).await;
        assert_eq!(exit(&host.scope(), &id).await, code(expected), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_stdin_is_the_null_device_unless_asked_for() {
    let host = Host::new();
    let request = command("/bin/readlink", &["/proc/self/fd/0"]);
    let output = host.run(request.clone()).await.expect("it runs");
    assert_eq!(output.stdout, b"/dev/null\n");
    let id = host.start(request).await;
    assert_eq!(lines(&host.scope(), &id, 1).await, ["/dev/null"]);
    assert!(!host.scope().status(&id).expect("it is there").stdin_open);
    // An empty prelude is a pipe at its end.
    let request = SpawnRequest {
        stdin: Some(Vec::new()),
        ..sh("cat; readlink /proc/self/fd/0")
    };
    let output = host.run(request).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("pipe:") || said.starts_with("socket:"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_a_prelude_of_4_mib_goes_through_cat() {
    let host = Host::new();
    let prelude = noise(7, 4 << 20);
    let request = SpawnRequest {
        stdin: Some(prelude.clone()),
        ..command("/bin/cat", &[])
    };
    let output = host.run(request.clone()).await.expect("it runs");
    assert!(output.stdout == prelude, "spawn: not a byte is lost");
    assert_eq!(output.exit, code(0));
    for ring in [4 << 10, 8 << 20] {
        let id = host
            .start(SpawnRequest {
                overflow: Overflow::Backpressure,
                log_ring_bytes: Some(ring),
                ..request.clone()
            })
            .await;
        let (stdout, dropped) = follow(&host.scope(), &id, LogStream::Stdout, u32::MAX).await;
        assert!(stdout == prelude, "spawn_persistent: not a byte is lost");
        assert_eq!(dropped, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_a_prelude_above_4_mib_is_too_large() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let request = SpawnRequest {
        stdin: Some(vec![0; (4 << 20) + 1]),
        ..trace(&marker)
    };
    refused(&host, "4 MiB and a byte", request, |error| {
        matches!(error, Error::TooLarge)
    })
    .await;
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_spawn_persistent_does_not_wait_for_the_prelude() {
    let host = Host::new();
    let request = SpawnRequest {
        stdin: Some(vec![0; 4 << 20]),
        ..forever()
    };
    // The prelude is never read, so waiting for it would hang.
    let id = host.start(request).await;
    host.scope().stop(&id, None).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_an_unread_prelude_does_not_delay_the_exit() {
    let host = Host::new();
    let request = SpawnRequest {
        stdin: Some(vec![0; 4 << 20]),
        ..sh("echo done; exit 3")
    };
    let output = host.run(request.clone()).await.expect("it runs");
    assert_eq!((output.exit, output.stdout), (code(3), b"done\n".to_vec()));
    let id = host.start(request).await;
    assert_eq!(exit(&host.scope(), &id).await, code(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_the_prelude_comes_before_every_write() {
    let host = Host::new();
    let scope = host.scope();
    let prelude = noise(8, 4 << 20);
    let id = host
        .start(SpawnRequest {
            stdin: Some(prelude.clone()),
            overflow: Overflow::Backpressure,
            ..cat()
        })
        .await;
    let write = async {
        assert_eq!(scope.write_stdin(&id, b"and then".to_vec()).await, Ok(8));
        assert_eq!(scope.write_stdin(&id, b" this".to_vec()).await, Ok(5));
        scope.close_stdin(&id).expect("it is there");
    };
    let ((), (stdout, _)) =
        watchdog(async { tokio::join!(write, follow(&scope, &id, LogStream::Stdout, u32::MAX)) }).await;
    assert!(stdout == [prelude.as_slice(), b"and then this"].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_spawn_captures_up_to_16_mib_of_each_stream_and_no_byte_more() {
    let host = narrow();
    const CAP: usize = 16 << 20;
    let script = format!("head -c {CAP} /dev/zero & head -c {CAP} /dev/zero | tr '\\0' x >&2; wait");
    let output = host.run(sh(&script)).await.expect("it fits");
    assert_eq!(output.exit, code(0));
    assert_eq!((output.stdout.len(), output.stderr.len()), (CAP, CAP));
    assert!(output.stdout.iter().all(|&byte| byte == 0));
    assert!(output.stderr.iter().all(|&byte| byte == b'x'));
    for (stream, redirect) in [("stdout", ""), ("stderr", ">&2")] {
        let script = format!(
            "echo $$ >pid; head -c {} /dev/zero {redirect}; exec sleep 1000",
            CAP + 1
        );
        let result = host.run(sh(&script)).await;
        assert_eq!(result.map(|_| ()), Err(Error::TooLarge), "{stream}");
        gone(&host).await;
    }
    // A command that would run for ever, too.
    let result = host.run(sh("echo $$ >pid; yes & exec yes >&2")).await;
    assert_eq!(result.map(|_| ()), Err(Error::TooLarge));
    gone(&host).await;
}

/// The process that wrote its pid to `pid` no longer exists, and its slot is free.
async fn gone(host: &Host) {
    let pid = pid_in(host, "pid");
    until("the child is gone", || !runs(pid)).await;
    host.run(command("/bin/true", &[])).await.expect("a free slot");
    std::fs::remove_file(host.dir().join("pid")).expect("it was written");
}

fn pid_in(host: &Host, file: &str) -> u32 {
    let text = std::fs::read_to_string(host.dir().join(file)).expect("the child wrote it");
    text.trim().parse().expect("a pid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_spawn_tells_how_the_command_ended() {
    let host = Host::new();
    let output = host.run(sh("echo a; echo b >&2; exit 9")).await.expect("it runs");
    assert_eq!(output.stdout, b"a\n");
    assert_eq!(output.stderr, b"b\n");
    assert_eq!(output.exit, code(9));
    let output = host.run(sh("printf '\\377\\0'; kill -TERM $$")).await.expect("it runs");
    assert_eq!(output.stdout, b"\xff\0");
    assert_eq!(output.exit, capsule_tests::signalled(15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_a_dropped_spawn_ends_the_command_and_its_group() {
    let host = narrow();
    let script = "sleep 1000 & echo $! >child; echo $$ >pid; mv pid ready; exec sleep 1000";
    let ready = host.dir().join("ready");
    {
        let scope = host.scope();
        let mut gate = AllowAll;
        let running = scope.spawn(sh(script), &host.workspace, &mut gate);
        tokio::select! {
            output = running => panic!("it sleeps: {output:?}"),
            () = until("it started", || ready.exists()) => (),
        }
    }
    let (command, child) = (pid_in(&host, "ready"), pid_in(&host, "child"));
    until("both are gone", || !runs(command) && !runs(child)).await;
    until("no task is left", || host.registry.tasks() == 0).await;
    // A guest's drop of a handle returns after the slot is free (S5). The drop of a future cannot wait for that.
    let mut result = Err(Error::Quota);
    watchdog(async {
        while result.as_ref().map(|_| ()) == Err(&Error::Quota) {
            result = host.run(command_true()).await;
        }
    })
    .await;
    assert_eq!(result.expect("a free slot").exit, code(0));
}

fn command_true() -> SpawnRequest {
    command("/bin/true", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_a_shutdown_during_spawn_ends_the_command_and_is_cancelled() {
    let host = Host::new();
    let ready = host.dir().join("ready");
    let scope = host.scope();
    let mut gate = AllowAll;
    let request = sh("trap '' TERM; echo $$ >pid; mv pid ready; while :; do sleep 1; done");
    let running = scope.spawn(request, &host.workspace, &mut gate);
    let ending = async {
        until("it started", || ready.exists()).await;
        host.registry.shutdown().await;
    };
    let (result, ()) = watchdog(async { tokio::join!(running, ending) }).await;
    assert_eq!(result, Err(Error::Cancelled));
    let pid = pid_in(&host, "ready");
    until("it is gone", || !runs(pid)).await;
    assert_eq!(host.run(command_true()).await, Err(Error::Cancelled));
    let later = host.try_start(command_true()).await;
    assert_eq!(later.map(|_| ()), Err(Error::Cancelled));
}

/// Options for persistent processes have no effect on a captured one, even if their values are invalid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_spawn_ignores_what_is_for_persistent_processes() {
    let host = Host::new();
    let zero = Some(std::time::Duration::ZERO);
    let request = |stdin: Option<&[u8]>| SpawnRequest {
        stdin: stdin.map(<[u8]>::to_vec),
        keep_stdin_open: true,
        overflow: Overflow::Backpressure,
        log_ring_bytes: Some(0),
        max_lifetime: zero,
        idle_timeout: zero,
        exit_retention: zero,
        label: Some("\0".to_owned()),
        ..sh("cat; seq -f %07g 0 99999")
    };
    let expected = crate::tail::numbers(0, 100_000);
    let output = host.run(request(None)).await.expect("it runs");
    assert!(output.stdout == expected);
    let output = host.run(request(Some(b"first "))).await.expect("it runs");
    assert!(output.stdout == [b"first ", expected.as_slice()].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_unconfined_nothing_is_injected() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let request = SpawnRequest {
        file_injections: vec![FileInjection::new(
            b"x".to_vec(),
            Placement::EnvPointer("FILE".to_owned()),
        )],
        ..trace(&marker)
    };
    refused(&host, "an injection", request, |error| {
        matches!(error, Error::InjectionUnsupported(_)) && error.to_string().starts_with("injection-unsupported: ")
    })
    .await;
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_a_persistent_process_needs_its_grant_and_an_authenticated_principal() {
    let host = narrow();
    let marker = host.dir().join("ran");
    let mut gate = Recorder::new(true, Some("/usr/bin/touch"), false);
    let result = host
        .scope()
        .spawn_persistent(trace(&marker), &host.workspace, &mut gate)
        .await;
    assert_eq!(result.map(|_| ()), Err(Error::CapabilityDenied));
    let result = host.start_in(&host.anonymous(), trace(&marker)).await;
    assert_eq!(result.map(|_| ()), Err(Error::PersistUnsupported));
    assert!(!marker.exists());
    assert_eq!(host.registry.retained(), 0);
    // An anonymous caller may still run a command to its end.
    let output = host
        .anonymous()
        .spawn(command("/bin/echo", &["x"]), &host.workspace, &mut AllowAll)
        .await;
    assert_eq!(output.expect("it runs").stdout, b"x\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_a_host_that_cannot_contain_detached_children_has_no_persistent_ones() {
    let mut host = Host::new();
    host.registry = Registry::new(
        tokio::runtime::Handle::current(),
        Arc::new(Unconfined::new()),
        Limits::default(),
    )
    .expect("a registry");
    let marker = host.dir().join("ran");
    let result = host.try_start(trace(&marker)).await;
    assert_eq!(result.map(|_| ()), Err(Error::PersistUnsupported));
    assert!(!marker.exists());
    host.run(trace(&marker)).await.expect("it runs");
    assert!(marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_child_starts_with_default_signals() {
    let host = Host::new();
    let request = command("/bin/grep", &["-E", "Sig(Blk|Ign)", "/proc/self/status"]);
    let output = host.run(request).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().count(), 2, "{said}");
    for line in said.lines() {
        let mask = line.split_whitespace().nth(1).expect("a mask");
        let mask = u64::from_str_radix(mask, 16).expect("a mask");
        // The C library uses 32 and 33 itself, and its posix_spawn ignores them in every child.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

/// The test's own parent may have left inheritable descriptors open. The host adds none, whatever it holds itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_child_inherits_no_descriptor_of_the_host() {
    let host = Host::roomy();
    for _ in 0..20 {
        host.start(cat()).await;
    }
    let request = SpawnRequest {
        stdin: Some(Vec::new()),
        ..command("/bin/ls", &["-l", "/proc/self/fd"])
    };
    let output = host.run(request).await.expect("it runs");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let parent = std::os::unix::process::parent_id();
    let mut others = 0;
    for (name, target) in listing.lines().filter_map(|line| line.split_once(" -> ")) {
        let number = name.rsplit(' ').next().expect("a number");
        if ["0", "1", "2"].contains(&number) {
            continue;
        }
        others += 1;
        let before_us = std::fs::read_link(format!("/proc/{parent}/fd/{number}"));
        let of_ls = target.starts_with("/proc/") && target.ends_with("/fd");
        assert!(
            of_ls || before_us.is_ok_and(|before_us| before_us == Path::new(target)),
            "{listing}"
        );
    }
    assert!(others > 0, "at least the folder that is being listed: {listing}");
}
