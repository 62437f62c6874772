//! Makes the calls, as many at once as the user allows, and prints the answer to each as soon as it has ended.
//!
//! One loop takes one thing at a time: a call that ended, a signal, or the next call. These constraints shape it:
//! - The next call is asked for only when fewer calls are in flight than may be, and when every answer so far is out. So a program
//!   that writes one line has its answer before the next line is read, and a reader that does not read stops the reading of lines.
//! - A call that refers to the result of another one waits for it, and is in flight meanwhile. It refers to earlier lines only, so the
//!   earliest call in flight always runs, and no calls wait for each other.
//! - The calls run in tasks, because each may compute for a while in the task that polls it. References are filled in on threads that
//!   may block: a payload may refer many times to results of many megabytes, and signals are received meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use capsule_host::runtime::{CallError, Capsule, CapsuleResult};
use capsule_host::supervisor::Principal;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::line::{BadLine, Request, parse};
use super::lines::{self, Line};
use super::reference::{self, BadReference, Found};
use super::results::{End, Kept, NoResult, Results};
use super::source::{Next, Source, SourceError};
use crate::call::Call;
use crate::denials::Denials;
use crate::exit_code::{FAILED, SUCCEEDED};
use crate::interrupt::{Interrupt, Interrupts};
use crate::report::{self, Heading, Outcome};
use crate::trial::{Trial, TrialError};

/// On whose behalf calls run.
#[derive(Clone, Debug)]
pub(crate) struct Principals {
    /// The principal of each call that names none.
    pub(crate) default: Principal,
    /// Whether the user named it, so that no line may name another one.
    pub(crate) is_only: bool,
}

/// Why not all calls were made. Calls may still be in flight: unloading the capsule waits for their end.
#[derive(Debug)]
pub(crate) enum Stopped {
    Trial(TrialError),
    /// A signal came. `lines` are the answers to calls that have ended or were in flight.
    Interrupted {
        by: Interrupt,
        lines: Vec<Vec<u8>>,
    },
    Source(SourceError),
    Output(io::Error),
    Panic(JoinError),
}

/// What the calls are made with.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    pub(crate) capsule: &'a Capsule,
    pub(crate) principals: &'a Principals,
    /// How many calls may be in flight at once.
    pub(crate) jobs: usize,
    /// It learns when calls begin and end.
    pub(crate) denials: &'a Denials,
    pub(crate) trial: &'a mut Trial,
    pub(crate) interrupts: &'a mut Interrupts,
}

impl Making<'_> {
    /// Makes all calls, and returns the exit code.
    pub(crate) async fn make(self, mut source: Source) -> Result<u8, Stopped> {
        let Self {
            capsule,
            principals,
            jobs,
            denials,
            trial,
            interrupts,
        } = self;
        let mut calls = Calls::new(capsule, principals, denials);
        let mut at_end = false;
        loop {
            while let Some(line) = calls.answers.pop_front() {
                print(line, interrupts).await?;
            }
            if at_end && calls.in_flight() == 0 {
                return Ok(calls.code);
            }
            tokio::select! {
                biased;
                // First, because a call may have ended with what follows from it.
                error = trial.failed_late() => return Err(Stopped::Trial(error)),
                by = interrupts.next() => return Err(Stopped::Interrupted { by, lines: calls.interrupted(by) }),
                Some(ended) = calls.running.join_next() => {
                    let (number, step) = ended.map_err(Stopped::Panic)?;
                    calls.ended(number, step)?;
                }
                next = source.next(), if !at_end && calls.in_flight() < jobs => match next.map_err(Stopped::Source)? {
                    Some(next) => calls.begin(next)?,
                    None => at_end = true,
                },
            }
        }
    }
}

/// Prints one line, unless an interrupt comes while it is not read.
pub(crate) async fn print(line: Vec<u8>, interrupts: &mut Interrupts) -> Result<(), Stopped> {
    tokio::select! {
        // First, because a line that is out must not be taken for one that nothing reads.
        biased;
        written = spawn_blocking(move || report::write(&line)) => written.map_err(Stopped::Panic)?.map_err(Stopped::Output),
        // Nothing reads, so that further lines would wait, too.
        by = interrupts.next() => Err(Stopped::Interrupted { by, lines: Vec::new() }),
    }
}

/// The calls in flight, and the answers to those that have ended.
struct Calls<'a> {
    capsule: &'a Capsule,
    principals: &'a Principals,
    denials: &'a Denials,
    /// The number of the next call.
    next: u64,
    running: JoinSet<(u64, Step)>,
    /// The calls whose payload is being made, by their numbers.
    filling: BTreeMap<u64, Job>,
    /// The running calls, by their numbers.
    begun: BTreeMap<u64, Job>,
    /// The calls that wait for results of others, in order.
    waiting: Vec<(Job, Waiting)>,
    results: Results,
    answers: VecDeque<Vec<u8>>,
    code: u8,
}

/// A call in flight.
struct Job {
    heading: Heading,
    principal: Principal,
    /// The place for its result, if later calls may refer to it.
    kept: Option<Arc<Kept>>,
}

/// What a task has done for a call.
enum Step {
    /// Made the payload.
    Filled(Result<String, String>),
    /// Made the call.
    Called(Outcome),
}

/// A payload with its references, and their results in the same order.
struct Waiting {
    payload: String,
    found: Vec<Found>,
    bound: Vec<Arc<Kept>>,
}

impl<'a> Calls<'a> {
    fn new(capsule: &'a Capsule, principals: &'a Principals, denials: &'a Denials) -> Self {
        Self {
            capsule,
            principals,
            denials,
            next: 0,
            running: JoinSet::new(),
            filling: BTreeMap::new(),
            begun: BTreeMap::new(),
            waiting: Vec::new(),
            results: Results::default(),
            answers: VecDeque::new(),
            code: SUCCEEDED,
        }
    }

    fn in_flight(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Begins the next call, or answers it at once.
    fn begin(&mut self, next: Next) -> Result<(), Stopped> {
        match next {
            Next::Call(Call { action, payload }) => {
                let job = Job {
                    heading: Heading {
                        action: Some(action),
                        ..Heading::default()
                    },
                    principal: self.principals.default.clone(),
                    kept: None,
                };
                self.start(job, payload);
                Ok(())
            }
            Next::Line(number, line) => self.begin_line(number, line),
        }
    }

    fn begin_line(&mut self, number: u64, line: Line) -> Result<(), Stopped> {
        let mut heading = Heading {
            line: Some(number),
            ..Heading::default()
        };
        let request = match line {
            Line::Whole(text) => parse(&text),
            Line::TooLong => {
                let message = format!(
                    "the line has more than {} bytes, and none of it was used",
                    lines::LONGEST
                );
                let kind = "line-too-long";
                return self.answer(&heading, &Outcome::Error { kind, message });
            }
        };
        let Request {
            id,
            action,
            payload,
            principal,
            refs,
        } = match request {
            Ok(request) => request,
            Err(BadLine { column, message }) => return self.answer(&heading, &Outcome::BadLine { column, message }),
        };
        heading.id.clone_from(&id);
        heading.action = Some(action);
        // Bound before its own result has a place: a line may use the id of the line that it refers to.
        let waiting = self.bind(payload, refs);
        let job = Job {
            heading,
            principal: principal.map_or_else(|| self.principals.default.clone(), Principal::Named),
            kept: id.map(|id| self.results.add(&id, number)),
        };
        if self.principals.is_only && job.principal != self.principals.default {
            let message =
                "the line names another principal than --principal; without that option each line may name its own";
            return self.finish(
                &job,
                Outcome::BadLine {
                    column: None,
                    message: message.to_owned(),
                },
            );
        }
        match waiting {
            Ok(waiting) => {
                self.waiting.push((job, waiting));
                self.start_waiting();
                Ok(())
            }
            Err(message) => self.finish(&job, bad_reference(message)),
        }
    }

    /// Finds the results that a payload refers to, or the reason why there is none.
    fn bind(&self, payload: String, refs: bool) -> Result<Waiting, String> {
        let found = if refs {
            reference::find(&payload)
        } else {
            Ok(Vec::new())
        };
        let found = found.map_err(|error: BadReference| error.to_string())?;
        let bound = found.iter().map(|found| self.results.find(&found.reference.id));
        let bound = bound
            .collect::<Result<_, _>>()
            .map_err(|error: NoResult| error.to_string())?;
        Ok(Waiting { payload, found, bound })
    }

    /// Starts every call that has the results for which it waited.
    fn start_waiting(&mut self) {
        let is_ready = |(_, waiting): &mut (Job, Waiting)| waiting.bound.iter().all(|kept| kept.end().is_some());
        let ready: Vec<_> = self.waiting.extract_if(.., is_ready).collect();
        for (job, waiting) in ready {
            if waiting.found.is_empty() {
                self.start(job, waiting.payload.into_bytes());
                continue;
            }
            let number = self.number();
            self.filling.insert(number, job);
            self.running
                .spawn_blocking(move || (number, Step::Filled(waiting.fill())));
        }
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn start(&mut self, job: Job, payload: Vec<u8>) {
        let action = job.heading.action.clone().unwrap_or_default();
        tracing::info!(
            line = job.heading.line,
            action,
            payload_bytes = payload.len(),
            "calling"
        );
        let (capsule, principal, number) = (self.capsule.clone(), job.principal.clone(), self.number());
        self.begun.insert(number, job);
        self.denials.call_begun();
        self.running.spawn(async move {
            let outcome = call(&capsule, principal, &action, payload).await;
            (number, Step::Called(outcome))
        });
    }

    /// A task has ended: the call is answered, or made with the payload that is complete now.
    fn ended(&mut self, number: u64, step: Step) -> Result<(), Stopped> {
        match step {
            Step::Filled(payload) => match (self.filling.remove(&number), payload) {
                (Some(job), Ok(payload)) => self.start(job, payload.into_bytes()),
                (Some(job), Err(message)) => self.finish(&job, bad_reference(message))?,
                (None, _) => {}
            },
            Step::Called(outcome) => {
                if let Some(job) = self.begun.remove(&number) {
                    self.denials.call_ended(outcome.is_failure());
                    self.finish(&job, outcome)?;
                }
            }
        }
        Ok(())
    }

    /// Answers a call, and starts those that waited for it.
    fn finish(&mut self, job: &Job, outcome: Outcome) -> Result<(), Stopped> {
        self.answer(&job.heading, &outcome)?;
        if let Some(kept) = &job.kept {
            let is_failure = outcome.is_failure();
            let end = match outcome {
                Outcome::Result { data, .. } if !is_failure => End::Data(data),
                Outcome::Result { .. } | Outcome::Error { .. } | Outcome::BadLine { .. } => End::Failed,
            };
            self.results.end(kept, end);
            self.start_waiting();
        }
        Ok(())
    }

    fn answer(&mut self, heading: &Heading, outcome: &Outcome) -> Result<(), Stopped> {
        if outcome.is_failure() {
            self.code = FAILED;
        }
        self.answers.push_back(line(heading, outcome)?);
        Ok(())
    }

    /// The answers to all calls in flight, after a signal.
    fn interrupted(mut self, by: Interrupt) -> Vec<Vec<u8>> {
        let mut lines: Vec<_> = self.answers.into();
        while let Some(ended) = self.running.try_join_next() {
            if let Ok((number, Step::Called(outcome))) = ended
                && let Some(job) = self.begun.remove(&number)
            {
                lines.extend(line(&job.heading, &outcome));
            }
        }
        let ran = format!(
            "{} ended the command and its processes in this call; run it again",
            by.name()
        );
        let did_not = format!("{} ended the command before this call; run it again", by.name());
        let running = self.begun.values().map(|job| (job, &ran));
        let waiting = self.waiting.iter().map(|(job, _)| job);
        let not_begun = self.filling.values().chain(waiting).map(|job| (job, &did_not));
        lines.extend(running.chain(not_begun).filter_map(|(job, message)| {
            let message = message.clone();
            let kind = "cancelled";
            line(&job.heading, &Outcome::Error { kind, message }).ok()
        }));
        lines
    }
}

impl Waiting {
    /// The payload with the results filled in, which have all ended. It may take seconds.
    fn fill(self) -> Result<String, String> {
        let mut all = Vec::with_capacity(self.bound.len());
        for (kept, found) in self.bound.iter().zip(&self.found) {
            match kept.end() {
                Some(End::Data(data)) => all.push((data.as_deref(), kept.line)),
                Some(End::Failed) | None => {
                    return Err(format!("the call `{}` (line {}) failed", found.reference.id, kept.line));
                }
            }
        }
        let data = |index: usize| all.get(index).copied().unwrap_or_default();
        reference::fill(&self.payload, &self.found, data).map_err(|error| error.to_string())
    }
}

fn bad_reference(message: String) -> Outcome {
    let kind = "bad-reference";
    Outcome::Error { kind, message }
}

fn line(heading: &Heading, outcome: &Outcome) -> Result<Vec<u8>, Stopped> {
    report::line(heading, outcome).map_err(|error| Stopped::Output(error.into()))
}

/// Makes one call. Dropping the future ends it.
async fn call(capsule: &Capsule, principal: Principal, action: &str, payload: Vec<u8>) -> Outcome {
    let started = Instant::now();
    match capsule.call(principal, action, payload).await {
        Ok(CapsuleResult { action, data }) => Outcome::Result {
            action,
            data,
            took: started.elapsed(),
        },
        Err(error) => Outcome::Error {
            kind: error.kind(),
            message: if matches!(error, CallError::CallTime(_)) {
                format!("{error} (--timeout)")
            } else {
                error.to_string()
            },
        },
    }
}
