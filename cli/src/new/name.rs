//! The name of a new capsule, and so of its folder, its package and its component.
//!
//! One rule holds for all languages: the name becomes a path, a name in TOML and JSON, and a crate.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name, in bytes. The registries of the languages allow at least as many.
const LONGEST: usize = 64;

/// Keywords of Rust, names that cargo uses or refuses, and the crates that a new capsule depends on. They are refused in every language,
/// so that a name is as good in one language as in another.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "capsule-sdk",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "memchr",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde-json",
    "static",
    "std",
    "struct",
    "super",
    "target",
    "test",
    "thiserror",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "vendor",
    "virtual",
    "where",
    "while",
    "wit-bindgen",
    "yield",
];

/// A checked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadName {
    #[error(
        "a name begins with a letter from a to z, and has only such letters, digits and single hyphens, as in `my-capsule`"
    )]
    Shape,
    #[error("a name has at most {LONGEST} characters")]
    TooLong,
    #[error("cargo or Rust uses this word itself: choose another name")]
    Reserved,
}

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.split('-').all(is_word) {
            return Err(BadName::Shape);
        }
        if text.len() > LONGEST {
            return Err(BadName::TooLong);
        }
        if RESERVED.contains(&text) {
            return Err(BadName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_word_for_every_language() {
        for name in ["x", "my-capsule", "a1-b2", &"a".repeat(64)] {
            assert_eq!(name.parse(), Ok(Name(name.to_owned())));
        }
        for name in [
            "",
            "-",
            "-x",
            "x-",
            "a--b",
            "1x",
            "X",
            "é",
            "a_b",
            "a.b",
            ".",
            "..",
            "../x",
            "a/b",
            "/tmp/x",
            "a b",
            "a\nb",
            "a\0",
            "a\"b",
            "--lang",
            "~x",
            "a\u{202e}b",
        ] {
            assert_eq!(name.parse::<Name>(), Err(BadName::Shape), "{name:?}");
        }
        assert_eq!("a".repeat(65).parse::<Name>(), Err(BadName::TooLong));
        for name in ["fn", "typeof", "test", "std", "capsule-sdk", "target"] {
            assert_eq!(name.parse::<Name>(), Err(BadName::Reserved), "{name}");
        }
    }

    #[test]
    fn the_reserved_words_are_sorted_and_have_the_shape_of_a_name() {
        assert!(RESERVED.is_sorted());
        for word in RESERVED {
            assert_eq!(word.parse::<Name>(), Err(BadName::Reserved), "{word}");
        }
    }
}
