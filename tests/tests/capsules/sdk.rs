//! The promises of the SDK, with a real host.

use serde_json::{Value, json};

use capsule_tests::capsules::{Host, TEST_GUEST, call};

async fn start(capsule: &capsule_host::runtime::Capsule, spawn: Value) -> Value {
    let started = call(capsule, "start", spawn).await;
    assert!(started["ok"].is_string(), "{started}");
    started["ok"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_waits_and_returns_everything() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let ran = call(
        &capsule,
        "run",
        json!({ "cmd": "sh", "args": ["-c", "cat; echo err >&2; printf %s \"$A\"; pwd; exit 3"], "stdin": "in ", "env": [["A", "b "]] }),
    )
    .await;
    let workspace = host.workspace.path().canonicalize().unwrap();
    let expected =
        json!({ "code": 3, "signal": null, "stdout": format!("in b {}\n", workspace.display()), "stderr": "err\n" });
    assert_eq!(ran["ok"], expected);
    let missing = call(&capsule, "run", json!({ "cmd": "sh", "args": ["-c", "kill -9 $$"] })).await;
    assert_eq!(
        (&missing["ok"]["code"], &missing["ok"]["signal"]),
        (&json!(null), &json!(9))
    );
    host.registry.shutdown().await;
}

/// Each `follow` has an instance of its own, and passes only the cursor to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_l6_follow_survives_instance_changes_without_losing_or_repeating_a_line() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo \"line $i — ünï\"; done";
    let id = start(
        &capsule,
        json!({ "cmd": "sh", "args": ["-c", script], "backpressure": true }),
    )
    .await;
    let (mut all, mut cursor) = (Vec::new(), json!(""));
    loop {
        let mut ask = json!({ "id": id, "count": 70, "ms": 30_000 });
        if cursor != "" {
            ask["cursor"] = cursor.clone();
        }
        let got = call(&capsule, "follow", ask).await;
        let lines = got["ok"]["lines"].as_array().unwrap_or_else(|| panic!("{got}")).clone();
        cursor = got["ok"]["cursor"].clone();
        if lines.is_empty() {
            break;
        }
        all.extend(lines);
    }
    let expected: Vec<Value> = (1..=500).map(|i| json!(format!("line {i} — ünï"))).collect();
    assert_eq!(all, expected);
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_n4_a_dialogue_over_stdin_from_instance_to_instance() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let id = start(&capsule, json!({ "cmd": "cat", "keep_stdin_open": true })).await;
    for word in ["one\n", "two\n", "drei — ü\n"] {
        assert_eq!(
            call(&capsule, "write", json!({ "id": id, "text": word })).await,
            json!({ "ok": null })
        );
        let said = call(
            &capsule,
            "wait-for-output",
            json!({ "id": id, "text": word, "ms": 30_000 }),
        )
        .await;
        assert_eq!(said, json!({ "ok": word }));
    }
    assert_eq!(
        call(&capsule, "close", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    assert_eq!(
        call(&capsule, "wait", json!({ "id": id, "ms": 30_000 })).await,
        json!({ "ok": [0, null] })
    );
    assert_eq!(
        call(&capsule, "read-logs", json!({ "id": id })).await,
        json!({ "ok": ["one\ntwo\ndrei — ü\n", ""] })
    );
    assert_eq!(
        call(&capsule, "release", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    host.registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_a_signal_reaches_the_process() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let id = start(&capsule, json!({ "cmd": "sh", "args": ["-c", script] })).await;
    call(
        &capsule,
        "wait-for-output",
        json!({ "id": id, "text": "ready", "ms": 30_000 }),
    )
    .await;
    assert_eq!(
        call(&capsule, "signal", json!({ "id": id })).await,
        json!({ "ok": null })
    );
    assert_eq!(
        call(&capsule, "wait", json!({ "id": id, "ms": 30_000 })).await,
        json!({ "ok": [7, null] })
    );
    let lines = call(&capsule, "lines", json!({ "id": id })).await;
    assert_eq!(lines["ok"]["lines"], json!(["ready", "caught"]));
    host.registry.shutdown().await;
}

/// Lines of 1 byte to 8 MiB under backpressure, read by an instance for every 2,500 of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_of_ten_thousand_lines_of_up_to_eight_mib_none_is_lost_split_or_joined() {
    const LONGEST: usize = 8 << 20;
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    // 1,249 short lines, at all places relative to the borders of chunks, and a long one.
    let mut sizes: Vec<usize> = (0..1249).map(|n| 1 + n * 7919 % 3000).collect();
    sizes.push(LONGEST);
    let script = format!(
        "import sys\nsizes = {sizes:?}\nfor n in range(10000):\n \
         sys.stdout.buffer.write(bytes([97 + n % 26]) * sizes[n % len(sizes)] + b'\\n')"
    );
    let id = start(
        &capsule,
        json!({ "cmd": "python3", "args": ["-c", script], "backpressure": true }),
    )
    .await;
    let (mut from, mut cursor) = (0, json!(""));
    loop {
        let ask = json!({
            "id": id, "cursor": cursor, "count": 2500, "ms": 120_000, "from": from, "sizes": sizes, "longest": LONGEST,
        });
        let got = call(&capsule, "check-lines", ask).await;
        assert_eq!(got["ok"]["wrong"], json!(null), "{got}");
        let count = got["ok"]["lines"].as_u64().unwrap_or_else(|| panic!("{got}"));
        from += count;
        cursor = got["ok"]["cursor"].clone();
        if count == 0 {
            break;
        }
    }
    assert_eq!(from, 10_000);
    host.registry.shutdown().await;
}

/// The process writes more than its ring holds while no capsule reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_l5_a_loss_is_told_where_it_happened_and_no_two_lines_are_joined() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    // Line `n` has 1000 bytes, and its number at its beginning. The first write ends within a line.
    let script = "import os, sys\n\
                  text = b''.join(b'%-1000d\\n' % n for n in range(5000))\n\
                  sys.stdout.buffer.write(text[:100400]); sys.stdout.flush()\n\
                  sys.stdin.readline()\n\
                  sys.stdout.buffer.write(text[100400:])";
    let id = start(
        &capsule,
        json!({ "cmd": "python3", "args": ["-c", script], "keep_stdin_open": true }),
    )
    .await;
    let first = call(
        &capsule,
        "check-lines",
        json!({ "id": id, "count": 1, "ms": 30_000, "from": 0, "sizes": [1000], "longest": 2000 }),
    )
    .await;
    assert_eq!(first["ok"]["lines"], json!(1), "{first}");
    let mut all = vec![json!(["0", 1000])];
    let mut cursor = first["ok"]["cursor"].clone();
    let mut before = 0;
    // The rest of the first write may still be on its way.
    while all.len() < 100 {
        let got = call(&capsule, "line-sizes", json!({ "id": id, "cursor": cursor })).await;
        assert_eq!(got["ok"]["dropped"], json!(0), "{got}");
        all.extend(got["ok"]["items"].as_array().unwrap_or_else(|| panic!("{got}")).clone());
        cursor = got["ok"]["cursor"].clone();
        before += 1;
        assert!(before < 10_000, "{} lines", all.len());
    }
    call(&capsule, "write", json!({ "id": id, "text": "\n" })).await;
    assert_eq!(
        call(&capsule, "wait", json!({ "id": id, "ms": 60_000 })).await,
        json!({ "ok": [0, null] })
    );
    let got = call(&capsule, "line-sizes", json!({ "id": id, "cursor": cursor })).await;
    let rest = got["ok"]["items"].as_array().unwrap_or_else(|| panic!("{got}"));
    let (loss, rest) = rest.split_first().unwrap();
    assert_eq!(loss[0], json!(null), "{loss}");
    // What follows is the end of the text, each line whole.
    let begin = 5000 - rest.len();
    for (line, n) in rest.iter().zip(begin..) {
        assert_eq!(line, &json!([n.to_string(), 1000]));
    }
    assert!(
        rest.len() > 1000,
        "a ring of 1 MiB has so many, but there are {}",
        rest.len()
    );
    // No byte is missing that was not told.
    assert_eq!(loss[1], json!((begin - 100) * 1001), "{begin}");
    assert_eq!(got["ok"]["dropped"], loss[1]);
    assert_eq!(got["ok"]["at_end"], json!(true));
    host.registry.shutdown().await;
}

/// Four instances at once, a hundred requests. The server answers in any order, and would stand still if its standard error were
/// not skipped: it writes more there than the ring holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_l8_n2_instances_at_one_server_get_their_own_answers_in_any_order() {
    let host = Host::new();
    let capsule = host.load_file("c", TEST_GUEST).await;
    let script = "import json, random, sys, threading, time\n\
                  lock = threading.Lock()\n\
                  def answer(request):\n \
                   time.sleep(random.random() / 50)\n \
                   with lock:\n  \
                    sys.stderr.write('x' * 5000 + '\\n'); sys.stderr.flush()\n  \
                    print(json.dumps({'id': request['id'], 'result': request['params']}), flush=True)\n\
                  for line in sys.stdin:\n \
                   threading.Thread(target=answer, args=[json.loads(line)]).start()";
    let started = call(&capsule, "rpc-start", json!({ "script": script })).await;
    let id = &started["ok"];
    assert!(id.is_string(), "{started}");
    let ask = |name: &str| {
        let payload = json!({ "id": id, "text": name, "count": 25, "ms": 60_000 });
        let capsule = &capsule;
        async move { call(capsule, "rpc-calls", payload).await }
    };
    let (a, b, c, d) = tokio::join!(ask("a"), ask("b"), ask("c"), ask("d"));
    for (name, got) in [("a", a), ("b", b), ("c", c), ("d", d)] {
        let expected: Vec<_> = (0..25).map(|number| json!([number, name])).collect();
        assert_eq!(got["ok"], json!(expected), "{name}: {got}");
    }
    host.registry.shutdown().await;
}
