//! `astrid:sys/host`.

use crate::{level::Level, mock::world, wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError};
use std::time::Duration;

pub(crate) use crate::wit::generated::astrid::sys::host::*;

/// The mock's time zero, in milliseconds since 1970: the start of 2026.
const EPOCH_MS: u64 = 1_767_225_600_000;

pub(crate) fn get_config(key: &str) -> Result<Option<String>, ErrorCode> {
    Ok(world::with(|world| world.config.get(key).cloned()))
}

pub(crate) fn get_caller() -> Result<CallerContext, ErrorCode> {
    Ok(CallerContext {
        principal: world::with(|world| world.principal.clone()),
        source_id: "mock".to_owned(),
        timestamp: "2026-01-01T00:00:00Z".to_owned(),
    })
}

pub(crate) fn log(level: LogLevel, message: &str) {
    world::with(|world| world.log.push((Level::from(level), message.to_owned())));
}

pub(crate) fn signal_ready() {}

pub(crate) fn clock_ms() -> u64 {
    let now = world::with(|world| world.now);
    EPOCH_MS + u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2)
}

pub(crate) fn clock_monotonic_ns() -> u64 {
    let now = world::with(|world| world.now);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn sleep_ns(duration_ns: u64) -> Result<(), ErrorCode> {
    match world::wait(Some(Duration::from_nanos(duration_ns)), "a time", |_| false) {
        Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
        Err(other) => Err(ErrorCode::Unknown(other.to_string())),
        Ok(_) => Ok(()),
    }
}

/// The same in every test: splitmix64.
pub(crate) fn random_bytes(length: u64) -> Result<Vec<u8>, ErrorCode> {
    let length = usize::try_from(length).map_err(|_| ErrorCode::TooLarge)?;
    let bytes = std::iter::repeat_with(|| {
        let seed = world::with(|world| {
            world.random = world.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            world.random
        });
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    });
    Ok(bytes.flatten().take(length).collect())
}

pub(crate) fn check_capsule_capability(_: &CapabilityCheckRequest) -> Result<CapabilityCheckResponse, ErrorCode> {
    Ok(CapabilityCheckResponse { allowed: false })
}

pub(crate) fn enumerate_capabilities() -> Vec<String> {
    ["process", "process-persistent"].map(String::from).into()
}
