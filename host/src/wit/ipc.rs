//! `astrid:ipc`: a guest's calls to the [`bus`](crate::bus), after the embedder's hooks have allowed them.
//!
//! A subscription and its pollables have separate entries in the store's table, so that the subscription may be dropped first. Its
//! pollables then become ready.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};

use super::bindings::astrid::ipc::host::{
    ErrorCode, Host, HostSubscription, InterceptorBinding, IpcEnvelope, IpcMessage, PrincipalAttribution,
};
use super::ctx::State;
use super::ctx::call::{Access, Subscription};
use super::denial::Refusal;
use super::error::IpcError;
use super::{CapsuleCtxView, TopicAsk};
use crate::bus::{Attribution, Delivery, Error, Message, Messaging, Pattern, Reach, Readiness, Subscriber, Topic};
use capsule_supervisor::{Ask, Principal};

type Answer<T> = Result<T, IpcError>;

/// The principal of an anonymous caller in a message.
const ANONYMOUS: &str = "anonymous";

#[async_trait]
impl Pollable for Readiness {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

/// Parses a topic that a guest may be granted.
fn topic(text: &str) -> Answer<Topic> {
    let topic = Topic::parse(text)?;
    if topic.is_reserved() {
        return Err(IpcError::Answer(Error::Reserved));
    }
    Ok(topic)
}

impl State {
    fn bus(&self) -> Answer<&Messaging> {
        self.bus.as_ref().ok_or(IpcError::NoBus)
    }
}

impl Access<'_> {
    fn authorize(&mut self, ask: TopicAsk<'_>) -> Answer<()> {
        if self.hooks.authorize_topic(self.state.scope.owner(), ask) {
            return Ok(());
        }
        self.refuse(match ask {
            TopicAsk::Publish(topic) => Refusal::Publish(topic.as_str().to_owned()),
            TopicAsk::PublishAs(topic, _) => Refusal::PublishAs(topic.as_str().to_owned()),
            TopicAsk::Subscribe(pattern) => Refusal::Subscribe(pattern.to_string()),
        });
        Err(IpcError::Denied)
    }

    /// Which messages the guest may receive for this pattern.
    fn reach(&mut self, pattern: &Pattern) -> Answer<Reach> {
        let owner = self.state.scope.owner();
        if self.hooks.authorize_topic(owner, TopicAsk::Subscribe(pattern)) {
            return Ok(self.hooks.reach(owner, pattern));
        }
        if pattern.is_lifecycle() && self.hooks.authorize(owner, Ask::Process) {
            return Ok(Reach::Own);
        }
        self.refuse(Refusal::Subscribe(pattern.to_string()));
        Err(IpcError::Denied)
    }
}

impl Host for CapsuleCtxView<'_> {
    /// The interface has no case for an unload, so the guest gets `unknown`.
    fn convert_error_code(&mut self, error: IpcError) -> wasmtime::Result<ErrorCode> {
        Ok(match error {
            IpcError::Denied | IpcError::Answer(Error::Reserved) => ErrorCode::CapabilityDenied,
            IpcError::Answer(Error::InvalidInput(_)) => ErrorCode::InvalidInput,
            IpcError::Answer(Error::Closed) => ErrorCode::Closed,
            IpcError::Answer(Error::RateLimited) => ErrorCode::RateLimited,
            IpcError::Answer(Error::Backpressure) => ErrorCode::Backpressure,
            IpcError::Answer(Error::Quota) => ErrorCode::Quota,
            IpcError::Answer(Error::Timeout) => ErrorCode::Timeout,
            IpcError::Answer(Error::TooDeep(_) | Error::Host(_)) | IpcError::Cancelled | IpcError::NoBus => {
                ErrorCode::Unknown(error.to_string())
            }
            IpcError::Trap(trap) => return Err(trap),
        })
    }

    fn publish(&mut self, topic: String, payload: String) -> Answer<()> {
        self.call("publish").run(|access| {
            let topic = self::topic(&topic)?;
            access.authorize(TopicAsk::Publish(&topic))?;
            let state = &*access.state;
            Ok(state.bus()?.publish(state.scope.owner(), state.depth, topic, payload)?)
        })
    }

    fn publish_as(&mut self, topic: String, payload: String, principal: String) -> Answer<()> {
        self.call("publish-as").run(|access| {
            let topic = self::topic(&topic)?;
            access.authorize(TopicAsk::PublishAs(&topic, &principal))?;
            let state = &*access.state;
            let owner = state.scope.owner();
            Ok(state.bus()?.publish_as(owner, state.depth, topic, payload, principal)?)
        })
    }

    fn subscribe(&mut self, topic_pattern: String) -> Answer<Resource<Subscription>> {
        self.call("subscribe").run(|access| {
            let pattern = Pattern::parse(&topic_pattern)?;
            let reach = access.reach(&pattern)?;
            let subscriber = Subscriber::new(access.state.scope.owner().clone(), reach);
            Ok(access.push(access.state.bus()?.subscribe(subscriber, pattern)?)?)
        })
    }

    fn get_interceptor_bindings(&mut self) -> Answer<Vec<InterceptorBinding>> {
        self.call("get-interceptor-bindings").run(|access| {
            let numbered = (1..).zip(&access.state.interceptors);
            Ok(numbered
                .map(|(handle_id, (pattern, action))| InterceptorBinding {
                    handle_id,
                    action: action.clone(),
                    topic: pattern.to_string(),
                })
                .collect())
        })
    }
}

impl HostSubscription for CapsuleCtxView<'_> {
    fn poll(&mut self, subscription: Resource<Subscription>) -> Answer<IpcEnvelope> {
        let call = self.call("subscription.poll");
        call.run(|access| Ok(access.get(&subscription)?.poll()?.into()))
    }

    async fn recv(&mut self, subscription: Resource<Subscription>, timeout_ms: u64) -> Answer<IpcEnvelope> {
        let call = self.call("subscription.recv");
        let timeout = Duration::from_millis(timeout_ms);
        call.wait(async |access| Ok(access.get(&subscription)?.recv(timeout).await?.into()))
            .await
    }

    fn subscribe_readiness(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<Resource<DynPollable>> {
        let call = self.call("subscription.subscribe-readiness");
        call.run(|access| access.pollable(access.get(&subscription)?.readiness()))
    }

    fn drop(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<()> {
        let call = self.call("subscription.drop");
        call.run(|access| {
            access.delete(subscription)?;
            Ok(())
        })
    }
}

impl From<Delivery> for IpcEnvelope {
    fn from(delivery: Delivery) -> Self {
        let messages = delivery.messages.into_iter().map(Arc::unwrap_or_clone);
        Self {
            messages: messages.map(Into::into).collect(),
            dropped: delivery.dropped,
            lagged: delivery.lagged,
        }
    }
}

impl From<Message> for IpcMessage {
    fn from(message: Message) -> Self {
        let name = match message.principal {
            Principal::Named(name) => name,
            Principal::Anonymous => ANONYMOUS.to_owned(),
        };
        Self {
            topic: message.topic.as_str().to_owned(),
            payload: message.payload,
            source_id: message.source,
            principal: match message.attribution {
                Attribution::Verified => PrincipalAttribution::Verified(name),
                Attribution::Claimed => PrincipalAttribution::Claimed(name),
                Attribution::System => PrincipalAttribution::System,
            },
        }
    }
}
