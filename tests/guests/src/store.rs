//! Values that outlive the instance.

use capsule_sdk::store::{self, Swap};
use serde::{Deserialize, Serialize};

use super::{Answer, answer_of};

fn answer<T>(result: store::Result<T>) -> Answer<T> {
    answer_of(result, store::Error::kind)
}

#[derive(Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    expected: Option<String>,
    /// The value is so many bytes instead.
    #[serde(default)]
    bytes: Option<usize>,
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

pub(crate) fn get(entry: Entry) -> Answer<Option<String>> {
    answer(store::get(&entry.key).map(text))
}

pub(crate) fn set(entry: Entry) -> Answer<()> {
    let value = match entry.bytes {
        Some(bytes) => "x".repeat(bytes),
        None => entry.value.unwrap_or_default(),
    };
    answer(store::set(&entry.key, value))
}

pub(crate) fn delete(entry: Entry) -> Answer<bool> {
    answer(store::delete(&entry.key))
}

pub(crate) fn list(entry: Entry) -> Answer<Vec<String>> {
    answer(store::list(&entry.key))
}

#[derive(Serialize)]
pub(crate) struct Swapped {
    swapped: bool,
    present: Option<String>,
}

pub(crate) fn swap(entry: Entry) -> Answer<Swapped> {
    let expected = entry.expected.as_deref().map(str::as_bytes);
    let value = entry.value.as_deref().map(str::as_bytes);
    answer(
        store::compare_and_set(&entry.key, expected, value).map(|swap| match swap {
            Swap::Swapped => Swapped {
                swapped: true,
                present: entry.value.clone(),
            },
            Swap::Mismatch(present) => Swapped {
                swapped: false,
                present: text(present),
            },
        }),
    )
}
