//! `capsule-init`: between a host and its commands.
//!
//! `lib.rs` says what it is for and how the host talks to it. In the order of a life:
//!
//! ```text
//! spawner    makes inits, in new namespaces if they are to confine; all that follows is an init's life
//! main       reads the configuration from descriptor 0
//! stage      from there to the running command
//! identity   who the tree runs as        root, mounts, injection   what it sees        protect   what of that it cannot change
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

#[cfg(not(target_os = "linux"))]
compile_error!("namespaces, Landlock and seccomp are Linux's own: capsule-init runs on nothing else");

mod asked;
mod ceilings;
mod channel;
mod copies;
mod devices;
mod epolls;
mod failure;
mod furnish;
mod guest;
mod identity;
mod injection;
mod mask;
mod mount_point;
mod mounts;
mod overlay;
mod prepared;
mod protect;
mod root;
mod spawner;
mod stage;
mod supervise;
mod sweep;
mod sys;
mod terminals;
mod vfork;

fn main() {
    use capsule_init::Layer;
    use channel::{Channel, Unconfigured};
    use rustix::io::Errno;

    if epolls::is_wanted() {
        epolls::run();
        return;
    }
    let Some(new_init) = spawner::run() else { return };
    let channel = Channel;
    let outcome = match channel.say_ready().and_then(|()| channel.configuration()) {
        Err(Unconfigured::Gone) => return,
        Err(Unconfigured::Malformed) => Err(failure::failure(Layer::Protocol, Errno::PROTO, "configuration")),
        Ok((config, descriptors)) => stage::run(&channel, new_init, config, descriptors),
    };
    if let Err(report) = outcome {
        channel.report(&report, &[]);
    }
}
