//! The id of a persistent process. With the principal and the capsule it gives access to the process.

use serde::{Deserialize, Serialize};
use std::{convert::Infallible, fmt, str::FromStr};

/// Names a persistent process, for as long as the host retains it.
///
/// It is a secret, so `Debug` hides it and there is no `Display`: it gets into a log
/// only by [`expose`](Self::expose). To hand it on to a later instance, serialise it (as a plain
/// string) or `parse` what `expose` gave. Any text parses; only the host knows whether it
/// names a process.
///
/// ```
/// use capsule_sdk::ProcessId;
///
/// let id: ProcessId = "mzxw6".parse().unwrap();
/// assert_eq!(serde_json::to_string(&id).unwrap(), "\"mzxw6\"");
/// assert_eq!(format!("{id:?}"), "ProcessId(..)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(String);

impl ProcessId {
    pub(crate) const fn new(id: String) -> Self {
        Self(id)
    }

    /// The id itself.
    ///
    /// ```
    /// # let id: capsule_sdk::ProcessId = "mzxw6".parse().unwrap();
    /// assert_eq!(id.expose(), "mzxw6");
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProcessId {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessId(..)")
    }
}
