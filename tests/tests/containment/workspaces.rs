//! What commands may not change in their own workspace, because the host's user later executes it (B6).

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use capsule_host::sandbox::{Policy, Workspace, WorkspaceError};

use crate::harness::{Host, code, sh};
use crate::who::{ORDINARY, is_root, program, skip};

/// Gives the content of a workspace to the user that commands run as. So a refusal is not one for a foreign owner.
fn hand_over(folder: &Path) {
    if is_root() {
        let chown = program("/bin/chown")
            .arg("-Rh")
            .arg(format!("{ORDINARY}:{ORDINARY}"))
            .arg(folder)
            .status();
        assert!(chown.expect("chown").success(), "the workspace's files");
    }
}

fn write(host: &Host, name: &str, content: &str) {
    let path = host.dir().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

fn read(host: &Host, name: &str) -> String {
    fs::read_to_string(host.dir().join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

/// Tries each line in a shell of its own. Each must fail. Returns the lines that did not.
async fn succeeded(host: &Host, lines: &[&str]) -> Vec<String> {
    let mut succeeded = Vec::new();
    for line in lines {
        let output = host.run(sh(line)).await.expect("a shell");
        if output.exit == code(0) {
            succeeded.push((*line).to_owned());
        }
    }
    succeeded
}

async fn works(host: &Host, script: &str) {
    host.printed(sh(&format!("set -e\n{script}"))).await;
}

/// A repository with one commit, which belongs to the user that commands run as. `false` if git is not installed.
async fn repository(host: &Host) -> bool {
    if !Path::new("/usr/bin/git").exists() {
        skip("git");
        return false;
    }
    // No repository exists yet, so a command can make one.
    works(
        host,
        "git init -q . && git config user.name a && git config user.email a@b && echo 1 > file && git add file && \
         git commit -qm first && mkdir -p .git/hooks",
    )
    .await;
    true
}

async fn b6_what_tools_execute_unasked_cannot_be_changed() {
    let host = Host::new();
    write(&host, ".envrc", "true");
    write(&host, ".cargo/config.toml", "[build]");
    write(&host, ".vscode/tasks.json", "{}");
    hand_over(host.dir());
    let left = succeeded(
        &host,
        &[
            "echo x >> .envrc",
            "rm -f .envrc",
            "mv .envrc away",
            "echo x > new && mv new .envrc",
            "ln -f .envrc linked && echo x >> linked",
            "chmod 777 .envrc",
            "touch -d 2001-01-01 .envrc",
            "echo x >> .cargo/config.toml",
            "echo x > .cargo/config",
            "rm -rf .cargo",
            "mv .cargo away",
            "mkdir .cargo2 && mv -T .cargo2 .cargo",
            "echo x > .vscode/settings.json",
        ],
    )
    .await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        [".envrc", ".cargo/config.toml"].map(|name| read(&host, name)),
        ["true", "[build]"]
    );
    works(
        &host,
        "cat .envrc .cargo/config.toml && echo x > ordinary && mkdir folder && mv ordinary folder/",
    )
    .await;
}

async fn b6_a_repository_can_be_read_and_not_written() {
    let host = Host::new();
    if !repository(&host).await {
        return;
    }
    let config = read(&host, ".git/config");
    let left = succeeded(
        &host,
        &[
            "git config core.fsmonitor 'touch /tmp/x'",
            "echo '[core]' >> .git/config",
            "echo x > .git/hooks/pre-commit",
            "rm -rf .git",
            "mv .git away",
            "mkdir evil && mv .git/config evil/",
            "echo ../evil > .git/commondir",
            "git init -q sub && git add sub",
            "mkdir new && mv -T new .git",
        ],
    )
    .await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(read(&host, ".git/config"), config);
    works(
        &host,
        "echo 2 > file; git status --short | grep -q 'M file'; git log --oneline | grep -q first; git diff > /tmp/d",
    )
    .await;
}

async fn b6_who_may_commit_may_not_configure() {
    let host = Host::with(Policy::new().commits(true));
    if !repository(&host).await {
        return;
    }
    let config = read(&host, ".git/config");
    let left = succeeded(
        &host,
        &[
            "git config core.fsmonitor 'touch /tmp/x'",
            "echo '[core]' >> .git/config",
            "rm -f .git/config",
            "echo x > .git/hooks/pre-commit",
            "mv .git/hooks .git/away",
            "rm -rf .git/hooks",
            "mv .git away",
            "mkdir new && mv -T new .git",
        ],
    )
    .await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(read(&host, ".git/config"), config);
    works(
        &host,
        "echo 2 > file && git add file && git commit -qm second && git checkout -q -b other && git gc -q && git tag t && \
         git log --oneline | grep -q second",
    )
    .await;
}

async fn b6_the_way_to_what_is_protected_stays() {
    // One is named by the path that the embedder uses, and the other as seen from the workspace.
    let host = Host::with(Policy::new().protect("a/b/tool.wasm").protect("here"));
    write(&host, "a/b/tool.wasm", "wasm");
    write(&host, "a/b/beside", "1");
    write(&host, "real/there", "1");
    symlink("real/there", host.dir().join("here")).expect("a link");
    hand_over(host.dir());
    let left = succeeded(
        &host,
        &[
            "mv a away",
            "mv a/b a/away",
            "rm -f a/b/tool.wasm",
            "echo x > a/b/tool.wasm",
            "echo x > new && mv new a/b/tool.wasm",
            "rm -f here",
            "mv here away",
            "ln -sfn a here",
            "echo x > here",
            "echo x > real/there",
            "mv real away",
        ],
    )
    .await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(["a/b/tool.wasm", "here"].map(|name| read(&host, name)), ["wasm", "1"]);
    works(
        &host,
        "echo 2 > a/b/beside && mv a/b/beside a/b/other && echo 3 > a/new && cd a/b && cat tool.wasm",
    )
    .await;
    assert_eq!(read(&host, "a/b/other"), "2\n");
}

async fn b6_what_is_protected_by_default_can_be_left_open() {
    let host = Host::with(Policy::new().unprotect(".github"));
    write(&host, ".github/workflow", "1");
    hand_over(host.dir());
    works(&host, "echo 2 > .github/workflow && rm -r .github").await;
    assert!(!host.dir().join(".github").exists());
}

async fn b6_a_workspace_that_hands_over_the_host_is_refused() {
    let own = tempfile::tempdir().expect("a folder");
    let link = own.path().join("link");
    symlink("/etc", &link).expect("a link");
    let run = Path::new("/proc/self/root/run");
    for folder in [
        Path::new("/etc"),
        Path::new("/usr/lib"),
        Path::new("/var"),
        Path::new("/dev/shm"),
        run,
        &link,
    ] {
        let refused = Workspace::open(folder);
        assert!(
            matches!(refused, Err(WorkspaceError::Refused { .. })),
            "{}: {refused:?}",
            folder.display()
        );
    }
    // By `/etc/passwd`, whatever `HOME` is: here `HOME` is a folder that was made for the test, or root's.
    let home = Workspace::open("/root");
    assert!(home.is_err(), "{home:?}");
    fs::remove_file(&link).expect("a link");
    let socket = UnixListener::bind(own.path().join("socket")).expect("a socket");
    let told = Workspace::open(own.path())
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(told.contains("/socket,") && told.contains("name a folder"), "{told}");
    drop(socket);
    assert!(Workspace::open(own.path()).is_ok(), "nothing listens there");
}

crate::who::each_user![
    b6_a_workspace_that_hands_over_the_host_is_refused,
    b6_what_tools_execute_unasked_cannot_be_changed,
    b6_a_repository_can_be_read_and_not_written,
    b6_who_may_commit_may_not_configure,
    b6_the_way_to_what_is_protected_stays,
    b6_what_is_protected_by_default_can_be_left_open,
];
