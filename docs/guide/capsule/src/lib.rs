//! The capsule of the guide. Each module is the code of one page, and the guide's pages show parts of it by their anchors.
//!
//! A test (`cli/tests/guide`) makes the calls of the pages, and compares what is printed with what the pages show.

use std::error::Error;

mod counter;
mod first;
mod jobs;
mod numbers;
mod server;
mod words;

#[cfg(test)]
mod tests;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// ANCHOR: actions
capsule_sdk::actions! {
    "greet" => first::greet,
    "kernel" => first::kernel,
    "start" => counter::start,
    "count" => counter::count,
    "stop" => counter::stop,
    "begin" => numbers::begin,
    "next" => numbers::next,
    "add" => words::add,
    "sorted" => words::sorted,
    "job" => jobs::job,
    "wait" => jobs::wait,
    "report" => jobs::report,
    "result" => jobs::result,
    "serve" => server::serve,
    "fetch" => server::fetch,
}
// ANCHOR_END: actions
