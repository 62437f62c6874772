//! The host's own pipes, with modelled readiness, and a modelled process tree.

#[path = "../../../supervisor/src/os/pipe.rs"]
pub(crate) mod pipe;
#[path = "../../../supervisor/src/os/utf8.rs"]
pub(crate) mod utf8;

pub(crate) mod readiness {
    use std::io;
    use std::os::fd::OwnedFd;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    pub(crate) use tokio::io::unix::AsyncFd as Watched;

    #[expect(clippy::unnecessary_wraps, reason = "where watches are real they run out")]
    pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
        Ok(AsyncFd::watch(fd, interest))
    }
}

pub(crate) mod usage {
    pub(crate) struct Usage {
        pub(crate) ran_out_of_memory: bool,
    }

    #[derive(Debug)]
    pub(crate) struct Meter;

    impl Meter {
        #[expect(clippy::unused_self, reason = "a real one knows its command")]
        pub(crate) fn os_pid(&self) -> Option<u32> {
            Some(7)
        }

        #[expect(clippy::unused_self, reason = "a real one knows its group")]
        pub(crate) fn has_memory(&self) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "a real one asks the kernel")]
        pub(crate) fn usage(&self) -> Usage {
            Usage {
                ran_out_of_memory: false,
            }
        }
    }
}

pub(crate) mod child {
    use std::io;
    use std::sync::Arc;

    use rustix::process::Signal;
    use shuttle::sync::Mutex;
    use tokio::sync::watch;

    use super::usage::Meter;
    use crate::scenarios::ChildEnd;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct RawExit {
        pub(crate) code: Option<i32>,
        pub(crate) signal: Option<i32>,
    }

    /// The processes. They end by themselves or when they are killed.
    #[derive(Debug)]
    pub(crate) struct Tree {
        state: Mutex<State>,
        ended: watch::Sender<bool>,
        /// Whether it ignores TERM.
        deaf: bool,
    }

    #[derive(Debug)]
    struct State {
        exit: Option<RawExit>,
        reaped: bool,
        pipes: Vec<ChildEnd>,
    }

    #[derive(Debug)]
    pub(crate) struct Child(Arc<Tree>, Arc<Meter>);

    impl Tree {
        pub(crate) fn new(pipes: Vec<ChildEnd>, deaf: bool) -> Arc<Self> {
            let state = State {
                exit: None,
                reaped: false,
                pipes,
            };
            Arc::new(Self {
                state: Mutex::new(state),
                ended: watch::Sender::new(false),
                deaf,
            })
        }

        /// Ends the whole tree if it still runs: it closes its pipes, and then can be waited for.
        pub(crate) fn end(&self, exit: RawExit) {
            let pipes = {
                let mut state = self.state.lock().expect("no panic");
                if state.exit.is_some() {
                    return;
                }
                state.exit = Some(exit);
                std::mem::take(&mut state.pipes)
            };
            pipes.into_iter().for_each(ChildEnd::close);
            self.ended.send_replace(true);
        }
    }

    impl Child {
        pub(crate) fn new(tree: Arc<Tree>) -> Self {
            Self(tree, Arc::new(Meter))
        }

        pub(crate) fn meter(&self) -> &Arc<Meter> {
            &self.1
        }

        pub(crate) async fn exited(&self) -> io::Result<()> {
            let ended = self.0.ended.subscribe().wait_for(|ended| *ended).await.is_ok();
            assert!(ended, "the tree is held here");
            Ok(())
        }

        #[expect(clippy::unused_self, reason = "a real one can have an init that is not gone yet")]
        pub(crate) fn is_leaving(&self) -> bool {
            false
        }

        #[expect(clippy::unused_async, clippy::unused_self, reason = "as above")]
        pub(crate) async fn left(&self) {}

        #[expect(clippy::unused_self, reason = "a real one can be one that the kernel does not end")]
        pub(crate) fn is_stuck(&self) -> bool {
            false
        }

        #[expect(clippy::unused_async, clippy::unused_self, reason = "as above")]
        pub(crate) async fn freed(&self) {}

        #[expect(clippy::unnecessary_wraps, reason = "a real one can fail")]
        pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
            assert!(
                !self.0.state.lock().expect("no panic").reaped,
                "K1: signalled after it was reaped"
            );
            if signal == Signal::TERM && !self.0.deaf {
                self.end_by(signal);
            }
            Ok(())
        }

        pub(crate) fn terminate(&self) -> io::Result<()> {
            self.signal(Signal::TERM)
        }

        pub(crate) fn kill(&self) {
            self.end_by(Signal::KILL);
        }

        pub(crate) fn reap(&mut self) -> RawExit {
            let mut state = self.0.state.lock().expect("no panic");
            assert!(!std::mem::replace(&mut state.reaped, true), "reaped twice");
            state.exit.expect("it was waited for")
        }

        /// A signal arrives later.
        fn end_by(&self, signal: Signal) {
            let tree = Arc::clone(&self.0);
            let exit = RawExit {
                code: None,
                signal: Some(signal.as_raw()),
            };
            drop(shuttle::future::spawn(async move { tree.end(exit) }));
        }
    }
}
