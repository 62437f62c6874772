//! `capsule:sync/lock`.

use crate::{mock::world, wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError};
use std::time::Duration;

// What is defined below hides the generated function and the guard.
pub(crate) use crate::wit::generated::capsule::sync::lock::*;

#[derive(Debug)]
pub(crate) struct Guard {
    name: String,
}

pub(crate) fn acquire(name: &str, timeout_ms: u64) -> Result<Guard, ErrorCode> {
    if world::with(|world| world.principal.is_none()) {
        return Err(ErrorCode::NotAuthenticated);
    }
    let timeout = Some(Duration::from_millis(timeout_ms));
    let waited = world::wait(timeout, "a lock", |world| !world.locks.contains(name));
    match waited {
        Ok(true) => {
            world::with(|world| world.locks.insert(name.to_owned()));
            Ok(Guard { name: name.to_owned() })
        }
        Ok(false) => Err(ErrorCode::Timeout),
        Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
        Err(other) => Err(ErrorCode::Unknown(other.to_string())),
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        world::with_if_any(|world| {
            world.locks.remove(&self.name);
        });
    }
}
