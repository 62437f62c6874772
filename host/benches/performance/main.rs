//! How near the host comes to the machine's own limit, row by row of `docs/performance.md`.
//!
//! `cargo bench -p capsule-host` measures all rows, `cargo bench -p capsule-host -- drain wake` some of them. Every figure
//! stands beside a limit that was measured in the same run, in turns with it, and what counts is the ratio of medians:
//! machines differ, and are noisy. The lines are those of the document's table. `--plot FILE` draws what `scale` measured.
//!
//! This program is also the child that is measured: see `child`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures, and has nothing better to do with an error than to end"
)]

mod bare;
mod calls;
mod child;
mod drain;
mod exit;
#[cfg(feature = "runtime")]
mod guests;
mod host;
mod lossless;
mod memory;
mod network;
mod plot;
mod reads;
mod relay;
mod report;
mod scale;
mod spawn;
mod waiting;
mod wake;

use report::Report;

/// A row and what measures it.
type Row = (&'static str, fn(&mut Report));

const ROWS: &[Row] = &[
    // First: what others have left in the allocator would be given to these processes.
    ("memory", memory::run),
    ("drain", drain::run),
    ("lossless", lossless::run),
    ("wake", wake::run),
    ("reads", reads::run),
    ("others", calls::run),
    ("exit", exit::run),
    ("spawn", spawn::run),
    #[cfg(feature = "runtime")]
    ("guests", guests::run),
    ("scale", scale::run),
    ("waiting", waiting::run),
    ("trees", waiting::idle_trees),
    ("network", network::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == child::NAME
    {
        return match rest {
            [work] if work == relay::NAME => relay::main(),
            [work, args @ ..] if work == network::NAME => network::main(args),
            work => child::main(work),
        };
    }
    let mut wanted = Vec::new();
    let mut plot = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // What cargo itself says to a bench.
            "--bench" => {}
            "--plot" => plot = args.next(),
            name if ROWS.iter().any(|(row, _)| *row == name) => wanted.push(arg),
            name => {
                let rows: Vec<_> = ROWS.iter().map(|(row, _)| *row).collect();
                println!("there is no row `{name}`; there are: {}", rows.join(", "));
                std::process::exit(2);
            }
        }
    }
    let mut report = Report::begin();
    for (name, run) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run(&mut report);
        }
    }
    report.end();
    if let Some(file) = plot {
        plot::draw(&file, report.growth());
    }
}
