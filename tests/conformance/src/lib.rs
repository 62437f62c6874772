//! The conformance suite of `astrid:process`: small components, each of which tries one behaviour of the contract
//! (`docs/contract.md` of the repository), and a driver that runs them against any host.
//!
//! A case is a component named `<clause>_<behaviour>`. Asked for its `plan` it says what it needs; then the driver
//! starts a [`Host`] as the plan wants it, carries out the steps, each call in a fresh instance, and hands the data of
//! one to the next. The last call's data is what was seen. A case that something keeps from being tried is not
//! applicable, with the reason.
//!
//! To judge a host of your own, implement two traits. What it cannot be asked answers [`Refusal::NotOffered`], and the
//! cases that need it are not applicable:
//!
//! ```
//! use capsule_conformance::{Answer, CallFailure, Description, Host, Layer, Load, Refusal, Running, Start};
//!
//! struct MyHost;
//! struct MyRunningHost { /* an engine, what is loaded, … */ }
//!
//! impl Host for MyHost {
//!     type Running = MyRunningHost;
//!
//!     fn describe(&self) -> Description {
//!         Description {
//!             name: "mine".into(),
//!             version: "0.1".into(),
//!             confinement: vec![Layer::Filesystem, Layer::Processes],
//!             concurrent_calls: true,
//!             persistent_unconfined: false,
//!             notes: Vec::new(),
//!         }
//!     }
//!
//!     async fn start(&self, start: Start) -> Result<MyRunningHost, Refusal> {
//!         if start.needs.drain_time_ms.is_some() {
//!             return Err(Refusal::NotOffered("the drain time is fixed".into()));
//!         }
//!         // Processes run in `start.workspace`.
//!         Ok(MyRunningHost {})
//!     }
//! }
//!
//! impl Running for MyRunningHost {
//!     async fn load(&self, _load: Load) -> Result<(), Refusal> {
//!         // Compile `load.component`, and keep it under the name `load.capsule` with `load.grants`.
//!         Ok(())
//!     }
//!
//!     async fn call(
//!         &self,
//!         _capsule: &str,
//!         _principal: Option<&str>,
//!         action: &str,
//!         _payload: Vec<u8>,
//!     ) -> Result<Answer, CallFailure> {
//!         // Call `astrid-hook-trigger` in a fresh instance.
//!         Ok(Answer { action: action.into(), data: None })
//!     }
//!
//!     async fn reload(&self, _capsule: &str) -> Result<(), Refusal> {
//!         Err(Refusal::NotOffered("capsules cannot be reloaded".into()))
//!     }
//!
//!     async fn unload(&self, _capsule: &str) -> Result<(), Refusal> {
//!         // End its calls and its processes, and return when they have ended.
//!         Ok(())
//!     }
//!
//!     async fn shutdown(&self) {
//!         // End everything, and return when it has ended.
//!     }
//! }
//! ```
//!
//! To judge this project's host, `capsule conformance`, or the feature `capsule-host`:
//!
//! ```
//! # #[cfg(feature = "capsule-host")]
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use capsule_conformance::{CapsuleHost, Selection, run};
//!
//! let host = CapsuleHost::confined()?;
//! let selection = Selection { filter: Some("s6_".into()), jobs: 2 };
//! let report = run(host, selection, |outcome| println!("{outcome}")).await;
//! println!("{}", report.summary());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "capsule-host"))]
//! # fn main() {}
//! ```
//!
//! A failed case says what was seen. That the suite can fail is tested with a host that answers wrongly on purpose.

#[cfg(feature = "capsule-host")]
mod capsule_host;
mod case;
mod drive;
mod host;
mod plan;
mod report;
mod suite;

#[cfg(feature = "capsule-host")]
pub use self::capsule_host::{CapsuleHost, CapsuleRunning};
pub use self::case::{CASES, CLAUSES, Case, Level, WITHOUT_CASE};
pub use self::host::{
    Answer, AuditRecord, CallFailure, Description, Grants, Host, Layer, Load, Metrics, Refusal, Running, Settings,
    Start,
};
pub use self::report::{Outcome, Report, Verdict};
pub use self::suite::{Selection, run, run_one};
