//! `capsule-init`: the program between a host and its commands.
//!
//! `lib.rs` describes its purpose and its protocol with the host. The files, in the order of use:
//!
//! ```text
//! spawner    makes inits, in new namespaces if they confine; the other files are an init's life
//! main       reads the configuration from descriptor 0
//! stage      the steps from there to the running command
//! identity   the tree's user        mounts, injection   the tree's view        protect   the read-only parts of the workspace
//! overlay, copies, devices   files that the tree shares with no other        mask   the hidden parts of /proc
//! prepared   the root that an init makes while it waits for a command
//! ceilings   the tree's limits of resources that it shares with others
//! guest      starts the command, behind limits, Landlock and seccomp        vfork      in init's own memory
//! supervise  waits for the command, the host's signals and the end of the channel; ends the tree; reports
//! sweep      finds all descendants where no namespace contains them
//! epolls     another process: makes epoll instances for an ordinary user's trees        asked   decodes their requests
//! ```
//!
//! These constraints shape all files: this program is as trusted as the host, and runs beside an untrusted guest. It takes only
//! the status of dead children from the guest. It never blocks where it would not notice the end of the channel. It cannot be
//! traced. It never panics: every failure becomes a report and an end.
#[cfg(target_os = "linux")]
mod asked;
#[cfg(target_os = "linux")]
mod ceilings;
#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod copies;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod epolls;
#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod furnish;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod injection;
#[cfg(target_os = "linux")]
mod mask;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod overlay;
#[cfg(target_os = "linux")]
mod prepared;
#[cfg(target_os = "linux")]
mod protect;
#[cfg(target_os = "linux")]
mod spawner;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(target_os = "linux")]
mod sweep;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod terminals;
#[cfg(target_os = "linux")]
mod vfork;

#[cfg(target_os = "linux")]
fn main() {
    use capsule_init::Layer;
    use channel::{Channel, Unconfigured};
    use rustix::io::Errno;

    if epolls::is_wanted() {
        epolls::run();
        return;
    }
    let Some(newborn) = spawner::run() else { return };
    let channel = Channel;
    let outcome = match channel.say_born().and_then(|()| channel.configuration()) {
        Err(Unconfigured::Gone) => return,
        Err(Unconfigured::Malformed) => Err(failure::failure(Layer::Protocol, Errno::PROTO, "configuration")),
        Ok((config, descriptors)) => stage::run(&channel, newborn, config, descriptors),
    };
    if let Err(report) = outcome {
        channel.report(&report, &[]);
    }
}

/// Namespaces, Landlock and seccomp are Linux's own. The host of another Unix refuses before it comes here.
#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
