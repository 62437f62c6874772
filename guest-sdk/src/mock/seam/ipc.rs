//! `astrid:ipc/host`.

use super::poll::{Pollable, What};
use crate::{mock::world, sender::Sender, wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError};
use std::{rc::Rc, time::Duration};

pub(crate) use crate::wit::generated::astrid::ipc::host::*;

#[derive(Debug)]
pub(crate) struct Subscription {
    index: usize,
    alive: Rc<()>,
}

impl Subscription {
    pub(crate) fn poll(&self) -> Result<IpcEnvelope, ErrorCode> {
        world::with(|world| {
            world.advance_to(world.now);
            let queue = world
                .queues
                .get_mut(self.index)
                .and_then(Option::as_mut)
                .ok_or(ErrorCode::Closed)?;
            Ok(IpcEnvelope {
                messages: std::mem::take(&mut queue.messages),
                dropped: std::mem::take(&mut queue.dropped),
                lagged: queue.lagged,
            })
        })
    }

    pub(crate) fn recv(&self, timeout_ms: u64) -> Result<IpcEnvelope, ErrorCode> {
        let timeout = Some(Duration::from_millis(timeout_ms));
        let came = world::wait(timeout, "a message", |world| match world.queues.get(self.index) {
            Some(Some(queue)) => !queue.messages.is_empty() || queue.dropped > 0,
            Some(None) | None => true,
        });
        match came {
            Ok(true) => self.poll(),
            Ok(false) => Err(ErrorCode::Timeout),
            Err(ProcessError::Cancelled) => {
                let text = "cancelled: the capsule is being unloaded";
                Err(ErrorCode::Unknown(text.to_owned()))
            }
            Err(other) => Err(ErrorCode::Unknown(other.to_string())),
        }
    }

    pub(crate) fn subscribe_readiness(&self) -> Pollable {
        Pollable {
            what: What::Messages(self.index),
            parent: Rc::downgrade(&self.alive),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        world::with_if_any(|world| {
            if let Some(queue) = world.queues.get_mut(self.index) {
                *queue = None;
            }
        });
    }
}

pub(crate) fn publish(topic: &str, payload: &str) -> Result<(), ErrorCode> {
    world::with(|world| {
        let sender = world.principal.clone().map_or(Sender::System, Sender::Verified);
        world.deliver(topic, payload, "capsule", sender);
    });
    Ok(())
}

pub(crate) fn publish_as(topic: &str, payload: &str, principal: &str) -> Result<(), ErrorCode> {
    let sender = Sender::Claimed(principal.to_owned());
    world::with(|world| world.deliver(topic, payload, "capsule", sender));
    Ok(())
}

pub(crate) fn subscribe(pattern: &str) -> Result<Subscription, ErrorCode> {
    world::with(|world| {
        world.queues.push(Some(world::Queue {
            pattern: pattern.to_owned(),
            messages: Vec::new(),
            dropped: 0,
            lagged: 0,
        }));
        Ok(Subscription {
            index: world.queues.len() - 1,
            alive: Rc::new(()),
        })
    })
}

pub(crate) fn get_interceptor_bindings() -> Result<Vec<InterceptorBinding>, ErrorCode> {
    world::with(|world| {
        let bindings = (1..)
            .zip(&world.bindings)
            .map(|(handle_id, (topic, action))| InterceptorBinding {
                handle_id,
                action: action.clone(),
                topic: topic.clone(),
            });
        Ok(bindings.collect())
    })
}
