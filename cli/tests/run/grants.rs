//! Grants that a manifest asks for, and grants that are saved: what is granted, what is told, and what a hostile capsule or
//! workspace cannot do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Ended, Workspace, dev_server_file, finish};

/// A capsule with this manifest, and a configuration folder.
struct Site {
    folder: Workspace,
    config: Workspace,
}

impl Site {
    fn new(manifest: &str) -> Self {
        let folder = Workspace::new();
        fs::copy(dev_server_file(), folder.path().join("server.wasm")).unwrap();
        folder.write("Capsule.toml", manifest);
        Self {
            folder,
            config: Workspace::new(),
        }
    }

    fn capsule(&self) -> PathBuf {
        self.folder.path().join("server.wasm")
    }

    fn saved(&self) -> PathBuf {
        self.config.path().join("capsule/capsule.grants.toml")
    }

    fn run(&self, options: &[&str]) -> Ended {
        self.run_as(options, &self.capsule())
    }

    fn run_as(&self, options: &[&str], capsule: &Path) -> Ended {
        let workspace = Workspace::new();
        let mut run = workspace.run(options);
        run.env("XDG_CONFIG_HOME", self.config.path());
        finish(run.arg(capsule).args(["start", "stop"]))
    }
}

const ASKS: &str =
    "allow = [\"python3\"]\nallow-persistent = true\nnetwork = { publish = [\"0:8000\"], egress = [\"pypi.org\"] }\n";

#[track_caller]
fn says(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
}

#[test]
fn what_is_asked_is_listed_and_granted_only_on_demand() {
    let site = Site::new(ASKS);
    let ended = site.run(&[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    says(
        &ended,
        &[
            "the capsule asks for these grants, which you did not give:\n  --allow python3\n  --allow-persistent\n  \
             --publish 0:8000\n  --egress pypi.org\n  --grant-all-asked gives them for this run, and with --save-grants for \
             the next runs too\n",
        ],
    );
    assert!(!ended.stderr.contains("published http"), "{ended:?}");

    let ended = site.run(&["--grant-all-asked"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    says(&ended, &["published http"]);
    assert!(!ended.stderr.contains("asks for"), "{ended:?}");
    assert!(!site.saved().exists());
    // It was for that run.
    assert_eq!(site.run(&[]).code, Some(1));
}

#[test]
fn what_gives_away_more_than_the_capsules_processes_has_its_own_option() {
    let site = Site::new(
        "allow = [\"python3\"]\nallow-persistent = true\ncommits = true\nvisible = [\"/etc\", \"/root/../etc/x\\n:rw\"]\n\
         network = { mode = \"host\" }\n",
    );
    let ended = site.run(&["--grant-all-asked", "--save-grants"]);
    says(
        &ended,
        &[
            "--network host (only by this option)",
            "--commits (only by this option)",
            "the capsule asks to see /etc, which is impossible",
            "asks to see '/root/../etc/x\\n:rw', which is impossible",
            ": --allow python3 --allow-persistent\n",
        ],
    );
    assert!(!ended.stderr.contains("have this machine's network"), "{ended:?}");
    let saved = fs::read_to_string(site.saved()).unwrap();
    assert!(
        !saved.contains("host") && !saved.contains("visible") && !saved.contains("commits"),
        "{saved}"
    );
}

#[test]
fn a_saved_grant_makes_the_options_unnecessary_and_grants_nothing_new() {
    let site = Site::new(ASKS);
    let ended = site.run(&["--grant-all-asked", "--save-grants"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    says(
        &ended,
        &[&format!(
            "saved in {}: --allow python3 --allow-persistent --publish 0:8000 --egress pypi.org\n",
            site.saved().display()
        )],
    );
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&site.saved()), mode(site.saved().parent().unwrap())),
        (0o600, 0o700)
    );

    let ended = site.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    says(
        &ended,
        &[
            "granted before, in ",
            ": --allow python3 --allow-persistent --publish 0:8000 --egress pypi.org\n",
            "published http",
        ],
    );
    assert!(!ended.stderr.contains("asks for"), "{ended:?}");

    // The capsule wants more: only that is told, and it is not granted.
    site.folder.write(
        "Capsule.toml",
        &format!("{ASKS}visible = [\"/usr/share\"]\n").replace("python3\"", "python3\", \"git\""),
    );
    let ended = site.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    says(
        &ended,
        &["did not give:\n  --allow git\n  --visible /usr/share\n  --grant-all-asked"],
    );

    for (options, capsule) in [
        (&["--no-saved-grants"][..], site.capsule()),
        (&["--capsule-id", "another"], site.capsule()),
        (&["--unconfined"], site.capsule()),
    ] {
        let ended = site.run_as(options, &capsule);
        assert_eq!(ended.code, Some(1), "{options:?}: {ended:?}");
        says(&ended, &["--allow python3\n"]);
        assert!(!ended.stderr.contains("granted before"), "{ended:?}");
    }
    // The same bytes under the same name elsewhere, and a link elsewhere, are other capsules and the same one.
    let other = Workspace::new();
    fs::copy(site.capsule(), other.path().join("server.wasm")).unwrap();
    assert_eq!(site.run_as(&[], &other.path().join("server.wasm")).code, Some(1));
    let link = other.path().join("link/server.wasm");
    fs::create_dir(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(site.capsule(), &link).unwrap();
    assert_eq!(site.run_as(&[], &link).code, Some(0));

    // Nothing granted and saved takes the grants back.
    let ended = site.run(&["--no-saved-grants", "--save-grants"]);
    says(&ended, &["this run was granted nothing"]);
    assert_eq!(site.run(&[]).code, Some(1));
}

#[test]
fn a_file_that_others_could_have_written_grants_nothing() {
    let site = Site::new(ASKS);
    assert_eq!(site.run(&["--grant-all-asked", "--save-grants"]).code, Some(0));
    let saved = site.saved();
    let text = fs::read_to_string(&saved).unwrap();
    let refuses = |reason: &str| {
        let ended = site.run(&[]);
        assert_eq!((ended.code, ended.lines.len()), (Some(2), 0), "{ended:?}");
        says(&ended, &[reason, "capsule.grants.toml"]);
        assert_eq!(site.run(&["--no-saved-grants"]).code, Some(1));
    };
    fs::set_permissions(&saved, Permissions::from_mode(0o620)).unwrap();
    refuses("chmod 600");
    fs::set_permissions(&saved, Permissions::from_mode(0o600)).unwrap();
    let second = site.config.path().join("second");
    fs::hard_link(&saved, &second).unwrap();
    refuses("second name");
    fs::remove_file(&saved).unwrap();
    std::os::unix::fs::symlink(&second, &saved).unwrap();
    refuses("symbolic links");
    fs::remove_file(&saved).unwrap();
    mknodat(CWD, &saved, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    refuses("not a regular file");
    fs::remove_file(&saved).unwrap();
    for (wrong, reason) in [
        (text.replace("allow = ", "alow = "), "line 7"),
        (text.replace("0:8000", "0.0.0.0:80"), "127.0.0.0/8"),
        (text.clone() + "=", "line"),
        ("[".repeat(100_000), "line 1"),
        ("\0".into(), "line 1"),
    ] {
        fs::write(&saved, wrong).unwrap();
        fs::set_permissions(&saved, Permissions::from_mode(0o600)).unwrap();
        refuses(reason);
    }
    fs::write(&saved, text).unwrap();
    assert_eq!(site.run(&[]).code, Some(0));
    // A folder that others can write to is not used at all.
    fs::set_permissions(saved.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(site.run(&[]).code, Some(1));
    let ended = site.run(&["--allow", "python3", "--save-grants"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    says(&ended, &["no folder for saved grants"]);
}

/// A capsule's process could otherwise make saved grants there, or change another capsule's values (contract V1).
#[test]
fn v1_folders_of_grants_and_of_values_are_in_no_workspace_and_no_writable_folder() {
    for (variable, own) in [("XDG_CONFIG_HOME", "capsule"), ("XDG_STATE_HOME", "capsule/store")] {
        let site = Site::new(ASKS);
        let parent = site.config.path();
        let run = |workspace: &Path, options: &[&str]| {
            let mut run = crate::support::command(env!("CARGO_BIN_EXE_capsule"));
            run.env(variable, &parent).args(["run", "--workspace"]).arg(workspace);
            finish(run.args(options).arg(site.capsule()).arg("start"))
        };
        // The folder is made before it is looked for.
        for workspace in [&parent, &parent.join(own)] {
            let ended = run(workspace, &[]);
            assert_eq!((ended.code, ended.lines.len()), (Some(2), 0), "{variable}: {ended:?}");
            says(&ended, &["--workspace", "keeps files that it executes or trusts"]);
        }
        let other = Workspace::new();
        for folder in [&parent, &parent.join(own)] {
            let writable = format!("{}:rw", folder.display());
            let ended = run(&other.path(), &["--visible", &writable]);
            assert_eq!((ended.code, ended.lines.len()), (Some(2), 0), "{variable}: {ended:?}");
            says(&ended, &["--visible", "keeps what it trusts"]);
        }
    }
}
