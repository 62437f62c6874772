//! The messages that wait for one subscriber, as plain data: bounded by number and bytes, with an exact count of messages that
//! did not fit.
//!
//! An interceptor, and a subscriber to all principals, have messages of several principals in one queue; every other queue
//! has messages of one principal. These rules keep the flood of one principal from taking the messages or the turn of another (Q5):
//! - Each principal has a lane of its own and a share of the room: the room divided by the number of principals with messages
//!   in the queue. A principal within its share loses no message. When the room is used up, principals beyond their share lose
//!   messages.
//! - Messages that are taken one by one are taken from the lanes in turn. So a message waits for at most the messages
//!   before it in its lane, times the number of lanes.
//! - An empty lane is removed, so that the lanes are as bounded as the messages are.
//!
//! Beyond a share the oldest messages go first, because a late reader wants the current state. The message that a process ended
//! goes last: it is sent once, and no flood of other messages displaces it.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::Message;
use capsule_supervisor::Principal;

/// The result of a read.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The messages, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// Messages that did not fit into the queue since the last read.
    pub dropped: u64,
    /// Messages that did not fit since the subscription began. At any read, the messages that matched are those
    /// delivered so far, those still queued, and these.
    pub lagged: u64,
}

pub(super) struct Queue {
    /// The lanes of the principals that have messages here; the first has the next turn.
    lanes: VecDeque<Lane>,
    messages: usize,
    bytes: usize,
    /// The number of messages that arrived so far, which orders them across lanes.
    came: u64,
    max_messages: usize,
    max_bytes: usize,
    /// Whether a message that equals a waiting one is merged with it.
    merges: bool,
    dropped: u64,
    lagged: u64,
    merged: u64,
}

/// The waiting messages of one principal.
struct Lane {
    principal: Principal,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

struct Waiting {
    number: u64,
    message: Arc<Message>,
}

/// The message that is dropped when one does not fit.
enum Victim {
    /// The message itself.
    Incoming,
    /// A waiting message.
    Waiting {
        /// The number of the message's lane.
        lane: usize,
        /// The position of the message in its lane.
        at: usize,
    },
}

impl Queue {
    pub(super) const fn new(max_messages: usize, max_bytes: usize, merges: bool) -> Self {
        Self {
            lanes: VecDeque::new(),
            messages: 0,
            bytes: 0,
            came: 0,
            max_messages,
            max_bytes,
            merges,
            dropped: 0,
            lagged: 0,
            merged: 0,
        }
    }

    /// Puts a message at the end of its principal's lane, merges it, or counts the dropped one.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        let equal = |waiting: &Waiting| *waiting.message == *message;
        let own = self.lanes.iter().find(|lane| lane.principal == message.principal);
        if self.merges && own.is_some_and(|lane| lane.waiting.iter().any(equal)) {
            self.merged += 1;
            return;
        }
        let weight = message.weight();
        if self.max_messages == 0 || weight > self.max_bytes {
            return self.lose();
        }
        while self.messages >= self.max_messages || self.bytes + weight > self.max_bytes {
            match self.victim(&message) {
                Victim::Waiting { lane, at } => drop(self.remove(lane, at)),
                Victim::Incoming => return self.lose(),
            }
            self.lose();
        }
        let number = self.came;
        self.came += 1;
        self.messages += 1;
        self.bytes += weight;
        let waiting = Waiting { number, message };
        match self
            .lanes
            .iter_mut()
            .find(|lane| lane.principal == waiting.message.principal)
        {
            Some(lane) => lane.push(waiting),
            None => self.lanes.push_back(Lane::of(waiting)),
        }
    }

    /// The message to drop so that `message` may fit. Of the principals that are beyond their share, counting
    /// `message`, the one with the most messages loses one; if two have equally many, the one whose oldest message is
    /// older. An exit message is dropped only if these principals have no other messages.
    fn victim(&self, message: &Message) -> Victim {
        let by_number = self.messages >= self.max_messages;
        let (room, weight) = if by_number {
            (self.max_messages, 1)
        } else {
            (self.max_bytes, message.weight())
        };
        let size = |lane: &Lane| if by_number { lane.waiting.len() } else { lane.bytes };
        let is_own = |lane: &Lane| lane.principal == message.principal;
        let is_new = !self.lanes.iter().any(is_own);
        let share = room / (self.lanes.len() + usize::from(is_new));

        // Whether the lane has a message other than an exit, its size, and the age of its oldest message.
        let mut most = ((!message.topic.is_exit(), weight, Reverse(u64::MAX)), Victim::Incoming);
        let mut found = is_new && weight > share;
        for (number, lane) in self.lanes.iter().enumerate() {
            let own = is_own(lane);
            let size = size(lane) + if own { weight } else { 0 };
            if size <= share {
                continue;
            }
            let expendable = lane.waiting.iter().position(|waiting| !waiting.message.topic.is_exit());
            let victim = match expendable {
                None if own && !message.topic.is_exit() => Victim::Incoming,
                at => Victim::Waiting {
                    lane: number,
                    at: at.unwrap_or_default(),
                },
            };
            let has_other = expendable.is_some() || matches!(victim, Victim::Incoming);
            let oldest = lane.waiting.front().map_or(u64::MAX, |waiting| waiting.number);
            let rank = (has_other, size, Reverse(oldest));
            if !found || rank > most.0 {
                (most, found) = ((rank, victim), true);
            }
        }
        most.1
    }

    /// Takes a message out of a lane, and removes the lane with its last message.
    fn remove(&mut self, number: usize, at: usize) -> Option<Arc<Message>> {
        let lane = self.lanes.get_mut(number)?;
        let message = lane.waiting.remove(at)?.message;
        let weight = message.weight();
        lane.bytes -= weight;
        self.bytes -= weight;
        self.messages -= 1;
        if lane.waiting.is_empty() {
            self.lanes.remove(number);
        }
        Some(message)
    }

    const fn lose(&mut self) {
        self.dropped += 1;
        self.lagged += 1;
    }

    /// Takes all messages, in the order in which they arrived, with the count of losses since the last read.
    pub(super) fn take(&mut self) -> Delivery {
        (self.messages, self.bytes) = (0, 0);
        let lanes = std::mem::take(&mut self.lanes);
        let mut waiting: Vec<_> = lanes.into_iter().flat_map(|lane| lane.waiting).collect();
        waiting.sort_unstable_by_key(|waiting| waiting.number);
        Delivery {
            messages: waiting.into_iter().map(|waiting| waiting.message).collect(),
            dropped: std::mem::take(&mut self.dropped),
            lagged: self.lagged,
        }
    }

    /// The first principal in turn that `admit` accepts, with the result of `admit`.
    pub(super) fn turn<T>(&self, mut admit: impl FnMut(&Principal) -> Option<T>) -> Option<(Principal, T)> {
        let mut lanes = self.lanes.iter();
        lanes.find_map(|lane| admit(&lane.principal).map(|admitted| (lane.principal.clone(), admitted)))
    }

    /// Takes the oldest message of this principal, whose next turn comes after all others. This counts as a read, so the count
    /// since the last read starts again.
    pub(super) fn pop_of(&mut self, principal: &Principal) -> Option<Arc<Message>> {
        self.dropped = 0;
        let number = self.lanes.iter().position(|lane| lane.principal == *principal)?;
        let last = self.lanes.len() - 1;
        let message = self.remove(number, 0);
        // The lane is removed with its last message. The principal's next message makes a new lane at the end of the
        // order.
        if self.lanes.len() > last
            && let Some(lane) = self.lanes.remove(number)
        {
            self.lanes.push_back(lane);
        }
        message
    }

    /// Takes the oldest message of the principal whose turn it is. It counts as a read even if there is no message.
    pub(super) fn pop(&mut self) -> Option<Arc<Message>> {
        self.dropped = 0;
        let (principal, ()) = self.turn(|_| Some(()))?;
        self.pop_of(&principal)
    }

    /// Whether a read would return nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.is_empty() && self.dropped == 0
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// How many messages did not fit and how many were merged, since the subscription began.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.lagged, self.merged)
    }
}

impl Lane {
    fn of(first: Waiting) -> Self {
        let mut lane = Self {
            principal: first.message.principal.clone(),
            waiting: VecDeque::new(),
            bytes: 0,
        };
        lane.push(first);
        lane
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.message.weight();
        self.waiting.push_back(waiting);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.messages)
            .field("principals", &self.lanes.len())
            .field("lagged", &self.lagged)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::bus::{Attribution, Audience, Topic};

    fn named(name: &str) -> Principal {
        Principal::Named(name.into())
    }

    fn message(topic: &str, payload: &str) -> Arc<Message> {
        message_of("p", topic, payload)
    }

    fn message_of(principal: &str, topic: &str, payload: &str) -> Arc<Message> {
        let principal = named(principal);
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

    const NAMES: [&str; 4] = ["ada", "bob", "cyd", "dan"];

    /// The messages and bytes of each principal in the queue.
    fn sizes(queue: &Queue) -> HashMap<Principal, (usize, usize)> {
        let size = |lane: &Lane| (lane.principal.clone(), (lane.waiting.len(), lane.bytes));
        queue.lanes.iter().map(size).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { of: usize, exit: bool, size: usize },
        Take,
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..NAMES.len(), any::<bool>(), 0..600_usize).prop_map(|(of, exit, size)| Step::Push { of, exit, size }),
            1 => Just(Step::Take),
            1 => Just(Step::Pop),
        ];
        prop::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn e4_every_message_is_delivered_queued_or_counted(
            steps in steps(), max_messages in 0..9_usize, max_bytes in 0..3000_usize,
        ) {
            let mut queue = Queue::new(max_messages, max_bytes, false);
            let (mut pushed, mut delivered, mut dropped) = (0_u64, 0, 0);
            let mut last = HashMap::new();
            for step in steps {
                let got = match step {
                    Step::Push { of, exit, size } => {
                        // The number makes the order visible.
                        let payload = format!("{pushed:08}{}", "x".repeat(size));
                        queue.push(message_of(NAMES[of], if exit { EXIT } else { "t" }, &payload));
                        pushed += 1;
                        Vec::new()
                    }
                    Step::Take => {
                        let delivery = queue.take();
                        dropped += delivery.dropped;
                        prop_assert_eq!(delivery.lagged, dropped);
                        prop_assert!(delivery.messages.is_sorted_by_key(|message| message.payload.clone()), "in order");
                        delivery.messages
                    }
                    Step::Pop => {
                        dropped = queue.lagged;
                        queue.pop().into_iter().collect()
                    }
                };
                for message in got {
                    let last = last.insert(message.principal.clone(), message.payload.clone());
                    prop_assert!(last < Some(message.payload.clone()), "in the order of its principal's");
                    delivered += 1;
                }
                prop_assert!(queue.messages <= max_messages && queue.bytes <= max_bytes);
                let lanes = || queue.lanes.iter();
                let waiting = || lanes().flat_map(|lane| &lane.waiting);
                prop_assert_eq!(queue.bytes, waiting().map(|waiting| waiting.message.weight()).sum::<usize>());
                prop_assert_eq!(queue.bytes, lanes().map(|lane| lane.bytes).sum::<usize>());
                prop_assert_eq!(queue.messages, waiting().count());
                prop_assert!(lanes().all(|lane| !lane.waiting.is_empty()), "no lane without a message");
                prop_assert_eq!(delivered + queue.messages as u64 + queue.lagged, pushed);
            }
        }

        #[test]
        fn q5_who_is_within_a_share_loses_nothing(
            steps in steps(), max_messages in 1..9_usize, max_bytes in 200..3000_usize,
        ) {
            let mut queue = Queue::new(max_messages, max_bytes, false);
            for step in steps {
                let Step::Push { of, exit, size } = step else {
                    drop(queue.pop());
                    continue;
                };
                let message = message_of(NAMES[of], if exit { EXIT } else { "t" }, &"x".repeat(size));
                let weight = message.weight();
                let mut before = sizes(&queue);
                let own = before.entry(message.principal.clone()).or_default();
                *own = (own.0 + 1, own.1 + weight);
                queue.push(message);
                let after = sizes(&queue);
                for (principal, (messages, bytes)) in &before {
                    let left = after.get(principal).copied().unwrap_or_default();
                    let within = messages * before.len() <= max_messages && bytes * before.len() <= max_bytes;
                    prop_assert!(!within || left == (*messages, *bytes), "{principal:?}: {before:?} {after:?}");
                }
            }
        }
    }

    #[test]
    fn q5_a_flood_of_one_costs_another_neither_message_nor_turn() {
        for flood in ["t", EXIT] {
            let mut queue = Queue::new(10, ROOM, true);
            queue.push(message_of("bob", "t", "bob's log"));
            queue.push(message_of("bob", EXIT, "bob's exit"));
            for n in 0..1000 {
                queue.push(message_of("ada", flood, &n.to_string()));
            }
            queue.push(message_of("bob", "t", "bob's last"));
            let order: Vec<_> = (0..6).map(|_| queue.pop().unwrap().payload.clone()).collect();
            // One more of ada's messages was dropped, to make room for bob's last.
            let expected = ["bob's log", "993", "bob's exit", "994", "bob's last", "995"];
            assert_eq!(order, expected, "{flood}");
            assert_eq!(queue.counts(), (993, 0));
        }
    }

    #[test]
    fn q5_many_principals_have_a_turn_each_and_no_more_room_than_there_is() {
        let mut queue = Queue::new(10, ROOM, true);
        for n in 0..1000 {
            queue.push(message_of(&n.to_string(), "t", "x"));
            assert!(queue.lanes.len() <= 10);
        }
        let left: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|message| message.principal.clone())
            .collect();
        let newest: Vec<_> = (990..1000).map(|n| named(&n.to_string())).collect();
        assert_eq!(left, newest);
    }

    #[test]
    fn q5_who_is_not_let_in_keeps_the_place() {
        let mut queue = Queue::new(10, ROOM, true);
        for (principal, payload) in [("ada", "1"), ("ada", "2"), ("bob", "1"), ("bob", "2")] {
            queue.push(message_of(principal, "t", payload));
        }
        let not_ada = |principal: &Principal| (*principal != named("ada")).then_some(());
        let (principal, ()) = queue.turn(not_ada).unwrap();
        assert_eq!(principal, named("bob"));
        queue.pop_of(&principal).unwrap();
        assert_eq!(queue.pop().unwrap().principal, named("ada"));
        assert!(queue.turn(|_| None::<()>).is_none());
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
