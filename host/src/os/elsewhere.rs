//! What stands for starting processes on a Unix that is not Linux: it compiles, and refuses.
//!
//! Nothing here confines, ends a tree for certain or resolves a path beneath a folder without a race, so there is no
//! lesser kind of child either.

use std::io;

fn refusal() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "commands can be started on Linux only")
}

pub(crate) mod child {
    use std::convert::Infallible;
    use std::io;
    use std::sync::Arc;

    use rustix::process::Signal;

    use crate::os::usage::Meter;

    /// See the one for Linux.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct RawExit {
        pub(crate) code: Option<i32>,
        pub(crate) signal: Option<i32>,
    }

    /// There is none.
    #[derive(Debug)]
    pub(crate) struct Child(Infallible);

    impl Child {
        pub(crate) fn meter(&self) -> &Arc<Meter> {
            match self.0 {}
        }

        pub(crate) async fn exited(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn is_leaving(&self) -> bool {
            match self.0 {}
        }

        pub(crate) async fn left(&self) {
            match self.0 {}
        }

        pub(crate) fn is_stuck(&self) -> bool {
            match self.0 {}
        }

        pub(crate) async fn freed(&self) {
            match self.0 {}
        }

        pub(crate) fn signal(&self, _: Signal) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn terminate(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn kill(&self) {
            match self.0 {}
        }

        pub(crate) fn finish(&mut self) -> io::Result<RawExit> {
            match self.0 {}
        }

        pub(crate) fn reap(&mut self) -> RawExit {
            match self.0 {}
        }
    }
}

pub(crate) mod directory {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    /// Opens a directory.
    pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
        use rustix::fs::{Mode, OFlags, open};
        Ok(open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    /// Refuses.
    pub(crate) fn open_beneath(_: BorrowedFd<'_>, _: &str) -> io::Result<OwnedFd> {
        Err(super::refusal())
    }
}

pub(crate) mod memfd {
    use std::fs::File;
    use std::io;

    /// Refuses.
    pub(crate) fn sealed<'a>(_: &str, _: impl IntoIterator<Item = &'a [u8]>) -> io::Result<File> {
        Err(super::refusal())
    }
}

pub(crate) mod epolls {
    use std::io;
    use std::ops::Range;
    use std::path::PathBuf;

    pub(crate) const NEWUIDMAP: &str = "newuidmap";

    /// See the one for Linux.
    #[derive(Debug)]
    pub(crate) struct Epolls;

    impl Epolls {
        pub(crate) fn new(_: Option<PathBuf>, _: Range<u32>) -> Self {
            Self
        }

        /// Refuses.
        pub(crate) fn prepare(&self) -> io::Result<()> {
            Err(super::refusal())
        }
    }
}

pub(crate) mod init {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::{Path, PathBuf};

    use capsule_init::{Bound, Config, Report};

    use super::child::Child;
    use super::epolls::Epolls;
    use crate::os::cgroup::Group;
    use crate::os::users::Lease;

    /// See the one for Linux.
    #[derive(Debug)]
    pub(crate) struct Init;

    /// See the one for Linux.
    #[derive(Debug)]
    pub(crate) struct Handover<'a> {
        pub(crate) workspace: BorrowedFd<'a>,
        pub(crate) landlock: Option<BorrowedFd<'a>>,
        pub(crate) injected: Option<BorrowedFd<'a>>,
        pub(crate) stdin: bool,
        pub(crate) epolls: Option<&'a Epolls>,
    }

    /// See the one for Linux.
    #[derive(Debug)]
    pub(crate) struct Started {
        pub(crate) child: Child,
        pub(crate) stdin: Option<OwnedFd>,
        pub(crate) stdout: OwnedFd,
        pub(crate) stderr: OwnedFd,
        pub(crate) bound: Option<Bound>,
        pub(crate) is_counted_apart: bool,
        pub(crate) as_owner: bool,
    }

    /// See the one for Linux.
    #[derive(Debug)]
    pub(crate) enum StartError {
        Host(io::Error),
        Refused(Report),
    }

    impl Init {
        pub(crate) const fn embedded() -> Self {
            Self
        }

        pub(crate) fn at(_: PathBuf) -> Self {
            Self
        }

        pub(crate) fn program(&self) -> Option<&Path> {
            None
        }

        /// Refuses.
        pub(crate) fn start(
            &self,
            _: Config,
            _: &Handover<'_>,
            _: Option<Group>,
            _: Option<Lease>,
        ) -> Result<Started, StartError> {
            Err(StartError::Host(super::refusal()))
        }
    }
}
