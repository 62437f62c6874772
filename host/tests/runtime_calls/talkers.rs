//! Guests that publish or receive messages, and guests that run in the background.

use super::guests::{component, encode};

const IPC: &str = r#"
  (import "astrid:io/poll@1.0.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (type $error (variant (case "invalid-input") (case "closed") (case "too-large") (case "cancelled")
      (case "unknown" string)))
    (export "error-code" (type $error-code (eq $error)))
    (export "poll" (func (param "pollables" (list (borrow $pollable)))
      (result (result (list u32) (error $error-code)))))))
  (alias export $poll "pollable" (type $pollable))
  (import "astrid:ipc/host@1.0.0" (instance $ipc
    (alias outer 1 $pollable (type $outer-pollable))
    (export "pollable" (type $pollable (eq $outer-pollable)))
    (type $error (variant (case "capability-denied") (case "invalid-input") (case "closed") (case "rate-limited")
      (case "backpressure") (case "quota") (case "timeout") (case "unknown" string)))
    (export "error-code" (type $error-code (eq $error)))
    (type $attribution-type (variant (case "verified" string) (case "claimed" string) (case "system")))
    (export "principal-attribution" (type $attribution (eq $attribution-type)))
    (type $message-type (record (field "topic" string) (field "payload" string) (field "source-id" string)
      (field "principal" $attribution)))
    (export "ipc-message" (type $message (eq $message-type)))
    (type $envelope-type (record (field "messages" (list $message)) (field "dropped" u64) (field "lagged" u64)))
    (export "ipc-envelope" (type $envelope (eq $envelope-type)))
    (export "subscription" (type $subscription (sub resource)))
    (export "publish" (func (param "topic" string) (param "payload" string) (result (result (error $error-code)))))
    (export "subscribe" (func (param "topic-pattern" string)
      (result (result (own $subscription) (error $error-code)))))
    (export "[method]subscription.poll" (func (param "self" (borrow $subscription))
      (result (result $envelope (error $error-code)))))
    (export "[method]subscription.recv" (func (param "self" (borrow $subscription)) (param "timeout-ms" u64)
      (result (result $envelope (error $error-code)))))
    (export "[method]subscription.subscribe-readiness" (func (param "self" (borrow $subscription))
      (result (own $pollable))))))
  (alias export $ipc "subscription" (type $subscription))
  (core func $wait (canon lower (func $poll "poll") (memory $mem) (realloc $realloc)))
  (core func $publish (canon lower (func $ipc "publish") (memory $mem) (realloc $realloc)))
  (core func $subscribe (canon lower (func $ipc "subscribe") (memory $mem) (realloc $realloc)))
  (core func $take (canon lower (func $ipc "[method]subscription.poll") (memory $mem) (realloc $realloc)))
  (core func $recv (canon lower (func $ipc "[method]subscription.recv") (memory $mem) (realloc $realloc)))
  (core func $readiness (canon lower (func $ipc "[method]subscription.subscribe-readiness")))
  (core func $unsubscribe (canon resource.drop $subscription))"#;

const IPC_WITH: &str = r#"(with "ipc" (instance
    (export "wait" (func $wait)) (export "publish" (func $publish)) (export "subscribe" (func $subscribe))
    (export "take" (func $take)) (export "recv" (func $recv)) (export "readiness" (func $readiness))
    (export "unsubscribe" (func $unsubscribe))))"#;

const IPC_CORE: &str = r#"
    (import "ipc" "wait" (func $wait (param i32 i32 i32)))
    (import "ipc" "publish" (func $publish (param i32 i32 i32 i32 i32)))
    (import "ipc" "subscribe" (func $subscribe (param i32 i32 i32)))
    (import "ipc" "take" (func $take (param i32 i32)))
    (import "ipc" "recv" (func $recv (param i32 i64 i32)))
    (import "ipc" "readiness" (func $readiness (param i32) (result i32)))
    (import "ipc" "unsubscribe" (func $unsubscribe (param i32)))"#;

/// Subscribes to the pattern in its payload, with the handle in the word at 132. If it is refused, it returns the
/// number of the error's case plus 1.
const SUBSCRIBE: &str = "
    (call $subscribe (local.get $payload) (local.get $payload_len) (i32.const 128))
    (if (i32.load8_u (i32.const 128))
      (then (return (call $digit (i32.add (i32.load8_u (i32.const 132)) (i32.const 1))))))";

/// Returns the payload of the first message of the envelope at 192, nothing if there is none, and an error as above.
const ANSWER: &str = "
    (if (i32.load8_u (i32.const 192))
      (then (return (call $digit (i32.add (i32.load8_u (i32.const 200)) (i32.const 1))))))
    (if (i32.eqz (i32.load (i32.const 204))) (then (return (call $none))))
    (call $some
      (i32.load offset=8 (i32.load (i32.const 200)))
      (i32.load offset=12 (i32.load (i32.const 200))))";

fn talker(body: &str) -> Vec<u8> {
    component(IPC, IPC_WITH, IPC_CORE, body)
}

/// Publishes its payload to the topic that its action names. Returns nothing, or the number of the error's case plus 1.
pub(crate) fn repeats() -> Vec<u8> {
    talker(
        "(call $publish (local.get $action) (local.get $action_len) (local.get $payload) (local.get $payload_len)
           (i32.const 128))
         (if (i32.load8_u (i32.const 128))
           (then (return (call $digit (i32.add (i32.load8_u (i32.const 132)) (i32.const 1))))))
         (call $none)",
    )
}

/// Publishes its payload to the topic that its action names, 20,000 times, and ignores the answers.
pub(crate) fn floods() -> Vec<u8> {
    talker(
        "(local $n i32)
         (loop $more
           (call $publish (local.get $action) (local.get $action_len) (local.get $payload) (local.get $payload_len)
             (i32.const 128))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 20000))))
         (call $none)",
    )
}

/// Subscribes to the pattern in its payload, waits in `recv`, and returns the first message.
pub(crate) fn receives() -> Vec<u8> {
    talker(&format!(
        "{SUBSCRIBE} (call $recv (i32.load (i32.const 132)) (i64.const -1) (i32.const 192)) {ANSWER}"
    ))
}

/// The same, but waits in `poll` of `astrid:io`.
pub(crate) fn polls() -> Vec<u8> {
    talker(&format!(
        "{SUBSCRIBE}
         (i32.store (i32.const 160) (call $readiness (i32.load (i32.const 132))))
         (call $wait (i32.const 160) (i32.const 1) (i32.const 256))
         (call $take (i32.load (i32.const 132)) (i32.const 192)) {ANSWER}"
    ))
}

/// Drops a subscription before its pollable, and returns only if the pollable is then ready.
pub(crate) fn outlives() -> Vec<u8> {
    talker(&format!(
        "{SUBSCRIBE}
         (i32.store (i32.const 160) (call $readiness (i32.load (i32.const 132))))
         (call $unsubscribe (i32.load (i32.const 132)))
         (call $wait (i32.const 160) (i32.const 1) (i32.const 256))
         (call $digit (i32.load8_u (i32.const 256)))"
    ))
}

/// Subscribes until it is refused, and returns the number of the error's case plus 1.
pub(crate) fn hoards() -> Vec<u8> {
    talker(&format!("(loop $more {SUBSCRIBE} (br $more)) unreachable"))
}

fn in_background(body: &str) -> Vec<u8> {
    encode(&format!(
        r#"(component
  (import "astrid:sys/host@1.0.0" (instance $sys
    (type $error (variant (case "capability-denied") (case "config-key-reserved") (case "too-large")
      (case "registry-unavailable") (case "cancelled") (case "unknown" string)))
    (export "error-code" (type $error-code (eq $error)))
    (export "signal-ready" (func))
    (export "sleep-ns" (func (param "duration-ns" u64) (result (result (error $error-code)))))))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $ready (canon lower (func $sys "signal-ready")))
  (core func $sleep (canon lower (func $sys "sleep-ns") (memory $mem) (realloc $realloc)))
  (core module $guest
    (import "sys" "ready" (func $ready))
    (import "sys" "sleep" (func $sleep (param i64 i32)))
    (func (export "run") {body}))
  (core instance $guest (instantiate $guest
    (with "sys" (instance (export "ready" (func $ready)) (export "sleep" (func $sleep))))))
  (func (export "run") (canon lift (core func $guest "run"))))"#
    ))
}

/// Signals that it is ready, and sleeps until it is asked to end.
pub(crate) fn patient() -> Vec<u8> {
    in_background("(call $ready) (call $sleep (i64.const 60000000000) (i32.const 128))")
}

/// Signals that it is ready, and sleeps for ever, 50 s at a time.
pub(crate) fn sleeps_on() -> Vec<u8> {
    in_background("(call $ready) (loop $more (call $sleep (i64.const 50000000000) (i32.const 128)) (br $more))")
}

/// Signals that it is ready, and does not end when asked.
pub(crate) fn stubborn() -> Vec<u8> {
    in_background("(call $ready) (loop $for_ever (br $for_ever))")
}

/// An empty `run`, as toolchains export it.
pub(crate) fn stub() -> Vec<u8> {
    in_background("")
}

pub(crate) fn fails_at_once() -> Vec<u8> {
    in_background("unreachable")
}
