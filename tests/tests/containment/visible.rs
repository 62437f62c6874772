//! What a command can see besides the system and the workspace, and the error for a program that it cannot see (B1,
//! S6).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{marker, workspace};
use crate::who::program;

/// A home folder with the permissions of root's, and a toolchain in it: a program that finds its parts by the
/// toolchain's variable.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a home");
        for folder in [".cargo/bin", ".rustup/toolchains/stable", ".ssh"] {
            fs::create_dir_all(home.path().join(folder)).expect("a folder");
        }
        let program = home.path().join(".cargo/bin/greet");
        fs::write(&program, "#!/bin/sh\ncat \"$RUSTUP_HOME/toolchains/stable/words\"\n").expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        fs::write(home.path().join(".rustup/toolchains/stable/words"), "good morning\n").expect("a part of it");
        fs::write(home.path().join(".cargo/credentials.toml"), "hush").expect("a secret");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
        Self(home)
    }

    fn path(&self, part: &str) -> PathBuf {
        self.0.path().join(part)
    }

    /// What a host of this home's user reports when it runs the command with `visible` shown.
    fn run(&self, visible: Option<&str>, command: &[&str]) -> String {
        self.host(workspace().path(), visible, command)
    }

    /// The same in a workspace that the test made, with nothing shown.
    fn run_in(&self, workspace: &Path, command: &[&str]) -> String {
        self.host(workspace, None, command)
    }

    fn host(&self, workspace: &Path, visible: Option<&str>, command: &[&str]) -> String {
        let mut host = program(crate::who::binary("zoo-host"));
        host.arg(marker()).arg(workspace).arg("run").args(command);
        host.env("HOME", self.0.path())
            .env_remove("RUSTUP_HOME")
            .env_remove("CARGO_HOME");
        let path = format!("{}:/usr/bin:/bin", self.path(".cargo/bin").display());
        host.env("PATH", path);
        if let Some(visible) = visible {
            host.env("ZOO_VISIBLE", visible);
        }
        let output = host.output().expect("a host");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }
}

async fn b1_a_toolchain_is_shown_by_its_name_and_no_secret_beside_it() {
    let home = Home::new();
    let said = home.run(Some("rustup"), &["greet"]);
    assert!(said.contains("exit Some(0)") && said.contains("good morning"), "{said}");
    let secret = home.path(".cargo/credentials.toml").display().to_string();
    let said = home.run(Some("rustup"), &["cat", &secret]);
    assert!(said.contains("exit Some(1)") && !said.contains("hush"), "{said}");
    let list = home.run(Some("rustup"), &["ls", "-A", &home.0.path().display().to_string()]);
    assert!(list.contains(".cargo") && !list.contains(".ssh"), "{list}");
    let made = home.path(".rustup/toolchains/new").display().to_string();
    let said = home.run(Some("rustup"), &["mkdir", &made]);
    assert!(said.contains("exit Some(1)") && !Path::new(&made).exists(), "{said}");
}

async fn b1_what_holds_secrets_is_not_shown_by_its_path() {
    let home = Home::new();
    for (what, reason) in [("", "home folder"), (".ssh", "secrets"), (".cargo", "secrets")] {
        let path = home.path(what).display().to_string();
        let said = home.run(Some(&path), &["true"]);
        assert!(
            said.contains("Refused") && !said.contains("exit"),
            "{what}: {reason}: {said}"
        );
    }
}

async fn s6_of_a_program_that_is_not_visible_is_said_where_it_is_and_what_shows_it() {
    let home = Home::new();
    let said = home.run(None, &["greet"]);
    let told = format!(
        "greet is {} on this machine, which is not visible to commands: Policy::visible rustup shows it",
        home.path(".cargo/bin/greet").display()
    );
    assert!(said.contains(&told), "{said}");

    let elsewhere = home.path("bin");
    fs::create_dir(&elsewhere).expect("a folder");
    let tool = elsewhere.join("tool");
    fs::copy(home.path(".cargo/bin/greet"), &tool).expect("a program");
    let tool = tool.display().to_string();
    let said = home.run(None, &[&tool]);
    let told = format!(
        "not visible to commands: Policy::visible {} shows it",
        elsewhere.display()
    );
    assert!(said.contains(&told), "{said}");
}

async fn s6_of_a_script_is_said_which_interpreter_is_not_visible() {
    let home = Home::new();
    let script = home.path(".cargo/bin/by-script");
    fs::write(
        &script,
        format!("#!{}/versions/python\n", home.path(".pyenv").display()),
    )
    .expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    let said = home.run(Some("rustup"), &["by-script"]);
    assert!(
        said.contains("by-script is run by") && said.contains("/versions/python, which is not visible"),
        "{said}"
    );
}

async fn s6_of_a_script_that_runs_a_script_is_said_which_interpreter_is_not_visible() {
    let home = Home::new();
    let put = |name: &str, first: &str| {
        let path = home.path(".cargo/bin").join(name);
        fs::write(&path, format!("#!{first}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path.display().to_string()
    };
    let hidden = home.path("tools/python").display().to_string();
    let inner = put("inner", &hidden);
    put("outer", &inner);
    let said = home.run(Some("rustup"), &["outer"]);
    let told = format!("outer is run by {hidden}, which is not visible");
    assert!(said.contains(&told), "{said}");
}

async fn s6_of_a_script_in_the_workspace_is_said_what_its_first_line_names() {
    let home = Home::new();
    let tell = |first: &str| {
        let dir = workspace();
        let script = dir.path().join("script");
        fs::write(&script, format!("#!{first} -x\n")).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
        home.run_in(dir.path(), &["./script"])
    };
    // The error is the same for a file that the host has and for one that it does not have. Otherwise a script could
    // find out. The first one exists.
    for (named, shows) in [
        ("/sys/kernel", "/sys"),
        ("/sys/no-such-thing", "/sys"),
        ("/home/me/.nvm/versions/node/v1/bin/node", "nvm"),
        ("/home/me/.pyenv/versions/3.1/bin/python", "pyenv"),
        ("/srv/tools/tool", "/srv/tools"),
    ] {
        let said = tell(named);
        let told =
            format!("./script is run by {named}, which is not visible to commands: Policy::visible {shows} shows it");
        assert!(said.contains(&told), "{said}");
    }
    // Paths that would be visible if they existed, and characters that a terminal would obey.
    for first in ["/usr/bin/no-such-program", "/tmp/no-such-program", "/srv/\u{1b}[2J"] {
        let said = tell(first);
        assert!(said.contains("./script, or the interpreter that it names"), "{said}");
    }
}

async fn s6_of_a_link_in_the_workspace_nothing_is_said() {
    let home = Home::new();
    // The target of the link exists in one case and not in the other.
    let tell = |target: &Path| {
        let dir = workspace();
        std::os::unix::fs::symlink(target, dir.path().join("link")).expect("a link");
        let mut host = program(crate::who::binary("zoo-host"));
        host.arg(marker())
            .arg(dir.path())
            .args(["run", "./link"])
            .env("HOME", home.0.path());
        let output = host.output().expect("a host");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let there = tell(&home.path(".cargo/bin/greet"));
    assert!(there.contains("./link, or the interpreter that it names"), "{there}");
    assert_eq!(there, tell(&home.path(".cargo/bin/nothing")));
}

crate::who::each_user!(
    b1_a_toolchain_is_shown_by_its_name_and_no_secret_beside_it,
    b1_what_holds_secrets_is_not_shown_by_its_path,
    s6_of_a_program_that_is_not_visible_is_said_where_it_is_and_what_shows_it,
    s6_of_a_script_is_said_which_interpreter_is_not_visible,
    s6_of_a_script_that_runs_a_script_is_said_which_interpreter_is_not_visible,
    s6_of_a_script_in_the_workspace_is_said_what_its_first_line_names,
    s6_of_a_link_in_the_workspace_nothing_is_said,
);
