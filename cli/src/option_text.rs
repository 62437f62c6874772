//! Options as messages show them, so that a user can copy them into a shell.
//!
//! Their values come from a manifest, which may be hostile: such a text stays on its line, is shown without what a terminal
//! obeys, is one word for a shell, and is cut.

use capsule_host::printable::Printable;

/// The most bytes of a value that are shown.
const SHOWN: usize = 200;

/// `--name value`.
pub(crate) fn option(name: &str, value: &str) -> String {
    format!("--{name} {}", word(value))
}

/// The text as one word of a shell.
pub(crate) fn word(text: &str) -> String {
    let kept = text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text);
    let shown = Printable(kept).to_string();
    let more = if kept.len() < text.len() { "…" } else { "" };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+".contains(&byte);
    if !shown.is_empty() && more.is_empty() && shown.bytes().all(is_plain) {
        shown
    } else {
        format!("'{}{more}'", shown.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_and_nothing_that_a_shell_or_a_terminal_obeys() {
        for (text, shown) in [
            ("python3", "python3"),
            ("db.example.com:5432:private", "db.example.com:5432:private"),
            ("*.example.com", "'*.example.com'"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("a\n\u{1b}[2J", "'a\\n\\u{1b}[2J'"),
        ] {
            assert_eq!(word(text), shown);
        }
        assert!(word(&"é".repeat(1000)).len() < 210);
    }
}
