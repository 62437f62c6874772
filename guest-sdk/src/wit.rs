//! The generated bindings. Everything public wraps them: a record that grows a field in a later
//! version of the interface must not change what capsule authors write.
//!
//! It is also the seam of the mock: the four modules below are all that the crate knows of a host,
//! and natively, with feature `mock`, they are the mock's own. A component is compiled as if there
//! were no mock.

#[expect(missing_docs, reason = "generated")]
pub mod generated {
    wit_bindgen::generate!({
        world: "capsule:worlds/guest",
        path: "../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export",
    });
}

/// A world of its own: every export of a world that is exported at all must be there.
#[expect(missing_docs, reason = "generated")]
pub mod background {
    wit_bindgen::generate!({
        world: "capsule:worlds/guest-background",
        path: "../wit",
        pub_export_macro: true,
        export_macro_name: "__export_background",
    });
}

#[cfg(all(feature = "mock", not(target_family = "wasm")))]
pub(crate) use crate::mock::seam::{ipc, poll, process, sys};
#[cfg(not(all(feature = "mock", not(target_family = "wasm"))))]
pub(crate) use generated::astrid::{io::poll, ipc::host as ipc, process1_1_0::host as process, sys::host as sys};
