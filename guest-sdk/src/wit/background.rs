//! The bindings of a long-running capsule's `run`. A world of its own: every export of a world that is
//! exported at all must be there.

#![expect(missing_docs, reason = "generated")]

wit_bindgen::generate!({
    world: "capsule:worlds/guest-background",
    path: "wit",
    pub_export_macro: true,
    export_macro_name: "__export_background",
});
