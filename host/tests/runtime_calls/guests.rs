//! Small guests, one for each behaviour, written as WebAssembly text. Some do what no toolchain builds (an endless
//! loop, a memory bomb, a wrong export); the others must not depend on a toolchain.

/// A component with the entry point. `imports` is component-level text that may define instances. `with` passes core
/// instances to the module, and `core_imports` is where the module imports them. `body` is the code of the entry point,
/// with `$action $action_len $payload $payload_len` as parameters. It must leave the address of a result on the stack.
pub(crate) fn component(imports: &str, with: &str, core_imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle
    (type $result (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result)))))
  (alias export $lifecycle "capsule-result" (type $capsule-result))
  (core module $memory
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  {imports}
  (core module $guest
    (import "env" "memory" (memory 2))
    {core_imports}
    (global $calls (mut i32) (i32.const 0))
    (data (i32.const 1024) "continue")
    ;; The result at address 64: "continue" and no data.
    (func $none (result i32)
      (i32.store (i32.const 64) (i32.const 1024))
      (i32.store (i32.const 68) (i32.const 8))
      (i32.store (i32.const 72) (i32.const 0))
      (i32.const 64))
    ;; The same with data.
    (func $some (param i32 i32) (result i32)
      (drop (call $none))
      (i32.store (i32.const 72) (i32.const 1))
      (i32.store (i32.const 76) (local.get 0))
      (i32.store (i32.const 80) (local.get 1))
      (i32.const 64))
    ;; The same with one digit as data.
    (func $digit (param i32) (result i32)
      (i32.store8 (i32.const 2048) (i32.add (local.get 0) (i32.const 48)))
      (call $some (i32.const 2048) (i32.const 1)))
    (func (export "trigger")
      (param $action i32) (param $action_len i32) (param $payload i32) (param $payload_len i32) (result i32)
      {body}))
  (core instance $guest (instantiate $guest (with "env" (instance $memory)) {with}))
  (alias core export $guest "trigger" (core func $trigger))
  (func $trigger (param "action" string) (param "payload" (list u8)) (result $capsule-result)
    (canon lift (core func $trigger) (memory $mem) (realloc $realloc)))
  (export "astrid-hook-trigger" (func $trigger)))"#
    );
    encode(&text)
}

pub(crate) fn encode(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn plain(body: &str) -> Vec<u8> {
    component("", "", "", body)
}

/// Returns its payload.
pub(crate) fn echo() -> Vec<u8> {
    plain("(call $some (local.get $payload) (local.get $payload_len))")
}

/// Counts its calls in its own memory, and returns the count.
pub(crate) fn counter() -> Vec<u8> {
    plain(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (call $digit (global.get $calls))",
    )
}

/// Traps if there is a payload, so that one component can fail and succeed.
pub(crate) fn traps_on_payload() -> Vec<u8> {
    plain("(if (local.get $payload_len) (then unreachable)) (call $none)")
}

/// Computes for some milliseconds.
pub(crate) fn computes() -> Vec<u8> {
    plain(
        "(local $n i32)
         (loop $more
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 4000000))))
         (call $none)",
    )
}

/// Computes for ever.
pub(crate) fn spin() -> Vec<u8> {
    plain("(loop $for_ever (br $for_ever)) unreachable")
}

/// Grows its memory until it is refused, then gives up, as an allocator does.
pub(crate) fn memory_bomb() -> Vec<u8> {
    plain("(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable")
}

/// Grows its memory until it is refused, and continues.
pub(crate) fn modest_after_refusal() -> Vec<u8> {
    plain("(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) (call $none)")
}

const SYS: &str = r#"
  (import "astrid:sys/host@1.0.0" (instance $sys
    (type $error (variant (case "capability-denied") (case "config-key-reserved") (case "too-large")
      (case "registry-unavailable") (case "cancelled") (case "unknown" string)))
    (export "error-code" (type $error-code (eq $error)))
    (type $level (enum "trace" "debug" "info" "warn" "error"))
    (export "log-level" (type $log-level (eq $level)))
    (export "log" (func (param "level" $log-level) (param "message" string)))
    (export "sleep-ns" (func (param "duration-ns" u64) (result (result (error $error-code)))))
    (export "enumerate-capabilities" (func (result (list string))))))
  (core func $log (canon lower (func $sys "log") (memory $mem)))
  (core func $sleep (canon lower (func $sys "sleep-ns") (memory $mem) (realloc $realloc)))
  (core func $capabilities (canon lower (func $sys "enumerate-capabilities") (memory $mem) (realloc $realloc)))"#;

const SYS_WITH: &str = r#"(with "sys" (instance
    (export "log" (func $log)) (export "sleep" (func $sleep)) (export "capabilities" (func $capabilities))))"#;

const SYS_CORE: &str = r#"
    (import "sys" "log" (func $log (param i32 i32 i32)))
    (import "sys" "sleep" (func $sleep (param i64 i32)))
    (import "sys" "capabilities" (func $capabilities (param i32)))"#;

fn with_sys(body: &str) -> Vec<u8> {
    component(SYS, SYS_WITH, SYS_CORE, body)
}

/// Passes a log message of 100 KB to the host.
pub(crate) fn big_message() -> Vec<u8> {
    with_sys("(call $log (i32.const 2) (i32.const 0) (i32.const 100000)) (call $none)")
}

/// Sleeps for the number of nanoseconds in the eight bytes of its payload. Returns `0`, or the number of the error's
/// case plus 1 (so `5` for `cancelled`).
pub(crate) fn sleep() -> Vec<u8> {
    with_sys(
        "(call $sleep (i64.load (local.get $payload)) (i32.const 128))
         (call $digit (select
            (i32.add (i32.load8_u (i32.const 132)) (i32.const 1)) (i32.const 0) (i32.load8_u (i32.const 128))))",
    )
}

/// Sleeps for ever, 50 s at a time.
pub(crate) fn sleeps_for_ever() -> Vec<u8> {
    with_sys("(loop $for_ever (call $sleep (i64.const 50000000000) (i32.const 128)) (br $for_ever)) unreachable")
}

/// Returns the number of capabilities that the host lists.
pub(crate) fn capabilities() -> Vec<u8> {
    with_sys("(call $capabilities (i32.const 128)) (call $digit (i32.load (i32.const 132)))")
}

/// Writes its payload to stderr, takes a random number, and traps.
pub(crate) fn last_words() -> Vec<u8> {
    component(
        r#"
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $io-error-type))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (alias outer 1 $io-error-type (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (type $stream-error-type (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-type)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $output-stream (type $outer-stream))
    (export "output-stream" (type $output-stream (eq $outer-stream)))
    (export "get-stderr" (func (result (own $output-stream))))))
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $get-random (canon lower (func $random "get-random-u64")))"#,
        r#"(with "wasi" (instance
            (export "get-stderr" (func $get-stderr)) (export "write" (func $write)) (export "random" (func $get-random))))"#,
        r#"
    (import "wasi" "get-stderr" (func $get-stderr (result i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (import "wasi" "random" (func $random (result i64)))"#,
        "(call $write (call $get-stderr) (local.get $payload) (local.get $payload_len) (i32.const 128))
         (drop (call $random))
         unreachable",
    )
}

/// Has no export.
pub(crate) fn no_entry() -> Vec<u8> {
    encode("(component)")
}

/// Has an entry point of another type.
pub(crate) fn other_entry() -> Vec<u8> {
    encode(
        r#"(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (export "astrid-hook-trigger" (func $f)))"#,
    )
}

/// Imports a function that no host serves.
pub(crate) fn unknown_import() -> Vec<u8> {
    encode(r#"(component (import "unknown:package/interface@1.0.0" (instance (export "it" (func)))))"#)
}

/// Needs 256 MiB of memory before any of its code runs.
pub(crate) fn born_big() -> Vec<u8> {
    component(
        "(core module $big (memory 4096)) (core instance (instantiate $big))",
        "",
        "",
        "(call $none)",
    )
}

/// A core module instead of a component.
pub(crate) fn core_module() -> Vec<u8> {
    encode("(module)")
}
