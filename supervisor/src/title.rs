//! The label and the command that a list shows for a process, cut to size (contract I5).

use crate::text::cut;

/// The stored form of a label: without control characters, at most 128 bytes (contract I5).
pub(crate) fn label(asked: Option<&str>, cmd: &str) -> String {
    // Without a label, the program's name is the best description.
    let text = asked.unwrap_or_else(|| cmd.rsplit('/').find(|part| !part.is_empty()).unwrap_or(cmd));
    let clean: String = text.chars().filter(|c| !c.is_control()).take(128).collect();
    cut(&clean, 128).to_owned()
}

/// The command as `list` shows it: joined by spaces, at most 4 KiB (contract I5).
pub(crate) fn command(cmd: &str, args: &[String]) -> String {
    const MAX: usize = 4 * 1024;
    let mut command = cut(cmd, MAX).to_owned();
    for arg in args {
        if command.len() >= MAX {
            break;
        }
        command.push(' ');
        command.push_str(cut(arg, MAX - command.len()));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_labels_and_commands_are_cut() {
        assert_eq!(label(Some("a\nb\u{7f}"), "cmd"), "ab");
        assert_eq!(label(None, "/usr/bin/python3"), "python3");
        assert_eq!(label(Some(""), "x"), "");
        assert_eq!(label(Some(&"ü".repeat(100)), "x"), "ü".repeat(64));
        assert_eq!(label(Some(&format!("x{}", "ü".repeat(100))), "x").len(), 127);
        assert_eq!(command("a", &["b".into(), "c d".into()]), "a b c d");
        assert_eq!(command("a", &["x".repeat(5000), "y".into()]).len(), 4096);
    }
}
