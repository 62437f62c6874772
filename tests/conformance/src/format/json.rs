//! A report as one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::case::Level;
use crate::host::Description;
use crate::report::{Counts, Outcome, Report, level_name};
use crate::text::{self, cut};

#[derive(Serialize)]
struct Document<'a> {
    suite: &'static str,
    host: &'a Description,
    passed: usize,
    failed: usize,
    not_applicable: usize,
    levels: BTreeMap<&'static str, Counts>,
    cases: Vec<CaseObject<'a>>,
}

#[derive(Serialize)]
struct CaseObject<'a> {
    clause: String,
    name: &'static str,
    title: &'static str,
    level: Level,
    basis: &'static str,
    verdict: &'static str,
    seen: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
    ms: u64,
}

/// The object, indented, with a newline.
pub(crate) fn document(report: &Report) -> String {
    let counts = report.counts();
    let levels = report.levels().into_iter();
    let document = Document {
        suite: env!("CARGO_PKG_VERSION"),
        host: &report.host,
        passed: counts.passed,
        failed: counts.failed,
        not_applicable: counts.not_applicable,
        levels: levels.map(|(level, counts)| (level_name(level), counts)).collect(),
        cases: report.outcomes.iter().map(case).collect(),
    };
    // Every part of it can be written as JSON.
    let json = serde_json::to_string_pretty(&document).unwrap_or_default();
    text::json(&json) + "\n"
}

fn case(outcome: &Outcome) -> CaseObject<'_> {
    CaseObject {
        clause: outcome.case.clause(),
        name: outcome.case.name,
        title: outcome.case.title,
        level: outcome.case.level,
        basis: outcome.case.basis,
        verdict: outcome.verdict.name(),
        seen: cut(outcome.verdict.text(), 4000),
        output: &outcome.output,
        ms: outcome.ms,
    }
}
