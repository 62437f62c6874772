//! reads: the cost of reading a full ring, by cursor and as text, compared with memcpy and the standard library's
//! decoding.

use std::hint::black_box;
use std::time::Instant;

use capsule_host::supervisor::{LogStream, Scope, SpawnRequest};

use crate::child;
use crate::host::{Host, buffered, request};
use crate::report::{Report, Target, Unit, gigabytes_per_second, median, micros};

const MIB: usize = 1 << 20;

pub(crate) fn run(report: &mut Report) {
    let host = Host::unconfined();
    let scope = host.scope("reads");
    by_cursor(&host, &scope, report);
    for (kind, name) in [
        ("ascii", "ASCII"),
        ("text", "several scripts"),
        ("latin", "Latin-1"),
        ("noise", "random bytes"),
    ] {
        as_text(&host, &scope, kind, name, report);
    }
}

fn serving(kind: &str) -> SpawnRequest {
    SpawnRequest {
        keep_stdin_open: true,
        ..request(&["serve", &MIB.to_string(), kind])
    }
}

fn by_cursor(host: &Host, scope: &Scope, report: &mut Report) {
    let (id, start) = host.runtime.block_on(async {
        let id = host.start(scope, serving("ascii")).await;
        let start = scope.read_since(&id, LogStream::Stdout, None, 0).unwrap().next;
        scope.write_stdin(&id, vec![1]).await.unwrap();
        buffered(scope, &id, MIB as u64).await;
        (id, start)
    });
    let source = child::content("ascii", MIB);
    let mut into = vec![0; MIB];
    let key = black_box([7; blake3::KEY_LEN]);
    // Small reads are measured many at a time, because reading the clock takes a tenth of one.
    for (size, rounds, times, name) in [
        (MIB, 500, 1, "1 MiB from a full ring"),
        (4096, 2_000, 16, "4 KiB from a full ring"),
    ] {
        let max = u32::try_from(size).unwrap();
        let (mut ours, mut limits, mut leasts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            for _ in 0..times {
                let chunk = scope.read_since(&id, LogStream::Stdout, Some(&start), max).unwrap();
                assert_eq!(chunk.data.len(), size);
            }
            ours.push(micros(begun.elapsed() / times));
            let begun = Instant::now();
            for _ in 0..times {
                let (from, to) = (source.get(..size).unwrap(), into.get_mut(..size).unwrap());
                black_box(to).copy_from_slice(black_box(from));
            }
            limits.push(micros(begun.elapsed() / times));
            let begun = Instant::now();
            for _ in 0..times {
                black_box(least(&key, &id, source.get(..size).unwrap(), start.len()));
            }
            leasts.push(micros(begun.elapsed() / times));
        }
        let (ours, limit) = (median(&mut ours), median(&mut limits));
        let (value, unit, target) = if size == MIB {
            (limit / ours, Unit::Times, Target::AtLeast(0.4))
        } else {
            (ours, Unit::Micros, Target::AtMost(0.35))
        };
        let figure = format!("{ours:.2} µs, {:.1} GB/s", gigabytes_per_second(size as f64, ours));
        let against = format!(
            "{limit:.2} µs, {:.1} GB/s (memcpy)",
            gigabytes_per_second(size as f64, limit)
        );
        report.line("cursor read", name, &figure, &against, value, unit, target);
        if size != MIB {
            let least = median(&mut leasts);
            let against = format!("{least:.2} µs (the id's keyed hash, memory for bytes and token, the copy)");
            report.line(
                "cursor read",
                name,
                &figure,
                &against,
                ours / least,
                Unit::Times,
                Target::None,
            );
        }
    }
}

/// The parts that a read by id and cursor must have, without the two seals.
fn least(key: &[u8; blake3::KEY_LEN], id: &str, source: &[u8], token: usize) -> (blake3::Hash, Vec<u8>, String) {
    let hash = blake3::keyed_hash(key, black_box(id).as_bytes());
    (hash, black_box(source).to_vec(), String::with_capacity(token))
}

fn as_text(host: &Host, scope: &Scope, kind: &str, name: &str, report: &mut Report) {
    let source = child::content(kind, MIB);
    let id = host.runtime.block_on(host.start(scope, serving(kind)));
    let (mut ours, mut stds, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let mut into = vec![0; MIB];
    for _ in 0..200 {
        host.runtime.block_on(async {
            scope.write_stdin(&id, vec![1]).await.unwrap();
            // The end of the random bytes may be held back as the beginning of a character.
            buffered(scope, &id, MIB as u64 - 3).await;
        });
        let begun = Instant::now();
        let logs = scope.read_logs(&id).unwrap();
        ours.push(micros(begun.elapsed()));
        assert!(logs.stdout.len() >= MIB - 6);
        let begun = Instant::now();
        black_box(String::from_utf8_lossy(black_box(&source)).into_owned());
        stds.push(micros(begun.elapsed()));
        let begun = Instant::now();
        black_box(&mut into).copy_from_slice(black_box(&source));
        copies.push(micros(begun.elapsed()));
    }
    let rate = |times: &mut Vec<f64>| gigabytes_per_second(MIB as f64, median(times));
    let (ours, std, copy) = (rate(&mut ours), rate(&mut stds), rate(&mut copies));
    let (value, unit, target) = match kind {
        "noise" => (ours / std, Unit::Times, Target::AtLeast(1.0)),
        "latin" => (ours / std, Unit::Times, Target::None),
        _ => (ours, Unit::GigabytesPerSecond, Target::AtLeast(5.0)),
    };
    report.line(
        "text read",
        &format!("1 MiB, {name}"),
        &format!("{ours:.2} GB/s"),
        &format!("{std:.2} GB/s (std, lossy), {copy:.2} GB/s (memcpy)"),
        value,
        unit,
        target,
    );
}
