//! The content of an owner's file: a line with a checksum, and one JSON object.
//!
//! ```text
//! capsule-store 1 <BLAKE3 of the rest, 64 hexadecimal digits>
//! {"principal":"alice","capsule":"editor","entries":{"cursor":"<hexadecimal>"}}
//! ```
//!
//! The checksum tells a damaged file from any other. The object names its owner, so that a file that was copied to another name is
//! not taken for that owner's. JSON is for the person who looks into the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::entries::Entries;

const MAGIC: &str = "capsule-store 1 ";
const HASH_LENGTH: usize = 64;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    principal: Cow<'a, str>,
    #[serde(borrow)]
    capsule: Cow<'a, str>,
    entries: BTreeMap<Cow<'a, str>, Value<'a>>,
}

/// Written as hexadecimal digits.
struct Value<'a>(Cow<'a, [u8]>);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&faster_hex::hex_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Value<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Cow::<str>::deserialize(deserializer)?;
        let mut bytes = vec![0; digits.len() / 2];
        faster_hex::hex_decode(digits.as_bytes(), &mut bytes).map_err(de::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

/// The content of the file with these entries.
pub(super) fn encode(principal: &str, capsule: &str, entries: &Entries) -> serde_json::Result<Vec<u8>> {
    let entries = entries.0.iter();
    let mut body = serde_json::to_vec(&Document {
        principal: principal.into(),
        capsule: capsule.into(),
        entries: entries.map(|(key, value)| (key.into(), Value(value.into()))).collect(),
    })?;
    body.push(b'\n');
    let mut file = format!("{MAGIC}{}\n", blake3::hash(&body).to_hex()).into_bytes();
    file.append(&mut body);
    Ok(file)
}

/// The entries in a file, or what is wrong with it.
pub(super) fn decode(file: &[u8], principal: &str, capsule: &str) -> Result<Entries, &'static str> {
    let rest = file
        .strip_prefix(MAGIC.as_bytes())
        .ok_or("it is not a file of this store")?;
    let (hash, rest) = rest
        .split_at_checked(HASH_LENGTH)
        .ok_or("its beginning is incomplete")?;
    let body = rest.strip_prefix(b"\n").ok_or("its beginning is damaged")?;
    if hash != blake3::hash(body).to_hex().as_bytes() {
        return Err("its checksum is wrong");
    }
    let document: Document<'_> = serde_json::from_slice(body).map_err(|_| "it is no store of this version")?;
    if document.principal != principal || document.capsule != capsule {
        return Err("it belongs to another principal or capsule");
    }
    let entries = document.entries.into_iter();
    Ok(Entries(
        entries
            .map(|(key, value)| (key.into_owned(), value.0.into_owned()))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_a_file_is_read_as_it_was_written_and_no_changed_byte_goes_unseen() {
        let mut entries = Entries::default();
        entries.0.insert("k\"\u{1}é".into(), (0..=255).collect());
        entries.0.insert("empty".into(), Vec::new());
        let file = encode("ada\n", "editor", &entries).unwrap();
        assert_eq!(decode(&file, "ada\n", "editor").unwrap().0, entries.0);
        for (principal, capsule) in [("bob", "editor"), ("ada\n", "other")] {
            let reason = decode(&file, principal, capsule).unwrap_err();
            assert_eq!(reason, "it belongs to another principal or capsule");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged, "ada\n", "editor").is_err(), "byte {at}");
            assert!(decode(&file[..at], "ada\n", "editor").is_err(), "cut at {at}");
        }
    }
}
