//! The generated bindings. Everything public wraps them: a record that grows a field in a later
//! version of the interface must not change what capsule authors write.

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

pub(crate) use generated::astrid::{process1_1_0::host as process, sys::host as sys};
