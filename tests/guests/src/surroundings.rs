//! What a call gets from outside: its payload, its caller, and the capsule's configuration.

use capsule_sdk::sys;
use serde_json::Value;

use crate::{Answer, Outcome, answer_of};

/// Returns the payload.
pub(crate) fn echo(payload: Value) -> Answer<Value> {
    Ok(Outcome::Ok(payload))
}

/// The principal of this call.
pub(crate) fn caller() -> Answer<Option<String>> {
    answer_of(sys::caller().map(|caller| caller.principal), sys::Error::kind)
}

/// The values of these keys.
pub(crate) fn config(keys: Vec<String>) -> Answer<Vec<Option<String>>> {
    let values = keys.iter().map(|key| sys::config(key));
    answer_of(values.collect(), sys::Error::kind)
}
