//! `capsule-init`: between a host and its commands.
//!
//! `lib.rs` says what it is for and how the host talks to it. In the order of a life:
//!
//! ```text
//! spawner    makes inits, in new namespaces if they are to confine; all that follows is an init's life
//! main       reads the configuration from descriptor 0
//! stage      from there to the running command
//! identity   who the tree runs as        mounts, injection   what it sees        protect   what of that it cannot change
//! overlay, copies, devices   how it shares none of that        mask   what it does not see of /proc
//! prepared   the root that an init makes while it waits for a command
//! ceilings   what it may take of what it shares with others
//! guest      starts the command, behind limits, Landlock and seccomp        vfork      in init's own memory
//! supervise  waits for the command, the host's signals and the end of the channel; ends everything; reports
//! sweep      how everything is found where there is no namespace to do it
//! epolls     another process: makes epoll instances for an ordinary user's trees        asked   what they ask it
//! ```
//!
//! What shapes all of it: this program is as trusted as the host and lives beside a guest that is not. It takes nothing
//! from the guest but the status of dead children. It never blocks where the end of the channel would go unnoticed, it
//! cannot be traced, and it panics nowhere: whatever fails becomes a report and an end.
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
