//! The stores in which capsules keep values by `capsule:store` between runs of this command.
//!
//! The author of a capsule chooses its name, and a hostile one could choose another capsule's. So each path of a capsule has a store
//! of its own, as saved grants do.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use capsule_host::keyvalue::{OpenError, Store};

use crate::user_dirs::store_dir;

/// The store of this user for what lies at this path, in a folder below [`store_dir`]. If that folder cannot be used there is none, and
/// a capsule that asks for it gets `unavailable`.
pub(crate) fn store_of(capsule: &Path) -> Option<Store> {
    // A path that does not exist is told later.
    let path = capsule.canonicalize().ok()?;
    match Store::open(store_dir()?.join(name(&path))) {
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

/// The name of the folder of one path.
fn name(path: &Path) -> String {
    blake3::hash(path.as_os_str().as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use capsule_host::supervisor::{Owner, Principal};

    use super::*;

    /// The author of a capsule chooses its name, so the same name at another path is another capsule.
    #[tokio::test]
    async fn v1_a_name_at_another_path_has_other_entries() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner {
            principal: Principal::Named("user".to_owned()),
            capsule: "notes".to_owned(),
        };
        let of = |path: &str| Store::open(folder.path().join(name(Path::new(path)))).unwrap();
        let (this, other) = (of("/home/user/notes.wasm"), of("/home/user/downloads/notes.wasm"));
        this.set(&owner, "cursor", b"7".to_vec()).await.unwrap();
        assert_eq!(other.get(&owner, "cursor").await.unwrap(), None);
        assert_eq!(
            of("/home/user/notes.wasm")
                .get(&owner, "cursor")
                .await
                .unwrap()
                .as_deref(),
            Some(&b"7"[..])
        );
    }
}
