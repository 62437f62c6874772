//! A caller's name for a call, which its answer repeats and by which later calls refer to its result.
//!
//! It has no dot, because a dot ends it in a reference.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// The most bytes of a text.
const LONGEST: usize = 64;

/// The forms of an id, for messages.
pub(crate) const FORMS: &str = "an id is a text of 1 to 64 letters, digits, `_` and `-`, or an integer from 0 on";

/// An id in the form that the caller gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Text(String),
    Number(u64),
}

impl Id {
    /// The text by which a reference names it. 7 and "7" are the same.
    pub(crate) fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
        }
    }

    /// Whether a reference may name this text.
    pub(crate) fn is_valid(text: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_part)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl Visitor<'_> for Either {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        if Id::is_valid(text) {
            Ok(Id::Text(text.to_owned()))
        } else {
            Err(E::custom(FORMS))
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_word_or_an_integer_and_is_written_as_it_came() {
        for json in ["\"start\"", "\"a-b_9\"", "7", "0"] {
            let id: Id = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(id.as_text(), json.trim_matches('"'));
        }
        let longest = "x".repeat(LONGEST);
        assert!(Id::is_valid(&longest) && !Id::is_valid(&(longest + "x")));
        for json in ["\"\"", "\"a.b\"", "\"é\"", "-1", "1.5", "null", "[1]", "true", "1e30"] {
            assert!(serde_json::from_str::<Id>(json).is_err(), "{json}");
        }
    }
}
