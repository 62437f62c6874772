//! `capsule doctor` reports what a machine can enforce, and `capsule run` refuses to start where that is too little.

use std::fs::{self, File};
use std::process::Command;

use rustix::process::geteuid;
use serde_json::Value;

use crate::support::{
    Ended, Workspace, command, dev_server_file, ended, finish, skip, within, without_user_namespaces,
};

fn doctor() -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_capsule"));
    command.args(["doctor", "--json"]);
    command
}

/// The one line of facts, after a check of the exit code.
#[track_caller]
fn facts(ended: &Ended, code: i32) -> &Value {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert_eq!(ended.lines[0]["sufficient"], code == 0, "{ended:?}");
    &ended.lines[0]
}

#[track_caller]
fn layer<'a>(facts: &'a Value, name: &str) -> &'a Value {
    let mut layers = facts["layers"].as_array().unwrap().iter();
    layers
        .find(|layer| layer["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {facts}"))
}

/// Every necessary layer is available, and the processes of a command can be counted.
#[track_caller]
fn is_well(ended: &Ended) {
    let facts = facts(ended, 0);
    for layer in facts["layers"].as_array().unwrap() {
        assert!(layer["state"] == "available" || layer["needed"] == false, "{layer}");
    }
    assert_eq!(facts["limits"]["pids"], "kernel", "{facts}");
    let network = &facts["network"];
    assert!(
        network["bounded_buffers"].is_boolean() && network["ipv6"].is_boolean(),
        "{network}"
    );
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

/// One necessary layer is missing. Standard error alone gives the reason and the remedy.
#[track_caller]
fn lacks(ended: &Ended, name: &str, reason: &str) {
    let missing = layer(facts(ended, 1), name);
    assert_eq!(missing["state"], "missing", "{ended:?}");
    assert_eq!(missing["needed"], true, "{ended:?}");
    assert!(missing["reason"].as_str().unwrap().contains(reason), "{ended:?}");
    let remedy = missing["remedy"].as_str().unwrap();
    for part in [name, reason, remedy] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
}

#[test]
fn b2_a_machine_that_can_confine_is_well() {
    let ended = finish(&mut doctor());
    if ended.code != Some(0) {
        return skip(&ended.stderr);
    }
    is_well(&ended);
}

#[test]
fn b2_it_is_well_for_an_ordinary_user_too() {
    if !geteuid().is_root() {
        return skip("root, who can become another user");
    }
    let mut setpriv = command("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    // Executed by its descriptor, because the build may lie in a folder that only root can enter.
    setpriv.args(["/proc/self/fd/0", "doctor", "--json"]);
    setpriv.stdin(File::open(env!("CARGO_BIN_EXE_capsule")).unwrap());
    match setpriv.output() {
        Ok(output) => {
            let ended = ended(output);
            is_well(&ended);
            assert_eq!(ended.lines[0]["runs_as"]["host"]["uid"], 65534, "{ended:?}");
        }
        Err(error) => skip(&format!("setpriv of util-linux: {error}")),
    }
}

/// Runs a command in a folder that belongs to user 1000, on a file system without id-mapped mounts. The kernel has such
/// a file system for files in memory.
fn without_mapped_mounts(place: &Workspace, inner: &Command) -> Command {
    let there = "mount -t ramfs none \"$1\" && mkdir \"$1/work\" && chmod 755 \"$1\" && chown 1000:1000 \"$1/work\" && \
                 cd \"$1/work\" && shift && exec \"$@\"";
    let mut unshare = command("unshare");
    unshare.args(["--mount", "sh", "-c", there, "sh"]).arg(place.path());
    within(unshare, inner)
}

#[test]
fn b8_a_folder_where_commands_run_as_its_owner_is_told() {
    if !geteuid().is_root() {
        return skip("root, who can mount");
    }
    let place = Workspace::new();
    let ended = finish(&mut without_mapped_mounts(&place, &doctor()));
    let there = facts(&ended, 0);
    assert!(there["runs_as"]["own_user"].is_object(), "{ended:?}");
    assert_eq!(there["workspace"]["runs_as"]["owner"]["uid"], 1000, "{ended:?}");
    let mut plain = command(env!("CARGO_BIN_EXE_capsule"));
    plain.arg("doctor");
    let output = without_mapped_mounts(&place, &plain).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("as its owner (1000)"), "{table}");

    let elsewhere = Workspace::new();
    let mut asked = doctor();
    let ended = finish(asked.arg("--dir").arg(elsewhere.path()));
    let there = facts(&ended, 0);
    assert!(there["workspace"]["runs_as"]["own_user"].is_object(), "{ended:?}");

    // The warning appears at the first use of the folder, and not again.
    let mut run = command(env!("CARGO_BIN_EXE_capsule"));
    run.args(["run", "--workspace", ".", "--allow", "python3", "--allow-persistent"])
        .arg(dev_server_file())
        .args(["start", "stop"])
        .env_remove("RUST_LOG");
    let ended = finish(&mut without_mapped_mounts(&place, &run));
    let warnings = ended.stderr.matches("run as the folder's owner").count();
    assert_eq!(warnings, 1, "{ended:?}");
}

#[test]
fn w5_a_machine_that_cannot_bound_the_buffers_of_a_network_is_told() {
    if !geteuid().is_root() {
        return skip("root, who can mount");
    }
    // As in a container.
    let read_only = |inner: &Command| {
        let mut unshare = command("unshare");
        let there = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
        unshare.args(["--mount", "sh", "-c", there, "sh"]);
        within(unshare, inner)
    };
    let ended = finish(&mut read_only(&doctor()));
    assert_eq!(facts(&ended, 0)["network"]["bounded_buffers"], false, "{ended:?}");
    let ended = finish(&mut doctor());
    assert_eq!(facts(&ended, 0)["network"]["bounded_buffers"], true, "{ended:?}");
    let mut plain = command(env!("CARGO_BIN_EXE_capsule"));
    plain.arg("doctor");
    let table = String::from_utf8(read_only(&plain).output().unwrap().stdout).unwrap();
    for part in ["private network", "has no bound", "remedy: a container"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
}

#[test]
fn b2_without_user_namespaces_it_says_which_layer_why_and_what_to_do() {
    let Some(mut doctor) = without_user_namespaces(&doctor()) else {
        return;
    };
    let ended = finish(&mut doctor);
    lacks(&ended, "user namespace", "No space left on device");
    // This layer was not tried, so the report claims nothing about it.
    assert_eq!(layer(&ended.lines[0], "seccomp")["state"], "unknown", "{ended:?}");
}

#[test]
fn b2_a_root_without_another_user_is_told_so() {
    let mut unshare = command("unshare");
    unshare.args(["--user", "--map-root-user"]);
    if !unshare.arg("true").status().is_ok_and(|status| status.success()) {
        return skip("unshare of util-linux, and user namespaces");
    }
    let mut unshare = command("unshare");
    unshare.args(["--user", "--map-root-user"]);
    lacks(&finish(&mut within(unshare, &doctor())), "identity", "Invalid argument");
}

#[test]
fn b2_the_table_says_the_same_to_a_person() {
    let mut plain = command(env!("CARGO_BIN_EXE_capsule"));
    plain.arg("doctor");
    let Some(mut plain) = without_user_namespaces(&plain) else {
        return;
    };
    let output = plain.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    for part in [
        "does not work",
        "user namespace     missing",
        "reason: clone",
        "remedy: ",
        "max_*_namespaces",
    ] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
}

#[test]
fn b2_run_refuses_where_it_cannot_confine_before_it_builds() {
    let folder = Workspace::new();
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"shop\"\nedition = \"2024\"\n[lib]\n[workspace]\n",
    );
    fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/lib.rs", "");
    let target = folder.path().join("target");
    let workspace = Workspace::new();
    let mut run = workspace.run([folder.path().to_str().unwrap(), "open"]);
    run.env("CARGO_TARGET_DIR", &target);
    let Some(mut run) = without_user_namespaces(&run) else {
        return;
    };

    let ended = finish(&mut run);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    for part in [
        "user namespace",
        "No space left on device",
        "max_*_namespaces",
        "capsule doctor",
        "--unconfined",
    ] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    assert!(!target.exists());
}

#[test]
fn b2_run_refuses_where_it_cannot_confine_before_it_tells_of_a_component_that_does_not_load() {
    let workspace = Workspace::new();
    let folder = Workspace::new();
    // The preamble of a component, and a section that there is not: the load fails sooner than the trial of the confinement.
    folder.write("broken.wasm", "\0asm\x0d\0\x01\0\x7f\x01\0");
    let broken = folder.path().join("broken.wasm");
    let run = workspace.run([broken.to_str().unwrap(), "open"]);
    let Some(mut run) = without_user_namespaces(&run) else {
        return;
    };

    let ended = finish(&mut run);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.lines.is_empty(), "{ended:?}");
    assert!(ended.stderr.contains("user namespace"), "{ended:?}");
    assert!(!ended.stderr.contains("cannot load"), "{ended:?}");
}
