//! `astrid:io/poll`.

use crate::mock::world::{self, World};
pub(crate) use crate::wit::generated::astrid::io::poll::ErrorCode;
use crate::wit::generated::astrid::process1_1_0::host::ErrorCode as ProcessError;
use std::rc::Weak;

#[derive(Debug)]
pub(crate) struct Pollable {
    pub(super) what: What,
    /// The handle or the subscription that it came from. Once that is gone, it is ready.
    pub(super) parent: Weak<()>,
}

/// By their places in the world.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Exit(usize),
    Logs(usize),
    Messages(usize),
}

impl Pollable {
    fn is_ready(&self, world: &World) -> bool {
        if self.parent.strong_count() == 0 {
            return true;
        }
        let process = |index: usize| world.processes.get(index);
        match self.what {
            What::Exit(index) => process(index).is_none_or(|process| process.exit_ready()),
            What::Logs(index) => process(index).is_none_or(|process| process.logs_ready()),
            What::Messages(index) => match world.queues.get(index) {
                Some(Some(queue)) => !queue.messages.is_empty() || queue.dropped > 0,
                Some(None) | None => true,
            },
        }
    }

    pub(crate) fn ready(&self) -> bool {
        world::with(|world| {
            world.advance_to(world.now);
            self.is_ready(world)
        })
    }

    pub(crate) fn block(&self) -> Result<(), ErrorCode> {
        poll(&[self]).map(drop)
    }
}

pub(crate) fn poll(pollables: &[&Pollable]) -> Result<Vec<u32>, ErrorCode> {
    match pollables.len() {
        0 => return Err(ErrorCode::InvalidInput),
        1..=256 => {}
        _ => return Err(ErrorCode::TooLarge),
    }
    let mut ready = Vec::new();
    let waited = world::wait(None, &format!("a poll of {pollables:?}"), |world| {
        ready = (0..)
            .zip(pollables)
            .filter(|(_, p)| p.is_ready(world))
            .map(|(index, _)| index)
            .collect();
        !ready.is_empty()
    });
    match waited {
        Ok(_) => Ok(ready),
        Err(ProcessError::Cancelled) => Err(ErrorCode::Cancelled),
        Err(other) => Err(ErrorCode::Unknown(other.to_string())),
    }
}
