//! The entry point of a capsule that works for as long as it is loaded.

use crate::{action::with_causes, sys};
use std::error::Error;

/// Exports a function that the host starts once and lets run: `run` of a long-running capsule.
/// A capsule uses this macro once, beside [`actions!`](crate::actions), which every capsule needs.
///
/// The embedder decides whether to start it. The function takes no argument and returns a `Result`
/// of `()` and any error; the capsule's log gets the error. The function calls
/// [`sys::signal_ready`] once the capsule is ready for work. When the capsule is unloaded, every
/// blocking call answers `cancelled`, and the function should return. It has an instance of its own,
/// which shares state with the actions' instances only through the host.
///
/// ```
/// use capsule_sdk::{Event, ipc, sys};
/// use std::{error::Error, time::Duration};
///
/// fn watch_over() -> Result<(), Box<dyn Error>> {
///     let events = ipc::subscribe(ipc::LIFECYCLE)?;
///     sys::signal_ready();
///     loop {
///         match events.recv(Duration::from_secs(60)) {
///             Ok(envelope) => envelope.events().for_each(|event| sys::info(&format!("{event:?}"))),
///             Err(error) if error.is_timeout() => {}
///             Err(error) => return Err(error.into()),
///         }
///     }
/// }
///
/// capsule_sdk::background!(watch_over);
/// capsule_sdk::actions! {
///     "ping" => || Ok::<_, String>("pong"),
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! background {
    ($run:expr $(,)?) => {
        const _: () = {
            struct Background;

            impl $crate::wit::background::Guest for Background {
                fn run() {
                    $crate::finish_run($run());
                }
            }

    $crate::wit::background::__export_background!(Background with_types_in $crate::wit::background);
        };
    };
}

/// Logs the error that it ended with, if any. For the macro.
#[doc(hidden)]
pub fn finish_run<E: Into<Box<dyn Error>>>(result: Result<(), E>) {
    if let Err(error) = result {
        sys::error(&format!("the background run ended: {}", with_causes(&*error.into())));
    }
}
