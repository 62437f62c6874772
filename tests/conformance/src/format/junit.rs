//! A report as JUnit XML. No standard defines the format; this uses only the elements that all its readers know. A clause is a class.

use std::fmt::{self, Write};

use crate::report::{Outcome, Report, Verdict, level_name};
use crate::text::{attribute, content, cut};

/// The document.
pub(crate) fn document(report: &Report) -> String {
    let mut document = String::new();
    // A string takes it.
    let _ = write(report, &mut document);
    document
}

fn write(report: &Report, to: &mut impl Write) -> fmt::Result {
    let counts = report.counts();
    let seconds = seconds(report.outcomes.iter().map(|outcome| outcome.ms).sum());
    let (tests, failures, skipped) = (counts.total(), counts.failed, counts.not_applicable);
    let host = attribute(&format!("{} {}", report.host.name, report.host.version));
    writeln!(to, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        to,
        r#"<testsuites tests="{tests}" failures="{failures}" skipped="{skipped}" errors="0" time="{seconds}">"#
    )?;
    writeln!(
        to,
        r#"<testsuite name="astrid:process: {host}" tests="{tests}" failures="{failures}" skipped="{skipped}" errors="0" time="{seconds}">"#
    )?;
    report.outcomes.iter().try_for_each(|outcome| case(outcome, to))?;
    writeln!(to, "</testsuite>\n</testsuites>")
}

fn case(outcome: &Outcome, to: &mut impl Write) -> fmt::Result {
    let (level, clause, name) = (level_name(outcome.case.level), outcome.case.clause(), outcome.case.name);
    let (seconds, title) = (seconds(outcome.ms), outcome.case.title);
    writeln!(
        to,
        r#"<testcase classname="{level}.{clause}" name="{name}" time="{seconds}">"#
    )?;
    let seen = cut(outcome.verdict.text(), 4000);
    match &outcome.verdict {
        Verdict::Passed(_) => writeln!(to, "<system-out>{}</system-out>", content(seen))?,
        Verdict::Failed(_) => {
            let whole = format!("{title}\n\nSeen: {seen}");
            writeln!(
                to,
                r#"<failure message="{}">{}</failure>"#,
                attribute(cut(seen, 400)),
                content(&whole)
            )?;
        }
        Verdict::NotApplicable(_) => writeln!(to, r#"<skipped message="{}"/>"#, attribute(seen))?,
    }
    if !outcome.output.is_empty() {
        writeln!(to, "<system-err>{}</system-err>", content(&outcome.output))?;
    }
    writeln!(to, "</testcase>")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
