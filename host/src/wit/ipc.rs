//! `astrid:ipc`: what a guest asks of the [`bus`](crate::bus), after the embedder was asked whether it may.
//!
//! A subscription lives in the store's table and its pollables in entries of their own, so that it may be dropped before
//! them: they become ready then.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::bindings::astrid::ipc::host::{
    ErrorCode, Host, HostSubscription, InterceptorBinding, IpcEnvelope, IpcMessage, PrincipalAttribution,
};
use super::error::IpcError;
use super::{CapsuleCtxView, TopicAsk};
use crate::bus::{
    Attribution, Delivery, Error, Message, Messaging, Pattern, Reach, Readiness, Subscriber, Subscription, Topic,
};
use crate::supervisor::{Ask, Principal};

type Answer<T> = Result<T, IpcError>;

/// How a message names a caller that was not authenticated.
const ANONYMOUS: &str = "anonymous";

#[async_trait]
impl Pollable for Readiness {
    async fn ready(&mut self) {
        Self::ready(self).await;
    }
}

impl CapsuleCtxView<'_> {
    fn bus(&self) -> Answer<&Messaging> {
        self.ctx.bus.as_ref().ok_or(IpcError::NoBus)
    }

    /// The topic, if it is one that a guest may be granted.
    fn topic(text: &str) -> Answer<Topic> {
        let topic = Topic::parse(text)?;
        if topic.is_reserved() {
            return Err(IpcError::Answer(Error::Reserved));
        }
        Ok(topic)
    }

    /// How far the guest may hear on this pattern, if at all.
    fn may_hear(&mut self, pattern: &Pattern) -> Option<Reach> {
        let owner = self.ctx.scope.owner();
        if self.hooks.authorize_topic(owner, TopicAsk::Subscribe(pattern)) {
            return Some(self.hooks.reach(owner, pattern));
        }
        let own_processes = pattern.is_lifecycle() && self.hooks.authorize(owner, Ask::Process);
        own_processes.then_some(Reach::Own)
    }
}

impl Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: IpcError) -> wasmtime::Result<ErrorCode> {
        error.into_code()
    }

    fn publish(&mut self, topic: String, payload: String) -> Answer<()> {
        let topic = Self::topic(&topic)?;
        let owner = self.ctx.scope.owner();
        if !self.hooks.authorize_topic(owner, TopicAsk::Publish(&topic)) {
            return Err(IpcError::Denied);
        }
        Ok(self.bus()?.publish(owner, self.ctx.depth, topic, payload)?)
    }

    fn publish_as(&mut self, topic: String, payload: String, principal: String) -> Answer<()> {
        let topic = Self::topic(&topic)?;
        let owner = self.ctx.scope.owner();
        if !self
            .hooks
            .authorize_topic(owner, TopicAsk::PublishAs(&topic, &principal))
        {
            return Err(IpcError::Denied);
        }
        Ok(self
            .bus()?
            .publish_as(owner, self.ctx.depth, topic, payload, principal)?)
    }

    fn subscribe(&mut self, topic_pattern: String) -> Answer<Resource<Subscription>> {
        let pattern = Pattern::parse(&topic_pattern)?;
        let reach = self.may_hear(&pattern).ok_or(IpcError::Denied)?;
        let subscriber = Subscriber::new(self.ctx.scope.owner().clone(), reach);
        let subscription = self.bus()?.subscribe(subscriber, pattern)?;
        Ok(self.table.push(subscription)?)
    }

    fn get_interceptor_bindings(&mut self) -> Answer<Vec<InterceptorBinding>> {
        let numbered = (1..).zip(&self.ctx.interceptors);
        Ok(numbered
            .map(|(handle_id, (pattern, action))| InterceptorBinding {
                handle_id,
                action: action.clone(),
                topic: pattern.to_string(),
            })
            .collect())
    }
}

impl HostSubscription for CapsuleCtxView<'_> {
    fn poll(&mut self, subscription: Resource<Subscription>) -> Answer<IpcEnvelope> {
        Ok(self.table.get(&subscription)?.poll()?.into())
    }

    async fn recv(&mut self, subscription: Resource<Subscription>, timeout_ms: u64) -> Answer<IpcEnvelope> {
        let recv = self.table.get(&subscription)?.recv(Duration::from_millis(timeout_ms));
        Ok(self.ctx.until_unload(recv).await.ok_or(IpcError::Cancelled)??.into())
    }

    fn subscribe_readiness(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<Resource<DynPollable>> {
        let readiness = self.table.get(&subscription)?.readiness();
        let readiness = self.table.push(readiness)?;
        subscribe(self.table, readiness)
    }

    fn drop(&mut self, subscription: Resource<Subscription>) -> wasmtime::Result<()> {
        self.table.delete(subscription)?;
        Ok(())
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
