//! A report as a page in one file: what failed comes first, and is open.
//!
//! The page has no script and fetches nothing, and its policy forbids both, should a text of a guest ever get past the escaping.

use std::fmt::{self, Write};

use crate::case::CLAUSES;
use crate::report::{Counts, Outcome, Report, Verdict, level_name};
use crate::text::{attribute, content, cut};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(crate) fn document(report: &Report) -> String {
    let mut page = String::new();
    // A string takes it.
    let _ = write(report, &mut page);
    page
}

fn write(report: &Report, to: &mut impl Write) -> fmt::Result {
    let host = content(&format!("{} {}", report.host.name, report.host.version));
    writeln!(
        to,
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{host}: conformance to astrid:process</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{host}</h1>
<p>Judged by the conformance suite of <code>astrid:process</code>, version {}.</p>
</header>
<main>"#,
        env!("CARGO_PKG_VERSION")
    )?;
    about(report, to)?;
    levels(report, to)?;
    clauses(report, to)?;
    for (title, remark, is_open, wanted) in [
        (
            "Failed",
            "The host does not behave as the sentence says. What was seen instead is below it.",
            true,
            "failed",
        ),
        (
            "Not applicable",
            "These cases could not be tried, for the reason that each gives. They do not count as passed.",
            false,
            "not-applicable",
        ),
        ("Passed", "", false, "passed"),
    ] {
        let outcomes: Vec<_> = (report.outcomes.iter())
            .filter(|outcome| outcome.verdict.name() == wanted)
            .collect();
        if outcomes.is_empty() {
            continue;
        }
        writeln!(to, "<section>\n<h2>{title} <small>{}</small></h2>", outcomes.len())?;
        if !remark.is_empty() {
            writeln!(to, "<p>{remark}</p>")?;
        }
        for outcome in outcomes {
            case(report, outcome, is_open, to)?;
        }
        writeln!(to, "</section>")?;
    }
    writeln!(to, "</main>\n</body>\n</html>")
}

/// What the host says of itself.
fn about(report: &Report, to: &mut impl Write) -> fmt::Result {
    let host = &report.host;
    let layers: Vec<String> = (host.confinement.iter())
        .map(|layer| format!("{layer:?}").to_lowercase())
        .collect();
    let layers = if layers.is_empty() {
        "none".to_owned()
    } else {
        layers.join(", ")
    };
    let concurrent = if host.concurrent_calls { "yes" } else { "no" };
    writeln!(to, "<dl class=\"about\">")?;
    writeln!(to, "<dt>Confinement</dt><dd>{layers}</dd>")?;
    writeln!(
        to,
        "<dt>Two calls of one capsule and principal at once</dt><dd>{concurrent}</dd>"
    )?;
    for note in &host.notes {
        writeln!(to, "<dt>Note</dt><dd>{}</dd>", content(note))?;
    }
    writeln!(to, "</dl>")
}

fn levels(report: &Report, to: &mut impl Write) -> fmt::Result {
    writeln!(
        to,
        "<table>\n<thead><tr><th>Level</th><th>Passed</th><th>Failed</th><th>Not applicable</th><th></th></tr></thead>\n<tbody>"
    )?;
    for (level, counts) in report.levels() {
        row(level_name(level), counts, to)?;
    }
    writeln!(to, "</tbody>\n<tfoot>")?;
    row("together", report.counts(), to)?;
    writeln!(to, "</tfoot>\n</table>")
}

fn row(name: &str, counts: Counts, to: &mut impl Write) -> fmt::Result {
    let Counts {
        passed,
        failed,
        not_applicable,
    } = counts;
    let class = if failed > 0 { " class=\"some\"" } else { "" };
    writeln!(
        to,
        "<tr><th>{name}</th><td>{passed}</td><td{class}>{failed}</td><td>{not_applicable}</td><td class=\"bar\">\
         <span class=\"passed\" style=\"flex:{passed}\"></span><span class=\"failed\" style=\"flex:{failed}\"></span>\
         <span class=\"not-applicable\" style=\"flex:{not_applicable}\"></span></td></tr>"
    )
}

/// A link for each clause, to its first case that failed, or to its first case.
fn clauses(report: &Report, to: &mut impl Write) -> fmt::Result {
    writeln!(to, "<h2>By clause</h2>\n<p class=\"clauses\">")?;
    for clause in CLAUSES {
        let of_clause = || (report.outcomes.iter()).filter(|outcome| outcome.case.clause() == **clause);
        let counts = Counts::of(of_clause());
        let failed = of_clause().find(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
        let passed = of_clause().find(|outcome| matches!(outcome.verdict, Verdict::Passed(_)));
        let Some(first) = failed.or(passed).or_else(|| of_clause().next()) else {
            continue;
        };
        writeln!(
            to,
            r##"<a class="{}" href="#{}" title="{counts}">{clause} <small>{}/{}</small></a>"##,
            first.verdict.name(),
            first.case.name,
            counts.passed,
            counts.total()
        )?;
    }
    writeln!(to, "</p>")
}

fn case(report: &Report, outcome: &Outcome, is_open: bool, to: &mut impl Write) -> fmt::Result {
    let case = outcome.case;
    let (verdict, open) = (outcome.verdict.name(), if is_open { " open" } else { "" });
    writeln!(
        to,
        "<details class=\"{verdict}\" id=\"{}\"{open}>\n<summary><b>{}</b> {}</summary>\n<dl>",
        case.name,
        case.clause(),
        content(case.title)
    )?;
    let label = match outcome.verdict {
        Verdict::Passed(_) => "Seen",
        Verdict::Failed(_) => "Seen instead",
        Verdict::NotApplicable(_) => "Reason",
    };
    pre(label, cut(outcome.verdict.text(), 4000), to)?;
    if !outcome.output.is_empty() && !matches!(outcome.verdict, Verdict::Passed(_)) {
        pre("The host wrote", &outcome.output, to)?;
    }
    if !case.basis.is_empty() {
        writeln!(
            to,
            "<dt>Rests on</dt><dd><blockquote>{}</blockquote></dd>",
            content(case.basis)
        )?;
    }
    let level = level_name(case.level);
    let seconds = format!("{}.{:03} s", outcome.ms / 1000, outcome.ms % 1000);
    writeln!(
        to,
        "<dt>Case</dt><dd><code>{}</code>, level <i>{level}</i>, {seconds}</dd>",
        attribute(case.name)
    )?;
    if !report.command.is_empty() {
        pre(
            "Run it again",
            &format!("{} --filter {}", report.command, case.name),
            to,
        )?;
    }
    writeln!(to, "</dl>\n</details>")
}

fn pre(label: &str, text: &str, to: &mut impl Write) -> fmt::Result {
    writeln!(to, "<dt>{label}</dt><dd><pre>{}</pre></dd>", content(text))
}
