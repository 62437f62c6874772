//! What a capsule's processes, and the build of a capsule, cannot do to the user who runs them (contract B6).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Ended, Workspace, command, dev_server_file, finish, test_guest_file};

/// A crate whose build script tries to write to each of `places`, and reports the successful writes.
fn hostile_crate(places: &[&Path]) -> Workspace {
    let folder = Workspace::new();
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n",
    );
    fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/lib.rs", "#[unsafe(no_mangle)]\npub extern \"C\" fn nothing() {}\n");
    let count = places.len();
    let build = format!(
        "fn main() {{\n for path in {places:?} as [&str; {count}] {{\n  if std::fs::write(path, \"written\").is_ok() \
         {{ println!(\"cargo::warning=wrote {{path}}\"); }}\n }}\n println!(\"cargo::warning=it ran\");\n}}\n"
    );
    folder.write("build.rs", &build);
    folder
}

fn run(folder: &Workspace, arguments: &[&str]) -> Ended {
    let workspace = Workspace::new();
    let mut command = workspace.run(arguments);
    command.arg(folder.path()).arg("open");
    command.env("CARGO_TARGET_DIR", folder.path().join("target"));
    finish(&mut command)
}

#[test]
fn b6_a_build_script_runs_confined_unless_it_is_trusted() {
    let outside = Workspace::new();
    // Writable for all users, so that the result does not depend on the folder's owner.
    fs::set_permissions(outside.path(), Permissions::from_mode(0o777)).unwrap();
    let marker = outside.path().join("marker");
    let tmp = std::env::temp_dir().join(format!("capsule-build-{}", std::process::id()));
    let (envrc, source) = (Path::new(".envrc"), Path::new("src/lib.rs"));
    let program = Path::new("target/release/program");
    let folder = hostile_crate(&[&marker, &tmp, envrc, source, program]);
    fs::create_dir_all(folder.path().join("target/release")).unwrap();
    let is_written = |path: &Path| fs::read(folder.path().join(path)).is_ok_and(|content| content == b"written");

    let ended = run(&folder, &[]);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert_eq!(
        ended.lines[0]["error"]["kind"], "no-entry-point",
        "it was built: {ended:?}"
    );
    assert!(ended.stderr.contains("it ran"), "{ended:?}");
    for path in [&*marker, &tmp, envrc, source, program] {
        assert!(!is_written(path), "{}: {ended:?}", path.display());
    }

    folder.write(
        "src/lib.rs",
        "#[unsafe(no_mangle)]\npub extern \"C\" fn nothing() {}\n// another\n",
    );
    let ended = run(&folder, &["--trust-build"]);
    assert!(is_written(&marker), "with the flag it can: {ended:?}");
    drop(fs::remove_file(tmp));
}

/// A toolchain, a wrapper of the compiler, and a provider of credentials: all of them are code that cargo or rustup
/// starts.
#[test]
fn b6_what_a_crates_configuration_names_runs_confined() {
    let outside = Workspace::new();
    fs::set_permissions(outside.path(), Permissions::from_mode(0o777)).unwrap();
    let marker = outside.path().join("marker");
    let folder = hostile_crate(&[]);
    let evil = folder.path().join("evil");
    folder.write(
        "evil",
        &format!("#!/bin/sh\necho x > {}\nexec \"$@\"\n", marker.display()),
    );
    fs::set_permissions(&evil, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join(".cargo")).unwrap();
    folder.write(".cargo/config.toml", &format!("[build]\nrustc-wrapper = {evil:?}\n"));
    let ended = run(&folder, &[]);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert!(!marker.exists(), "{ended:?}");

    // The toolchain belongs to the folder, so no code of it runs unconfined either.
    fs::create_dir_all(folder.path().join("chain/bin")).unwrap();
    for tool in ["cargo", "rustc"] {
        fs::copy(&evil, folder.path().join("chain/bin").join(tool)).unwrap();
    }
    folder.write("rust-toolchain.toml", "[toolchain]\npath = \"chain\"\n");
    let ended = run(&folder, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!marker.exists(), "{ended:?}");
}

/// The example capsule starts a Python module as its server. Here the workspace contains that module. It lets a shell
/// try each line, and reports the successful ones.
pub(crate) fn processes(workspace: &Workspace, lines: &[&str], arguments: &[&str], capsule: &Path) -> Ended {
    fs::create_dir_all(workspace.path().join("http")).unwrap();
    workspace.write("http/__init__.py", "");
    let server = format!(
        "import subprocess, sys\nfor line in {lines:?}:\n    tried = subprocess.run(['sh', '-c', line], capture_output=True)\n    \
         if tried.returncode == 0:\n        print('did:', line, file=sys.stderr)\nprint('tried', file=sys.stderr)\n"
    );
    workspace.write("http/server.py", &server);
    let mut command = workspace.run(["--allow", "python3", "--allow-persistent"]);
    command.args(arguments).arg(capsule).arg("start");
    finish(&mut command)
}

#[test]
fn b6_a_capsules_processes_cannot_change_what_this_command_believes() {
    let workspace = Workspace::new();
    let capsule = workspace.path().join("capsules/a.wasm");
    fs::create_dir(workspace.path().join("capsules")).unwrap();
    fs::copy(dev_server_file(), &capsule).unwrap();
    workspace.write("capsules/Capsule.toml", "");
    workspace.write(".envrc", "");
    fs::create_dir(workspace.path().join(".github")).unwrap();
    let lines = [
        "echo x >> capsules/a.wasm",
        "rm -f capsules/a.wasm",
        "echo x > new && mv new capsules/a.wasm",
        "mv capsules away",
        "echo x > capsules/Capsule.toml",
        "echo x > .envrc",
        "echo x > .github/workflow",
        "echo x > ordinary",
    ];
    let ended = processes(&workspace, &lines, &[], &capsule);
    assert!(ended.lines[0].to_string().contains("tried"), "{ended:?}");
    let did = |ended: &Ended| {
        lines
            .iter()
            .filter(|line| ended.lines[0].to_string().contains(&format!("did: {line}")))
            .count()
    };
    assert!(
        ended.lines[0].to_string().contains("did: echo x > ordinary"),
        "{ended:?}"
    );
    assert_eq!(did(&ended), 1, "{ended:?}");
    assert_eq!(fs::read(&capsule).unwrap(), fs::read(dev_server_file()).unwrap());

    let ended = processes(&workspace, &lines, &["--unprotect", ".github"], &capsule);
    assert_eq!(did(&ended), 2, "{ended:?}");
}

#[test]
fn b6_a_capsules_processes_cannot_change_what_it_is_built_from() {
    let workspace = Workspace::new();
    workspace.write(
        "Capsule.toml",
        "[build]\ncommand = ['cp', 'source.wasm', 'build/work/component.wasm']\n[package]\nname = 'a'\n",
    );
    fs::copy(dev_server_file(), workspace.path().join("source.wasm")).unwrap();
    let lines = [
        "echo x >> source.wasm",
        "echo x >> Capsule.toml",
        "echo x >> build/a.wasm",
        "echo x > build/work/component.wasm",
        "rm -rf build",
        "mv build away",
        "echo x > ordinary",
    ];
    let ended = processes(&workspace, &lines, &[], &workspace.path());
    let answer = ended.lines[0].to_string();
    assert!(answer.contains("tried"), "{ended:?}");
    for line in lines {
        let did = answer.contains(&format!("did: {line}"));
        assert_eq!(did, line.ends_with("ordinary"), "{line}: {ended:?}");
    }
}

/// A name that does not exist cannot be protected, so the command reports it.
#[test]
fn b6_what_was_made_and_is_executed_unasked_is_told() {
    let workspace = Workspace::new();
    workspace.write(".npmrc", "");
    let ended = processes(
        &workspace,
        &["echo x > .envrc", "echo x > plain"],
        &[],
        &dev_server_file(),
    );
    assert!(ended.stderr.contains(".envrc was made"), "{ended:?}");
    assert!(
        !ended.stderr.contains("plain") && !ended.stderr.contains(".npmrc"),
        "{ended:?}"
    );
}

#[test]
fn b6_a_folder_that_hands_over_the_host_is_no_workspace() {
    let home = std::env::home_dir().unwrap();
    for folder in ["/etc", "/run", "/var", "/usr/bin", "/tmp", home.to_str().unwrap()] {
        let mut command = command(env!("CARGO_BIN_EXE_capsule"));
        // `HOME` is wrong here; the user database is not.
        command
            .env("HOME", "/nowhere")
            .args(["run", "--workspace", folder, "no-such.wasm", "go"]);
        let ended = finish(&mut command);
        assert_eq!(ended.code, Some(2), "{folder}: {ended:?}");
        assert!(
            ended.stderr.contains("--workspace") && ended.stderr.contains("name a folder"),
            "{folder}: {ended:?}"
        );
    }
}

/// A process could change what any capsule keeps there.
#[test]
fn v1_a_workspace_that_holds_the_store_is_refused() {
    let workspace = Workspace::new();
    let mut command = workspace.run::<&str>([]);
    command.env("XDG_STATE_HOME", workspace.path().join("state"));
    let ended = finish(command.arg(dev_server_file()).arg("start"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("state/capsule/store"), "{ended:?}");
}

/// A capsule in a home folder, as a new author makes it.
#[test]
fn b6_in_a_home_folder_the_folder_of_the_capsule_is_the_workspace() {
    let home = Workspace::new();
    let shop = home.path().join("shop");
    fs::create_dir(&shop).unwrap();
    fs::copy(test_guest_file(), shop.join("shop.wasm")).unwrap();
    fs::write(
        shop.join("Capsule.toml"),
        "[package]\nname = \"shop\"\nversion = \"1.0.0\"\n[[component]]\nid = \"shop\"\nfile = \"shop.wasm\"\n",
    )
    .unwrap();
    let capsule = |arguments: &[&str]| {
        let like = home.run([""; 0]);
        let mut capsule = command(env!("CARGO_BIN_EXE_capsule"));
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => capsule.env(name, value),
                None => capsule.env_remove(name),
            };
        }
        capsule.current_dir(home.path()).env("HOME", home.path());
        finish(capsule.args(arguments).stdin(Stdio::null()))
    };
    let pwd = r#"run={"cmd":"pwd"}"#;
    let told = format!("the processes work in {}; --workspace names another", shop.display());
    let ended = capsule(&["run", "--allow", "pwd", "shop", pwd]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.lines[0].to_string().contains(&format!("{}\\n", shop.display())),
        "{ended:?}"
    );
    assert!(ended.stderr.contains(&told), "{ended:?}");
    // What the user names is never replaced, a file is no folder to work in, and an agent's program shows no message.
    for arguments in [
        &["run", "--allow", "pwd", "--workspace", ".", "shop", pwd][..],
        &["run", "--allow", "pwd", "shop/shop.wasm", pwd],
        &["mcp", "--no-process-tools", "shop"],
    ] {
        let ended = capsule(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.stderr.contains("--workspace: the folder") && !ended.stderr.contains(&told),
            "{ended:?}"
        );
    }
    let elsewhere = finish(Workspace::new().run(["--allow", "pwd"]).arg(&shop).arg(pwd));
    assert!(!elsewhere.lines[0].to_string().contains("/shop"), "{elsewhere:?}");
}
