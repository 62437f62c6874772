//! The actions that a manifest describes, for callers that do not know the capsule, such as an agent.
//!
//! An action's `input` is the JSON schema of its payload, written as a TOML table. MCP requires that it describes an object.

use serde_json::{Map, Number, Value as Json};
use toml::Value as Toml;

use super::declared::Action;
use super::document::{BadManifest, Section};

/// The most bytes of a description, and of an input schema as JSON: an agent reads all of them.
const TEXT_MAX: usize = 16 << 10;
/// The deepest nesting of a schema.
const DEPTH_MAX: usize = 32;

/// Reads the table `actions`.
pub(super) fn read_actions(section: Section<'_>) -> Result<Vec<Action>, BadManifest> {
    let entries = section.entries()?.into_iter();
    entries
        .map(|(name, value)| {
            let table = format!("actions.{name}");
            read_action(name, value.section(table)?)
        })
        .collect()
}

fn read_action(name: String, mut section: Section<'_>) -> Result<Action, BadManifest> {
    if name.is_empty() {
        return Err(section.refuse("an action has a name"));
    }
    let description: Option<String> = section.get("description")?;
    if description.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
        return Err(section.refuse(format!("the description of an action has at most {TEXT_MAX} bytes")));
    }
    let read_only = section.get("read-only")?.unwrap_or(false);
    let input = match section.value("input") {
        None => None,
        Some(value) => {
            let place = value.place();
            let table: toml::Table = value.read()?;
            Some(schema(table).map_err(|why| place.refuse(format!("the `input` of an action {why}")))?)
        }
    };
    section.finish();
    Ok(Action {
        name,
        description,
        input,
        read_only,
    })
}

/// The table as a JSON schema of an object.
fn schema(table: toml::Table) -> Result<Map<String, Json>, String> {
    let mut schema = object(table, 0)?;
    match schema.get("type") {
        None => drop(schema.insert("type".to_owned(), "object".into())),
        Some(kind) if kind == "object" => {}
        Some(kind) => return Err(format!("describes an object, and not {kind}")),
    }
    let length = serde_json::to_string(&schema).map_or(usize::MAX, |text| text.len());
    if length > TEXT_MAX {
        return Err(format!("has at most {TEXT_MAX} bytes as JSON"));
    }
    Ok(schema)
}

fn object(table: toml::Table, depth: usize) -> Result<Map<String, Json>, String> {
    table
        .into_iter()
        .map(|(key, value)| Ok((key, json(value, depth)?)))
        .collect()
}

fn json(value: Toml, depth: usize) -> Result<Json, String> {
    if depth > DEPTH_MAX {
        return Err(format!("is nested more than {DEPTH_MAX} tables deep"));
    }
    Ok(match value {
        Toml::String(text) => text.into(),
        Toml::Integer(number) => number.into(),
        Toml::Float(number) => Number::from_f64(number)
            .ok_or("holds a number that JSON does not have")?
            .into(),
        Toml::Boolean(value) => value.into(),
        Toml::Datetime(_) => return Err("holds a time, which JSON does not have: write it as text".to_owned()),
        Toml::Array(items) => Json::Array(
            items
                .into_iter()
                .map(|item| json(item, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Toml::Table(table) => Json::Object(object(table, depth + 1)?),
    })
}
