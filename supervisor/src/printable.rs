//! Text of a guest, made safe for terminals and logs.
//!
//! A terminal obeys control characters: a carriage return overwrites the line, an escape sequence moves the cursor, sets the
//! title or asks for the clipboard. Unicode adds characters that reverse the rest of a line (U+202E) and two that end lines for
//! some readers (U+2028, U+2029). All of them are therefore written by their code points. So is an end of line, because otherwise
//! a guest could write a log line in the host's name.

use std::fmt;

/// Displays a text on one line. Every character that could mislead a reader is shown as its number, `\u{202e}`, or for
/// the three best known as `\n`, `\r` and `\t`.
///
/// ```
/// use capsule_supervisor::printable::Printable;
///
/// assert_eq!(Printable("done\r\u{1b}[2Jroot# \u{202e}").to_string(), r"done\r\u{1b}[2Jroot# \u{202e}");
/// ```
///
/// A backslash stays as it is, so the output cannot be parsed back.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_control) {
            let (plain, tail) = rest.split_at(at);
            f.write_str(plain)?;
            let mut tail = tail.chars();
            match tail.next() {
                Some('\n') => f.write_str("\\n")?,
                Some('\r') => f.write_str("\\r")?,
                Some('\t') => f.write_str("\\t")?,
                Some(control) => write!(f, "\\u{{{:x}}}", u32::from(control))?,
                None => {}
            }
            rest = tail.as_str();
        }
        f.write_str(rest)
    }
}

/// Whether the character could mislead a terminal or a reader: the control characters C0, DEL and C1, the separators of
/// lines and paragraphs, and the marks that set the direction of text.
#[must_use]
pub const fn is_control(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for several lines. The line ends stay, and each line after the first begins with two spaces, so that it
/// does not look like a line of the host's.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            shown.push_str("\n  ");
        }
        shown.push_str(&Printable(line).to_string());
    }
    shown
}

/// JSON without such characters in its strings: they are written as JSON's own escapes, which mean the same to a
/// program that parses it. The input must be JSON, in which the controls below DEL are escaped already.
///
/// ```
/// use capsule_supervisor::printable::printable_json;
///
/// assert_eq!(printable_json("{\"cmd\":\"\u{9b}2J\u{202e}\"}".into()), r#"{"cmd":"\u009b2J\u202e"}"#);
/// ```
#[must_use]
pub fn printable_json(json: String) -> String {
    let is_hidden = |character: char| character >= '\x7f' && is_control(character);
    if !json.contains(is_hidden) {
        return json;
    }
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_hidden(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u3_what_a_terminal_would_obey_is_shown() {
        for (text, shown) in [
            ("plain, ünïcode 👩‍🚀 and \\", "plain, ünïcode 👩‍🚀 and \\"),
            ("a\rb\nc\td", "a\\rb\\nc\\td"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{2069}", "a\\u{202e}b\\u{2066}c\\u{2069}"),
            ("\u{2028}\u{2029}\u{200f}\u{61c}", "\\u{2028}\\u{2029}\\u{200f}\\u{61c}"),
            ("", ""),
        ] {
            assert_eq!(Printable(text).to_string(), shown);
        }
    }

    #[test]
    fn u3_no_control_is_left_of_any_character() {
        for character in ('\0'..='\u{ffff}').filter(|character| is_control(*character) || character.is_control()) {
            let text = character.to_string();
            let shown = Printable(&text).to_string();
            assert!(!shown.chars().any(is_control), "{shown:?}");
            assert!(shown.is_ascii() && shown.starts_with('\\'), "{shown:?}");
        }
    }

    #[test]
    fn u3_a_second_line_is_not_taken_for_the_hosts() {
        assert_eq!(
            printable_lines("one\nerror: two\r\n\u{202e}"),
            "one\n  error: two\n  \\u{202e}"
        );
    }
}
