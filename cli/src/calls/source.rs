//! Gives the calls one after the other: those of the command line, and the lines of standard input or a file.
//!
//! A line is read only when it is asked for, so a writer that is faster than the calls waits. A thread that may block reads it: a
//! read of standard input may take for ever, and the command must receive signals meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use thiserror::Error;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::lines::{Line, Lines};
use crate::call::{Argument, Call};

/// Why calls cannot be read.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    #[error("--calls: cannot read {file:?}: {error}")]
    Open { file: String, error: io::Error },
    #[error("cannot read {name}: {error}; the calls after this place did not run")]
    Read { name: String, error: io::Error },
    #[error("a bug in this program ended the reading of calls: {0}; please report it")]
    Panic(#[from] JoinError),
}

/// The calls that are still to be given.
#[derive(Debug)]
pub(crate) struct Source {
    parts: VecDeque<Part>,
    /// The read that was begun last. It stays if the future that waits for it is dropped.
    reading: Option<JoinHandle<(Stream, Read)>>,
}

/// What [`Lines::next`] returned.
type Read = io::Result<Option<(u64, Line)>>;

#[derive(Debug)]
enum Part {
    Call(Call),
    Stream(Stream),
}

struct Stream {
    name: String,
    lines: Lines<Box<dyn BufRead + Send>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A call, or a line that asks for one.
#[derive(Debug)]
pub(crate) enum Next {
    Call(Call),
    Line(u64, Line),
}

impl Source {
    /// The calls of the command line in order, then those of the file, which is standard input if it is called `-`. Reads nothing
    /// yet.
    pub(crate) fn open(arguments: Vec<Argument>, file: Option<&Path>) -> Result<Self, SourceError> {
        let mut parts: VecDeque<_> = arguments
            .into_iter()
            .map(|argument| match argument {
                Argument::Call(call) => Part::Call(call),
                Argument::StandardInput => Part::Stream(Stream::standard_input()),
            })
            .collect();
        if let Some(file) = file {
            parts.push_back(Part::Stream(Stream::open(file)?));
        }
        Ok(Self { parts, reading: None })
    }

    /// The next call; none at the end. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Result<Option<Next>, SourceError> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                let (stream, read) = read?;
                match read {
                    Ok(None) => {}
                    Ok(Some((number, line))) => {
                        self.parts.push_front(Part::Stream(stream));
                        return Ok(Some(Next::Line(number, line)));
                    }
                    Err(error) => {
                        let name = stream.name;
                        return Err(SourceError::Read { name, error });
                    }
                }
            }
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Call(call)) => return Ok(Some(Next::Call(call))),
                Some(Part::Stream(mut stream)) => {
                    self.reading = Some(spawn_blocking(move || {
                        let read = stream.lines.next();
                        (stream, read)
                    }));
                }
            }
        }
    }
}

impl Stream {
    fn new(name: String, reader: impl io::Read + Send + 'static) -> Self {
        Self {
            name,
            lines: Lines::new(Box::new(BufReader::new(reader))),
        }
    }

    fn standard_input() -> Self {
        Self::new("standard input".to_owned(), io::stdin())
    }

    fn open(path: &Path) -> Result<Self, SourceError> {
        if path == Path::new("-") {
            return Ok(Self::standard_input());
        }
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(name, file)),
            Err(error) => Err(SourceError::Open { file: name, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::parse_argument;

    #[tokio::test]
    async fn calls_come_in_the_order_of_the_command_line_and_a_file_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls");
        std::fs::write(&file, "{\"action\":\"b\"}\n\n{\"action\":\"c\"}").unwrap();
        let arguments = vec![parse_argument("a").unwrap()];
        let mut source = Source::open(arguments, Some(&file)).unwrap();
        assert!(matches!(source.next().await.unwrap(), Some(Next::Call(call)) if call.action == "a"));
        for number in [1, 3] {
            assert!(matches!(source.next().await.unwrap(), Some(Next::Line(found, _)) if found == number));
        }
        assert!(source.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_dropped_wait_for_a_line_loses_none() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut source = Source {
            parts: [Part::Stream(Stream::new("pipe".to_owned(), reader))].into(),
            reading: None,
        };
        for number in [1, 2] {
            tokio::select! {
                biased;
                next = source.next() => panic!("{next:?}"),
                () = std::future::ready(()) => {}
            }
            io::Write::write_all(&mut writer, b"line\n").unwrap();
            assert!(matches!(source.next().await.unwrap(), Some(Next::Line(found, _)) if found == number));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Source::open(Vec::new(), Some(&missing)).unwrap_err().to_string();
        assert!(
            error.starts_with("--calls: cannot read ") && error.contains("missing"),
            "{error}"
        );
        let mut source = Source::open(Vec::new(), Some(folder.path())).unwrap();
        let error = source.next().await.unwrap_err().to_string();
        assert!(error.contains("Is a directory"), "{error}");
    }
}
