//! The messages that wait for one subscriber, as plain data: bounded by number and bytes, with an exact count of what did
//! not fit.
//!
//! When it is full the oldest go, because a reader that comes late wants to know how things stand. Last of all goes the
//! news that a process ended: it comes once, and no flood of other messages pushes it out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::Message;

/// What a read hands over.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The messages, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// Messages that did not fit into the queue since the last read.
    pub dropped: u64,
    /// The same since the subscription began. So at any read: all messages that matched are those delivered so far, those
    /// still queued, and these.
    pub lagged: u64,
}

pub(super) struct Queue {
    waiting: VecDeque<Arc<Message>>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    /// Whether a message equal to one that waits is merged with it.
    merges: bool,
    dropped: u64,
    lagged: u64,
    merged: u64,
}

impl Queue {
    pub(super) const fn new(max_messages: usize, max_bytes: usize, merges: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            max_messages,
            max_bytes,
            merges,
            dropped: 0,
            lagged: 0,
            merged: 0,
        }
    }

    /// Puts a message at the end, merges it, or counts what had to go.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        if self.merges && self.waiting.iter().any(|waiting| **waiting == *message) {
            self.merged += 1;
            return;
        }
        let weight = message.weight();
        if self.max_messages == 0 || weight > self.max_bytes {
            return self.lose();
        }
        while self.waiting.len() >= self.max_messages || self.bytes + weight > self.max_bytes {
            let expendable = self.waiting.iter().position(|waiting| !waiting.topic.is_exit());
            let victim = match expendable {
                Some(at) => at,
                None if message.topic.is_exit() => 0,
                None => return self.lose(),
            };
            if let Some(gone) = self.waiting.remove(victim) {
                self.bytes -= gone.weight();
            }
            self.lose();
        }
        self.bytes += weight;
        self.waiting.push_back(message);
    }

    const fn lose(&mut self) {
        self.dropped += 1;
        self.lagged += 1;
    }

    /// Everything, with the count since the last time.
    pub(super) fn take(&mut self) -> Delivery {
        self.bytes = 0;
        Delivery {
            messages: std::mem::take(&mut self.waiting).into(),
            dropped: std::mem::take(&mut self.dropped),
            lagged: self.lagged,
        }
    }

    /// The oldest message. A read as well: the count since the last one begins anew.
    pub(super) fn pop(&mut self) -> Option<Arc<Message>> {
        self.dropped = 0;
        let message = self.waiting.pop_front()?;
        self.bytes -= message.weight();
        Some(message)
    }

    /// Whether a read would tell nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many did not fit, and how many were merged, since the beginning.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.lagged, self.merged)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.waiting.len())
            .field("lagged", &self.lagged)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bus::{Attribution, Audience, Topic};
    use crate::supervisor::Principal;

    fn message(topic: &str, payload: &str) -> Arc<Message> {
        let principal = Principal::Named("p".into());
        Arc::new(Message {
            topic: Topic::parse(topic).unwrap(),
            payload: payload.into(),
            source: "c".into(),
            principal: principal.clone(),
            attribution: Attribution::Verified,
            audience: Audience::Principal(principal),
            depth: 0,
        })
    }

    fn payloads(queue: &mut Queue) -> Vec<String> {
        queue
            .take()
            .messages
            .iter()
            .map(|message| message.payload.clone())
            .collect()
    }

    const EXIT: &str = "astrid.process.v1.exited.x";
    const ROOM: usize = 1 << 20;

    #[derive(Clone, Debug)]
    enum Step {
        Push { exit: bool, size: usize },
        Take,
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<bool>(), 0..600_usize).prop_map(|(exit, size)| Step::Push { exit, size }),
            1 => Just(Step::Take),
            1 => Just(Step::Pop),
        ];
        prop::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn e4_every_message_is_delivered_queued_or_counted(
            steps in steps(), max_messages in 0..6_usize, max_bytes in 0..2000_usize,
        ) {
            let mut queue = Queue::new(max_messages, max_bytes, false);
            let (mut pushed, mut delivered, mut dropped) = (0_u64, 0, 0);
            let mut last = None;
            for step in steps {
                let got = match step {
                    Step::Push { exit, size } => {
                        // The number makes the order visible.
                        let payload = format!("{pushed:08}{}", "x".repeat(size));
                        queue.push(message(if exit { EXIT } else { "t" }, &payload));
                        pushed += 1;
                        Vec::new()
                    }
                    Step::Take => {
                        let delivery = queue.take();
                        dropped += delivery.dropped;
                        prop_assert_eq!(delivery.lagged, dropped);
                        delivery.messages
                    }
                    Step::Pop => {
                        dropped = queue.lagged;
                        queue.pop().into_iter().collect()
                    }
                };
                for message in got {
                    prop_assert!(last < Some(message.payload.clone()), "in order");
                    last = Some(message.payload.clone());
                    delivered += 1;
                }
                prop_assert!(queue.waiting.len() <= max_messages && queue.bytes <= max_bytes);
                prop_assert_eq!(queue.bytes, queue.waiting.iter().map(|message| message.weight()).sum::<usize>());
                prop_assert_eq!(delivered + queue.waiting.len() as u64 + queue.lagged, pushed);
            }
        }
    }

    #[test]
    fn e4_the_oldest_go_first() {
        let mut queue = Queue::new(3, ROOM, false);
        for n in 0..5 {
            queue.push(message("t", &n.to_string()));
        }
        let delivery = queue.take();
        assert_eq!((delivery.dropped, delivery.lagged, delivery.messages.len()), (2, 2, 3));
        assert_eq!(delivery.messages[0].payload, "2");
        queue.push(message("t", "5"));
        let delivery = queue.take();
        assert_eq!(
            (delivery.dropped, delivery.lagged),
            (0, 2),
            "the one since the last read, the other for ever"
        );
    }

    #[test]
    fn e2_the_news_of_an_exit_goes_last() {
        let mut queue = Queue::new(3, ROOM, false);
        queue.push(message(EXIT, "exit 0"));
        for n in 0..1000 {
            queue.push(message("t", &n.to_string()));
        }
        queue.push(message(EXIT, "exit 1"));
        assert_eq!(payloads(&mut queue), ["exit 0", "999", "exit 1"]);
        for n in 0..4 {
            queue.push(message(EXIT, &format!("exit {n}")));
        }
        queue.push(message("t", "no room"));
        assert_eq!(payloads(&mut queue), ["exit 1", "exit 2", "exit 3"]);
    }

    #[test]
    fn e3_what_waits_already_is_merged_and_exits_of_two_processes_never_are() {
        let mut queue = Queue::new(10, ROOM, true);
        for payload in ["a", "a", "b", "a"] {
            queue.push(message("t", payload));
        }
        queue.push(message("u", "a"));
        for id in [r#"{"id":"1"}"#, r#"{"id":"2"}"#] {
            queue.push(message(EXIT, id));
        }
        assert_eq!(queue.counts(), (0, 2));
        assert_eq!(queue.pop().unwrap().payload, "a");
        queue.push(message("t", "a"));
        assert_eq!(
            payloads(&mut queue),
            ["b", "a", r#"{"id":"1"}"#, r#"{"id":"2"}"#, "a"],
            "what was taken out waits no more"
        );
    }

    #[test]
    fn e4_what_never_fits_is_counted_and_pushes_nothing_out() {
        let mut queue = Queue::new(3, 400, false);
        queue.push(message("t", "kept"));
        queue.push(message("t", &"x".repeat(400)));
        assert!(!queue.is_silent());
        assert_eq!(queue.take().dropped, 1);
        assert!(queue.is_silent());
    }
}
