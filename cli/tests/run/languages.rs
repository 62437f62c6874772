//! Folders whose `Capsule.toml` says how they are built, and new capsules in each language from an empty folder.
//!
//! What holds for every build is tested with a command of the author's, so that these tests need nothing installed. The tools of the
//! languages are those that `tests/languages/install` installs.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, Running, Workspace, command, dev_server_file, finish, skip, target_dir};
use crate::workspaces::processes;

/// The command `capsule build …` on that folder.
fn build(folder: &Workspace, options: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_capsule"));
    command.arg("build").args(options).arg(folder.path());
    command.env_remove("RUST_LOG");
    // Where the runs of `Workspace` keep what their processes made.
    command.env("XDG_STATE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("state"));
    command
}

/// Its exit code, its standard output and its standard error.
fn end(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A capsule that `make.sh` builds. Its component exports nothing.
fn made_by(script: &str) -> Workspace {
    let folder = Workspace::new();
    folder.write(
        "Capsule.toml",
        "[package]\nname = \"shop\"\n\n[build]\ncommand = [\"sh\", \"make.sh\"]\n",
    );
    fs::write(
        folder.path().join("source.wasm"),
        wat::parse_str("(component)").unwrap(),
    )
    .unwrap();
    folder.write("make.sh", script);
    folder
}

const COPY: &str = "echo built >> build/work/log\ncp source.wasm \"$CAPSULE_OUTPUT\"\n";

/// How often [`COPY`] ran.
fn builds(folder: &Workspace) -> usize {
    let log = fs::read_to_string(folder.path().join("build/work/log"));
    log.unwrap_or_default().lines().count()
}

#[test]
fn a_component_is_built_once_until_a_source_changes() {
    let folder = made_by(COPY);
    let component = folder.path().join("build/shop.wasm");
    for _ in 0..2 {
        let (code, stdout, stderr) = end(&mut build(&folder, &[]));
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(stdout, format!("{}\n", component.display()));
        assert_eq!(builds(&folder), 1, "nothing changed");
    }
    assert!(component.is_file());

    let workspace = Workspace::new();
    let ended = finish(workspace.run(["--unconfined"]).arg(folder.path()).arg("open"));
    assert_eq!(ended.lines[0]["error"]["kind"], "no-entry-point", "{ended:?}");
    assert_eq!(builds(&folder), 1, "`run` takes what `build` made");

    let changes: [(&str, &dyn Fn()); 4] = [
        ("a source", &|| folder.write("more.txt", "x")),
        ("the table", &|| {
            folder.write(
                "Capsule.toml",
                "[build]\ncommand = [\"sh\", \"-e\", \"make.sh\"]\n[package]\nname = \"shop\"\n",
            );
        }),
        ("the component", &|| fs::write(&component, "x").unwrap()),
        ("its absence", &|| fs::remove_file(&component).unwrap()),
    ];
    for (change, what) in changes {
        let before = builds(&folder);
        what();
        for _ in 0..2 {
            let (code, _, stderr) = end(&mut build(&folder, &[]));
            assert_eq!(code, Some(0), "{change}: {stderr}");
            assert_eq!(builds(&folder), before + 1, "{change}");
        }
    }
}

#[test]
fn a_copy_goes_where_it_is_asked_for() {
    let folder = made_by(COPY);
    let elsewhere = Workspace::new();
    let copy = elsewhere.path().join("x.wasm");
    let (code, stdout, stderr) = end(&mut build(&folder, &["-o", copy.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("{}\n", copy.display()));
    assert_eq!(
        fs::read(copy).unwrap(),
        fs::read(folder.path().join("source.wasm")).unwrap()
    );
}

#[test]
fn b6_a_command_of_the_author_runs_confined_unless_it_is_trusted() {
    let victim = Workspace::new();
    let attack = format!(
        "for path in {victim}/x ./Capsule.toml ./x build/x build/shop.wasm build/interfaces/x \"$HOME/../escaped\"; do\n\
         (echo stolen > \"$path\") 2>/dev/null && echo \"$path\" >> build/work/escaped\ndone\n\
         cat {victim}/secret >> build/work/escaped 2>/dev/null\n{COPY}",
        victim = victim.path().display()
    );
    let folder = made_by(&attack);
    victim.write("secret", "hush");
    let manifest = fs::read_to_string(folder.path().join("Capsule.toml")).unwrap();
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    let escaped = fs::read_to_string(folder.path().join("build/work/escaped")).unwrap_or_default();
    assert_eq!(escaped, "");
    assert!(!victim.path().join("x").exists() && !folder.path().join("x").exists());
    assert_eq!(
        fs::read_to_string(folder.path().join("Capsule.toml")).unwrap(),
        manifest
    );

    folder.write(
        "make.sh",
        &format!("echo trusted > {}/x\n{COPY}", victim.path().display()),
    );
    let (code, _, stderr) = end(&mut build(&folder, &["--trust-build"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(fs::read_to_string(victim.path().join("x")).unwrap(), "trusted\n");
}

#[test]
fn b6_no_link_leads_this_command_out_of_the_folder() {
    let victim = Workspace::new();
    victim.write("file", "mine");
    let (root, file) = (victim.path(), victim.path().join("file"));
    let link = |to: &Path, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();

    // The result of the build is a link to a file that the build cannot read.
    let folder = made_by(&format!("ln -s {} \"$CAPSULE_OUTPUT\"\n", file.display()));
    let (code, stdout, stderr) = end(&mut build(&folder, &[]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("CAPSULE_OUTPUT"), "{stderr}");

    // The folders and files that this command writes are links already.
    for name in ["build", "build/work"] {
        let folder = made_by(COPY);
        if name != "build" {
            fs::create_dir(folder.path().join("build")).unwrap();
        }
        link(&victim.path(), &folder.path().join(name));
        let (code, _, stderr) = end(&mut build(&folder, &[]));
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(stderr.contains("build"), "{stderr}");
    }
    let folder = made_by(COPY);
    fs::create_dir(folder.path().join("build")).unwrap();
    for name in ["interfaces", "shop.wasm", "shop.new", ".shop.stamp"] {
        link(
            if name == "interfaces" { &root } else { &file },
            &folder.path().join("build").join(name),
        );
    }
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
}

#[test]
fn b6_a_pipe_in_place_of_a_file_does_not_hold_this_command_up() {
    let folder = made_by("mkfifo \"$CAPSULE_OUTPUT\"\n");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert!(code == Some(1) && stderr.contains("CAPSULE_OUTPUT"), "{stderr}");

    let folder = made_by(COPY);
    fs::create_dir(folder.path().join("build")).unwrap();
    fs::write(folder.path().join("build/shop.wasm"), "x").unwrap();
    folder.pipe("build/.shop.stamp");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    fs::remove_file(folder.path().join("build/.lock")).unwrap();
    folder.pipe("build/.lock");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert!(code == Some(1) && stderr.contains(".lock"), "{stderr}");
}

#[test]
fn a_result_that_cannot_be_read_is_told_with_the_systems_error() {
    for (make, told) in [
        ("mkdir \"$CAPSULE_OUTPUT\"", "not a regular file"),
        ("ln -s x \"$CAPSULE_OUTPUT\"", "symbolic link"),
        ("true", "wrote no component"),
    ] {
        let (code, _, stderr) = end(&mut build(&made_by(make), &[]));
        assert!(code == Some(1) && stderr.contains(told), "{make}: {stderr}");
    }
}

#[test]
fn b6_a_copy_does_not_follow_a_link_that_lies_in_the_way() {
    let (folder, elsewhere) = (made_by(COPY), Workspace::new());
    elsewhere.write("victim", "mine");
    let copy = elsewhere.path().join("x.wasm");
    // The process id of the shell is that of the command.
    let mut shell = command("sh");
    shell.args(["-c", "ln -s victim \"$0.$$\"; exec \"$@\""]).arg(&copy);
    let copied = build(&folder, &["-o", copy.to_str().unwrap()]);
    let (code, _, stderr) = end(&mut crate::support::within(shell, &copied));
    assert!(code == Some(1) && stderr.contains("exists"), "{stderr}");
    assert_eq!(fs::read_to_string(elsewhere.path().join("victim")).unwrap(), "mine");
}

/// A capsule whose folder is its workspace, and that starts processes.
fn its_own_workspace() -> Workspace {
    let folder = Workspace::new();
    folder.write(
        "Capsule.toml",
        "[build]\ncommand = ['cp', 'source.wasm', 'build/work/component.wasm']\n[package]\nname = 'a'\n",
    );
    fs::copy(dev_server_file(), folder.path().join("source.wasm")).unwrap();
    folder
}

#[test]
fn b6_what_processes_made_is_told_and_not_built_until_it_is_accepted() {
    let folder = its_own_workspace();
    let ended = processes(&folder, &["echo x > evil.txt"], &[], &folder.path());
    assert!(ended.lines[0].to_string().contains("did: echo"), "{ended:?}");
    let is_told = |stderr: &str| stderr.contains("/evil.txt") && stderr.contains("--accept-changes");
    assert!(is_told(&ended.stderr), "{ended:?}");
    assert!(!ended.stderr.contains("source.wasm"), "{ended:?}");
    // Neither of these builds, also after an edit of the author's.
    folder.write("mine.txt", "x");
    for options in [&[][..], &["--trust-build"]] {
        let (code, _, stderr) = end(&mut build(&folder, options));
        assert!(code == Some(1) && is_told(&stderr), "{options:?}: {stderr}");
        assert!(!stderr.contains("mine.txt"), "{stderr}");
    }
    let ended = finish(folder.run(["--allow", "python3"]).arg(folder.path()).arg("stop"));
    assert!(ended.lines.is_empty() && is_told(&ended.stderr), "{ended:?}");

    for options in [&["--accept-changes"][..], &[]] {
        folder.write("mine.txt", "edited");
        let (code, _, stderr) = end(&mut build(&folder, options));
        assert_eq!(code, Some(0), "{options:?}: {stderr}");
    }

    // What is removed needs no consent, and a folder of its own needs none at all.
    let ended = processes(&folder, &["echo x > more.txt"], &[], &folder.path());
    assert!(ended.stderr.contains("/more.txt"), "{ended:?}");
    fs::remove_file(folder.path().join("more.txt")).unwrap();
    folder.write("mine.txt", "edited again");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    let ended = processes(&Workspace::new(), &["echo x > evil.txt"], &[], &folder.path());
    assert!(!ended.stderr.contains("--accept-changes"), "{ended:?}");
}

/// The folder would become a crate, whose build script would run with `--trust-build` as the user.
#[test]
fn b6_a_crate_that_processes_made_is_not_built() {
    let folder = its_own_workspace();
    let lines = [
        "printf '[package]\\nname = \"evil\"\\n' > Cargo.toml",
        "echo 'fn main() { std::fs::write(\"escaped\", \"\").unwrap() }' > build.rs",
        "mkdir src",
        "touch src/lib.rs",
    ];
    let ended = processes(&folder, &lines, &[], &folder.path());
    assert!(ended.lines[0].to_string().contains("did: touch"), "{ended:?}");
    let (code, _, stderr) = end(&mut build(&folder, &["--trust-build"]));
    assert_eq!(code, Some(1), "{stderr}");
    for file in ["/Cargo.toml", "/build.rs", "/src/lib.rs"] {
        assert!(stderr.contains(file), "{file}: {stderr}");
    }
    assert!(!folder.path().join("escaped").exists());
}

#[test]
fn a_build_that_fails_shows_its_messages_and_keeps_no_component() {
    let folder = made_by("echo no such module >&2; exit 3\n");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("no such module") && stderr.contains("--trust-build"),
        "{stderr}"
    );

    folder.write("make.sh", "echo text > \"$CAPSULE_OUTPUT\"\n");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("neither a WebAssembly component"), "{stderr}");
    assert!(!folder.path().join("build/shop.wasm").exists());
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let base = Workspace::new();
    // The versions that are tested are those that a user is told of.
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let script = fs::read_to_string(repository.join("tests/languages/install")).unwrap();
    let page = fs::read_to_string(repository.join("docs/languages.md")).unwrap();
    for (language, tool, installer, package) in [
        ("python", "`componentize-py`", "python", "componentize-py=="),
        ("js", "`componentize-qjs`", "node", "componentize-qjs@"),
        ("c", "`zig`", "python", "ziglang=="),
    ] {
        let tested = script.lines().find_map(|line| {
            let line = line.strip_prefix(installer)?.trim_start();
            line.starts_with(package).then_some(line)
        });
        let program = if installer == "node" { "npm" } else { ".venv/bin/pip" };
        let install = format!("{program} install {}", tested.expect(package));
        // The version is the last word of the line there.
        assert!(page.contains(&format!("{install}\n")), "docs/languages.md: {install}");
        let mut new = command(env!("CARGO_BIN_EXE_capsule"));
        new.current_dir(base.path()).args(["new", language, "--lang", language]);
        assert_eq!(end(&mut new).0, Some(0), "{language}");
        let mut build = command(env!("CARGO_BIN_EXE_capsule"));
        build
            .current_dir(base.path())
            .args(["build", language])
            .env("PATH", "/nowhere");
        let (code, _, stderr) = end(&mut build);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(tool) && stderr.contains(&install), "{stderr}");
    }
}

#[test]
fn a_mistake_in_the_table_is_bad_usage_with_the_file() {
    let folder = made_by(COPY);
    folder.write(
        "Capsule.toml",
        "[package]\nname = \"shop\"\n\n[build]\nlanguage = \"python\"\nsource = \"../x.py\"\n",
    );
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("Capsule.toml") && stderr.contains("does not lie"),
        "{stderr}"
    );
    folder.write(
        "Capsule.toml",
        "[build]\ncommand = [\"sh\", \"make.sh\"]\nsuorce = \"x\"\nwit = 1\n",
    );
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("line 4"), "{stderr}");
    folder.write(
        "Capsule.toml",
        "[build]\ncommand = [\"sh\", \"make.sh\"]\nwrold = \"x\"\n[package]\nname = \"shop\"\n",
    );
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert!(
        code == Some(0) && stderr.contains("line 3") && stderr.contains("did you mean `world`?"),
        "{stderr}"
    );
    folder.write("Capsule.toml", "[package]\nname = \"shop\"\n");
    let (code, _, stderr) = end(&mut build(&folder, &[]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("[build]"), "{stderr}");
}

#[test]
fn an_interrupted_build_of_a_command_leaves_no_process() {
    let folder = made_by("read -r line < pipe\n");
    folder.pipe("pipe");
    let running = Running::start(&mut build(&folder, &[]));
    let _building = folder.when_read("pipe");
    let builders = folder.processes();
    assert!(!builders.is_empty());
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code, Some(128 + 15));
    builders.iter().for_each(Process::wait);
}

/// The interpreter is a script, so that the test needs no Node.js.
#[test]
fn a_confined_build_sees_a_node_outside_of_the_systems_folders() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, home) = (made_by(""), Workspace::new());
    let program = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    folder.write(
        "Capsule.toml",
        "[package]\nname = \"shop\"\n\n[build]\nlanguage = \"js\"\n",
    );
    folder.write("capsule.js", "");
    let tool = folder.path().join("node_modules/.bin/componentize-qjs");
    program(&tool, "#!/usr/bin/env node\n");
    let node = home.path().join("node-v20/bin/node");
    program(&node, "#!/bin/sh\nfor last; do :; done\ncp source.wasm \"$last\"\n");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(node.parent().unwrap().to_owned()).chain(std::env::split_paths(&path));
    let (code, _, stderr) = end(build(&folder, &[]).env("PATH", std::env::join_paths(path).unwrap()));
    assert_eq!(code, Some(0), "{stderr}");
}

/// PATH with the tools; none, which is reported, if one of them is not installed.
fn path_with(tools: &[&str]) -> Option<OsString> {
    let languages = target_dir().join("languages");
    let mut path = Vec::new();
    for tool in tools {
        let place = languages.join(tool);
        if !place.join("installed").is_file() {
            skip(&format!("{tool}, which tests/languages/install installs"));
            return None;
        }
        path.extend([place.join("bin"), place.join("node_modules/.bin")]);
    }
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    Some(std::env::join_paths(path).unwrap())
}

/// A new capsule `shop` in an otherwise empty folder.
struct Shop {
    around: Workspace,
    path: OsString,
}

impl Shop {
    /// Makes it and calls it, as a new author does: the first answer greets the caller.
    fn new(language: &str, tools: &[&str]) -> Option<Self> {
        let shop = Self {
            path: path_with(tools)?,
            around: Workspace::new(),
        };
        let mut new = command(env!("CARGO_BIN_EXE_capsule"));
        new.current_dir(shop.around.path())
            .args(["new", "shop", "--lang", language]);
        let (code, _, stderr) = end(&mut new);
        assert_eq!(code, Some(0), "{stderr}");
        shop.third_is_last();
        let ended = finish(
            shop.around
                .run(["--principal", "alice", "shop", "hello"])
                .env("PATH", &shop.path)
                .current_dir(shop.around.path()),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.lines[0]["result"]["data"], "Hello, alice!");
        // The manifest asks, and grants nothing.
        assert!(ended.stderr.contains("--allow uname"), "{}", ended.stderr);
        Some(shop)
    }

    /// Makes the counter end right after its third answer, which is so long that it comes in parts, the last of them with the exit.
    fn third_is_last(&self) {
        let folder = self.around.path().join("shop");
        let answers = "echo $n; done";
        let then_ends = "[ $n = 3 ] && printf '%-200000d' 3 && echo && exit; echo $n; done";
        let sources = ["src/lib.rs", "actions.py", "actions.js", "capsule.c"];
        let source = sources
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.exists());
        let source = source.unwrap();
        let text = fs::read_to_string(&source).unwrap();
        assert!(text.contains(answers), "{text}");
        fs::write(source, text.replace(answers, then_ends)).unwrap();
    }

    /// `program`, to be run in the capsule's folder, which is then also the workspace.
    fn command(&self, program: &str) -> Command {
        let mut command = command(program);
        command
            .current_dir(self.around.path().join("shop"))
            .env("PATH", &self.path)
            .env("CAPSULE", env!("CARGO_BIN_EXE_capsule"))
            .env("CARGO_TARGET_DIR", target_dir().join("languages/rust"))
            .env_remove("RUST_LOG");
        // Folders of the tests' own for what the command keeps.
        for (name, value) in self.around.run([""; 0]).get_envs() {
            if name.to_string_lossy().starts_with("XDG_") {
                command.env(name, value.unwrap());
            }
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> crate::support::Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_capsule"));
        finish(command.arg("run").args(arguments))
    }

    /// Runs the capsule's own test by the command in its README.
    fn test(&self, program: &str, arguments: &[&str]) {
        let (code, stdout, stderr) = end(self.command(program).args(arguments));
        assert_eq!(code, Some(0), "{stdout}{stderr}");
    }

    /// Edits a source. The next call builds, and the call after it does not.
    fn edit(&self, source: &str) {
        let folder = self.around.path().join("shop");
        let text = fs::read_to_string(folder.join(source)).unwrap();
        fs::write(folder.join(source), text.replace("Hello, ", "Good day, ")).unwrap();
        let component = folder.join("build/shop.wasm");
        let mut built = vec![fs::metadata(&component).unwrap().modified().unwrap()];
        for _ in 0..2 {
            let ended = self.run(&["--principal", "alice", ".", "hello"]);
            assert_eq!(ended.lines[0]["result"]["data"], "Good day, alice!", "{ended:?}");
            built.push(fs::metadata(&component).unwrap().modified().unwrap());
        }
        assert!(built[0] < built[1] && built[1] == built[2], "{built:?}");
    }
}

/// Runs the last command of a README, and compares what it prints with what the README shows. `…` stands for any text.
fn as_its_readme_says(readme: &Path, run: impl FnOnce(&[&str]) -> crate::support::Ended) {
    let text = fs::read_to_string(readme).unwrap();
    let block = |language: &str| {
        let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let line = block("sh").lines().last().unwrap();
    let arguments: Vec<&str> = line.strip_prefix("capsule run ").unwrap().split_whitespace().collect();
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown: Vec<Value> = block("json")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(ended.lines.len(), shown.len(), "{ended:?}");
    for (line, shown) in ended.lines.iter().zip(&shown) {
        assert_eq!(
            (&line["action"], &line["result"]["action"]),
            (&shown["action"], &shown["result"]["action"])
        );
        let (data, shown) = (line["result"]["data"].to_string(), shown["result"]["data"].to_string());
        let same = match shown.split_once('…') {
            Some((before, _)) => data.starts_with(before),
            None if line["action"] == "kernel" => data.contains("Linux ") && shown.contains("Linux "),
            None => data == shown,
        };
        assert!(
            same,
            "{} shows {shown}, but the capsule returned {data}",
            readme.display()
        );
    }
}

fn readme_of(shop: &Shop) {
    let readme = shop.around.path().join("shop/README.md");
    as_its_readme_says(&readme, |arguments| shop.run(arguments));
}

/// An answer counts, although the process ends right after it.
fn has_the_last_answer(shop: &Shop) {
    let ended = shop.run(&["--grant-all-asked", ".", "count", "count", "count"]);
    let counted: Vec<_> = ended.lines.iter().map(|line| line["result"]["data"].clone()).collect();
    assert_eq!(counted, [1, 2, 3], "{ended:?}");
}

/// Without a grant the host refuses, in every language.
fn is_refused_without_a_grant(shop: &Shop) {
    let ended = shop.run(&[".", "kernel"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("--allow uname"), "{}", ended.stderr);
}

#[test]
fn a_new_capsule_in_rust() {
    let Some(shop) = Shop::new("rust", &[]) else { return };
    is_refused_without_a_grant(&shop);
    readme_of(&shop);
    has_the_last_answer(&shop);
    shop.test("cargo", &["test", "--quiet"]);
}

#[test]
fn a_new_capsule_in_python() {
    let Some(shop) = Shop::new("python", &["componentize-py"]) else {
        return;
    };
    is_refused_without_a_grant(&shop);
    readme_of(&shop);
    has_the_last_answer(&shop);
    // No second build, because this command's own build for tests compiles a whole Python in a minute.
    shop.test("python3", &["-m", "unittest"]);
}

#[test]
fn a_new_capsule_in_javascript() {
    let Some(shop) = Shop::new("js", &["componentize-qjs"]) else {
        return;
    };
    is_refused_without_a_grant(&shop);
    readme_of(&shop);
    has_the_last_answer(&shop);
    shop.test("node", &["--test"]);
    shop.edit("actions.js");
}

#[test]
fn a_new_capsule_in_c() {
    let Some(shop) = Shop::new("c", &["ziglang"]) else {
        return;
    };
    is_refused_without_a_grant(&shop);
    readme_of(&shop);
    has_the_last_answer(&shop);
    shop.test("sh", &["test.sh"]);
    shop.edit("capsule.c");
}

#[test]
fn the_template_of_a_server_does_as_its_readme_says() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../example-capsules/hello-server"));
    let workspace = Workspace::new();
    as_its_readme_says(&folder.join("README.md"), |arguments| {
        finish(workspace.run(arguments).current_dir(folder))
    });
}
