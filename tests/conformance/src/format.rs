//! A report as a document: JSON for programs, JUnit XML for what shows test results, and a page for readers.

mod html;
mod json;
mod junit;

use std::path::Path;

use crate::report::Report;

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "command-line", derive(clap::ValueEnum))]
pub enum Format {
    /// One JSON object, indented.
    Json,
    /// JUnit XML, which most services that run tests can show.
    Junit,
    /// A page in one file, without scripts and without anything that is fetched.
    Html,
}

impl Format {
    /// The format of a file with this name: HTML for `.html` and `.htm`, JUnit XML for `.xml`, and JSON for every other name.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("html" | "htm") => Self::Html,
            Some("xml") => Self::Junit,
            _ => Self::Json,
        }
    }
}

impl Report {
    /// The report as a document that ends with a newline. Text of the host and of guests is in it, escaped for the format, and
    /// without characters that a terminal would obey.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Json => json::document(self),
            Format::Junit => junit::document(self),
            Format::Html => html::document(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_format() {
        for (name, format) in [
            ("a.html", Format::Html),
            ("a.htm", Format::Html),
            ("junit.xml", Format::Junit),
            ("a.json", Format::Json),
            ("a", Format::Json),
            ("/dev/stdout", Format::Json),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
