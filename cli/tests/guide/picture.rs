//! The picture of the main job, `docs/guide/src/main-job.svg`: a terminal, made from a real run.
//!
//! `CAPSULE_WRITE_DOCS=1` writes it. Without that the test runs the command too, and fails if the picture shows other output, except
//! for what differs from run to run.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::book;
use crate::console::{masked, of_the_command};
use crate::shell::{Shell, lacks_python};

/// Characters of a line, after which a terminal goes on in the next line.
const COLUMNS: usize = 98;

/// The size of a character and the height of a line, in the picture's units.
const CHARACTER: f64 = 7.83;
const LINE: usize = 20;
const FONT: usize = 13;
const MARGIN: usize = 16;

const PAGE: &str = "<h1>Hello</h1>\n";
const COMMAND: &str = "capsule run --allow python3 --allow-persistent example-capsules/dev-server start get logs stop";

/// The real run, in a folder with a page to serve.
fn lines() -> Vec<String> {
    let site = TempDir::new().unwrap();
    fs::write(site.path().join("index.html"), PAGE).unwrap();
    // The output of a build is not part of the picture.
    let shell = Shell::new();
    shell.run("capsule run example-capsules/dev-server no-such-action", &book::root());
    let real = COMMAND.replace(
        "example-capsules",
        &book::root().join("example-capsules").display().to_string(),
    );
    let output = shell.run(&real, site.path());
    let stderr = of_the_command(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let command = format!("$ {COMMAND}");
    std::iter::once(command)
        .chain(stdout.lines().map(str::to_owned))
        .collect()
}

/// The lines without what differs from run to run: durations, ids, cursors and times.
fn lasting(lines: &[String]) -> Vec<String> {
    let values = ["\"id\":\"", "\"cursor\":\"", " - - ["];
    let without = |line: &String| {
        values
            .iter()
            .fold(masked(line), |line, key| match line.split_once(key) {
                Some((before, rest)) => {
                    let rest = rest.trim_start_matches(|character: char| !"\"]".contains(character));
                    format!("{before}{key}{rest}")
                }
                None => line,
            })
    };
    lines.iter().map(without).collect()
}

/// The lines in the picture, in which a line of the terminal may be several.
fn shown(svg: &str) -> Vec<String> {
    let texts = svg.lines().filter_map(|line| line.strip_prefix("<text "));
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        let (attributes, rest) = text.split_once('>').unwrap();
        let content = unescaped(rest.strip_suffix("</text>").unwrap());
        match lines.last_mut() {
            Some(line) if attributes.contains("class=\"more\"") => line.push_str(&content),
            _ => lines.push(content),
        }
    }
    lines
}

fn picture(lines: &[String]) -> String {
    let rows: Vec<(&str, String)> = lines
        .iter()
        .flat_map(|line| {
            let class = if line.starts_with("$ ") { "command" } else { "output" };
            let characters: Vec<char> = line.chars().collect();
            let rows: Vec<_> = characters
                .chunks(COLUMNS)
                .enumerate()
                .map(|(row, part)| (if row > 0 { "more" } else { class }, part.iter().collect()))
                .collect();
            rows
        })
        .collect();
    let width = format!("{:.0}", f64::from(u32::try_from(COLUMNS).unwrap()) * CHARACTER);
    let width = width.parse::<usize>().unwrap() + 2 * MARGIN;
    let height = rows.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>Four calls of a capsule: a web server is started, asked, read and stopped</title>\n\
         <style>\n\
         rect {{ fill: #f6f8fa; stroke: #d0d7de }}\n\
         text {{ font: {FONT}px ui-monospace, \"DejaVu Sans Mono\", Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }}\n\
         .command {{ font-weight: bold; fill: #0550ae }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         rect {{ fill: #161b22; stroke: #30363d }}\n\
         text {{ fill: #e6edf3 }}\n\
         .command {{ fill: #79c0ff }}\n\
         }}\n\
         </style>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        width - 1,
        height - 1,
    );
    for (index, (class, text)) in rows.iter().enumerate() {
        let y = MARGIN + index * LINE + FONT;
        writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" class=\"{class}\">{}</text>",
            escaped(text)
        )
        .unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
}

fn path() -> PathBuf {
    book::folder().join("main-job.svg")
}

#[test]
fn the_picture_shows_what_the_command_prints() {
    if lacks_python() {
        return;
    }
    let lines = lines();
    if std::env::var_os("CAPSULE_WRITE_DOCS").is_some() {
        fs::write(path(), picture(&lines)).unwrap();
    }
    let svg = fs::read_to_string(path()).unwrap();
    assert_eq!(
        lasting(&shown(&svg)),
        lasting(&lines),
        "CAPSULE_WRITE_DOCS=1 writes the picture"
    );
}
