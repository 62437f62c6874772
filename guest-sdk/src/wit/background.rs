//! The bindings of a long-running capsule's `run`. It is a world of its own, because a component
//! that exports a world must have all exports of that world.

#![expect(missing_docs, reason = "generated")]

wit_bindgen::generate!({
    world: "capsule:worlds/guest-background",
    path: "wit",
    pub_export_macro: true,
    export_macro_name: "__export_background",
});
