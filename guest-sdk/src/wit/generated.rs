//! The bindings of what a capsule uses and exports.

#![expect(missing_docs, reason = "generated")]

wit_bindgen::generate!({
    world: "capsule:worlds/guest",
    path: "wit",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "__export",
});
