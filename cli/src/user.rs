//! The user that runs the command: the default principal.
//!
//! The name comes from the system and not from `USER` or `LOGNAME`, which hold any value that a parent process wrote there
//! (under `sudo` or in a container, often another user).

use nix::unistd::{Uid, User};

/// The login name of the user whose rights this process has; `uid-<n>` where the system has no name for it.
pub(crate) fn login_name() -> String {
    let uid = Uid::effective();
    match User::from_uid(uid) {
        Ok(Some(user)) if !user.name.is_empty() => user.name,
        Ok(_) | Err(_) => format!("uid-{uid}"),
    }
}
