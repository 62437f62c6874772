//! `capsule-init`: the program between a host and its commands.
//!
//! `lib.rs` describes its purpose and its protocol with the host. The files, in the order of use:
//!
//! ```text
//! spawner    makes inits, in new namespaces if they confine; the other files are an init's life
//! main       reads the configuration from descriptor 0
//! stage      the steps from there to the running command
//! identity   the tree's user        root, mounts, injection   the tree's view        protect   the read-only parts of the workspace
//! overlay, copies, devices   files that the tree shares with no other        mask   the hidden parts of /proc
//! prepared   the root that an init makes while it waits for a command
//! network    the network that trees share
//! ceilings   the tree's limits of resources that it shares with others
//! guest      starts the command, behind limits, Landlock and seccomp        vfork      in init's own memory
//! supervise  waits for the command, the host's signals and the end of the channel; ends the tree; reports
//! sweep      finds all descendants where no namespace contains them
//! epolls     another process: makes epoll instances for an ordinary user's trees        asked   decodes their requests
//! ```
//!
//! These constraints shape all files: this program is as trusted as the host, and runs beside an untrusted guest. Its only
//! input from the guest is the status of dead children. It never blocks where it would not notice the end of the channel. It cannot
//! be traced. It never panics: after a failure it reports and ends.

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
mod network;
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
