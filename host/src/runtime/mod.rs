//! Loading capsules and calling them, for an embedder that has no wasmtime engine of its own.
//!
//! A [`Runtime`] holds the engine; [`Runtime::load`] compiles a component once and links it; [`Capsule::call`] runs one
//! action in a fresh instance, under a principal. No instance outlives its call, so a capsule keeps state only in the processes
//! that it started and in the data that its caller passes back.
//!
//! These constraints shape the code:
//! - Guests are hostile. A guest's computing time, its memory and the host's memory for it are
//!   bounded. Every misbehaviour ends as a [`CallError`] of that call and affects no other call.
//! - Computing time counts only the guest's own code. A guest that waits in a host call for an hour holds no thread and uses no
//!   computing time. A guest that spins yields to other tasks at every tick.
//! - Everything that is not granted is refused: WASI provides only clocks, randomness and output.
//!
//! Everything here must be called within a tokio runtime.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use capsule_host::runtime::{Grants, LoadOptions, Runtime};
//! use capsule_host::sandbox::{Unconfined, Workspace};
//! use capsule_host::supervisor::{Limits, Principal, Registry};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let launcher = Unconfined::new().allow_persistent();
//! let registry = Registry::new(tokio::runtime::Handle::current(), Arc::new(launcher), Limits::default())?;
//! let runtime = Runtime::builder(registry.clone()).build()?;
//!
//! let options = LoadOptions {
//!     grants: Grants { commands: vec!["python3".into()], persistent: true, ..Grants::default() },
//!     ..LoadOptions::new("dev-server", Workspace::open(".")?)
//! };
//! let capsule = runtime.load(options, &std::fs::read("dev-server.wasm")?).await?;
//! let started = capsule.call(Principal::Named("alice".into()), "start", Vec::new()).await?;
//! assert_eq!(started.action, "continue");
//!
//! capsule.unload().await;
//! registry.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod background;
mod bindings;
mod builder;
mod call;
mod capsule;
mod code;
mod denials;
mod error;
mod grants;
mod hooks;
mod interceptor;
mod load;
mod loaded;
mod memory_limiter;
mod options;
mod output;
mod shares;
mod state;
mod store;
mod ticker;
mod time_budget;

pub use self::background::Background;
pub use self::builder::{Runtime, RuntimeBuilder};
pub use self::call::CapsuleResult;
pub use self::capsule::Capsule;
pub use self::error::{BuildError, CallError, LoadError};
pub use self::grants::{Grants, Topics};
pub use self::interceptor::Deliveries;
pub use self::options::{Interceptor, LoadOptions};
