//! The `capsule` command: runs capsules from a terminal or a script.
//!
//! This file only joins the parts: `args` (the options), `call` (one CALL), `calls` (all calls of a run), `capsule_file` and
//! `build_capsule` (from CAPSULE to a component, with `build_confined`, `cargo` and `tool`), `languages` (the same where cargo does not
//! build), `build_flags` (the options of builds), `build_inputs` (whether a build would use what processes made), `build_command`, `new` and `wit_folder` (the commands for authors, with `files` and what is `embedded`), `manifest` (the
//! declarations of the capsule's author), `asks` and `grants` (what it asks for, and what was granted before), `ceilings`, `network` and
//! `visible` (the limits, the network and the view of its processes), `hosting` (a host for one capsule, and `failure`), `run` (`capsule run`), `mcp` (the server for agents), `until_exit` (the wait for the processes),
//! `trial` (of the confinement, with `trials_kept` and `late_trial`), `store` (the capsules' values), `user_dirs` (the folders of all
//! that is kept), `report` (the lines on standard output), `denials`, `never_called` and `left_running` (what a user is told beside
//! them), `interrupt` (signals), `doctor` and `fix` (what this machine can enforce, and the settings that prevent it), `audit` (the audit
//! log), `conformance` (the suite), `console` (messages to the user), `stderr` (the queue to standard error), and `exit_code`.

mod args;
mod asks;
mod audit;
mod build_capsule;
mod build_command;
mod build_confined;
mod build_flags;
mod build_inputs;
mod call;
mod calls;
mod capsule_file;
mod cargo;
mod ceilings;
#[cfg(feature = "conformance")]
mod conformance;
mod console;
mod denials;
mod doctor;
mod embedded;
mod exit_code;
mod failure;
mod files;
mod fix;
mod grants;
mod hosting;
mod interrupt;
mod languages;
mod late_trial;
mod left_running;
mod manifest;
mod mcp;
mod network;
mod never_called;
mod new;
mod option_text;
mod report;
mod run;
mod stderr;
mod store;
mod tool;
mod trial;
mod trials_kept;
mod until_exit;
mod user;
mod user_dirs;
mod visible;
mod wit_folder;
mod written;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::init_logging(cli.verbose);
    let code = match cli.command {
        Command::Run(args) => with_runtime(run::run(*args)),
        Command::Mcp(args) => with_runtime(mcp::mcp(*args)),
        #[cfg(feature = "conformance")]
        Command::Conformance(args) => conformance::conformance(args, cli.verbose),
        Command::Build(args) => with_runtime(build_command::build(args)),
        Command::New(args) => with_runtime(new::new(args)),
        Command::Wit(args) => wit_folder::wit(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Audit(args) => audit::audit(&args),
    };
    console::finish();
    ExitCode::from(code)
}

fn with_runtime(work: impl Future<Output = u8>) -> u8 {
    ceilings::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console::error(&format!("cannot start threads: {error}"));
            return exit_code::FAILED;
        }
    };
    let code = runtime.block_on(work);
    // Does not wait for blocking tasks: a guest that still computes, or a write to a reader that does not read, would delay
    // the exit. The capsule's processes do not depend on it: they have ended before the work returns.
    runtime.shutdown_background();
    code
}
