//! Compares the host with the machine's own limit, for each row of `docs/performance.md`.
//!
//! `cargo bench -p capsule-host` measures all rows, `cargo bench -p capsule-host -- drain wake` some of them. Every
//! figure is compared with a limit that was measured in the same run, alternately with it. The ratio of the medians
//! counts, because machines differ and have noise. The output lines are those of the document's table. `--plot FILE`
//! draws the results of `scale`.
//!
//! This program is also the child of the measurements: see `child`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures, and has nothing better to do with an error than to end"
)]

mod bare;
mod calls;
mod child;
mod drain;
mod egress;
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

/// A row and the function that measures it.
type Row = (&'static str, fn(&mut Report));

const ROWS: &[Row] = &[
    // First, because these processes would get the memory that other rows left in the allocator.
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
    ("egress", egress::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == child::NAME
    {
        return match rest {
            [work] if work == relay::NAME => relay::main(),
            [work, args @ ..] if work == network::NAME => network::main(args),
            [work, server] if work == egress::NAME => egress::main(server),
            work => child::main(work),
        };
    }
    let mut wanted = Vec::new();
    let mut plot = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // An argument that cargo itself passes to a benchmark.
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
