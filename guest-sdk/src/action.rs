//! A capsule's entry point as a table of named functions.

use crate::wit::generated::CapsuleResult;
use serde::{Serialize, de::DeserializeOwned};
use std::error::Error;

/// Exports a table of actions, which the host can call. A capsule uses this macro once.
///
/// A handler takes no argument, a type that serde can read from the payload's JSON, or the
/// unchanged [`Payload`]. It returns a `Result` of any value that serde can write and any error.
/// The result becomes a verdict and its data:
///
/// | when | verdict | data |
/// |---|---|---|
/// | `Ok(value)` | `continue` | the value as JSON; none for `()` |
/// | `Err(error)` | `abort` | `{"message": …}`, with the error's causes |
/// | there is no such action, or the payload does not fit the handler's type | `deny` | `{"message": …}` |
///
/// So `deny` means that nothing was done, and `abort` that the handler ran and failed. Both are failures
/// to the caller. A panic is neither: it traps, and the host reports the trap.
///
/// A call without payload gives the handler `null` if its type takes that (`Option`, `()`), and an
/// empty object otherwise, so that a struct whose fields all have defaults needs no payload.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Run {
///     args: Vec<String>,
/// }
///
/// fn git(run: Run) -> capsule_sdk::Result<String> {
///     let output = capsule_sdk::Command::new("git").args(run.args).output()?;
///     Ok(output.stdout_lossy().into_owned())
/// }
///
/// fn ping() -> Result<(), String> {
///     Ok(())
/// }
///
/// capsule_sdk::actions! {
///     "git" => git,
///     "ping" => ping,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! actions {
    ($($name:literal => $handler:expr),+ $(,)?) => {
        const _: () = {
            struct Capsule;

            impl $crate::wit::generated::Guest for Capsule {
                fn astrid_hook_trigger(
                    action: ::std::string::String,
                    payload: ::std::vec::Vec<u8>,
                ) -> $crate::wit::generated::CapsuleResult {
                    $crate::dispatch(
                        &action,
                        $crate::Payload::new(payload),
                        &[$(($name, &|payload| $crate::Handler::call(&$handler, payload))),+],
                    )
                }
            }

            $crate::wit::generated::__export!(Capsule with_types_in $crate::wit::generated);
        };
    };
}

/// The payload of a call, unchanged. By convention it is JSON. It is empty for a call without a payload.
///
/// ```
/// use capsule_sdk::Payload;
///
/// fn size(payload: Payload) -> Result<usize, String> {
///     Ok(payload.into_bytes().len())
/// }
/// assert_eq!(size(Payload::new(b"abc".to_vec())), Ok(3));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Wraps bytes, for calling a handler in a test.
    ///
    /// ```
    /// let payload = capsule_sdk::Payload::new(*b"{}");
    /// ```
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    ///
    /// ```
    /// # use capsule_sdk::Payload;
    /// assert_eq!(Payload::new(*b"x").as_bytes(), b"x");
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without a copy.
    ///
    /// ```
    /// # use capsule_sdk::Payload;
    /// assert_eq!(Payload::new(*b"x").into_bytes(), b"x");
    /// ```
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Reads the payload as JSON. An empty payload is read as `null` if the type takes that, and
    /// as an empty object otherwise.
    ///
    /// # Errors
    /// The error of serde: the payload is not JSON, or does not fit the type.
    ///
    /// ```
    /// # use capsule_sdk::Payload;
    /// let numbers: Vec<u8> = Payload::new(*b"[1,2]").json().unwrap();
    /// let nothing: Option<u8> = Payload::default().json().unwrap();
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if !self.0.trim_ascii().is_empty() {
            return serde_json::from_slice(&self.0);
        }
        serde_json::from_str("null").or_else(|wrong: serde_json::Error| {
            serde_json::from_str("{}").map_err(|_| {
                let needed = format!("the call has no payload, and this action needs one ({wrong})");
                serde::de::Error::custom(needed)
            })
        })
    }
}

/// A function that [`actions!`] can call. The marker tells the shapes apart.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an action",
    label = "one of these handlers has another shape than an action's",
    note = "a handler is `fn() -> Result<R, E>`, `fn(T) -> Result<R, E>` or `fn(capsule_sdk::Payload) -> Result<R, E>`",
    note = "T: serde::Deserialize (the payload's JSON), R: serde::Serialize, E: Into<Box<dyn std::error::Error>>"
)]
pub trait Handler<Marker> {
    #[expect(missing_docs, reason = "hidden: for the macro")]
    fn call(&self, payload: Payload) -> CapsuleResult;
}

impl<F, R, E> Handler<()> for F
where
    F: Fn() -> Result<R, E>,
    R: Serialize,
    E: Into<Box<dyn Error>>,
{
    fn call(&self, _: Payload) -> CapsuleResult {
        finish(self())
    }
}

impl<F, R, E> Handler<Payload> for F
where
    F: Fn(Payload) -> Result<R, E>,
    R: Serialize,
    E: Into<Box<dyn Error>>,
{
    fn call(&self, payload: Payload) -> CapsuleResult {
        finish(self(payload))
    }
}

impl<F, T, R, E> Handler<(T,)> for F
where
    F: Fn(T) -> Result<R, E>,
    T: DeserializeOwned,
    R: Serialize,
    E: Into<Box<dyn Error>>,
{
    fn call(&self, payload: Payload) -> CapsuleResult {
        match payload.json() {
            Ok(value) => finish(self(value)),
            Err(error) => verdict("deny", &format!("the payload does not fit: {error}")),
        }
    }
}

type Entry<'a> = (&'a str, &'a dyn Fn(Payload) -> CapsuleResult);

/// Finds the action and calls it. For the macro.
#[doc(hidden)]
#[must_use]
pub fn dispatch(action: &str, payload: Payload, table: &[Entry<'_>]) -> CapsuleResult {
    match table.iter().find(|(name, _)| *name == action) {
        Some((_, handler)) => handler(payload),
        None => {
            let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            verdict("deny", &format!("there is no action `{action}` here, only {names}"))
        }
    }
}

fn finish<R: Serialize, E: Into<Box<dyn Error>>>(result: Result<R, E>) -> CapsuleResult {
    let value = match result {
        Ok(value) => serde_json::to_string(&value),
        Err(error) => return verdict("abort", &with_causes(&*error.into())),
    };
    match value {
        Ok(json) => CapsuleResult {
            action: "continue".to_owned(),
            data: (json != "null").then_some(json),
        },
        Err(error) => verdict("abort", &format!("the result is not JSON: {error}")),
    }
}

fn verdict(action: &str, message: &str) -> CapsuleResult {
    let data = serde_json::json!({ "message": message }).to_string();
    CapsuleResult {
        action: action.to_owned(),
        data: Some(data),
    }
}

pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Args {
        #[serde(default)]
        path: Option<String>,
    }

    fn path(args: Args) -> Result<Option<String>, String> {
        Ok(args.path)
    }

    fn nothing() -> Result<(), crate::Error> {
        Ok(())
    }

    fn raw(payload: Payload) -> Result<usize, String> {
        Ok(payload.into_bytes().len())
    }

    fn fails(_: Option<u8>) -> Result<(), std::io::Error> {
        Err(crate::Error::NoSuchProcess.into())
    }

    fn call(action: &str, payload: &str) -> (String, String) {
        let result = dispatch(
            action,
            Payload::new(payload),
            &[
                ("path", &|p| Handler::call(&path, p)),
                ("nothing", &|p| Handler::call(&nothing, p)),
                ("raw", &|p| Handler::call(&raw, p)),
                ("fails", &|p| Handler::call(&fails, p)),
            ],
        );
        (result.action, result.data.unwrap_or_default())
    }

    #[test]
    fn each_shape_of_handler_is_called() {
        assert_eq!(call("path", r#"{"path":"/a"}"#), ("continue".into(), "\"/a\"".into()));
        assert_eq!(call("nothing", "ignored"), ("continue".into(), String::new()));
        assert_eq!(call("raw", "{"), ("continue".into(), "1".into()));
    }

    #[test]
    fn no_payload_is_null_or_an_empty_object() {
        assert_eq!(call("path", ""), ("continue".into(), String::new()));
        assert_eq!(call("fails", " ").0, "abort");
    }

    #[test]
    fn what_was_not_tried_is_denied_and_what_failed_is_aborted() {
        let (action, data) = call("stat", "");
        assert_eq!(action, "deny");
        assert!(
            data.contains("`stat`") && data.contains("path, nothing, raw, fails"),
            "{data}"
        );
        assert_eq!(call("path", "7").0, "deny");
        let (action, data) = call("fails", "1");
        assert_eq!(action, "abort");
        assert!(data.contains("no-such-process"), "{data}");
    }
}
