//! References in a payload: each object with the one member `$ref` stands for a part of the data of an earlier result.
//!
//! A reference is `ID.data`, then names of members and indices of arrays, each after a dot: `start.data.items.0.id`.
//!
//! The payload is valid JSON and may be nested without a bound, so it is searched in one pass, without recursion and without a tree
//! of values. Everything outside of the references stays byte for byte. So do the parts that are filled in, because a tree would
//! change numbers.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use super::id::Id;
use super::lines;

/// The most references of one payload.
const MOST: usize = 64;

/// The most bytes of a reference, and the most names and indices in it.
const LONGEST: usize = 1024;
const DEEPEST: usize = 32;

/// The most bytes of a payload with its references filled in.
const LARGEST: usize = lines::LONGEST;

/// The member that makes an object a reference, as JSON text.
const MEMBER: &str = "\"$ref\"";

/// Why a payload's references cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadReference {
    #[error(
        "{0:?} is no reference: write `ID.data`, then names and indices, as in `start.data.items.0.id`; \"refs\":false leaves \
         such objects of a line as they are"
    )]
    Malformed(String),
    #[error("the payload has more than {MOST} references")]
    TooMany,
    #[error("the data of `{id}` (line {line}) has no `{path}`")]
    Absent { id: String, line: u64, path: String },
    #[error("the payload has more than {LARGEST} bytes with its references filled in")]
    TooLarge,
}

/// A part of an earlier result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) id: String,
    /// Names and indices, from the data on.
    path: Vec<String>,
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let malformed = || {
            let shown = text.get(..text.floor_char_boundary(100)).unwrap_or(text);
            BadReference::Malformed(shown.to_owned())
        };
        let mut parts = text.split('.');
        let id = parts.next().filter(|id| Id::is_valid(id)).ok_or_else(malformed)?;
        if text.len() > LONGEST || parts.next() != Some("data") {
            return Err(malformed());
        }
        let path: Vec<_> = parts.map(str::to_owned).collect();
        if path.len() > DEEPEST || path.iter().any(String::is_empty) {
            return Err(malformed());
        }
        Ok(Self {
            id: id.to_owned(),
            path,
        })
    }
}

impl Reference {
    /// The JSON text of its part of `data`, which is the result of the line with this number.
    fn part<'a>(&self, data: Option<&'a str>, line: u64) -> Result<Cow<'a, str>, BadReference> {
        let absent = |depth: usize| {
            let path = self.path.iter().take(depth + 1);
            BadReference::Absent {
                id: self.id.clone(),
                line,
                path: path.fold("data".to_owned(), |path, name| path + "." + name),
            }
        };
        let Some(json) = data.and_then(|data| serde_json::from_str::<&RawValue>(data).ok()) else {
            // A text, or no data.
            return match (data, self.path.is_empty()) {
                (Some(text), true) => serde_json::to_string(text).map(Cow::from).map_err(|_| absent(0)),
                (None, true) => Ok("null".into()),
                (_, false) => Err(absent(0)),
            };
        };
        let deepest = Cell::new(0);
        let way = Way {
            path: &self.path,
            depth: 0,
            deepest: &deepest,
        };
        match way.deserialize(&mut serde_json::Deserializer::from_str(json.get())) {
            Ok(Ok(part)) => Ok(part.get().into()),
            Ok(Err(NotThere { depth })) => Err(absent(depth)),
            // A number or a text that no reader can represent.
            Err(_) => Err(absent(deepest.get())),
        }
    }
}

/// Follows a path of names and indices through values, in one pass over them however long the path is: a path to the innermost of
/// many nested values would otherwise cost a pass for each of its names. Of members with the same name the last one counts, as for
/// most readers of JSON.
#[derive(Clone, Copy)]
struct Way<'n> {
    path: &'n [String],
    /// The number of names that were followed to this value.
    depth: usize,
    /// The most names that were followed.
    deepest: &'n Cell<usize>,
}

/// The value has no part with the name at this depth.
struct NotThere {
    depth: usize,
}

impl<'n> Way<'n> {
    fn name(self) -> Option<&'n String> {
        self.path.get(self.depth)
    }

    /// The way on from a part with the next name.
    fn next(self) -> Self {
        self.deepest.set(self.depth + 1);
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    const fn not_there<'de, E>(self) -> Result<<Self as DeserializeSeed<'de>>::Value, E> {
        Ok(Err(NotThere { depth: self.depth }))
    }
}

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = Result<&'de RawValue, NotThere>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.name() {
            Some(_) => deserializer.deserialize_any(self),
            None => <&RawValue>::deserialize(deserializer).map(Ok),
        }
    }
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = Result<&'de RawValue, NotThere>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Err(NotThere { depth: self.depth });
        while let Some(key) = map.next_key::<String>()? {
            if Some(&key) == self.name() {
                found = map.next_value_seed(self.next())?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let index = self.name().and_then(|name| Some((name, name.parse::<usize>().ok()?)));
        let index = index.filter(|(name, index)| index.to_string() == **name);
        let mut found = Err(NotThere { depth: self.depth });
        for at in 0.. {
            if index.is_some_and(|(_, index)| index == at) {
                match seq.next_element_seed(self.next())? {
                    Some(element) => found = element,
                    None => return self.not_there(),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        self.not_there()
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        self.not_there()
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        self.not_there()
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        self.not_there()
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        self.not_there()
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        self.not_there()
    }
}

/// A reference and its place in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    place: Range<usize>,
    pub(crate) reference: Reference,
}

/// The references of a payload, in order. The payload is valid JSON.
///
/// A brace within a text is examined, too, and is never taken for an object: a quotation mark behind it is escaped, or ends the text
/// and is not followed by a name.
pub(crate) fn find(payload: &str) -> Result<Vec<Found>, BadReference> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = payload.get(at..).and_then(|rest| rest.find('{')) {
        let start = at + next;
        let mut scanner = Scanner { payload, at: start };
        at = start + 1;
        if let Some(text) = scanner.reference() {
            if found.len() == MOST {
                return Err(BadReference::TooMany);
            }
            let reference = text.parse()?;
            at = scanner.at;
            let place = start..at;
            found.push(Found { place, reference });
        }
    }
    Ok(found)
}

/// The payload with its references filled in. `data` gives the data of a reference's result, with the number of its line.
pub(crate) fn fill<'a>(
    payload: &str,
    found: &[Found],
    data: impl Fn(usize) -> (Option<&'a str>, u64),
) -> Result<String, BadReference> {
    let mut filled = Filled::default();
    let mut at = 0;
    for (index, Found { place, reference }) in found.iter().enumerate() {
        let (data, line) = data(index);
        filled.add(payload.get(at..place.start).unwrap_or_default())?;
        filled.add(&reference.part(data, line)?)?;
        at = place.end;
    }
    filled.add(payload.get(at..).unwrap_or_default())?;
    Ok(filled.0)
}

/// A payload that is put together, and never has more bytes than a payload may have.
#[derive(Default)]
struct Filled(String);

impl Filled {
    fn add(&mut self, text: &str) -> Result<(), BadReference> {
        if self.0.len() + text.len() > LARGEST {
            return Err(BadReference::TooLarge);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// A place in valid JSON.
struct Scanner<'p> {
    payload: &'p str,
    at: usize,
}

impl<'p> Scanner<'p> {
    fn rest(&self) -> &'p str {
        self.payload.get(self.at..).unwrap_or_default()
    }

    /// Goes behind spaces and this token, if it follows.
    fn takes(&mut self, token: char) -> bool {
        let rest = self.rest();
        let after = rest.trim_ascii_start();
        self.at += rest.len() - after.len();
        let follows = after.starts_with(token);
        if follows {
            self.at += token.len_utf8();
        }
        follows
    }

    /// Goes behind spaces and a string, if one follows, and returns it with its quotes.
    fn string(&mut self) -> Option<&'p str> {
        if !self.takes('"') {
            return None;
        }
        let start = self.at - 1;
        loop {
            let rest = self.rest();
            let next = rest.find(['"', '\\'])?;
            let is_end = rest.get(next..)?.starts_with('"');
            // Behind an escape's backslash is one more byte at least.
            self.at += next + if is_end { 1 } else { 2 };
            if is_end {
                return self.payload.get(start..self.at);
            }
        }
    }

    /// Goes behind an object with the one member `$ref`, if that is a text, and returns the text.
    fn reference(&mut self) -> Option<String> {
        let is_reference = self.takes('{') && self.string()? == MEMBER && self.takes(':');
        let text = if is_reference { self.string()? } else { return None };
        let text = self.takes('}').then_some(text)?;
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn filled(payload: &str, data: Option<&str>) -> Result<String, BadReference> {
        fill(payload, &find(payload)?, |_| (data, 3))
    }

    #[test]
    fn a_reference_is_an_id_then_data_then_names_and_indices() {
        let reference: Reference = "start.data.items.0.id".parse().unwrap();
        assert_eq!(
            (&*reference.id, &reference.path[..]),
            ("start", &["items", "0", "id"].map(String::from)[..])
        );
        assert_eq!("7.data".parse::<Reference>().unwrap().path, [""; 0]);
        for text in [
            "",
            "start",
            "start.",
            "start.action",
            ".data",
            "start.data.",
            "start.data..a",
            "a b.data",
            "start.data[0]",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let deepest = "a.data".to_owned() + &".b".repeat(DEEPEST);
        assert!(deepest.parse::<Reference>().is_ok() && (deepest + ".b").parse::<Reference>().is_err());
        assert!(format!("a.data.{}", "b".repeat(LONGEST)).parse::<Reference>().is_err());
    }

    #[test]
    fn a_part_is_filled_in_byte_for_byte_and_the_rest_stays() {
        let data = "{ \"id\" : \"x\\u0041\", \"a\": [10, {\"b\": 1.50}, [2]], \"id\": \"last\", \"é\\\"\": 123456789012345678901.0 }";
        for (payload, result) in [
            ("{\"$ref\":\"s.data.a.0\"}", "10"),
            (" { \"$ref\" :\t\"s.data.a.1.b\" } ", " 1.50 "),
            (
                "[1.0,{\"$ref\":\"s.data.a.2.0\"},{\"$ref\":\"s.data.\\u00e9\\\"\"}]",
                "[1.0,2,123456789012345678901.0]",
            ),
            ("{\"id\":{\"$ref\":\"s.data.id\"} }", "{\"id\":\"last\" }"),
            ("{\"a\":{\"$ref\":\"s.data.a\"}}", "{\"a\":[10, {\"b\": 1.50}, [2]]}"),
        ] {
            assert_eq!(filled(payload, Some(data)).unwrap(), result);
        }
        assert_eq!(filled("{\"$ref\":\"s.data\"}", Some(data)).unwrap(), data);
        assert_eq!(
            filled("{\"$ref\":\"s.data\"}", Some("two \"words\"")).unwrap(),
            "\"two \\\"words\\\"\""
        );
        assert_eq!(filled("{\"$ref\":\"s.data\"}", None).unwrap(), "null");
    }

    #[test]
    fn what_only_looks_like_a_reference_stays_as_it_is() {
        for payload in [
            "\"{\\\"$ref\\\":\\\"s.data\\\"}\"",
            "\"\\\\\"",
            "{\"$ref\":1}",
            "{\"$ref\":{\"a\":[]}}",
            "{\"$ref\":\"x\",\"more\":1}",
            "{\"more\":1,\"$ref\":\"x\"}",
            "{\"\\u0024ref\":\"x\"}",
            "{}",
            "{\"a\":\"$ref\"}",
            "[\"{\",\"$ref\",\"{\",{\"{\":\"$ref\"}]",
            "[\"$ref\",\":\"]",
        ] {
            assert_eq!(filled(payload, None).unwrap(), payload);
        }
    }

    #[test]
    fn an_absent_part_is_named_to_where_the_way_ends() {
        for (data, path, absent) in [
            (Some("{\"a\":{}}"), "a.b.c", "data.a.b"),
            (Some("[1]"), "1", "data.1"),
            (Some("[1]"), "00", "data.00"),
            (Some("[1]"), "-1", "data.-1"),
            (Some("[1]"), "0.x", "data.0.x"),
            (
                Some("[{\"a\":null,\"b\":true}, 1, -1, 1.5, \"x\"]"),
                "0.a.x.y",
                "data.0.a.x",
            ),
            (
                Some("[{\"a\":null,\"b\":true}, 1, -1, 1.5, \"x\"]"),
                "0.b.0",
                "data.0.b.0",
            ),
            (Some("[{\"a\":null,\"b\":true}, 1, -1, 1.5, \"x\"]"), "3.x", "data.3.x"),
            (Some("[{\"a\":null,\"b\":true}, 1, -1, 1.5, \"x\"]"), "4.x", "data.4.x"),
            (Some("{\"a\":{\"b\":1},\"a\":{}}"), "a.b", "data.a.b"),
            (Some("{\"a\":{\"b\":1e999}}"), "a.b.c", "data.a.b.c"),
            (Some("1e999"), "a", "data.a"),
            (Some("plain text"), "a", "data.a"),
            (None, "a", "data.a"),
        ] {
            let error = filled(&format!("[{{\"$ref\":\"s.data.{path}\"}}]"), data).unwrap_err();
            assert_eq!(error.to_string(), format!("the data of `s` (line 3) has no `{absent}`"));
        }
    }

    #[test]
    fn a_payload_has_bounds_on_its_references_and_its_size() {
        let many = |count| format!("[{}]", vec!["{\"$ref\":\"s.data\"}"; count].join(","));
        assert_eq!(find(&many(MOST)).unwrap().len(), MOST);
        assert_eq!(find(&many(MOST + 1)), Err(BadReference::TooMany));
        let half = format!("\"{}\"", "x".repeat(LARGEST / 2));
        assert!(filled(&many(1), Some(&half)).is_ok());
        assert_eq!(filled(&many(2), Some(&half)), Err(BadReference::TooLarge));
    }

    #[test]
    fn a_path_leads_to_a_value_that_is_nested_deeper_than_any_stack() {
        let inner = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let data = "{\"a\":".repeat(DEEPEST) + &inner + &"}".repeat(DEEPEST);
        let payload = format!("{{\"$ref\":\"s.data{}\"}}", ".a".repeat(DEEPEST));
        assert_eq!(filled(&payload, Some(&data)).unwrap(), inner);
    }

    #[test]
    fn a_payload_may_be_nested_deeper_than_any_stack() {
        let depth = 1 << 20;
        let deep = |inner: &str| "[{\"a\":".repeat(depth) + inner + &"}]".repeat(depth);
        assert_eq!(filled(&deep("{\"$ref\":\"s.data\"}"), Some("1")).unwrap(), deep("1"));
    }

    /// The same by a tree of values.
    fn by_tree(value: &mut Value) {
        if value.as_object().is_some_and(|object| object.len() == 1)
            && value.get("$ref").is_some_and(|text| text == "s.data")
        {
            *value = Value::from(7);
        } else if let Some(object) = value.as_object_mut() {
            object.values_mut().for_each(by_tree);
        } else if let Some(array) = value.as_array_mut() {
            array.iter_mut().for_each(by_tree);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[a\"\\\\{}:,$ é]{0,4}",
            Just("$ref".to_owned()),
            Just("s.data".to_owned())
        ];
        let leaf = prop_oneof![
            Just(serde_json::json!({ "$ref": "s.data" })),
            text.clone().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let key = prop_oneof![text.clone(), "[a\"\\\\{}:,$ é]{0,4}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn references_are_found_as_in_a_tree_of_values(value in json(), pretty: bool) {
            let payload = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            match filled(&payload, Some("7")) {
                Ok(filled) => {
                    let mut tree = value;
                    by_tree(&mut tree);
                    prop_assert_eq!(serde_json::from_str::<Value>(&filled).unwrap(), tree);
                }
                // A text at `$ref` that is none of ours.
                Err(error) => prop_assert!(matches!(error, BadReference::Malformed(_)), "{}", error),
            }
        }
    }
}
