//! The bundled capsule of `capsule mcp`: one action for each tool. Each call has an instance of its own, so a call that waits
//! holds no other call up.

mod tools;

capsule_sdk::actions! {
    "start" => tools::start,
    "read" => tools::read,
    "write" => tools::write,
    "wait" => tools::wait,
    "stop" => tools::stop,
    "signal" => tools::signal,
    "list" => tools::list,
}
