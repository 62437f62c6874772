//! The mock host as a test sees it.

use super::{
    run::Run,
    script::Script,
    world::{self, Answer, World},
};
use crate::{
    Error, ProcessId,
    http::{Request, Response},
    ipc,
    published::{PublishedAddress, PublishedPort},
    sys::Level,
};
use std::{fmt, marker::PhantomData, time::Duration};

/// The host of this thread, which every function of the SDK then asks. Dropping it ends all of its
/// processes and leaves the thread without a host.
///
/// Each test has its own, since each runs on a thread of its own. It begins with no command, no
/// configuration, the principal `test`, and at time zero.
///
/// ```
/// use capsule_sdk::{Command, mock::{Host, Script}};
///
/// let host = Host::new();
/// host.command("git", |run| Script::new().stdout(run.args.join(" ")).exit(0));
/// assert_eq!(Command::new("git").args(["log", "-1"]).output().unwrap().stdout, b"log -1");
/// ```
pub struct Host {
    /// It belongs to the thread that made it.
    thread: PhantomData<*const ()>,
}

impl Host {
    /// Makes the host of this thread.
    ///
    /// # Panics
    /// If it has one already.
    ///
    /// ```
    /// let host = capsule_sdk::mock::Host::new();
    /// ```
    #[must_use = "without it there is no host any more"]
    #[expect(
        clippy::new_without_default,
        reason = "it takes hold of the thread; no test may expect that of a default"
    )]
    pub fn new() -> Self {
        world::install(World::default());
        Self { thread: PhantomData }
    }

    /// Says what a program does whenever it is started. The latest call for a program holds.
    ///
    /// A program without such a call is not found.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// let host = Host::new();
    /// let mut runs = 0;
    /// host.command("flaky", move |_| {
    ///     runs += 1;
    ///     Script::new().exit(if runs < 3 { 1 } else { 0 })
    /// });
    /// while !Command::new("flaky").status().unwrap().success() {}
    /// assert_eq!(host.runs().len(), 3);
    /// ```
    pub fn command(&self, program: &str, script: impl FnMut(&Run) -> Script + 'static) {
        self.answer(program, Answer::Script(Box::new(script)));
    }

    /// Has every start of a program fail.
    ///
    /// ```
    /// # use capsule_sdk::{Command, Error, mock::Host};
    /// let host = Host::new();
    /// host.refuse("git", Error::CapabilityDenied);
    /// assert_eq!(Command::new("git").output(), Err(Error::CapabilityDenied));
    /// ```
    pub fn refuse(&self, program: &str, error: Error) {
        self.answer(program, Answer::Refusal(error));
    }

    fn answer(&self, program: &str, answer: Answer) {
        world::with(|world| world.answers.insert(program.to_owned(), Some(answer)));
    }

    /// Says what the server on a port answers, once a process [listens](Script::listens) there. Without this its answer
    /// is not HTTP.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}, net::{self, Response}};
    /// let host = Host::new();
    /// host.command("server", |_| Script::new().listens(80));
    /// host.serve(80, |request| Response::new(200, request.path.clone()));
    /// let server = Command::new("server").spawn_persistent().unwrap();
    /// assert_eq!(net::get(80, "/page").unwrap().body, b"/page");
    /// ```
    pub fn serve(&self, port: u16, answer: impl FnMut(&Request) -> Response + 'static) {
        world::with(|world| world.servers.insert(port, Some(Box::new(answer))));
    }

    /// Publishes one more port.
    ///
    /// ```
    /// # use capsule_sdk::{mock::Host, net::{self, PublishedAddress}};
    /// let host = Host::new();
    /// host.publish(80, PublishedAddress::Tcp("127.0.0.1:8080".parse().unwrap()));
    /// assert_eq!(net::published()[0].port, 80);
    /// ```
    pub fn publish(&self, port: u16, address: PublishedAddress) {
        world::with(|world| world.published_ports.push(PublishedPort::new(port, address)));
    }

    /// All processes that were started, in the order of their starts, with their present state.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("psql", |_| Script::new().exit(0));
    /// Command::new("psql").env("PGUSER", "ada").stdin("select 1").status().unwrap();
    /// let run = &host.runs()[0];
    /// assert_eq!((run.env("PGUSER"), &*run.input), (Some("ada"), &b"select 1"[..]));
    /// ```
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        world::with(|world| world.processes.iter().map(|process| process.run.clone()).collect())
    }

    /// The mock's clock, from zero.
    ///
    /// ```
    /// # use capsule_sdk::{mock::Host, sys};
    /// # use std::time::Duration;
    /// let host = Host::new();
    /// sys::sleep(Duration::from_secs(60)).unwrap();
    /// assert_eq!(host.now(), Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn now(&self) -> Duration {
        world::with(|world| world.now)
    }

    /// Lets time pass, between two calls of the capsule for instance.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// # use std::time::Duration;
    /// let host = Host::new();
    /// host.command("make", |_| Script::new().after(Duration::from_secs(60)).exit(0));
    /// let make = Command::new("make").spawn_persistent().unwrap();
    /// assert_eq!(make.try_wait(), Ok(None));
    /// host.advance(Duration::from_secs(60));
    /// assert!(make.try_wait().unwrap().is_some());
    /// ```
    pub fn advance(&self, duration: Duration) {
        world::with(|world| {
            let until = world.now + duration;
            world.advance_to(until);
        });
    }

    /// Ends a persistent process and forgets it, as one of its timers would.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("server", |_| Script::new());
    /// let server = Command::new("server").spawn_persistent().unwrap();
    /// host.forget(server.id());
    /// assert!(server.status().unwrap_err().is_gone());
    /// ```
    pub fn forget(&self, id: &ProcessId) {
        world::with(|world| {
            if let Ok(index) = world.find(id.expose()) {
                world.end(index, world::signalled(9), "reaped-ttl", Some("idle"));
                world.forget(index);
            }
        });
    }

    /// Begins to unload the capsule: every call that would wait answers `cancelled` from now on.
    ///
    /// ```
    /// # use capsule_sdk::{Command, Error, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("server", |_| Script::new());
    /// let mut server = Command::new("server").spawn().unwrap();
    /// host.unload();
    /// assert_eq!(server.wait(), Err(Error::Cancelled));
    /// ```
    pub fn unload(&self) {
        world::with(|world| world.unloading = true);
    }

    /// Sets a value of the capsule's configuration.
    ///
    /// ```
    /// # use capsule_sdk::{mock::Host, sys};
    /// let host = Host::new();
    /// host.config("root", "site");
    /// assert_eq!(sys::config("root").unwrap().as_deref(), Some("site"));
    /// ```
    pub fn config(&self, key: &str, value: &str) {
        world::with(|world| world.config.insert(key.to_owned(), value.to_owned()));
    }

    /// Sets who calls; none for a caller that is not authenticated, for whom there are no
    /// persistent processes.
    ///
    /// ```
    /// # use capsule_sdk::{Command, Error, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("server", |_| Script::new());
    /// host.caller(None);
    /// assert_eq!(Command::new("server").spawn_persistent().unwrap_err(), Error::PersistUnsupported);
    /// ```
    pub fn caller(&self, principal: Option<&str>) {
        world::with(|world| world.principal = principal.map(str::to_owned));
    }

    /// What the capsule wrote to its log.
    ///
    /// ```
    /// # use capsule_sdk::{mock::Host, sys};
    /// let host = Host::new();
    /// sys::warn("nearly full");
    /// assert_eq!(host.log(), [(sys::Level::Warn, "nearly full".to_owned())]);
    /// ```
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        world::with(|world| world.log.clone())
    }

    /// Delivers a message from the host, or from another capsule, to the subscriptions to its topic.
    ///
    /// ```
    /// # use capsule_sdk::{ipc, mock::Host};
    /// let host = Host::new();
    /// let builds = ipc::subscribe("builds.*").unwrap();
    /// host.deliver("builds.done", "{}", ipc::Sender::System);
    /// assert_eq!(builds.poll().unwrap().messages.len(), 1);
    /// ```
    pub fn deliver(&self, topic: &str, payload: &str, sender: ipc::Sender) {
        world::with(|world| world.deliver(topic, payload, "mock", sender));
    }

    /// Has the next read of every subscription report lost messages.
    ///
    /// ```
    /// # use capsule_sdk::{ipc, mock::Host};
    /// let host = Host::new();
    /// let builds = ipc::subscribe("builds.*").unwrap();
    /// host.lose_messages(3);
    /// assert_eq!(builds.poll().unwrap().dropped, 3);
    /// ```
    pub fn lose_messages(&self, count: u64) {
        world::with(|world| {
            for queue in world.queues.iter_mut().flatten() {
                queue.dropped += count;
                queue.lagged += count;
            }
        });
    }

    /// What the capsule published, and what was published of its processes, in order.
    ///
    /// ```
    /// # use capsule_sdk::{ipc, mock::Host};
    /// let host = Host::new();
    /// ipc::publish("builds.done", "{}").unwrap();
    /// assert_eq!(host.published()[0].topic, "builds.done");
    /// ```
    #[must_use]
    pub fn published(&self) -> Vec<ipc::Message> {
        world::with(|world| world.published.iter().cloned().map(ipc::Message::from).collect())
    }

    /// Declares that an action is called for a topic. The mock lists the binding and never calls the
    /// action; a test calls its function.
    ///
    /// ```
    /// # use capsule_sdk::{ipc, mock::Host};
    /// let host = Host::new();
    /// host.bind("builds.*", "on-build");
    /// assert_eq!(ipc::interceptor_bindings().unwrap()[0].action, "on-build");
    /// ```
    pub fn bind(&self, topic: &str, action: &str) {
        world::with(|world| world.bindings.push((topic.to_owned(), action.to_owned())));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        world::uninstall();
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
