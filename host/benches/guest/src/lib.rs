//! The guest of the benchmarks: an action for each row that is measured by a guest.
//!
//! It speaks the interface directly, so that what is measured is the host and not the SDK.

wit_bindgen::generate!({
    inline: r#"
        package bench:guest;

        interface empty {
            use astrid:process/host@1.1.0.{process-info};

            nothing: func();
            constant: func(id: string) -> process-info;
        }

        world with-nothing {
            include capsule:worlds/guest;
            import empty;
        }
    "#,
    path: "../../../wit",
    world: "bench:guest/with-nothing",
    generate_all,
});

use astrid::process1_1_0::host::{self, LogCursor, LogStream};

struct Bench;

export!(Bench);

impl Guest for Bench {
    fn astrid_hook_trigger(action: String, payload: Vec<u8>) -> CapsuleResult {
        let payload = String::from_utf8(payload).expect("the bench sends text");
        let (count, id) = payload.split_once(' ').unwrap_or(("0", ""));
        let count: u64 = count.parse().expect("a count");
        match action.as_str() {
            "none" => {}
            "status" => (0..count).for_each(|_| drop(host::status(id).expect("it is there"))),
            #[cfg(feature = "nothing")]
            "nothing" => (0..count).for_each(|_| bench::guest::empty::nothing()),
            #[cfg(feature = "nothing")]
            "constant" => (0..count).for_each(|_| drop(bench::guest::empty::constant(id))),
            "wait" => drop(host::wait(id, count).expect("it ends in time")),
            "follow" => return answer(follow(id).to_string()),
            other => panic!("no such action: {other}"),
        }
        answer(String::new())
    }
}

fn answer(data: String) -> CapsuleResult {
    CapsuleResult {
        action: "continue".into(),
        data: Some(data),
    }
}

/// Reads all output of a process, and returns its length.
fn follow(id: &str) -> usize {
    let handle = host::attach(id).expect("it is there");
    let ready = handle.subscribe_logs();
    let mut cursor = LogCursor { token: None };
    let mut total = 0;
    loop {
        let chunk = host::read_since(id, LogStream::Stdout, &cursor, 64 * 1024).expect("it is there");
        total += chunk.data.len();
        if chunk.drained_eof {
            return total;
        }
        if chunk.data.is_empty() {
            ready.block().expect("the capsule is not unloaded");
        }
        cursor = chunk.next;
    }
}
