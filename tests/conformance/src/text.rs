//! Text of a host or of a guest, for terminals, pages and programs. Both are hostile: what they say must not move a cursor, become an
//! element of a page, or make a report that no parser takes.

use std::fmt::Write as _;

/// The longest prefix of whole characters with at most so many bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Whether a character has to be shown by its number: the control characters, which a terminal obeys and XML forbids; the separators
/// of lines and the marks of direction, which mislead a reader; and two that are no characters.
const fn is_shown_by_number(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

/// The text on one line, with `\u{1b}` for a character that could mislead.
pub(crate) fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if is_shown_by_number(character) => {
                // A string takes it.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// The text as content of an element of HTML or XML. Its lines stay.
pub(crate) fn content(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(one_line).collect();
    lines
        .join("\n")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        // Also because XML forbids `]]>` in text.
        .replace('>', "&gt;")
}

/// The text as the value of an attribute in double quotes, on one line.
pub(crate) fn attribute(text: &str) -> String {
    content(&one_line(text)).replace('"', "&quot;")
}

/// JSON without such characters in its strings: they are written as JSON's own escapes, which mean the same to a program.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character >= '\x7f' && is_shown_by_number(character) {
            // A string takes it. All of them have four digits at most.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
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
    fn a_cut_is_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 99), "aé");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(one_line("a\r\n\u{1b}[2J\u{202e}é"), r"a\r\n\u{1b}[2J\u{202e}é");
    }

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            content("<script>&\u{0}\n]]>\u{ffff}"),
            "&lt;script&gt;&amp;\\u{0}\n]]&gt;\\u{ffff}"
        );
        assert_eq!(attribute("\"a'\n<"), "&quot;a'\\n&lt;");
    }
}
