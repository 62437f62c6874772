//! Messages through the runtime: guests that wait for them, the instances that they start, and background functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capsule_host::audit::{AuditSink, Record};
use capsule_host::bus::{
    Attribution, Audience, BusLimits, Delivery, InProcess, Message, Messaging, Pattern, Reach, Subscriber,
    Subscription, Topic,
};
use capsule_host::runtime::{Background, CallError, Capsule, Deliveries, Grants, Interceptor, LoadError, LoadOptions};
use capsule_host::runtime::{Runtime, Topics};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{Limits, Owner, Principal, Registry, SpawnRequest};
use tempfile::TempDir;

use super::{Everything, GUEST_TIME, answer, guests, talkers};

struct Host {
    registry: Registry,
    bus: Arc<InProcess>,
    messaging: Messaging,
    runtime: Runtime,
    workspace: TempDir,
}

fn ada() -> Principal {
    Principal::Named("ada".into())
}

fn owner(capsule: &str) -> Owner {
    Owner {
        principal: ada(),
        capsule: capsule.into(),
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

impl Host {
    fn new(max_instances: u32) -> Self {
        let launcher = Arc::new(Unconfined::new().allow_persistent());
        let limits = Limits {
            processes_per_principal: 64,
            retained_per_owner: 1024,
            ..Limits::default()
        };
        let registry = Registry::new(tokio::runtime::Handle::current(), launcher, limits).unwrap();
        let bus = Arc::new(InProcess::new());
        let limits = BusLimits {
            subscriptions_per_principal: 256,
            ..BusLimits::default()
        };
        let messaging = Messaging::over(&registry, bus.clone(), limits);
        let runtime = Runtime::builder(registry.clone())
            .messaging(messaging.clone())
            .max_instances(max_instances)
            .instances_per_principal(Some(max_instances))
            .max_background(2)
            .guest_time(GUEST_TIME);
        Self {
            registry,
            bus,
            messaging,
            runtime: runtime.build().unwrap(),
            workspace: TempDir::new().unwrap(),
        }
    }

    fn folder(&self) -> Workspace {
        Workspace::open(self.workspace.path()).unwrap()
    }

    /// A grant to publish and subscribe to all topics.
    fn options(&self, id: &str) -> LoadOptions {
        let topics = Topics {
            publish: vec![pattern("*")],
            subscribe: vec![pattern("*")],
            ..Topics::default()
        };
        LoadOptions {
            grants: Grants {
                topics,
                ..Grants::default()
            },
            ..LoadOptions::new(id, self.folder())
        }
    }

    async fn load(&self, id: &str, component: &[u8]) -> Capsule {
        self.runtime.load(self.options(id), component).await.unwrap()
    }

    /// A capsule that publishes to `seen.v1.it` what it received on `topic`.
    async fn repeater(&self, id: &str, topic: &str) -> Capsule {
        let options = LoadOptions {
            interceptors: vec![Interceptor {
                topic: pattern(topic),
                action: "seen.v1.it".into(),
            }],
            ..self.options(id)
        };
        self.runtime.load(options, &talkers::repeats()).await.unwrap()
    }

    /// A subscription of the embedder's.
    fn listen(&self, topics: &str) -> Subscription {
        let subscriber = Subscriber::new(owner("embedder"), Reach::All);
        self.messaging.subscribe(subscriber, pattern(topics)).unwrap()
    }

    fn say(&self, topic: &str, payload: &str) {
        let topic = Topic::parse(topic).unwrap();
        self.messaging
            .publish(&owner("embedder"), 0, topic, payload.into())
            .unwrap();
    }
}

async fn call(
    capsule: &Capsule,
    action: &str,
    payload: &str,
) -> Result<capsule_host::runtime::CapsuleResult, CallError> {
    capsule.call(ada(), action, payload.into()).await
}

async fn until(fact: impl Fn() -> bool) {
    let fact = async {
        while !fact() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fact)
        .await
        .expect("it never came true");
}

async fn hear(subscription: &Subscription) -> Delivery {
    subscription.recv(Duration::from_secs(60)).await.unwrap()
}

/// All messages received until there are `count`.
async fn hear_all(subscription: &Subscription, count: usize) -> Vec<Arc<Message>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let delivery = hear(subscription).await;
        assert_eq!(delivery.lagged, 0);
        messages.extend(delivery.messages);
    }
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_200_instances_wait_on_two_threads_and_each_wakes_for_its_own() {
    let host = Host::new(200);
    let capsules = [
        host.load("receives", &talkers::receives()).await,
        host.load("polls", &talkers::polls()).await,
    ];
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let capsule = capsules[n % 2].clone();
            tokio::spawn(async move { call(&capsule, "act", &format!("only.v1.n{n}")).await })
        })
        .collect();
    until(|| host.bus.subscriptions() == 200).await;
    // The last first, and each by itself: the others must still wait.
    for (n, call) in calls.into_iter().enumerate().rev() {
        assert!(!call.is_finished(), "{n} woke for another");
        host.say(&format!("only.v1.n{n}"), &n.to_string());
        assert_eq!(call.await.unwrap().unwrap(), answer(&n.to_string()));
    }
    until(|| host.bus.subscriptions() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_unloading_ends_a_wait_for_messages_at_once() {
    for guest in [talkers::receives(), talkers::polls()] {
        let host = Host::new(8);
        let capsule = host.load("waits", &guest).await;
        let waiting = capsule.clone();
        let waiting = tokio::spawn(async move { call(&waiting, "act", "never.v1.comes").await });
        until(|| host.bus.subscriptions() == 1).await;
        let start = Instant::now();
        capsule.unload().await;
        assert!(
            start.elapsed() < Duration::from_millis(900),
            "took {:?}",
            start.elapsed()
        );
        match waiting.await.unwrap() {
            // `recv` has only `unknown` for this; after `poll` the envelope is empty.
            Ok(told) => assert!([Some("8"), None].contains(&told.data.as_deref()), "{told:?}"),
            Err(error) => assert_eq!(error.kind(), "cancelled"),
        }
        assert_eq!(host.bus.subscriptions(), 0, "it takes its subscription with it");
    }
}

/// Keeps one record.
#[derive(Default)]
struct TakesOne(AtomicBool);

impl AuditSink for TakesOne {
    fn record(&self, _: &Record) {
        assert!(
            !self.0.swap(true, Ordering::Relaxed),
            "a fault of the embedder, on purpose"
        );
    }
}

#[tokio::test]
async fn a_panic_after_a_wait_fails_its_call_and_no_other() {
    let host = Host::new(1);
    let builder = Runtime::builder(host.registry.clone()).messaging(host.messaging.clone());
    let runtime = builder.audit(Some(Arc::new(TakesOne::default()))).build().unwrap();
    let capsule = runtime.load(host.options("waits"), &talkers::receives()).await.unwrap();
    let waiting = capsule.clone();
    let waiting = tokio::spawn(async move { call(&waiting, "act", "it.v1.comes").await });
    // The record of the subscription is kept, and that of the message is not.
    until(|| host.bus.subscriptions() == 1).await;
    host.say("it.v1.comes", "late");
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), "host");
    assert_eq!(capsule.calls_in_flight(), 0);
    assert_eq!(host.bus.subscriptions(), 0);
}

#[tokio::test]
async fn a1_a_pollable_outlives_its_subscription() {
    let host = Host::new(8);
    let capsule = host.load("outlives", &talkers::outlives()).await;
    assert_eq!(call(&capsule, "act", "a.b").await.unwrap(), answer("0"));
}

#[tokio::test]
async fn e3_what_is_not_granted_is_denied() {
    let host = Host::new(8);
    let options = LoadOptions::new("mute", host.folder());
    let mute = host.runtime.load(options.clone(), &talkers::repeats()).await.unwrap();
    assert_eq!(call(&mute, "notes.v1.saved", "{}").await.unwrap(), answer("1"));
    let deaf = host.runtime.load(options.clone(), &talkers::receives()).await.unwrap();
    assert_eq!(call(&deaf, "act", "notes.v1.*").await.unwrap(), answer("1"));
    assert_eq!(call(&deaf, "act", "astrid.process.v1.*").await.unwrap(), answer("1"));
    assert_eq!(call(&deaf, "act", "a..b").await.unwrap(), answer("2"));

    // No grant includes the host's own topics.
    let loud = host.load("loud", &talkers::repeats()).await;
    for topic in ["astrid.process.v1.exited.x", "astrid.process"] {
        assert_eq!(call(&loud, topic, "{}").await.unwrap(), answer("1"), "{topic}");
    }
    assert_eq!(call(&loud, "Not A Topic", "{}").await.unwrap(), answer("2"));
    assert_eq!(call(&loud, "notes.v1.saved", "{}").await.unwrap().data, None);

    // The capsule may have processes, so it receives the events of its own.
    let options = LoadOptions {
        grants: Grants {
            commands: vec!["true".into()],
            ..Grants::default()
        },
        ..options
    };
    let runs = host.runtime.load(options, &talkers::receives()).await.unwrap();
    let waiting = runs.clone();
    let waiting = tokio::spawn(async move { call(&waiting, "act", "astrid.process.v1.*").await });
    until(|| host.bus.subscriptions() == 1).await;
    runs.unload().await;
    drop(waiting.await);
}

#[tokio::test]
async fn q4_a_hoarder_of_subscriptions_meets_its_quota() {
    let host = Host::new(8);
    let capsule = host.load("hoards", &talkers::hoards()).await;
    assert_eq!(call(&capsule, "act", "a.b").await.unwrap(), answer("6"));
    assert_eq!(host.bus.subscriptions(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_message_starts_an_instance_where_none_is_alive() {
    let host = Host::new(8);
    let seen = host.listen("seen.*");
    let capsule = host.repeater("repeats", "notes.v1.*").await;
    assert_eq!(capsule.calls_in_flight(), 0);
    host.say("notes.v1.saved", "the text");
    host.say("notes.v2.saved", "not for it");
    let heard = hear(&seen).await;
    assert_eq!(heard.messages.len(), 1);
    let message = &heard.messages[0];
    assert_eq!(
        (message.payload.as_str(), message.source.as_str()),
        ("the text", "repeats")
    );
    assert_eq!(
        (&message.principal, message.attribution, message.depth),
        (&ada(), Attribution::Verified, 1)
    );
    capsule.interceptors_idle().await;
    let expected = Deliveries {
        succeeded: 1,
        ..Deliveries::default()
    };
    assert_eq!(capsule.deliveries(), expected);
    capsule.unload().await;
    host.say("notes.v1.saved", "too late");
    assert!(seen.poll().unwrap().messages.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_e3_a_capsule_without_an_instance_learns_of_every_exit_once() {
    let host = Host::new(8);
    let seen = host.listen("seen.*");
    let capsule = host.repeater("starts", "astrid.process.v1.exited.*").await;
    let stranger = host.repeater("stranger", "astrid.process.v1.exited.*").await;
    let scope = host.registry.scope(owner("starts"));
    let mut ids = Vec::new();
    for n in 0..20 {
        let request = SpawnRequest {
            cmd: "true".into(),
            ..SpawnRequest::default()
        };
        let id = scope
            .spawn_persistent(request, &host.folder(), &mut Everything)
            .await
            .unwrap();
        // One suffix for all, so that only the payloads differ.
        if n % 2 == 0 {
            scope.watch(id.expose(), Some("all")).unwrap();
        }
        scope.wait(id.expose(), Duration::from_secs(60)).await.unwrap();
        scope.watch(id.expose(), Some("all")).unwrap();
        ids.push(id.expose().to_owned());
    }
    let heard = hear_all(&seen, 20).await;
    let mut told: Vec<_> = heard.iter().map(|message| message.payload.clone()).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 20);
    assert!(
        ids.iter()
            .all(|id| told.iter().filter(|payload| payload.contains(id)).count() == 1)
    );
    capsule.interceptors_idle().await;
    stranger.interceptors_idle().await;
    assert!(seen.poll().unwrap().messages.is_empty());
    assert_eq!(
        stranger.deliveries(),
        Deliveries::default(),
        "they are none of its business"
    );
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_interceptors_that_cause_each_other_come_to_an_end() {
    let host = Host::new(8);
    let seen = host.listen("seen.v1.it");
    let capsule = host.repeater("loops", "seen.v1.it").await;
    host.say("seen.v1.it", "again");
    capsule.interceptors_idle().await;
    let heard = seen.poll().unwrap().messages;
    let mut depths: Vec<_> = heard.iter().map(|message| message.depth).collect();
    // A message may be received before the message that caused it: each subscriber gets them in turn.
    depths.sort_unstable();
    assert_eq!(depths, (0..=8).collect::<Vec<_>>());
    assert_eq!(
        capsule.deliveries().succeeded,
        9,
        "the last was refused its message, and lived"
    );
}

#[tokio::test]
async fn e3_what_waits_for_an_interceptor_is_merged_counted_and_never_blocks() {
    let host = Host::new(1);
    let capsule = host.repeater("slow", "work.*").await;
    // The one place is taken, so that no message is taken out of the queue.
    let sleeper = host.load("sleeps", &guests::sleep()).await;
    let long = super::nanos(Duration::from_secs(50));
    let place = tokio::spawn({
        let sleeper = sleeper.clone();
        async move { sleeper.call(ada(), "act", long.to_vec()).await }
    });
    until(|| sleeper.calls_in_flight() == 1).await;
    let announce = |payload: String| {
        let message = Message {
            topic: Topic::parse("work.v1.do").unwrap(),
            payload,
            source: "embedder".into(),
            principal: ada(),
            attribution: Attribution::System,
            audience: Audience::All,
            depth: 0,
        };
        host.messaging.announce(message).unwrap();
    };
    for n in 0..1500 {
        announce((n / 2).to_string());
    }
    assert_eq!((capsule.deliveries().merged, capsule.deliveries().dropped), (750, 0));
    for n in 1000..2000 {
        announce(n.to_string());
    }
    assert_eq!(capsule.deliveries().dropped, 750 + 1000 - 1024);
    sleeper.unload().await;
    drop(place.await);
    capsule.interceptors_idle().await;
    let Deliveries {
        succeeded,
        failed,
        merged,
        dropped,
    } = capsule.deliveries();
    assert_eq!((succeeded + failed, merged, dropped), (1024, 750, 726));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_new_code_hears_what_the_old_would_have() {
    let host = Host::new(8);
    let seen = host.listen("seen.*");
    let capsule = host.repeater("reloads", "notes.v1.*").await;
    capsule.reload(&guests::echo()).await.unwrap();
    host.say("notes.v1.saved", "to the silent");
    capsule.interceptors_idle().await;
    assert!(seen.poll().unwrap().messages.is_empty());
    assert!(matches!(capsule.reload(b"junk").await, Err(LoadError::Compile(_))));
    assert_eq!(
        call(&capsule, "act", "still there").await.unwrap(),
        answer("still there")
    );
    capsule.reload(&talkers::repeats()).await.unwrap();
    host.say("notes.v1.saved", "to the talkative");
    assert_eq!(hear(&seen).await.messages[0].payload, "to the talkative");
    capsule.interceptors_idle().await;
    let deliveries = capsule.deliveries();
    assert_eq!(deliveries.succeeded + deliveries.failed, 2);
    capsule.unload().await;
    assert!(matches!(
        capsule.reload(&guests::echo()).await,
        Err(LoadError::Unloaded)
    ));
}

#[tokio::test]
async fn a_call_in_flight_ends_on_the_code_that_it_began_on() {
    let host = Host::new(8);
    let capsule = host.load("reloads", &talkers::receives()).await;
    let waiting = capsule.clone();
    let waiting = tokio::spawn(async move { call(&waiting, "act", "go.v1.on").await });
    until(|| host.bus.subscriptions() == 1).await;
    capsule.reload(&guests::echo()).await.unwrap();
    assert_eq!(call(&capsule, "act", "new").await.unwrap(), answer("new"));
    host.say("go.v1.on", "old");
    assert_eq!(waiting.await.unwrap().unwrap(), answer("old"));
}

async fn in_background(host: &Host, component: &[u8]) -> Capsule {
    let options = LoadOptions {
        background: Some(ada()),
        ..host.options("daemon")
    };
    host.runtime.load(options, component).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_started_once_says_that_it_is_ready_and_ends_with_the_capsule() {
    let host = Host::new(1);
    let capsule = in_background(&host, &talkers::patient()).await;
    capsule.ready().await.unwrap();
    assert!(matches!(capsule.background(), Background::Ready));
    let start = Instant::now();
    capsule.unload().await;
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "it was told; took {:?}",
        start.elapsed()
    );
    assert!(matches!(capsule.background(), Background::Ended));
    assert!(matches!(capsule.ready().await, Err(CallError::Cancelled)));

    let capsule = in_background(&host, &talkers::patient()).await;
    let ended = capsule.clone();
    capsule.ready().await.unwrap();
    capsule.reload(&talkers::stub()).await.unwrap();
    until(|| matches!(ended.background(), Background::Returned)).await;
    capsule.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_computes_for_ever_is_ended_and_so_is_one_that_will_not_end() {
    let host = Host::new(1);
    let capsule = in_background(&host, &talkers::stubborn()).await;
    until(|| matches!(capsule.background(), Background::Failed(CallError::GuestTime(_)))).await;
    let start = Instant::now();
    let capsule = in_background(&host, &talkers::stubborn()).await;
    drop(capsule.ready().await);
    capsule.unload().await;
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_returns_is_no_error_one_that_fails_is_told_and_neither_is_started_again() {
    let host = Host::new(1);
    let stub = in_background(&host, &talkers::stub()).await;
    stub.ready().await.unwrap();
    assert!(matches!(stub.background(), Background::Returned));
    let broken = in_background(&host, &talkers::fails_at_once()).await;
    assert_eq!(broken.ready().await.unwrap_err().kind(), "trap");
    assert!(matches!(
        broken.background(),
        Background::Failed(CallError::Trap { .. })
    ));

    let options = LoadOptions {
        background: Some(ada()),
        ..host.options("third")
    };
    let third = host.runtime.load(options.clone(), &talkers::stub()).await;
    assert!(matches!(third, Err(LoadError::TooManyInBackground(2))), "{third:?}");
    let none = host.runtime.load(options, &guests::echo()).await;
    assert!(matches!(none, Err(LoadError::NoRun)), "{none:?}");
    let undeclared = host.load("undeclared", &talkers::fails_at_once()).await;
    undeclared.ready().await.unwrap();
    assert!(matches!(undeclared.background(), Background::NotDeclared));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_by_itself_ends_with_the_last_that_holds_the_capsule() {
    let host = Host::new(8);
    let options = LoadOptions {
        background: Some(ada()),
        interceptors: vec![Interceptor {
            topic: pattern("notes.v1.*"),
            action: "seen.v1.it".into(),
        }],
        ..host.options("dropped")
    };
    let capsule = host.runtime.load(options, &talkers::patient()).await.unwrap();
    capsule.ready().await.unwrap();
    assert_eq!(host.bus.subscriptions(), 1);
    drop(capsule);
    until(|| host.bus.subscriptions() == 0).await;
}
