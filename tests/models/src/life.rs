//! A process from its launch to its end.

#[path = "../../../supervisor/src/life/lifecycle.rs"]
pub(crate) mod lifecycle;
#[path = "../../../supervisor/src/life/monitor.rs"]
pub(crate) mod monitor;
#[path = "../../../supervisor/src/life/options.rs"]
pub(crate) mod options;
#[path = "../../../supervisor/src/life/process.rs"]
pub(crate) mod process;
#[path = "../../../supervisor/src/life/stdin.rs"]
pub(crate) mod stdin;
#[path = "../../../supervisor/src/life/supervise.rs"]
pub(crate) mod supervise;

pub(crate) mod sampler {
    //! The tree uses no resources, so nothing is sampled.

    use std::sync::Arc;

    use super::process::Process;
    use crate::os::usage::Meter;
    use crate::sandbox::ResourceLimits;

    pub(crate) fn wanted(_: &ResourceLimits, _: &Meter) -> Option<ResourceLimits> {
        None
    }

    pub(crate) async fn run(_: Arc<Process>, _: ResourceLimits) {}
}

pub(crate) mod timers {
    //! One process's deadline, on the model's clock.

    use tokio::time::{Instant, sleep_until};

    #[derive(Clone, Debug)]
    pub(crate) struct Timers;

    #[derive(Debug)]
    pub(crate) struct Timer(Option<Instant>);

    impl Timers {
        #[expect(clippy::unused_self, reason = "the host's has a queue")]
        pub(crate) fn timer(&self) -> Timer {
            Timer(None)
        }
    }

    impl Timer {
        pub(crate) fn set(&mut self, at: Option<Instant>) {
            self.0 = at;
        }

        pub(crate) async fn due(&mut self) {
            match self.0 {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
            self.0 = None;
        }
    }
}
