//! Turns a failed call into the report that names it.

use capsule_init::{Layer, Report};
use rustix::io::Errno;

/// Says where a call failed.
pub(crate) trait At<T> {
    /// `subject` is a path or a call.
    fn at(self, layer: Layer, subject: &str) -> Result<T, Report>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, layer: Layer, subject: &str) -> Result<T, Report> {
        self.map_err(|errno| failure(layer, errno, subject))
    }
}

pub(crate) fn failure(layer: Layer, errno: Errno, subject: &str) -> Report {
    Report::SetupFailed {
        layer,
        errno: errno.raw_os_error(),
        subject: subject.into(),
    }
}
