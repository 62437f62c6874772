//! `astrid:sys`: configuration, the caller, a log, time, random bytes.
//!
//! Numbers from the guest are checked before anything is allocated for them.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::CapsuleCtxView;
use super::bindings::astrid::sys::host::{
    CallerContext, CapabilityCheckRequest, CapabilityCheckResponse, ErrorCode, Host, LogLevel,
};
use super::error::SysError;
use capsule_supervisor::Principal;
use capsule_supervisor::internals::cut;

/// The longest time of a `sleep-ns`.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// The most bytes of one `random-bytes`.
const MAX_RANDOM: u64 = 4096;
/// The longest key that `get-config` looks up, in bytes.
const MAX_KEY: usize = 1024;
/// The kept length of one log message, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;
/// The prefix of the host's own configuration keys.
const RESERVED: char = '_';

/// The origin of monotonic time: one moment for all instances, so that time never runs backwards from one to the next and reveals
/// nothing about the machine.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: SysError) -> wasmtime::Result<ErrorCode> {
        Ok(match error {
            SysError::ReservedKey => ErrorCode::ConfigKeyReserved,
            SysError::TooLarge => ErrorCode::TooLarge,
            SysError::NoRegistry => ErrorCode::RegistryUnavailable,
            SysError::Cancelled => ErrorCode::Cancelled,
            SysError::Random(_) => ErrorCode::Unknown(error.to_string()),
        })
    }

    fn get_config(&mut self, key: String) -> Result<Option<String>, SysError> {
        self.call("get-config").run(|access| {
            if key.len() > MAX_KEY {
                return Err(SysError::TooLarge);
            }
            if key.starts_with(RESERVED) {
                return Err(SysError::ReservedKey);
            }
            Ok(access.state.config.get(&key).cloned())
        })
    }

    fn get_caller(&mut self) -> Result<CallerContext, SysError> {
        Ok(CallerContext {
            principal: match self.ctx.principal() {
                Principal::Named(name) => Some(name.clone()),
                Principal::Anonymous => None,
            },
            source_id: self.ctx.source_id.clone(),
            timestamp: humantime::format_rfc3339_millis(self.ctx.called_at).to_string(),
        })
    }

    fn log(&mut self, level: LogLevel, message: String) -> wasmtime::Result<()> {
        let level = match level {
            LogLevel::Trace => Level::TRACE,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Info => Level::INFO,
            LogLevel::Warn => Level::WARN,
            LogLevel::Error => Level::ERROR,
        };
        self.ctx.log(level, cut(&message, MAX_MESSAGE));
        Ok(())
    }

    fn signal_ready(&mut self) -> wasmtime::Result<()> {
        self.call("signal-ready").run(|access| {
            access.state.ready = true;
            if let Some(tell) = access.state.on_ready.take() {
                tell();
            }
            Ok(())
        })
    }

    fn clock_ms(&mut self) -> wasmtime::Result<u64> {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    fn clock_monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    async fn sleep_ns(&mut self, duration_ns: u64) -> Result<(), SysError> {
        let duration = Duration::from_nanos(duration_ns);
        if duration > MAX_SLEEP {
            return Err(SysError::TooLarge);
        }
        Ok(self.ctx.until_unload(tokio::time::sleep(duration)).await?)
    }

    fn random_bytes(&mut self, length: u64) -> Result<Vec<u8>, SysError> {
        let length = usize::try_from(length.min(MAX_RANDOM + 1)).map_err(|_| SysError::TooLarge)?;
        if length as u64 > MAX_RANDOM {
            return Err(SysError::TooLarge);
        }
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).map_err(SysError::Random)?;
        Ok(bytes)
    }

    fn check_capsule_capability(
        &mut self,
        request: CapabilityCheckRequest,
    ) -> Result<CapabilityCheckResponse, SysError> {
        let has_itself = self.ctx.capabilities.contains(&request.capability);
        self.call("check-capsule-capability").run(|access| {
            let allowed = if request.source_uuid == access.state.scope.owner().capsule {
                has_itself
            } else {
                access
                    .hooks
                    .capsule_holds(&request.source_uuid, &request.capability)
                    .ok_or(SysError::NoRegistry)?
            };
            Ok(CapabilityCheckResponse { allowed })
        })
    }

    fn enumerate_capabilities(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.ctx.capabilities.clone())
    }
}
