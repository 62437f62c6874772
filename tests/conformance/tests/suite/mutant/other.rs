//! `astrid:io/poll`, `astrid:ipc` and `astrid:sys`, with the changes.

use capsule_host::bindings::astrid::io::poll::{self, Pollable};
use capsule_host::bindings::astrid::ipc::host as ipc;
use capsule_host::bindings::astrid::sys::host as sys;
use capsule_host::{IpcError, PollError, Subscription, SysError};
use wasmtime::component::Resource;

use super::served::Served;

/// How much faster the guest's clock runs where a case is to miss soon what never comes. Waits of the host are as long as ever.
const HURRY: u64 = 10;

impl poll::Host for Served<'_> {
    fn convert_error_code(&mut self, error: PollError) -> wasmtime::Result<poll::ErrorCode> {
        poll::Host::convert_error_code(&mut self.host, error)
    }

    async fn poll(&mut self, pollables: Vec<Resource<Pollable>>) -> Result<Vec<u32>, PollError> {
        let count = pollables.len();
        match (poll::Host::poll(&mut self.host, pollables).await, self.shared.change) {
            (Ok(mut ready), "poll returns another order") => {
                ready.reverse();
                Ok(ready)
            }
            (Ok(_), "poll always names the first") => Ok(vec![0]),
            (Ok(ready), "poll names the first ready one only") => Ok(ready.into_iter().take(1).collect()),
            (Err(PollError::Empty), "poll of nothing succeeds") => Ok(Vec::new()),
            (Err(PollError::TooMany), "poll has no limit") => Ok((0..).take(count).collect()),
            (Err(PollError::Cancelled), "poll is not cancelled") => Ok(Vec::new()),
            (answer, _) => answer,
        }
    }
}

impl poll::HostPollable for Served<'_> {
    async fn ready(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<bool> {
        let ready = poll::HostPollable::ready(&mut self.host, pollable).await?;
        Ok(ready || self.is("a pollable is always ready"))
    }

    async fn block(&mut self, pollable: Resource<Pollable>) -> Result<(), PollError> {
        if self.is("a pollable ends with its handle") && self.shared.memory().handle_dropped {
            return Err(PollError::Empty);
        }
        match poll::HostPollable::block(&mut self.host, pollable).await {
            Err(PollError::Cancelled) if self.is("block is not cancelled") => Ok(()),
            answer => answer,
        }
    }

    fn drop(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(&mut self.host, pollable)
    }
}

impl Served<'_> {
    fn envelope(&self, envelope: &mut ipc::IpcEnvelope) {
        match self.shared.change {
            // Not of the last event, by which a case sees that all others have come.
            "an event comes twice" => {
                let messages = std::mem::take(&mut envelope.messages);
                envelope.messages = messages
                    .into_iter()
                    .flat_map(|message| {
                        let count = if message.topic.ends_with(".settled") { 1 } else { 2 };
                        std::iter::repeat_n(message, count)
                    })
                    .collect();
            }
            "messages come in another order" => envelope.messages.reverse(),
            "lost messages are not counted" => envelope.dropped = 0,
            "an exit is told without its reason" => {
                for message in &mut envelope.messages {
                    message.payload = message.payload.replace("self-exit", "ended");
                }
            }
            "an exit is told without its code" => {
                for message in &mut envelope.messages {
                    message.payload = message.payload.replace("\"exit_code\":31", "\"exit_code\":null");
                }
            }
            "a lifetime is told as a kill" => {
                for message in &mut envelope.messages {
                    message.payload = message.payload.replace("reaped-ttl", "killed");
                }
            }
            "idling is told as a lifetime" => {
                for message in &mut envelope.messages {
                    message.payload = message.payload.replace("\"cause\":\"idle\"", "\"cause\":\"lifetime\"");
                }
            }
            "an end by a limit is told as any other" => {
                for message in &mut envelope.messages {
                    message.payload = message.payload.replace("\"limit-", "\"killed-");
                }
            }
            _ => {}
        }
    }
}

impl ipc::Host for Served<'_> {
    fn convert_error_code(&mut self, error: IpcError) -> wasmtime::Result<ipc::ErrorCode> {
        ipc::Host::convert_error_code(&mut self.host, error)
    }

    fn publish(&mut self, topic: String, payload: String) -> Result<(), IpcError> {
        ipc::Host::publish(&mut self.host, topic, payload)
    }

    fn publish_as(&mut self, topic: String, payload: String, principal: String) -> Result<(), IpcError> {
        ipc::Host::publish_as(&mut self.host, topic, payload, principal)
    }

    fn subscribe(&mut self, topic_pattern: String) -> Result<Resource<Subscription>, IpcError> {
        ipc::Host::subscribe(&mut self.host, topic_pattern)
    }

    fn get_interceptor_bindings(&mut self) -> Result<Vec<ipc::InterceptorBinding>, IpcError> {
        ipc::Host::get_interceptor_bindings(&mut self.host)
    }
}

impl ipc::HostSubscription for Served<'_> {
    fn poll(&mut self, subscription: Resource<Subscription>) -> Result<ipc::IpcEnvelope, IpcError> {
        let mut envelope = ipc::HostSubscription::poll(&mut self.host, subscription)?;
        self.envelope(&mut envelope);
        Ok(envelope)
    }

    async fn recv(
        &mut self,
        subscription: Resource<Subscription>,
        timeout_ms: u64,
    ) -> Result<ipc::IpcEnvelope, IpcError> {
        let mut envelope = ipc::HostSubscription::recv(&mut self.host, subscription, timeout_ms).await?;
        self.envelope(&mut envelope);
        Ok(envelope)
    }

    fn subscribe_readiness(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<Resource<Pollable>> {
        ipc::HostSubscription::subscribe_readiness(&mut self.host, subscription)
    }

    fn drop(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<()> {
        ipc::HostSubscription::drop(&mut self.host, subscription)
    }
}

impl sys::Host for Served<'_> {
    fn convert_error_code(&mut self, error: SysError) -> wasmtime::Result<sys::ErrorCode> {
        sys::Host::convert_error_code(&mut self.host, error)
    }

    fn get_config(&mut self, key: String) -> Result<Option<String>, SysError> {
        sys::Host::get_config(&mut self.host, key)
    }

    fn get_caller(&mut self) -> Result<sys::CallerContext, SysError> {
        sys::Host::get_caller(&mut self.host)
    }

    fn log(&mut self, level: sys::LogLevel, message: String) -> wasmtime::Result<()> {
        sys::Host::log(&mut self.host, level, message)
    }

    fn signal_ready(&mut self) -> wasmtime::Result<()> {
        sys::Host::signal_ready(&mut self.host)
    }

    fn clock_ms(&mut self) -> wasmtime::Result<u64> {
        sys::Host::clock_ms(&mut self.host)
    }

    fn clock_monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        let ns = sys::Host::clock_monotonic_ns(&mut self.host)?;
        Ok(if self.shared.hurry {
            ns.saturating_mul(HURRY)
        } else {
            ns
        })
    }

    async fn sleep_ns(&mut self, duration_ns: u64) -> Result<(), SysError> {
        match sys::Host::sleep_ns(&mut self.host, duration_ns).await {
            Err(SysError::Cancelled) if self.is("a sleep is not cancelled") => Ok(()),
            answer => answer,
        }
    }

    fn random_bytes(&mut self, length: u64) -> Result<Vec<u8>, SysError> {
        sys::Host::random_bytes(&mut self.host, length)
    }

    fn check_capsule_capability(
        &mut self,
        request: sys::CapabilityCheckRequest,
    ) -> Result<sys::CapabilityCheckResponse, SysError> {
        sys::Host::check_capsule_capability(&mut self.host, request)
    }

    fn enumerate_capabilities(&mut self) -> wasmtime::Result<Vec<String>> {
        sys::Host::enumerate_capabilities(&mut self.host)
    }
}
