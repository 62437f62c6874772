//! `astrid:ipc` as an embedder with its own engine and store uses it: the questions to the embedder, the receivers of
//! messages, and the ends of waits. The tests use the traits that the linker calls.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use std::sync::Arc;
use std::time::Duration;

use capsule_host::bindings::astrid::io::{poll, poll::HostPollable as _};
use capsule_host::bindings::astrid::ipc::host as ipc;
use capsule_host::bindings::astrid::sys::host as sys;
use capsule_host::bus::{BusLimits, InProcess, Messaging, Pattern, Reach};
use capsule_host::sandbox::{Unconfined, Workspace};
use capsule_host::supervisor::{Ask, Events, Limits, Owner, Principal, ProcessEvent, Registry};
use capsule_host::{
    CapsuleCtx, CapsuleCtxBuilder, CapsuleCtxView, CapsuleHooks, CapsuleView, IpcError, Subscription, TopicAsk,
};
use ipc::HostSubscription as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable};

/// Grants topics, or only processes, and records the questions.
#[derive(Default)]
struct Hooks {
    topics: bool,
    processes: bool,
    reach: Reach,
    asked: Vec<String>,
}

impl CapsuleHooks for Hooks {
    fn authorize(&mut self, _: &Owner, ask: Ask<'_>) -> bool {
        assert!(matches!(ask, Ask::Process));
        self.processes
    }

    fn authorize_topic(&mut self, owner: &Owner, ask: TopicAsk<'_>) -> bool {
        let ask = match ask {
            TopicAsk::Publish(topic) => format!("publish {topic}"),
            TopicAsk::PublishAs(topic, principal) => format!("publish {topic} as {principal}"),
            TopicAsk::Subscribe(pattern) => format!("subscribe {pattern}"),
            other => format!("{other:?}"),
        };
        self.asked.push(format!("{}: {ask}", owner.capsule));
        self.topics
    }

    fn reach(&mut self, _: &Owner, _: &Pattern) -> Reach {
        self.reach
    }
}

struct Host {
    registry: Registry,
    bus: Arc<InProcess>,
    messaging: Messaging,
    workspace: TempDir,
}

struct Guest {
    ctx: CapsuleCtx,
    table: ResourceTable,
    hooks: Hooks,
    unload: CancellationToken,
}

impl CapsuleView for Guest {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        CapsuleCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

fn owner(principal: &str, capsule: &str) -> Owner {
    Owner {
        principal: Principal::Named(principal.into()),
        capsule: capsule.into(),
    }
}

impl Host {
    fn new(limits: BusLimits) -> Self {
        let handle = tokio::runtime::Handle::current();
        let registry = Registry::new(handle, Arc::new(Unconfined::new()), Limits::default()).unwrap();
        let bus = Arc::new(InProcess::new());
        Self {
            messaging: Messaging::over(&registry, bus.clone(), limits),
            registry,
            bus,
            workspace: TempDir::new().unwrap(),
        }
    }

    fn guest_with(
        &self,
        owner: Owner,
        hooks: Hooks,
        more: impl FnOnce(CapsuleCtxBuilder) -> CapsuleCtxBuilder,
    ) -> Guest {
        let unload = CancellationToken::new();
        let folder = Workspace::open(self.workspace.path()).unwrap();
        let builder = CapsuleCtx::builder(&self.registry, owner, folder)
            .unload(unload.clone())
            .bus(self.messaging.clone());
        Guest {
            ctx: more(builder).build(),
            table: ResourceTable::new(),
            hooks,
            unload,
        }
    }

    /// A guest that may use every topic.
    fn guest(&self, principal: &str, capsule: &str) -> Guest {
        let hooks = Hooks {
            topics: true,
            ..Hooks::default()
        };
        self.guest_with(owner(principal, capsule), hooks, |builder| builder)
    }

    fn exited(&self, owner: Owner, payload: &str) {
        let event = ProcessEvent {
            owner,
            topic: "astrid.process.v1.exited.x".into(),
            payload: payload.into(),
        };
        Events::publish(&self.messaging, event);
    }
}

impl Guest {
    fn publish(&mut self, topic: &str, payload: &str) -> Result<(), IpcError> {
        ipc::Host::publish(&mut self.capsule(), topic.into(), payload.into())
    }

    fn subscribe(&mut self, pattern: &str) -> Resource<Subscription> {
        ipc::Host::subscribe(&mut self.capsule(), pattern.into()).unwrap()
    }

    fn poll(&mut self, subscription: &Resource<Subscription>) -> ipc::IpcEnvelope {
        ipc::HostSubscription::poll(&mut self.capsule(), borrow(subscription)).unwrap()
    }

    fn payloads(&mut self, subscription: &Resource<Subscription>) -> Vec<String> {
        let envelope = self.poll(subscription);
        envelope.messages.into_iter().map(|message| message.payload).collect()
    }

    fn code<T>(&mut self, result: Result<T, IpcError>) -> String {
        let Err(error) = result else {
            panic!("it should have failed");
        };
        let code = ipc::Host::convert_error_code(&mut self.capsule(), error).unwrap();
        match code {
            ipc::ErrorCode::CapabilityDenied => "capability-denied".into(),
            ipc::ErrorCode::InvalidInput => "invalid-input".into(),
            ipc::ErrorCode::Closed => "closed".into(),
            ipc::ErrorCode::RateLimited => "rate-limited".into(),
            ipc::ErrorCode::Backpressure => "backpressure".into(),
            ipc::ErrorCode::Quota => "quota".into(),
            ipc::ErrorCode::Timeout => "timeout".into(),
            ipc::ErrorCode::Unknown(text) => text,
        }
    }
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

#[tokio::test]
async fn e3_nothing_is_allowed_unless_the_embedder_says_so() {
    let host = Host::new(BusLimits::default());
    let mut guest = host.guest_with(owner("ada", "c"), Hooks::default(), |builder| builder);
    let denied = guest.publish("a.b", "{}");
    assert_eq!(guest.code(denied), "capability-denied");
    let denied = ipc::Host::publish_as(&mut guest.capsule(), "a.b".into(), "{}".into(), "bob".into());
    assert_eq!(guest.code(denied), "capability-denied");
    for pattern in ["a.b", "*", "astrid.process.v1.*"] {
        let denied = ipc::Host::subscribe(&mut guest.capsule(), pattern.into());
        assert_eq!(guest.code(denied), "capability-denied");
    }
    assert_eq!(
        guest.hooks.asked,
        [
            "c: publish a.b",
            "c: publish a.b as bob",
            "c: subscribe a.b",
            "c: subscribe *",
            "c: subscribe astrid.process.v1.*"
        ]
    );
    let forged = guest.publish("astrid.process.v1.exited.x", "{}");
    assert_eq!(guest.code(forged), "capability-denied");
    assert_eq!(
        guest.hooks.asked.len(),
        5,
        "the embedder is not asked about a topic that no capsule may use"
    );
}

#[tokio::test]
async fn e3_events_reach_their_owner_and_subscribers_that_the_embedder_names() {
    let host = Host::new(BusLimits::default());
    let hooks = || Hooks {
        processes: true,
        ..Hooks::default()
    };
    // In turn: a grant for processes and none for topics; all topics; all topics and a reach.
    let mut own = host.guest_with(owner("ada", "c"), hooks(), |builder| builder);
    let mut other_capsule = host.guest("ada", "d");
    let mut other_principal = host.guest("bob", "c");
    let mut of_principal = host.guest("ada", "monitor");
    of_principal.hooks.reach = Reach::Principal;
    let mut of_all = host.guest("root", "monitor");
    of_all.hooks.reach = Reach::All;
    let wide = "*";
    let subscriptions = [
        own.subscribe("astrid.process.v1.*"),
        other_capsule.subscribe(wide),
        other_principal.subscribe(wide),
        of_principal.subscribe(wide),
        of_all.subscribe(wide),
    ];
    host.exited(owner("ada", "c"), "ada's");
    host.exited(owner("bob", "d"), "bob's");
    let guests = [
        &mut own,
        &mut other_capsule,
        &mut other_principal,
        &mut of_principal,
        &mut of_all,
    ];
    let heard: Vec<Vec<String>> = std::iter::zip(guests, &subscriptions)
        .map(|(guest, subscription)| guest.payloads(subscription))
        .collect();
    assert_eq!(heard, [&["ada's"][..], &[], &[], &["ada's"], &["ada's", "bob's"]]);
}

#[tokio::test]
async fn e3_who_sent_it_is_told_and_a_claim_is_no_proof() {
    let host = Host::new(BusLimits::default());
    let mut ada = host.guest("ada", "sends");
    let mut bob = host.guest("bob", "hears");
    let (to_ada, to_bob) = (ada.subscribe("a.*"), bob.subscribe("a.*"));
    ada.publish("a.own", "1").unwrap();
    ipc::Host::publish_as(&mut ada.capsule(), "a.other".into(), "2".into(), "bob".into()).unwrap();
    host.messaging
        .announce(capsule_host::bus::Message {
            topic: "a.host".parse().unwrap(),
            payload: "3".into(),
            source: "host".into(),
            principal: Principal::Anonymous,
            attribution: capsule_host::bus::Attribution::System,
            audience: capsule_host::bus::Audience::All,
            depth: 0,
        })
        .unwrap();
    let told = |envelope: ipc::IpcEnvelope| -> Vec<String> {
        let messages = envelope.messages.into_iter();
        messages
            .map(|message| {
                let principal = match message.principal {
                    ipc::PrincipalAttribution::Verified(name) => format!("verified {name}"),
                    ipc::PrincipalAttribution::Claimed(name) => format!("claimed {name}"),
                    ipc::PrincipalAttribution::System => "system".into(),
                };
                format!(
                    "{} {} {} {principal}",
                    message.topic, message.payload, message.source_id
                )
            })
            .collect()
    };
    assert_eq!(
        told(ada.poll(&to_ada)),
        ["a.own 1 sends verified ada", "a.host 3 host system"]
    );
    assert_eq!(
        told(bob.poll(&to_bob)),
        ["a.other 2 sends claimed bob", "a.host 3 host system"]
    );
    for invalid in ["", "a\nb", &"x".repeat(257)] {
        let result = ipc::Host::publish_as(&mut ada.capsule(), "a.b".into(), "{}".into(), invalid.into());
        assert_eq!(ada.code(result), "invalid-input");
    }
}

#[tokio::test]
async fn e4_a_slow_subscriber_loses_messages_and_delays_no_sender() {
    let limits = BusLimits {
        publish_burst: u32::MAX,
        queue_messages: 10,
        ..BusLimits::default()
    };
    let host = Host::new(limits);
    let mut guest = host.guest("ada", "c");
    let (slow, fast) = (guest.subscribe("t.*"), guest.subscribe("t.*"));
    let (mut delivered, mut dropped) = (0, 0);
    for n in 0..20_000_u32 {
        guest.publish("t.x", "{}").unwrap();
        if n % 7 == 0 {
            let envelope = guest.poll(&fast);
            delivered += envelope.messages.len();
            dropped += envelope.dropped;
        }
    }
    delivered += guest.poll(&fast).messages.len();
    assert_eq!((delivered, dropped), (20_000, 0));
    let envelope = guest.poll(&slow);
    assert_eq!(
        (envelope.messages.len(), envelope.dropped, envelope.lagged),
        (10, 19_990, 19_990)
    );
    let envelope = guest.poll(&slow);
    assert_eq!(
        (envelope.messages.len(), envelope.dropped, envelope.lagged),
        (0, 0, 19_990)
    );
}

// The clock stands still, so that the rate gives back nothing meanwhile.
#[tokio::test(start_paused = true)]
async fn q4_numbers_sizes_and_rates_are_bounded() {
    let limits = BusLimits {
        payload_max: 10,
        publish_burst: 3,
        publish_per_second: 1,
        subscriptions_per_principal: 2,
        ..BusLimits::default()
    };
    let host = Host::new(limits);
    let mut guest = host.guest("ada", "c");
    for topic in ["", "A", "a.*", "a..b", &"a".repeat(257)] {
        let result = guest.publish(topic, "{}");
        assert_eq!(guest.code(result), "invalid-input", "{topic}");
    }
    let result = guest.publish("a.b", &"x".repeat(11));
    assert_eq!(guest.code(result), "invalid-input");
    for _ in 0..3 {
        guest.publish("a.b", "{}").unwrap();
    }
    let result = guest.publish("a.b", "{}");
    assert_eq!(guest.code(result), "rate-limited");
    let mut deep = host.guest_with(
        owner("ada", "d"),
        Hooks {
            topics: true,
            ..Hooks::default()
        },
        |builder| builder.depth(9),
    );
    let result = deep.publish("a.b", "{}");
    assert!(deep.code(result).starts_with("too-deep: "));

    // Two for the principal, in whichever capsules.
    let first = guest.subscribe("a.b");
    let _second = deep.subscribe("*");
    let result = ipc::Host::subscribe(&mut guest.capsule(), "a.b".into());
    assert_eq!(guest.code(result), "quota");
    ipc::HostSubscription::drop(&mut guest.capsule(), first).unwrap();
    guest.subscribe("a.b");
    assert_eq!(host.bus.subscriptions(), 2);
    drop((guest, deep));
    assert_eq!(host.bus.subscriptions(), 0, "a store takes its subscriptions with it");
}

#[tokio::test]
async fn q4_a_full_table_is_a_quota_and_leaves_nothing_behind() {
    let host = Host::new(BusLimits::default());
    let mut guest = host.guest("ada", "c");
    guest.table.set_max_capacity(1);
    guest.subscribe("a.b");
    let result = ipc::Host::subscribe(&mut guest.capsule(), "a.b".into());
    assert_eq!(guest.code(result), "quota");
    assert_eq!(host.bus.subscriptions(), 1);
}

#[tokio::test(start_paused = true)]
async fn e3_recv_waits_no_longer_than_it_may() {
    let host = Host::new(BusLimits::default());
    let mut guest = host.guest("ada", "c");
    let subscription = guest.subscribe("a.b");
    for (asked, waited) in [(0, 0), (5, 5), (u64::MAX, 60_000)] {
        let start = tokio::time::Instant::now();
        let result = guest.capsule().recv(borrow(&subscription), asked).await;
        assert_eq!(guest.code(result), "timeout");
        let elapsed = start.elapsed();
        let waited = Duration::from_millis(waited);
        assert!(
            elapsed >= waited && elapsed < waited + Duration::from_millis(50),
            "{elapsed:?}"
        );
    }
    guest.publish("a.b", "{}").unwrap();
    let envelope = guest.capsule().recv(borrow(&subscription), 0).await.unwrap();
    assert_eq!(envelope.messages.len(), 1);
}

#[tokio::test]
async fn a3_a_pollable_is_ready_with_cause_only_and_when_its_subscription_is_gone() {
    let host = Host::new(BusLimits::default());
    let mut guest = host.guest("ada", "c");
    let subscription = guest.subscribe("a.b");
    let other = guest.subscribe("c.d");
    let pollable = guest.capsule().subscribe_readiness(borrow(&subscription)).unwrap();
    let idle = guest.capsule().subscribe_readiness(borrow(&other)).unwrap();
    assert!(!guest.capsule().ready(borrow(&pollable)).await.unwrap());
    guest.publish("a.b", "{}").unwrap();
    let list = vec![borrow(&idle), borrow(&pollable)];
    assert_eq!(poll::Host::poll(&mut guest.capsule(), list).await.unwrap(), [1]);
    assert_eq!(guest.payloads(&subscription), ["{}"]);
    assert!(!guest.capsule().ready(borrow(&pollable)).await.unwrap());
    ipc::HostSubscription::drop(&mut guest.capsule(), subscription).unwrap();
    assert!(guest.capsule().ready(borrow(&pollable)).await.unwrap());
    assert!(!guest.capsule().ready(borrow(&idle)).await.unwrap());
    for pollable in [pollable, idle] {
        poll::HostPollable::drop(&mut guest.capsule(), pollable).unwrap();
    }
    ipc::HostSubscription::drop(&mut guest.capsule(), other).unwrap();
    assert!(guest.table.is_empty());
}

#[tokio::test]
async fn a4_unloading_ends_recv_and_what_comes_later() {
    let host = Host::new(BusLimits::default());
    let mut guest = host.guest("ada", "c");
    let subscription = guest.subscribe("a.b");
    let unload = guest.unload.clone();
    let mut view = guest.capsule();
    let (result, ()) = tokio::join!(view.recv(borrow(&subscription), 60_000), async { unload.cancel() });
    assert!(guest.code(result).starts_with("cancelled: "));
    let result = guest.capsule().recv(borrow(&subscription), 60_000).await;
    assert!(guest.code(result).starts_with("cancelled: "));
}

#[tokio::test]
async fn a_guest_is_told_its_bindings_and_tells_that_it_is_ready() {
    let host = Host::new(BusLimits::default());
    let (tell, told) = std::sync::mpsc::channel();
    let binding = ("a.*".parse::<Pattern>().unwrap(), "act".to_owned());
    let mut guest = host.guest_with(owner("ada", "c"), Hooks::default(), |builder| {
        builder.interceptors([binding]).on_ready(move || tell.send(()).unwrap())
    });
    let bindings = ipc::Host::get_interceptor_bindings(&mut guest.capsule()).unwrap();
    let bindings: Vec<_> = bindings
        .iter()
        .map(|binding| (binding.handle_id, binding.action.as_str(), binding.topic.as_str()))
        .collect();
    assert_eq!(bindings, [(1, "act", "a.*")]);
    for _ in 0..2 {
        sys::Host::signal_ready(&mut guest.capsule()).unwrap();
    }
    assert_eq!(told.iter().count(), 1);
}

#[tokio::test]
async fn a_host_without_a_bus_says_so() {
    let host = Host::new(BusLimits::default());
    let folder = Workspace::open(host.workspace.path()).unwrap();
    let mut guest = host.guest("ada", "c");
    guest.ctx = CapsuleCtx::builder(&host.registry, owner("ada", "c"), folder).build();
    let result = guest.publish("a.b", "{}");
    assert!(guest.code(result).starts_with("no-bus: "));
}
