//! The command line's options and their help texts. Every check that needs no build and no component is made here or in the
//! value parsers, so that bad usage ends with exit code 2 before anything runs.

use std::path::PathBuf;

use capsule_host::audit::Head;
use capsule_host::sandbox::Visible;
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::build_command::BuildArgs;
use crate::build_flags::BuildFlags;
use crate::call::{Argument, parse_argument};
use crate::new::NewArgs;
use crate::wit_folder::WitArgs;
use crate::written::Written;
use crate::{calls, ceilings, network};

/// Runs capsules: WebAssembly components that may start native processes and reach them again later.
#[derive(Debug, Parser)]
#[command(name = "capsule", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Say more on standard error: -v what the host does, -vv in detail, -vvv everything.
    ///
    /// Without it, warnings are shown, and what the capsule writes to its standard error or logs as a warning or worse.
    /// The environment variable RUST_LOG, where it is set, decides instead.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(NewArgs),
    Build(BuildArgs),
    Run(Box<RunArgs>),
    Wit(WitArgs),
    Mcp(Box<McpArgs>),
    Doctor(DoctorArgs),
    Audit(AuditArgs),
    #[cfg(feature = "conformance")]
    Conformance(ConformanceArgs),
}

/// Judge this host by the conformance suite: one small capsule for each behaviour of the contract.
///
/// Prints one line for each case: `ok`, `FAIL` or `n/a`, the clause, the case and the observation. A case that cannot run on
/// this machine or with these options is `n/a`, with the reason, and never counts as passed. Every case runs against a host
/// of its own, in a process and a folder of its own.
///
/// Exit code: 0 if no case failed, 1 if a case failed or the host could not be started, 2 for bad usage.
#[cfg(feature = "conformance")]
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    #[command(flatten)]
    pub(crate) suite: capsule_conformance::Options,

    /// Run the cases' processes without confinement: with all your rights, on all your files.
    ///
    /// Cases that need confinement are then `n/a`, and the suite checks the refusals that are promised instead.
    #[arg(long, requires = "allow_persistent")]
    pub(crate) unconfined: bool,

    /// Let unconfined processes outlive the instance that starts them. Most cases need this, so --unconfined requires it.
    #[arg(long, requires = "unconfined")]
    pub(crate) allow_persistent: bool,
}

/// Report what this machine and this user can enforce, layer by layer: what works, what is missing, and how to get it.
///
/// This confines a command that does nothing, in the same way as any other, in a folder of its own that is removed
/// afterwards.
///
/// Exit code: 0 if the default confinement works, 1 if it does not.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the report as one JSON object on one line.
    #[arg(long)]
    pub(crate) json: bool,

    /// The control group to use, as for `capsule run`.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup: Option<PathBuf>,

    /// The folder to examine as a workspace: on some file systems, the commands of a root host cannot have users of their
    /// own.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Show which settings of this machine prevent confinement, and change them once you have agreed: sysctls, an AppArmor
    /// profile, the delegation of control groups by systemd. Only root can make the changes.
    #[arg(long, conflicts_with_all = ["json", "cgroup", "dir"])]
    pub(crate) fix: bool,

    /// Make the changes that --fix shows without asking.
    #[arg(long, requires = "fix")]
    pub(crate) yes: bool,
}

/// Examine an audit log of `capsule run --audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Verify(VerifyArgs),
}

/// Find the first line of an audit log that was altered, removed, inserted or moved.
///
/// Each line holds a hash over its content and the line before. The log contains no secret, so a user who may write to the
/// file can replace it by another valid log, and can cut lines off its end. To detect either, keep the head of the log
/// elsewhere. This command prints the head; `capsule run -v` prints it when it has written its log.
///
/// Exit code: 0 if the log is intact, 1 if it is broken, 2 if it cannot be read.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Fail unless the line with this hash is in the log.
    ///
    /// The hash is the head that an earlier `audit verify` printed. The log may have grown since.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_head: Option<Head>,

    /// Print the result as one JSON object on one line.
    #[arg(long)]
    pub(crate) json: bool,

    /// The log.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What capsules and their processes may use of this machine: for every command that calls capsules.
#[derive(Clone, Debug, Args)]
pub(crate) struct HostArgs {
    /// The folder in which the capsule's processes run, and whose files they may use [default: the current folder].
    ///
    /// Where the current folder cannot be a workspace, such as your home folder, `capsule run FOLDER` takes FOLDER, and says so.
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,

    /// The principal on whose behalf the calls run [default: your login name].
    ///
    /// Processes belong to a principal and a capsule; no other principal or capsule can name them.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) principal: Option<String>,

    /// Let the capsule run this command. May be given several times.
    ///
    /// The grant is for exactly this spelling: `python3` does not allow `/usr/bin/python3`. Without a grant the capsule
    /// cannot start any command.
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) allow: Vec<String>,

    /// Let the capsule keep processes running from one call to the next.
    #[arg(long)]
    pub(crate) allow_persistent: bool,

    /// Run the capsule's processes without confinement: with all your rights, on all your files.
    ///
    /// Without this option they see the system's programs, the workspace and a private /tmp, and nothing else of this machine.
    /// `capsule doctor` reports whether this machine can confine processes.
    #[arg(long)]
    pub(crate) unconfined: bool,

    /// Also show the capsule's processes a folder, at its own path, or a toolchain by its name.
    ///
    /// Processes can only read DIR, and can also write to DIR:rw. A word without a slash is a toolchain that you installed
    /// for yourself: `rustup`, `pyenv`, `nvm`, `go` or `jdk`. Processes see only the files that its programs need. May be
    /// given several times. A folder that contains your home folder, usual places of secrets or the state of this machine
    /// is refused.
    #[arg(long, value_name = "DIR[:rw]", conflicts_with = "unconfined")]
    pub(crate) visible: Vec<Written<Visible>>,

    /// Grant everything that the capsule's manifest asks for, and nothing more.
    ///
    /// Without this option the command lists what is asked and not granted, and runs without it. This machine's network
    /// (`--network host`) and `--commits` are never granted by this option, and neither is a folder that `--visible` refuses.
    #[arg(long, conflicts_with = "unconfined")]
    pub(crate) grant_all_asked: bool,

    /// Save what this run is granted, so that the next run of this capsule needs no options for it.
    ///
    /// The grants of the same file or folder, under the same name, are replaced in `capsule.grants.toml` in
    /// $XDG_CONFIG_HOME/capsule or ~/.config/capsule. They are for confined processes: a run with --unconfined does not use
    /// them. `--commits`, `--unprotect` and limits are not saved.
    #[arg(long, conflicts_with = "unconfined")]
    pub(crate) save_grants: bool,

    /// Do not use grants that were saved. With --save-grants, only those of this command line are saved.
    #[arg(long)]
    pub(crate) no_saved_grants: bool,

    /// Record every call that the capsule makes in this file: the operation, its owner, and its outcome. Each name that its
    /// processes ask for or connect to is recorded, too.
    ///
    /// Each line is one JSON object, with a hash over the line before, for `capsule audit verify`. New lines
    /// are appended to an existing file. The file may not lie in the workspace. An unconfined process can write to it wherever
    /// it lies.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,

    /// The control group (version 2) in which each process gets a group, together with all that it starts [default: found
    /// automatically].
    ///
    /// With a group the kernel limits the memory of the whole tree. You must have the right to write to it, as with one
    /// that systemd delegates, and it must hold no process itself. `capsule doctor` reports which group is found.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) build: BuildFlags,

    /// Let the processes make commits if the workspace is a git repository.
    ///
    /// Without this option they can read its `.git` and cannot write there. With it they still cannot change the
    /// configuration and the hooks, but a hostile process can leave an index that runs its code the next time you use git
    /// there.
    #[arg(long, conflicts_with = "unconfined")]
    pub(crate) commits: bool,

    /// Let the processes change PATH in the workspace, which they otherwise can only read. May be given several times.
    ///
    /// Existing files that tools execute automatically are read-only for the processes: `.envrc`, `.vscode`, `.github`,
    /// `.cargo` and the like. PATH is relative to the workspace.
    #[arg(long, value_name = "PATH", conflicts_with = "unconfined")]
    pub(crate) unprotect: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) network: network::Flags,

    #[command(flatten)]
    pub(crate) ceilings: ceilings::Flags,
}

/// Run calls of a capsule, in order, and print one JSON line for each.
///
/// The calls are on the command line, or in the lines of standard input (`-`) or of a file (`--calls FILE`).
///
/// Every call runs in a fresh instance of the capsule. A call can reach the processes that earlier calls started. When the
/// command ends, for whatever reason, it ends every process that the calls started.
///
/// What a capsule keeps by `capsule:store` stays for later runs of the same path, with the same principal and the same name of the
/// capsule. It is in `$XDG_STATE_HOME/capsule/store`, or in `~/.local/state/capsule/store`. Remove that folder to remove all of it.
#[derive(Debug, Args)]
#[command(after_long_help = OUTPUT_HELP)]
pub(crate) struct RunArgs {
    /// The capsule's name [default: the file's name without its extension; for a folder, its package's name].
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) capsule_id: Option<String>,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) of_calls: calls::Flags,

    /// A component (`.wasm`), the folder of a capsule, which is built first, or a folder whose `Capsule.toml` names a component.
    ///
    /// A crate is built in release mode for wasm32-wasip2, with the toolchain that applies in it. If the target is missing,
    /// rustup adds it. RUSTFLAGS is not passed on, because it is meant for programs of this machine. Put flags for the
    /// capsule into CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS or the folder's `.cargo/config.toml`.
    ///
    /// A build runs code of the crate's authors, so it is confined too (unless you give --trust-build). It sees the crate's
    /// workspace, the toolchains and the registry's cache, read-only. It writes to `target/confined` in the workspace,
    /// whatever CARGO_TARGET_DIR says, and to `Cargo.lock`. It has a network only to fetch missing crates.
    ///
    /// A folder without a `Cargo.toml` is built as the table `[build]` of its `Capsule.toml` says (see `capsule build --help`). Without
    /// that table, the one component that the `Capsule.toml` names runs.
    ///
    /// The command follows the manifest of the capsule's author: `NAME.capsule.toml` beside `NAME.wasm`, or a `Capsule.toml` beside it
    /// that names the file or no file; for a crate its `Capsule.toml`, or `[package.metadata.capsule]` in its `Cargo.toml`. Its keys:
    /// `interceptors` (messages that call an action), `background` (whether `run` is called, before the first call), `publish` and
    /// `subscribe` (topics), `limits` (a table with the names and values of the limits' flags, such as `max-pids`, which can only
    /// lower what you allow), and requests, which grant nothing: `allow`, `allow-persistent`, `visible`, `commits`, and `network` (a
    /// table with a `mode`, which can only lower yours, `publish` and `egress`). The command lists the requests that you did not grant;
    /// see --grant-all-asked. Unknown keys are reported and have no effect. Messages that wait when the last call has ended are
    /// delivered for two more seconds.
    #[arg(value_name = "CAPSULE", help_heading = None::<&str>)]
    pub(crate) capsule: PathBuf,

    /// A call to make: `action`, `action=<json>` or `action=@file`; or `-` for the calls in the lines of standard input, see --calls.
    ///
    /// The capsule gets the JSON text unchanged; without one it gets no payload. All calls of the command line are checked before
    /// the first one runs. A call that fails does not stop the calls after it.
    #[arg(value_name = "CALL", help_heading = None::<&str>, required_unless_present = "calls_file", value_parser = parse_argument)]
    pub(crate) calls: Vec<Argument>,
}

/// Serve the actions of capsules, and tools for processes, to an agent: an MCP server on standard input and output.
///
/// An agent's configuration starts this command, and the agent then calls its tools. Without a CAPSULE the tools are those for
/// processes: start a granted command, read its output, write to it, wait for it, signal it, stop it, list all. The processes run
/// beside the agent's calls, confined as those of any capsule, and end with this command.
///
/// Each action that a CAPSULE's manifest describes is a tool, named CAPSULE_ACTION; see the end of this text.
///
/// The options apply to each CAPSULE, and to the tools for processes. Each of them has processes, a private network and limits of its
/// own. A CAPSULE is built and loaded before the first request is answered.
#[derive(Debug, Args)]
#[command(after_long_help = MCP_HELP)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,

    /// Offer only the actions of the capsules, and no tools for processes.
    #[arg(long, requires = "capsules", help_heading = None::<&str>)]
    pub(crate) no_process_tools: bool,

    /// Capsules, each as for `capsule run`: a component (`.wasm`), or the folder of a capsule.
    #[arg(value_name = "CAPSULE", help_heading = None::<&str>)]
    pub(crate) capsules: Vec<PathBuf>,
}

const MCP_HELP: &str = "\
An action in a manifest; in a Cargo.toml the table is [package.metadata.capsule.actions.greet]:
  [actions.greet]
  description = \"Greet a person by name.\"
  read-only = true   # It changes nothing.
  input = { type = \"object\", required = [\"name\"], properties = { name = { type = \"string\" } } }
`input` is the JSON schema of the payload. Without it the action takes any object.

Standard output carries the protocol and nothing else; everything else goes to standard error.

A capsule makes at most 48 calls at once; of the process tools, only calls that may wait are counted. A further call, and a result of
more than 4 MiB, is an error of the tool. While 16 MiB of answers wait for the client to read them, no request is read.

The command ends at the end of its standard input, or by HUP, INT or TERM. Calls under way then have one more second, and every
process that was started ends. It reads nothing, and so sees no end, while more than 16 MiB of its answers are unread.

Exit code:
  0   ended as described
  1   a capsule could not be built or loaded, or the machine cannot confine processes
  2   bad usage; nothing was built and nothing ran

Examples, in an agent's configuration:
  {\"mcpServers\": {\"processes\": {\"command\": \"capsule\", \"args\": [\"mcp\", \"--workspace\", \"/home/me/project\", \"--allow\", \"python3\"]}}}
      python3 in that folder, confined and without a network to other machines
  {\"mcpServers\": {\"build\": {\"command\": \"capsule\", \"args\": [\"mcp\", \"--allow\", \"sh\", \"--allow\", \"cargo\", \"--visible\", \"rustup\"]}}}
      a shell and a toolchain, in the folder in which the agent starts the command";

const OUTPUT_HELP: &str = "\
Output, one line for each call, in order (with --jobs N, as the calls end), on standard output:
  {\"action\":…,\"result\":{\"action\":…,\"data\":…},\"ms\":…}  the capsule answered; `data` that is JSON is embedded
  {\"action\":…,\"error\":{\"kind\":…,\"message\":…}}           the call failed
The answer to a call from a line begins with its number, and with its id if it has one: {\"line\":…,\"id\":…,\"action\":…
Everything else goes to standard error.

Exit code:
  0      every call succeeded
  1      a call failed, or its result's action is `deny` or `abort`; the capsule could not be built or loaded;
         a line asked for no call; standard output was closed
  2      bad usage; nothing was built and nothing ran
  128+n  ended by signal n (HUP, INT or TERM); the call in flight is reported as `cancelled`, later ones do not run

Examples, in a clone of this project:
  capsule run --allow python3 --allow-persistent example-capsules/dev-server start get logs stop
      a server, and a fetch from it, in a network of their own
  capsule run --publish 8000 --until-exit --allow python3 --allow-persistent example-capsules/dev-server start
      the same server, at http://127.0.0.1:8000 of this machine until Ctrl-C
  capsule run --allow python3 --allow-persistent example-capsules/dev-server - < calls.jsonl
      the calls in the lines of a file, or of a program that reads each answer before it writes the next line
  capsule run --egress pypi.org --egress files.pythonhosted.org --allow pip my-capsule install
      the processes connect to these two names and to no other";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &[&str]) -> Result<RunArgs, clap::Error> {
        match Cli::try_parse_from([&["capsule", "run"], line].concat())?.command {
            Command::Run(args) => Ok(*args),
            #[cfg(feature = "conformance")]
            other @ Command::Conformance(_) => panic!("{other:?}"),
            other @ (Command::New(_)
            | Command::Build(_)
            | Command::Wit(_)
            | Command::Doctor(_)
            | Command::Audit(_)
            | Command::Mcp(_)) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn grants_nothing_unless_asked() {
        let args = parse(&["x.wasm", "go"]).unwrap();
        assert!(args.host.allow.is_empty() && !args.host.allow_persistent && !args.host.unconfined);
        assert_eq!(args.host.workspace, None);
    }

    #[test]
    fn options_may_stand_between_and_after_calls() {
        let args = parse(&["x.wasm", "a", "--allow", "sh", "b={}", "--allow=cat", "-v"]).unwrap();
        assert_eq!(args.host.allow, ["sh", "cat"]);
        let action = |argument: &Argument| match argument {
            Argument::Call(call) => call.action.clone(),
            Argument::StandardInput => panic!("{argument:?}"),
        };
        assert_eq!(args.calls.iter().map(action).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn verbosity_counts_wherever_it_stands() {
        for line in [
            &["capsule", "-vv", "run", "x.wasm", "go"][..],
            &["capsule", "run", "x.wasm", "go", "-v", "-v"],
        ] {
            assert_eq!(Cli::try_parse_from(line).unwrap().verbose, 2, "{line:?}");
        }
    }

    #[test]
    fn a_capsule_without_a_call_is_bad_usage() {
        assert_eq!(parse(&["x.wasm"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn calls_are_on_the_command_line_in_standard_input_or_in_a_file() {
        let args = parse(&["x.wasm", "a", "-", "b"]).unwrap();
        assert_eq!((args.calls.len(), &args.calls[1]), (3, &Argument::StandardInput));
        let args = parse(&["x.wasm", "--calls", "file"]).unwrap();
        assert_eq!(args.of_calls.calls_file, Some(PathBuf::from("file")));
        assert_eq!((args.of_calls.jobs, args.of_calls.timeout), (1, None));
        for option in [
            "--jobs=0",
            "--jobs=65",
            "--timeout=0s",
            "--timeout=5",
            "--config=a",
            "--config=_a=b",
        ] {
            let error = parse(&[option, "x.wasm", "go"]).unwrap_err();
            let (flag, _) = option.split_once('=').unwrap();
            assert_eq!(error.exit_code(), 2, "{option}");
            assert!(error.to_string().contains(flag), "{error}");
        }
    }

    #[test]
    fn a_head_that_is_none_is_bad_usage() {
        let verify = |head: &str| Cli::try_parse_from(["capsule", "audit", "verify", "--expect-head", head, "log"]);
        assert!(verify(&"0a".repeat(32)).is_ok());
        for head in ["", "0a", &"xy".repeat(32)] {
            assert_eq!(verify(head).unwrap_err().exit_code(), 2, "{head}");
        }
    }

    #[test]
    fn b1_what_may_not_be_shown_is_bad_usage() {
        for what in ["/", "/proc", "/etc", "/no/such/folder", "src", ""] {
            let error = parse(&["--visible", what, "x.wasm", "go"]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{what}");
            assert!(error.to_string().contains("--visible"), "{error}");
        }
        let args = parse(&["--visible", "/usr/share", "--visible=/usr/lib", "x.wasm", "go"]).unwrap();
        assert_eq!(args.host.visible.len(), 2);
    }

    #[test]
    fn r3_a_limit_that_is_none_is_bad_usage_and_named() {
        for option in [
            "--max-pids=0",
            "--max-memory=much",
            "--max-memory=0",
            "--max-cpu=1.5",
            "--max-files=-1",
            "--max-tmp=5GB",
        ] {
            let error = parse(&[option, "x.wasm", "go"]).unwrap_err();
            let (flag, _) = option.split_once('=').unwrap();
            assert_eq!(error.exit_code(), 2, "{option}");
            assert!(error.to_string().contains(flag), "{error}");
        }
        assert!(parse(&["--unconfined", "--max-tmp=5G", "x.wasm", "go"]).is_err());
        assert!(parse(&["--max-pids=8", "--max-memory=64MiB", "x.wasm", "--max-cpu=5", "go"]).is_ok());
    }

    #[test]
    fn w1_a_network_is_named_by_its_mode_or_by_nothing() {
        for line in [
            &["--network", "-v", "x.wasm", "go"][..],
            &["x.wasm", "go", "--network"],
            &["--network=none", "x.wasm", "go"],
            &["--network", "host", "x.wasm", "go"],
        ] {
            let args = parse(line).unwrap();
            assert_eq!(
                (args.capsule, args.calls.len()),
                (PathBuf::from("x.wasm"), 1),
                "{line:?}"
            );
        }
        let error = parse(&["--network", "x.wasm", "go"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("none, private, host"), "{error}");
    }

    #[test]
    fn w2_w3_a_port_or_a_rule_that_is_none_is_bad_usage_and_named() {
        for option in [
            "--publish=0.0.0.0:80",
            "--publish=80:0",
            "--publish=http",
            "--egress=https://pypi.org",
            "--egress=127.0.0.1",
            "--egress=pypi.org:0",
        ] {
            let error = parse(&[option, "x.wasm", "go"]).unwrap_err();
            let (flag, value) = option.split_once('=').unwrap();
            assert_eq!(error.exit_code(), 2, "{option}");
            assert!(
                error.to_string().contains(flag) && error.to_string().contains(value),
                "{error}"
            );
        }
        for option in [
            "--publish=80",
            "--egress=pypi.org",
            "--network=private",
            "--max-connections=3",
            "--max-dials=3",
        ] {
            assert!(parse(&[option, "x.wasm", "go"]).is_ok(), "{option}");
            let error = parse(&["--unconfined", option, "x.wasm", "go"]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{option}");
            assert!(error.to_string().contains("--unconfined"), "{error}");
        }
    }

    #[test]
    fn every_command_that_calls_capsules_has_the_same_options() {
        let line = [
            "capsule",
            "mcp",
            "--allow",
            "sh",
            "--max-pids=8",
            "--egress=pypi.org",
            "x.wasm",
            "y.wasm",
        ];
        let Command::Mcp(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(args.host.allow, ["sh"]);
        assert_eq!(args.capsules.len(), 2);
        let error = Cli::try_parse_from(["capsule", "mcp", "--no-process-tools"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn empty_names_are_bad_usage() {
        for option in ["--principal=", "--capsule-id=", "--allow="] {
            assert_eq!(parse(&[option, "x.wasm", "go"]).unwrap_err().exit_code(), 2, "{option}");
        }
    }
}
