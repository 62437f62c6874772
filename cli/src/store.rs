//! The store in which capsules keep values by `capsule:store` between runs of this command.

use std::path::PathBuf;

use capsule_host::keyvalue::{OpenError, Store};

/// The store of this user, in `$XDG_STATE_HOME/capsule/store` or `~/.local/state/capsule/store`. If its folder cannot be used there
/// is none, and a capsule that asks for it gets `unavailable`.
pub(crate) fn store() -> Option<Store> {
    match Store::open(folder()?) {
        Ok(store) => Some(store),
        Err(error @ OpenError::NotPrivate { .. }) => {
            tracing::warn!("{error}; capsules keep no values");
            None
        }
        Err(error) => {
            tracing::info!("{error}; capsules keep no values");
            None
        }
    }
}

fn folder() -> Option<PathBuf> {
    // The specification of these variables asks to ignore a relative path.
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            std::env::home_dir()
                .filter(|home| home.is_absolute())
                .map(|home| home.join(".local/state"))
        })?;
    Some(base.join("capsule/store"))
}
