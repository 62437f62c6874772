//! `async` code under `block_on`.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::{Command, Error, Timer, block_on};

use crate::SECOND;

fn host() -> Host {
    let host = Host::new();
    host.command("sleep", |run| {
        Script::new().after(SECOND * run.args[0].parse().unwrap()).exit(0)
    });
    host
}

/// Runs all to their ends, each with the one waker that there is.
async fn all(mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    poll_fn(move |context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[test]
fn each_future_goes_on_for_its_own_cause() {
    let host = host();
    let order = RefCell::new(Vec::new());
    let wait = |seconds: u32| {
        let order = &order;
        Box::pin(async move {
            let child = Command::new("sleep").arg(seconds.to_string()).spawn().unwrap();
            child.exit_ready().await;
            order.borrow_mut().push(seconds);
        }) as Pin<Box<dyn Future<Output = ()> + '_>>
    };
    block_on(all(vec![wait(3), wait(1), wait(2)])).unwrap();
    assert_eq!(*order.borrow(), [1, 2, 3]);
    assert_eq!(host.now(), SECOND * 3);
}

#[test]
fn timers_and_pollables_mix() {
    let host = host();
    let child = Command::new("sleep").arg("9").spawn().unwrap();
    let exit = child.exit_ready();
    let first = block_on(async {
        let mut exit = pin!(IntoFuture::into_future(&exit));
        let mut late = pin!(IntoFuture::into_future(Timer::after(SECOND)));
        poll_fn(
            |context| match (exit.as_mut().poll(context), late.as_mut().poll(context)) {
                (Poll::Ready(()), _) => Poll::Ready("exit"),
                (_, Poll::Ready(())) => Poll::Ready("late"),
                (Poll::Pending, Poll::Pending) => Poll::Pending,
            },
        )
        .await
    });
    assert_eq!((first, host.now()), (Ok("late"), SECOND));
    // What was dropped is waited for no more: only the exit is.
    block_on(async { (&exit).await }).unwrap();
    assert_eq!(host.now(), SECOND * 9);
}

#[test]
fn a_future_that_nothing_can_wake_is_an_error_and_so_is_unloading() {
    let host = host();
    let stuck = block_on(std::future::pending::<()>());
    assert!(
        matches!(&stuck, Err(Error::Unknown(text)) if text.starts_with("stuck: ")),
        "{stuck:?}"
    );
    let child = Command::new("sleep").arg("9").spawn().unwrap();
    host.unload();
    let cancelled = block_on(async { child.exit_ready().await });
    assert_eq!(cancelled, Err(Error::Cancelled));
}

#[test]
fn a_future_that_wakes_itself_is_polled_again() {
    let _host = host();
    let mut rounds = 0;
    let counted = block_on(poll_fn(|context| {
        rounds += 1;
        context.waker().wake_by_ref();
        if rounds < 5 { Poll::Pending } else { Poll::Ready(rounds) }
    }));
    assert_eq!(counted, Ok(5));
}
