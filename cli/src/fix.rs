//! `capsule doctor --fix`: finds and changes the settings that prevent confinement on this machine.
//!
//! Constraints that shape it:
//! - Every change is shown before it is made, to the byte: a step is data, and the same data is printed and carried out.
//! - A step is carried out whole or not at all: if a part of it fails, the files that it wrote are restored.
//! - All files lie beneath one folder, which is `/` except in the tests, so that each step is tested without a machine that
//!   needs it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use crate::exit_code::{BAD_USAGE, FAILED, SUCCEEDED};
use crate::{console, report};

/// One step: changes that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    title: &'static str,
    /// Why confinement does not work, and what the step allows.
    reason: &'static str,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// The file gets this content, and is made if it does not exist.
    Write { path: PathBuf, content: String },
    /// A setting of the kernel, until the next boot.
    Set { path: PathBuf, value: &'static str },
    /// A program, which must succeed.
    Run(Vec<String>),
}

/// A setting of which one value, or a range of values, prevents confinement.
struct Sysctl {
    name: &'static str,
    /// Whether a value prevents confinement.
    is_bad: fn(i64) -> bool,
    good: &'static str,
    title: &'static str,
    reason: &'static str,
}

const SYSCTLS: [Sysctl; 3] = [
    Sysctl {
        name: "kernel.unprivileged_userns_clone",
        is_bad: |value| value == 0,
        good: "1",
        title: "allow ordinary users to make user namespaces",
        reason: "a host that is not root confines commands with user namespaces, which this kernel gives only to root",
    },
    Sysctl {
        name: "user.max_user_namespaces",
        is_bad: |value| value < 1024,
        good: "15000",
        title: "allow more user namespaces",
        reason: "each confined command needs one, and this machine allows few or none",
    },
    Sysctl {
        name: "kernel.perf_event_paranoid",
        is_bad: |value| value > 2,
        good: "2",
        title: "allow processor time to be counted",
        reason: "a host that is not root counts the processor time of a process tree with a perf event; without one it has to \
                 sample the processes one by one",
    },
];

/// Shows the steps, and carries them out if the user agrees. Returns the exit code.
pub(crate) fn fix(yes: bool) -> u8 {
    let root = Path::new("/");
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/capsule"));
    let steps = steps(root, &program);
    if let Err(error) = report::write(shown(&steps).as_bytes()) {
        console::error(&format!("cannot write to standard output: {error}"));
        return FAILED;
    }
    if steps.is_empty() {
        return SUCCEEDED;
    }
    if !rustix::process::geteuid().is_root() {
        console::error("only root can make these changes: run `sudo capsule doctor --fix`");
        return FAILED;
    }
    if !yes {
        if !io::stdin().is_terminal() {
            console::error("nothing was changed: answer on a terminal, or give --yes");
            return BAD_USAGE;
        }
        if !is_wanted() {
            console::error("nothing was changed");
            return FAILED;
        }
    }
    for step in &steps {
        if let Err(error) = carry_out(step, root, &mut run) {
            console::error(&format!(
                "{}: {error}; the changes of this step were undone",
                step.title
            ));
            return FAILED;
        }
    }
    SUCCEEDED
}

/// The steps for the machine whose files lie beneath `root`.
fn steps(root: &Path, program: &Path) -> Vec<Step> {
    let mut steps: Vec<_> = SYSCTLS.iter().filter_map(|sysctl| sysctl_step(root, sysctl)).collect();
    steps.extend(apparmor(root, program));
    steps.extend(delegation(root));
    steps
}

fn number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn proc_file(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn sysctl_step(root: &Path, sysctl: &Sysctl) -> Option<Step> {
    let path = proc_file(sysctl.name);
    let value = number(&beneath(root, &path))?;
    (sysctl.is_bad)(value).then(|| Step {
        title: sysctl.title,
        reason: sysctl.reason,
        changes: vec![
            Change::Write {
                path: format!("/etc/sysctl.d/60-capsule-{}.conf", sysctl.name.replace('.', "-")).into(),
                content: format!("# {}\n{} = {}\n", sysctl.title, sysctl.name, sysctl.good),
            },
            Change::Set {
                path,
                value: sysctl.good,
            },
        ],
    })
}

/// Ubuntu lets a program make user namespaces only if a profile of the program allows it.
fn apparmor(root: &Path, program: &Path) -> Option<Step> {
    let restricted = number(&beneath(
        root,
        &proc_file("kernel.apparmor_restrict_unprivileged_userns"),
    ))?;
    let profile = Path::new("/etc/apparmor.d/capsule");
    if restricted == 0 || beneath(root, profile).exists() {
        return None;
    }
    let program = program
        .to_str()
        .filter(|path| !path.contains(['"', '*', '?', '[', '{', '@', '\n']))?;
    Some(Step {
        title: "give this program an AppArmor profile",
        reason: "AppArmor takes the rights in a user namespace from every program without a profile, and the confinement of \
                 commands needs these rights",
        changes: vec![
            Change::Write {
                path: profile.into(),
                content: format!(
                    "# Lets capsule make user namespaces, with which it confines commands. This profile restricts nothing.\n\
                     abi <abi/4.0>,\n\nprofile capsule \"{program}\" flags=(unconfined) {{\n  userns,\n}}\n"
                ),
            },
            Change::Run(vec![
                "apparmor_parser".into(),
                "-r".into(),
                "/etc/apparmor.d/capsule".into(),
            ]),
        ],
    })
}

/// systemd gives a user's services the controllers `memory` and `pids`, unless the distribution has configured otherwise.
fn delegation(root: &Path) -> Option<Step> {
    let drop_in = Path::new("/etc/systemd/system/user@.service.d/60-capsule.conf");
    let users = fs::read_dir(beneath(root, Path::new("/sys/fs/cgroup/user.slice"))).ok()?;
    let lacks = users.flatten().any(|slice| {
        let name = slice.file_name();
        let user = name
            .to_str()
            .and_then(|name| name.strip_prefix("user-")?.strip_suffix(".slice"));
        let Some(user) = user else { return false };
        let controllers = slice.path().join(format!("user@{user}.service/cgroup.controllers"));
        fs::read_to_string(controllers).is_ok_and(|list| {
            let has = |name| list.split_ascii_whitespace().any(|it| it == name);
            !has("memory") || !has("pids")
        })
    });
    if !lacks || beneath(root, drop_in).exists() {
        return None;
    }
    Some(Step {
        title: "let systemd delegate control groups to users' services",
        reason: "the kernel limits the memory of a process tree with a control group, and a user's services have no group to \
                 divide; afterwards, run the host as a service with Delegate=yes and DelegateSubgroup=host",
        changes: vec![
            Change::Write {
                path: drop_in.into(),
                content: "[Service]\nDelegate=cpu memory pids\n".into(),
            },
            Change::Run(vec!["systemctl".into(), "daemon-reload".into()]),
        ],
    })
}

fn shown(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "This command found no setting to change on this machine.\n".into();
    }
    let mut text = String::from("Changes for this machine:\n");
    for (number, step) in steps.iter().enumerate() {
        // A write to a string cannot fail.
        let _ = write!(text, "\n{}. {}\n   {}\n", number + 1, step.title, step.reason);
        for change in &step.changes {
            let _ = match change {
                Change::Write { path, content } => {
                    let content = content.replace('\n', "\n       ");
                    writeln!(text, "   - write {}:\n       {}", path.display(), content.trim_end())
                }
                Change::Set { path, value } => writeln!(text, "   - set {} to {value}", path.display()),
                Change::Run(program) => writeln!(text, "   - run {}", program.join(" ")),
            };
        }
    }
    text
}

fn is_wanted() -> bool {
    let mut answer = String::new();
    console::finish();
    let asked = write!(io::stderr(), "\nMake these changes? [y/N] ").and_then(|()| io::stderr().flush());
    asked.is_ok() && io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A file and its earlier content; `None` if it did not exist.
type Before = (PathBuf, Option<Vec<u8>>);

fn carry_out(step: &Step, root: &Path, run: &mut dyn FnMut(&[String]) -> io::Result<()>) -> io::Result<()> {
    let mut written: Vec<Before> = Vec::new();
    let done = step.changes.iter().try_for_each(|change| match change {
        Change::Write { path, content } => {
            let path = beneath(root, path);
            written.push((path.clone(), fs::read(&path).ok()));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, content)
        }
        Change::Set { path, value } => {
            let path = beneath(root, path);
            written.push((path.clone(), fs::read(&path).ok()));
            fs::write(&path, value)
        }
        Change::Run(program) => run(program),
    });
    if done.is_err() {
        for (path, before) in written.into_iter().rev() {
            // A file that cannot be restored could not be written in the first place.
            drop(match before {
                Some(content) => fs::write(path, content),
                None => fs::remove_file(path),
            });
        }
    }
    done
}

fn run(program: &[String]) -> io::Result<()> {
    let (name, args) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a tool of the machine, which the user has seen and agreed to; no capsule is involved"
    )]
    let status = std::process::Command::new(name).args(args).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{name} failed ({status})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    const UBUNTU: &[(&str, &str)] = &[
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
        ("proc/sys/kernel/perf_event_paranoid", "4\n"),
        ("proc/sys/kernel/unprivileged_userns_clone", "1\n"),
        ("proc/sys/user/max_user_namespaces", "0\n"),
        (
            "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers",
            "pids\n",
        ),
    ];

    #[test]
    fn what_is_in_the_way_is_found_and_shown_before_it_is_done() {
        let root = machine(UBUNTU);
        let steps = steps(root.path(), Path::new("/usr/bin/capsule"));
        let titles: Vec<_> = steps.iter().map(|step| step.title).collect();
        assert_eq!(
            titles,
            [
                "allow more user namespaces",
                "allow processor time to be counted",
                "give this program an AppArmor profile",
                "let systemd delegate control groups to users' services",
            ]
        );
        let shown = shown(&steps);
        for part in [
            "user.max_user_namespaces = 15000",
            "\"/usr/bin/capsule\"",
            "systemctl daemon-reload",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn a_machine_without_obstacles_has_no_steps() {
        let root = machine(&[
            ("proc/sys/kernel/perf_event_paranoid", "2\n"),
            ("proc/sys/user/max_user_namespaces", "96365\n"),
        ]);
        assert_eq!(steps(root.path(), Path::new("/usr/bin/capsule")), []);
    }

    #[test]
    fn after_it_was_done_nothing_is_in_the_way() {
        let root = machine(UBUNTU);
        let mut ran = Vec::new();
        for step in steps(root.path(), Path::new("/usr/bin/capsule")) {
            carry_out(&step, root.path(), &mut |program| {
                ran.push(program.join(" "));
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(
            ran,
            ["apparmor_parser -r /etc/apparmor.d/capsule", "systemctl daemon-reload"]
        );
        assert_eq!(steps(root.path(), Path::new("/usr/bin/capsule")), []);
        assert!(
            root.path()
                .join("etc/sysctl.d/60-capsule-user-max_user_namespaces.conf")
                .exists()
        );
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let root = machine(UBUNTU);
        let step = apparmor(root.path(), Path::new("/usr/bin/capsule")).unwrap();
        let failed = carry_out(&step, root.path(), &mut |_| Err(io::ErrorKind::NotFound.into()));
        assert!(failed.is_err());
        assert!(!root.path().join("etc/apparmor.d/capsule").exists());
    }

    #[test]
    fn a_path_that_would_mean_something_else_in_a_profile_is_none() {
        let root = machine(UBUNTU);
        assert_eq!(apparmor(root.path(), Path::new("/tmp/a{b,c}/capsule")), None);
    }
}
