//! A TOML file that is read key by key, so that everything in it that is unknown is known.
//!
//! These constraints shape it:
//! - A key that this program does not know is reported with its line and the nearest known key, and does not fail the command.
//!   The author may have written the file for another host, or for a later version of this one.
//! - A known key of the wrong type fails the command, with its line. An ignored value would mean something other than what the
//!   author wrote.
//! - The list of known keys cannot differ from the code, because reading a key is what makes it known.
//! - The file comes with the capsule and may be hostile: its size, and the number of reports, are bounded, and what is not a
//!   regular file is not opened for long.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most bytes of a file. The largest manifests of today's capsules have some ten thousand.
const BYTES_MAX: u64 = 1 << 20;
/// The most items of a list, and topics of a table.
const ITEMS_MAX: usize = 1024;
/// The most keys that are reported one by one.
const REPORTS_MAX: usize = 16;
/// The most bytes of an unknown key that are shown.
const SHOWN: usize = 64;
/// The most bytes of a line, or of a parser's message, that are shown.
const QUOTED: usize = 400;
/// From this similarity on (1 is equality), a known key is taken for the one that was meant.
const SIMILAR: f64 = 0.8;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BadManifest {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Malformed { path: PathBuf, error: Box<toml::de::Error> },
    #[error("{} line {line}: {why}", path.display())]
    Wrong { path: PathBuf, line: usize, why: String },
}

/// A file, and what was found in it that has no effect.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
    reports: RefCell<Reports>,
}

/// What has no effect: the first of them in words, and how many more there are.
#[derive(Debug, Default)]
struct Reports {
    told: Vec<String>,
    more: usize,
}

impl Document {
    /// Reads a file; none if it does not exist.
    pub(super) fn read(path: PathBuf) -> Result<Option<Self>, BadManifest> {
        match text(&path) {
            Ok(text) => Ok(Some(Self {
                path,
                text,
                reports: RefCell::default(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BadManifest::Unreadable { path, error }),
        }
    }

    /// A file that is part of this program.
    pub(super) fn bundled(text: &'static str) -> Self {
        Self {
            path: PathBuf::from("the bundled manifest"),
            text: text.to_owned(),
            reports: RefCell::default(),
        }
    }

    /// The table that the whole file is.
    pub(super) fn root(&self) -> Result<Section<'_>, BadManifest> {
        let table = DeTable::parse(&self.text).map_err(|error| self.malformed(error))?;
        let place = Place { document: self, at: 0 };
        Ok(Section::new(place, String::new(), table.into_inner()))
    }

    /// What has no effect, one line for each key.
    pub(super) fn into_reports(self) -> Vec<String> {
        let Reports { mut told, more } = self.reports.into_inner();
        if more > 0 {
            told.push(format!("{}: {more} more keys have no effect", self.path.display()));
        }
        told
    }

    /// Reports that the part of the file at this byte has no effect.
    fn report(&self, at: usize, what: impl FnOnce() -> String) {
        let mut reports = self.reports.borrow_mut();
        // Words, and the number of a line, take time; a hostile file has a hundred thousand keys.
        if reports.told.len() == REPORTS_MAX {
            reports.more += 1;
            return;
        }
        let report = format!("{} line {}: {}", self.path.display(), self.line(at), what());
        reports.told.push(report);
    }

    fn report_unknown(&self, at: usize, key: &str, table: &str, known: &[&str]) {
        self.report(at, || {
            let within = if table.is_empty() {
                String::new()
            } else {
                format!(" in `{table}`")
            };
            let meant = nearest(key, known).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            format!(
                "the key `{}`{within} is unknown and has no effect{meant}",
                cut(key, SHOWN)
            )
        });
    }

    /// The parser's error. It quotes the line and the value, which are then short enough to be shown.
    fn malformed(&self, mut error: toml::de::Error) -> BadManifest {
        let path = self.path.clone();
        let at = error.span().map_or(0, |span| span.start);
        let is_short = |text: &str| text.len() <= QUOTED;
        let line = self.line(at);
        let quoted = self.text.lines().nth(line - 1).unwrap_or_default();
        if is_short(quoted) && is_short(error.message()) {
            error.set_input(Some(&self.text));
            let error = Box::new(error);
            return BadManifest::Malformed { path, error };
        }
        let why = cut(error.message(), QUOTED).to_owned();
        BadManifest::Wrong { path, line, why }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut options = File::options();
    // A pipe in place of the file would otherwise wait for its writer.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// One value of a file, and where it stands.
pub(super) struct Value<'f> {
    document: &'f Document,
    value: Spanned<DeValue<'f>>,
    /// The byte at which its key begins.
    at: usize,
}

impl<'f> Value<'f> {
    /// Reports that it has no effect.
    pub(super) fn report(&self, what: impl FnOnce() -> String) {
        self.place().report(what);
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Whether it is what a key that is left out means: `false`, or an empty list or table.
    pub(super) fn is_empty(&self) -> bool {
        let value = self.value.get_ref();
        value.as_bool() == Some(false)
            || value.as_array().is_some_and(|array| array.is_empty())
            || value.as_table().is_some_and(DeTable::is_empty)
    }

    /// Whether it is text.
    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Where it stands, for an error or a report once it has been read.
    pub(super) fn place(&self) -> Place<'f> {
        Place {
            document: self.document,
            at: self.at,
        }
    }

    /// The value as `T`.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, BadManifest> {
        let document = self.document;
        T::deserialize(self.value.into_deserializer()).map_err(|error| document.malformed(error))
    }

    /// The value as a list.
    pub(super) fn list<T: DeserializeOwned>(self) -> Result<Vec<T>, BadManifest> {
        if self
            .value
            .get_ref()
            .as_array()
            .is_some_and(|items| items.len() > ITEMS_MAX)
        {
            return Err(self.place().refuse(format!("a list has at most {ITEMS_MAX} items")));
        }
        self.read()
    }

    /// The value as a table, whose keys are then read one by one.
    pub(super) fn section(self, name: String) -> Result<Section<'f>, BadManifest> {
        let place = self.place();
        if let DeValue::Table(table) = self.value.into_inner() {
            return Ok(Section::new(place, name, table));
        }
        Err(place.refuse(format!("`{name}` is a table: write its keys below `[{name}]`")))
    }
}

/// A place in a file.
#[derive(Clone, Copy)]
pub(super) struct Place<'f> {
    document: &'f Document,
    at: usize,
}

impl Place<'_> {
    /// An error here.
    pub(super) fn refuse(self, why: impl Into<String>) -> BadManifest {
        BadManifest::Wrong {
            path: self.document.path.clone(),
            line: self.document.line(self.at),
            why: why.into(),
        }
    }

    /// Reports that what stands here has no effect.
    pub(super) fn report(self, what: impl FnOnce() -> String) {
        self.document.report(self.at, what);
    }
}

/// A table whose keys are read one by one. What was not read is reported by [`Section::finish`].
pub(super) struct Section<'f> {
    place: Place<'f>,
    /// With the names of the tables around it; empty for the whole file.
    name: String,
    entries: Vec<(String, Value<'f>)>,
    known: Vec<&'static str>,
}

impl<'f> Section<'f> {
    fn new(place: Place<'f>, name: String, table: DeTable<'f>) -> Self {
        let document = place.document;
        let entry = |(key, value): (Spanned<_>, _)| {
            let at = key.span().start;
            (String::from(key.into_inner()), Value { document, value, at })
        };
        let mut entries: Vec<(String, Value<'f>)> = table.into_iter().map(entry).collect();
        entries.sort_by_key(|(_, value)| value.at);
        Self {
            place,
            name,
            entries,
            known: Vec::new(),
        }
    }

    /// Takes the value of a key.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'f>> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Takes the value of a key, as `T`.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, BadManifest> {
        self.value(key).map(Value::read).transpose()
    }

    /// Takes the table of a key as `T`, and reports the keys in it that are not fields of `T`.
    pub(super) fn table<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, BadManifest> {
        let name = self.name_of(key);
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let known = fields::<T>();
        for (key, _) in value.value.get_ref().as_table().into_iter().flatten() {
            if !known.contains(&&**key.get_ref()) {
                self.place
                    .document
                    .report_unknown(key.span().start, key.get_ref(), &name, known);
            }
        }
        value.read().map(Some)
    }

    /// Takes the table of a key.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Self>, BadManifest> {
        let name = self.name_of(key);
        self.value(key).map(|value| value.section(name)).transpose()
    }

    /// Takes the tables of a key, which may also be one table alone.
    pub(super) fn sections(&mut self, key: &'static str) -> Result<Vec<Self>, BadManifest> {
        let (document, name) = (self.place.document, self.name_of(key));
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        if value.is_table() {
            return Ok(vec![value.section(name)?]);
        }
        if !value.value.get_ref().is_array() {
            return Err(value
                .place()
                .refuse(format!("`{name}` is a list of tables: write `[[{name}]]` above each")));
        }
        let DeValue::Array(items) = value.value.into_inner() else {
            return Ok(Vec::new());
        };
        let section = |value: Spanned<DeValue<'f>>| {
            let at = value.span().start;
            Value { document, value, at }.section(name.clone())
        };
        if items.len() > ITEMS_MAX {
            return Err(self.refuse(format!("`{name}` has more than {ITEMS_MAX} entries")));
        }
        items.into_iter().map(section).collect()
    }

    /// Takes the list of a key; an empty one if the key is left out.
    pub(super) fn list<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Vec<T>, BadManifest> {
        Ok(self.value(key).map(Value::list).transpose()?.unwrap_or_default())
    }

    /// All entries, in the order of the file.
    pub(super) fn entries(self) -> Result<Vec<(String, Value<'f>)>, BadManifest> {
        if self.entries.len() > ITEMS_MAX {
            return Err(self.refuse(format!("`{}` has more than {ITEMS_MAX} entries", self.name)));
        }
        Ok(self.entries)
    }

    /// An error at the beginning of this table.
    pub(super) fn refuse(&self, why: impl Into<String>) -> BadManifest {
        self.place.refuse(why)
    }

    /// Reports each key that was not read, with the nearest one that could have been.
    pub(super) fn finish(self) {
        for (key, value) in &self.entries {
            self.place
                .document
                .report_unknown(value.at, key, &self.name, &self.known);
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

/// The known key that `key` is most like, if it is like one at all.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let key = plain(cut(key, SHOWN));
    let likeness = |known: &&'k str| (strsim::jaro_winkler(&key, &plain(known)), *known);
    let best = known
        .iter()
        .map(likeness)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= SIMILAR)
        .map(|(_, known)| known)
}

/// The beginning of `text`, of at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// The names of the fields of a structure, as it asks for them when it is read.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    /// Answers nothing, and keeps what was asked for.
    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("nothing is read"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // It fails by design, after it has asked.
    drop(T::deserialize(Asked(&mut fields)));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant_or_none() {
        let known = ["background", "publish", "allow-persistent", "max-pids"];
        for (key, meant) in [
            ("backgruond", Some("background")),
            ("allow_persistent", Some("allow-persistent")),
            ("Publish", Some("publish")),
            ("max-pid", Some("max-pids")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known), meant, "{key}");
        }
        assert_eq!(nearest(&"é".repeat(100_000), &known), None);
    }

    #[test]
    fn a_structure_tells_its_fields() {
        assert!(fields::<crate::ceilings::Declared>().contains(&"max-pids"));
        assert_eq!(fields::<crate::network::Declared>(), ["mode", "publish", "egress"]);
        assert_eq!(fields::<String>(), [""; 0]);
    }
}
