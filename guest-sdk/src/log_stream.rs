//! The names of the two output streams.

use crate::wit::generated::astrid::process1_1_0::host;

/// One of the two output streams of a process.
///
/// ```no_run
/// use capsule_sdk::{LogStream, Process};
///
/// fn tail(server: &Process, errors: bool) -> capsule_sdk::Result<Vec<u8>> {
///     server.log(if errors { LogStream::Stderr } else { LogStream::Stdout }).read_chunk()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl From<LogStream> for host::LogStream {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Self::Stdout,
            LogStream::Stderr => Self::Stderr,
        }
    }
}
