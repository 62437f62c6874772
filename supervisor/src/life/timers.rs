//! The times of all processes of a registry, in one delay queue (contract T4).
//!
//! A process has one deadline at a time, whichever comes next in its life. It sets it anew when that changes; when it has
//! come, the process is told, and looks for itself what is due. So a timer can be late to be cancelled without harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue};

/// The queue's handle. The task ends when this and all timers are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    commands: mpsc::UnboundedSender<Command>,
    next: Arc<AtomicU64>,
}

/// One process's deadline; dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Timer {
    timers: Timers,
    number: u64,
    due: Arc<Notify>,
    set: Option<Instant>,
}

#[derive(Debug)]
enum Command {
    Set { number: u64, at: Instant, due: Arc<Notify> },
    Cancel { number: u64 },
}

impl Timers {
    pub(crate) fn start(runtime: &tokio::runtime::Handle) -> Self {
        // Unbounded, because setting a timer must not wait. The number of processes bounds the queue: each changes its deadline a
        // few times in its life, and on a touch only after the earlier deadline has passed.
        let (commands, inbox) = mpsc::unbounded_channel();
        runtime.spawn(run(inbox));
        Self {
            commands,
            next: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn timer(&self) -> Timer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Timer {
            timers: self.clone(),
            number,
            due: Arc::new(Notify::new()),
            set: None,
        }
    }
}

impl Timer {
    /// Sets the deadline in place of the one before.
    pub(crate) fn set(&mut self, at: Option<Instant>) {
        if self.set == at {
            return;
        }
        self.set = at;
        let number = self.number;
        let command = match at {
            Some(at) => Command::Set {
                number,
                at,
                due: Arc::clone(&self.due),
            },
            None => Command::Cancel { number },
        };
        // The task is gone, because the runtime and the process are ending.
        drop(self.timers.commands.send(command));
    }

    /// Completes when a deadline has come. It never completes early, and may complete for a deadline that was replaced
    /// meanwhile.
    pub(crate) async fn due(&mut self) {
        self.due.notified().await;
        self.set = None;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.set(None);
    }
}

async fn run(mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut queue = DelayQueue::<(u64, Arc<Notify>)>::new();
    let mut keys = HashMap::<u64, delay_queue::Key>::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Set { number, at, due }) => {
                    if let Some(key) = keys.get(&number) {
                        queue.reset_at(key, at);
                    } else {
                        keys.insert(number, queue.insert_at((number, due), at));
                    }
                }
                Some(Command::Cancel { number }) => {
                    if let Some(key) = keys.remove(&number) {
                        queue.remove(&key);
                    }
                }
                None => return,
            },
            Some(expired) = std::future::poll_fn(|cx| queue.poll_expired(cx)), if !queue.is_empty() => {
                let (number, due) = expired.into_inner();
                keys.remove(&number);
                due.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn t4_a_thousand_timers_fire_at_their_time() {
        let timers = Timers::start(&tokio::runtime::Handle::current());
        let start = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..1000u64 {
            let mut timer = timers.timer();
            let at = start + Duration::from_millis(1 + (number * 7919) % 10_000);
            waiting.spawn(async move {
                timer.set(Some(at));
                timer.due().await;
                (at, Instant::now())
            });
        }
        while let Some(fired) = waiting.join_next().await {
            let (at, now) = fired.unwrap();
            assert!(
                now >= at && now <= at + Duration::from_millis(1),
                "due {at:?}, came {now:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t4_a_timer_may_be_set_anew_and_cancelled() {
        let timers = Timers::start(&tokio::runtime::Handle::current());
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timer = timers.timer();
        timer.set(Some(start + 5 * second));
        timer.set(Some(start + 2 * second));
        timer.due().await;
        assert_eq!(start.elapsed(), 2 * second);
        timer.set(Some(start + 3 * second));
        timer.set(Some(start + 9 * second));
        timer.due().await;
        assert_eq!(start.elapsed(), 9 * second);
        timer.set(Some(start + 10 * second));
        timer.set(None);
        assert!(tokio::time::timeout(60 * second, timer.due()).await.is_err());
    }
}
